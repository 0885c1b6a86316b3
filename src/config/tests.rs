//! What is said, and what it means, or everything that is wrong with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use toml_edit::{ImDocument, TableLike};

use super::*;
use crate::guard::Allowed;

const DEFAULTS: &str = include_str!("../../config/default.toml");
const URL: &str = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";

/// Sources; a good route comes with them, unless they have some of their own.
#[derive(Clone, Default)]
struct Said {
    file: Option<String>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
    is_without_route: bool,
}

fn said() -> Said {
    Said::default()
}

fn file(text: &str) -> Said {
    said().file(text)
}

fn env(name: &str, value: &str) -> Said {
    said().env(name, value)
}

fn flag(name: &'static str, key: &str, values: &[&str]) -> Said {
    said().flag(name, key, values)
}

/// A file of one route, of which the target stands in line 2.
fn route(lines: &str) -> Said {
    file(&format!("[route.a]\ntarget = \"{URL}\"\n{lines}")).without_route()
}

/// A file of one route to this target.
fn target(url: &str, lines: &str) -> Said {
    file(&format!("[route.a]\ntarget = \"{url}\"\n{lines}")).without_route()
}

impl Said {
    fn file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &'static str, key: &str, values: &[&str]) -> Self {
        self.flags.push(Flag {
            key: key.to_owned(),
            name,
            values: values.iter().map(|&value| value.to_owned()).collect(),
            is_list: name == "--listen" || name.starts_with("--allow"),
        });
        self
    }

    fn without_route(mut self) -> Self {
        self.is_without_route = true;
        self
    }

    /// The file's path is shown as `FILE`.
    fn load(&self) -> Result<(Raw, Config), Vec<String>> {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut sources = Sources {
            file: None,
            environment: self.environment.clone(),
            flags: self.flags.clone(),
        };
        if let Some(text) = &self.file {
            std::fs::write(&path, text).unwrap();
            sources.file = Some(path.clone());
        }
        if !self.is_without_route {
            let url = said().flag("URL", "route.graphql.target", &[URL]);
            sources.flags.extend(url.flags);
        }
        let loaded = load(&sources);
        if self.file.is_some() {
            std::fs::remove_file(&path).unwrap();
        }
        loaded.map_err(|problems| {
            let text = problems.to_string();
            let text = text.replace(&path.display().to_string(), "FILE");
            text.lines().map(str::to_owned).collect()
        })
    }
}

/// What a configuration means at one place.
fn probe(config: &Config, place: &str) -> String {
    let route = &config.routes[0];
    let credentials = &route.credentials;
    match place {
        "listen" => {
            let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
            format!("[{}]", listen.join(", "))
        }
        "guard.tokens" => {
            let token = &config.guard.tokens[0];
            format!("{:?} {}", token.name, token.file.display())
        }
        "guard.allow_hosts" => {
            let hosts = config.guard.allow_hosts.iter();
            hosts
                .map(|host| host.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        }
        "guard.allow_origins" => {
            let origins = config.guard.allow_origins.iter();
            origins
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        }
        "tls" => format!("{:?}", config.tls),
        "limits.connections" => config.server.connections.to_string(),
        "limits.memory" => format!("{:?}", config.memory),
        "limits.request_head" => config.server.request_head.to_string(),
        "limits.message" => config.session.message.to_string(),
        "limits.outbox_total" => config.outbox_total.to_string(),
        "timeouts.init" => format!("{:?}", config.session.init),
        "pool.linger" => format!("{:?}", route.realtime.linger),
        "admin" => format!("{:?}", config.admin),
        "drain" => format!("{:?} {:?}", config.drain.delay, config.drain.timeout),
        "traces" => format!("{:?}", config.traces),
        "log.format" => format!("{:?}", config.log.format),
        "log.filter" => config.log.filter.clone(),
        "routes" => config
            .routes
            .iter()
            .map(|route| format!("{}={} ", route.name, route.path))
            .collect(),
        "path" => route.path.clone(),
        "region" => route.endpoint.scope.region.clone(),
        "service" => route.endpoint.scope.service.clone(),
        "wire_host" => route.endpoint.wire_host.clone(),
        "address" => route.endpoint.address.to_string(),
        "credentials" => credentials.to_string(),
        "identity" => match credentials {
            Credentials::Provider(identity) => {
                format!("{:?} {:?}", identity.profile, identity.assume_role)
            }
            Credentials::Fixed(_) => "fixed".to_owned(),
        },
        "trust" => format!("{:?}", route.trust),
        "request_body" => route.requests.body.to_string(),
        "response_body" => route.requests.response_body.to_string(),
        "first_byte" => format!("{:?}", route.upstream.first_byte),
        "connect" => format!("{:?}", route.upstream.connect),
        "idle" => format!("{:?}", route.upstream.idle),
        "style" => format!("{:?}", route.endpoint.style),
        "sign_headers" => format!("{:?}", route.endpoint.signed_headers),
        "odd_paths" => format!("{:?}", route.requests.paths),
        "keepalive" => format!("{:?}", route.keepalive),
        "policy" => format!("{:?}", route.policy),
        "on_loss" => format!("{:?}", route.realtime.on_loss),
        _ => panic!("no such place: {place}"),
    }
}

#[track_caller]
fn check(said: &Said, expected: Result<&[(&str, &str)], &[&str]>) {
    match (said.load(), expected) {
        (Ok((_, config)), Ok(probes)) => {
            for (place, value) in probes {
                assert_eq!(probe(&config, place), *value, "{place}");
            }
        }
        (Err(problems), Err(expected)) => assert_eq!(problems, expected),
        (Err(problems), Ok(_)) => panic!("{problems:#?}"),
        (Ok(_), Err(expected)) => panic!("accepted, for all {expected:?}"),
    }
}

#[track_caller]
fn means(said: &Said, place: &str, value: &str) {
    check(said, Ok(&[(place, value)]));
}

#[track_caller]
fn refuses(said: &Said, problems: &[&str]) {
    check(said, Err(problems));
}

#[test]
fn the_stronger_source_wins() {
    let of_file = file("[log]\nfilter = \"warn\"");
    let of_environment = of_file.clone().env("COUNTERSIGN_LOG__FILTER", "error");
    let of_flag = of_environment
        .clone()
        .flag("--log", "log.filter", &["debug"]);
    means(&said(), "log.filter", "info");
    means(&of_file, "log.filter", "warn");
    means(&of_environment, "log.filter", "error");
    means(&of_flag, "log.filter", "debug");
}

#[test]
fn sources_are_merged_key_by_key_and_lists_as_a_whole() {
    let all = file("listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n[timeouts]\ninit = \"1s\"\n[limits]\nmessage = 7")
        .env("COUNTERSIGN_LIMITS__CONNECTIONS", "8")
        .flag("--listen", "listen", &["127.0.0.1:3"]);
    check(
        &all,
        Ok(&[
            ("listen", "[127.0.0.1:3]"),
            ("timeouts.init", "1s"),
            ("limits.message", "7"),
            ("limits.connections", "8"),
            ("limits.request_head", "32768"),
        ]),
    );
}

#[test]
fn commas_make_lists() {
    let one = env("COUNTERSIGN_LISTEN", "127.0.0.1:1");
    means(&one, "listen", "[127.0.0.1:1]");
    let two = env("COUNTERSIGN_LISTEN", "127.0.0.1:1, [::1]:2,");
    means(&two, "listen", "[127.0.0.1:1, [::1]:2]");
    let local = env("COUNTERSIGN_LISTEN", "localhost:3");
    means(&local, "listen", "[127.0.0.1:3]");
    let hosts = env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "api.local,Dev.Local");
    means(&hosts, "guard.allow_hosts", "api.local dev.local");
    let none = env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "");
    means(&none, "guard.allow_hosts", "");
    let origins = flag(
        "--allow-origin",
        "guard.allow_origins",
        &["https://a.example:443", "http://b.example:8080"],
    );
    means(
        &origins,
        "guard.allow_origins",
        "https://a.example http://b.example:8080",
    );
    let text = file("listen = \"127.0.0.1:1\"");
    means(&text, "listen", "[127.0.0.1:1]");
}

#[test]
fn traces_go_where_we_or_opentelemetry_are_told() {
    let none = "None";
    let some = |endpoint: &str, ratio: &str| {
        format!("Some(TraceConfig {{ endpoint: {endpoint}, ratio: {ratio}, headers_file: None }})")
    };
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/");
    let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/x");
    let ours = ("COUNTERSIGN_TRACES__ENDPOINT", "https://c");
    let a = some("http://a:4318/v1/traces", "1.0");
    let b = some("http://b/x", "1.0");
    let c = some("https://c/v1/traces", "1.0");
    for (environment, expected) in [
        (&[][..], none),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], none),
        (&[base], &a),
        (&[base, whole], &b),
        (&[whole, base, ours], &c),
        (&[base, ("COUNTERSIGN_TRACES__ENDPOINT", "off")], none),
        (&[base, ("OTEL_SDK_DISABLED", "TRUE")], none),
        (&[base, ("OTEL_SDK_DISABLED", "false")], &a),
        (&[base, ("OTEL_TRACES_EXPORTER", "none")], none),
        (&[base, ("OTEL_TRACES_EXPORTER", "otlp")], &a),
        (&[ours, ("OTEL_SDK_DISABLED", "true")], &c),
        (
            &[ours, ("OTEL_TRACES_SAMPLER", "parentbased_always_off")],
            &some("https://c/v1/traces", "0.0"),
        ),
        (
            &[
                ours,
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ],
            &some("https://c/v1/traces", "0.25"),
        ),
        (
            &[
                ours,
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("COUNTERSIGN_TRACES__RATIO", "0.5"),
            ],
            &some("https://c/v1/traces", "0.5"),
        ),
    ] {
        let all = environment.iter();
        let said = all.fold(said(), |said, (name, value)| said.env(name, value));
        means(&said, "traces", expected);
    }
    refuses(
        &file("[traces]\nendpoint = \"localhost:4318\"\nratio = 2"),
        &[
            "FILE:2: `traces.endpoint`: \"localhost:4318\" is neither a collector's URL, such as http://127.0.0.1:4318, nor \"off\"",
            "FILE:3: `traces.ratio`: \"2\" is no number from 0 to 1",
        ],
    );
    for url in ["http://key@a", "http://a/?key=1"] {
        refuses(
            &env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            &[
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `traces.endpoint`: must hold neither a password nor a query: put keys into `headers_file`",
            ],
        );
    }
}

#[test]
fn digits_are_text_where_text_is_wanted() {
    let profile = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "123456789012");
    means(&profile, "identity", "Some(\"123456789012\") None");
    means(
        &route("profile = 123456789012"),
        "identity",
        "Some(\"123456789012\") None",
    );
    let octal = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "007");
    means(&octal, "identity", "Some(\"007\") None");
    let bool = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "true");
    means(&bool, "identity", "Some(\"true\") None");
    means(
        &env("COUNTERSIGN_LOG__FILTER", "info"),
        "log.filter",
        "info",
    );
}

#[test]
fn numbers_may_be_text_and_text_numbers() {
    means(
        &file("[limits]\nconnections = 7"),
        "limits.connections",
        "7",
    );
    means(
        &file("[limits]\nconnections = \"7\""),
        "limits.connections",
        "7",
    );
    means(&file("[limits]\nmessage = 512"), "limits.message", "512");
    means(
        &file("[limits]\nmessage = \"512b\""),
        "limits.message",
        "512",
    );
    means(
        &file("[limits]\nmessage = \"2kB\""),
        "limits.message",
        "2000",
    );
    means(
        &file("[limits]\nmessage = \"2 KiB\""),
        "limits.message",
        "2048",
    );
    means(
        &file("[limits]\nmessage = \"2MB\""),
        "limits.message",
        "2000000",
    );
    means(
        &file("[limits]\nmessage = \"1GiB\""),
        "limits.message",
        "1073741824",
    );
    means(&file("[pool]\nlinger = \"1m 30s\""), "pool.linger", "90s");
    means(
        &env("COUNTERSIGN_DRAIN__TIMEOUT", "250ms"),
        "drain",
        "0ns 250ms",
    );
    means(&env("COUNTERSIGN_DRAIN__DELAY", "5s"), "drain", "5s 25s");
    means(&env("COUNTERSIGN_ADMIN", "off"), "admin", "None");
    means(
        &env("COUNTERSIGN_ADMIN", "0.0.0.0:4101"),
        "admin",
        "Some(0.0.0.0:4101)",
    );
}

#[test]
fn memory_has_a_limit_that_suffices_the_cgroups_or_none() {
    let memory = |text| env("COUNTERSIGN_LIMITS__MEMORY", text);
    means(&said(), "limits.memory", "Auto");
    means(&memory("off"), "limits.memory", "Off");
    means(&memory("32MiB"), "limits.memory", "Bytes(33554432)");
    let said = "COUNTERSIGN_LIMITS__MEMORY: `limits.memory`: ";
    for text in ["31MiB", "1"] {
        let expected = format!("{said}must be at least 32MiB");
        refuses(&memory(text), &[&expected]);
    }
    for text in ["on", "0", "-1"] {
        let expected =
            format!("{said}{text:?} is neither \"auto\", \"off\" nor a size, such as \"256MiB\"");
        refuses(&memory(text), &[&expected]);
    }
}

/// Nothing had been told of it.
#[test]
fn a_table_that_is_said_as_a_value_too_loses_its_defaults() {
    let lost = "has lost its default: the table above it is said as a plain value, too";
    let problems = ["allow_origins", "forwarded", "non_loopback", "peer_uids"];
    let problems = problems.map(|key| format!("`guard.{key}`: {lost}"));
    let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
    refuses(
        &flag("--guard", "guard", &["a"]).flag("--allow-host", "guard.allow_hosts", &["b"]),
        &problems,
    );
}

#[test]
fn the_admin_listener_has_an_address_or_is_off() {
    refuses(
        &env("COUNTERSIGN_ADMIN", "no"),
        &[
            "COUNTERSIGN_ADMIN: `admin`: \"no\" is neither an IP address with a port, such as \
             127.0.0.1:4101, nor \"off\"",
        ],
    );
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    refuses(
        &file("\nlisen = []"),
        &["FILE:2: `lisen`: unknown key; did you mean `listen`?"],
    );
    refuses(
        &file("[limit]\nmessage = 1"),
        &["FILE:1: `limit`: unknown key; did you mean `limits`?"],
    );
    refuses(
        &file("[limits]\n\nmesage = 1"),
        &["FILE:3: `limits.mesage`: unknown key; did you mean `message`?"],
    );
    refuses(
        &file("log = { formt = \"text\" }"),
        &["FILE:1: `log.formt`: unknown key; did you mean `format`?"],
    );
    refuses(
        &file("guard.allow_origin = []"),
        &["FILE:1: `guard.allow_origin`: unknown key; did you mean `allow_origins`?"],
    );
    refuses(
        &route("regoin = \"eu-central-1\""),
        &["FILE:3: `route.a.regoin`: unknown key; did you mean `region`?"],
    );
    refuses(
        &route("[route.a.limits]\nrequest_bdy = 1"),
        &["FILE:4: `route.a.limits.request_bdy`: unknown key; did you mean `request_body`?"],
    );
    refuses(
        &route("timeouts.init = \"1s\""),
        &[
            "FILE:3: `route.a.timeouts.init`: unknown key; known here: connect, first_byte, idle, keepalive",
        ],
    );
    refuses(
        &env("COUNTERSIGN_DRAIN__TIMEOUTS", "1s"),
        &["COUNTERSIGN_DRAIN__TIMEOUTS: `drain.timeouts`: unknown key; did you mean `timeout`?"],
    );
    refuses(
        &env("COUNTERSIGN_LISTNE", "127.0.0.1:1"),
        &["COUNTERSIGN_LISTNE: `listne`: unknown key; did you mean `listen`?"],
    );
    refuses(
        &env("COUNTERSIGN_ROUTE__GRAPHQL__PATHS", "/x"),
        &[
            "COUNTERSIGN_ROUTE__GRAPHQL__PATHS: `route.graphql.paths`: unknown key; did you mean `path`?",
        ],
    );
    refuses(
        &flag("--log-fmt", "log.fmt", &["text"]),
        &["--log-fmt: `log.fmt`: unknown key; known here: filter, format"],
    );
}

#[test]
fn all_mistakes_of_all_sources_are_in_one_report() {
    refuses(
        &file("listen = [\"0.0.0.0:1\", \"x\"]\n[limits]\nmessage = \"much\"\n[timeouts]\ninit = \"soon\"")
            .env("COUNTERSIGN_POOL__MAX_IDLE", "-1")
            .env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "a b,http://c")
            .flag("--log-format", "log.format", &["xml"])
            .flag("--region", "route.graphql.region", &["eu-west-1"]),
        &[
            "FILE:1: `listen`: \"x\" is no IP address with a port, such as 127.0.0.1:4100",
            "COUNTERSIGN_GUARD__ALLOW_HOSTS: `guard.allow_hosts`: \"a b\" is no host name without a port",
            "COUNTERSIGN_GUARD__ALLOW_HOSTS: `guard.allow_hosts`: \"http://c\" is no host name without a port",
            "FILE:3: `limits.message`: \"much\" is no size, such as \"64KiB\" or \"1MiB\"",
            "FILE:5: `timeouts.init`: \"soon\" is no duration, such as \"250ms\", \"5s\" or \"2m\"",
            "COUNTERSIGN_POOL__MAX_IDLE: `pool.max_idle`: \"-1\" is no whole number above zero",
            "--log-format: `log.format`: \"xml\" is neither \"text\" nor \"json\"",
            "URL: `route.graphql.target`: abc.appsync-api.eu-central-1.amazonaws.com is in eu-central-1, but `region` says eu-west-1: remove `region`, or correct the URL",
        ],
    );
}

#[test]
fn bad_durations_are_refused() {
    for text in ["", "5", "s", "-1s", "1 parsec", "99999999999999999999s"] {
        refuses(
            &env("COUNTERSIGN_DRAIN__TIMEOUT", text),
            &[&format!(
                "COUNTERSIGN_DRAIN__TIMEOUT: `drain.timeout`: {text:?} is no duration, such as \"250ms\", \"5s\" or \"2m\""
            )],
        );
    }
    refuses(
        &file("[drain]\ntimeout = 5"),
        &["FILE:2: `drain.timeout`: \"5\" is no duration, such as \"250ms\", \"5s\" or \"2m\""],
    );
    refuses(
        &file("[drain]\ntimeout = \"0s\""),
        &["FILE:2: `drain.timeout`: must be more than zero"],
    );
}

/// A clock cannot be asked for a time that far away: the program panicked at the first client.
#[test]
fn a_duration_beyond_the_clock_is_refused() {
    for text in ["18446744073709551615s", "366days"] {
        refuses(
            &env("COUNTERSIGN_TIMEOUTS__INIT", text),
            &["COUNTERSIGN_TIMEOUTS__INIT: `timeouts.init`: must be at most 365 days"],
        );
    }
    means(
        &env("COUNTERSIGN_TIMEOUTS__INIT", "365days"),
        "timeouts.init",
        "31536000s",
    );
}

#[test]
fn bad_sizes_are_refused() {
    for text in [
        "",
        "0",
        "-1",
        "1.5MiB",
        "MiB",
        "1TB",
        "1é",
        "1 M iB",
        "99999999999GiB",
    ] {
        refuses(
            &env("COUNTERSIGN_LIMITS__MESSAGE", text),
            &[&format!(
                "COUNTERSIGN_LIMITS__MESSAGE: `limits.message`: {text:?} is no size, such as \"64KiB\" or \"1MiB\""
            )],
        );
    }
    refuses(
        &file("[limits]\nrequest_head = \"4KiB\""),
        &["FILE:2: `limits.request_head`: must be at least 8KiB"],
    );
}

#[test]
fn bad_counts_are_refused() {
    for text in [
        "",
        "0",
        "-1",
        "1.5",
        "many",
        "1KiB",
        "0x10",
        "99999999999999999999",
    ] {
        refuses(
            &env("COUNTERSIGN_LIMITS__CONNECTIONS", text),
            &[&format!(
                "COUNTERSIGN_LIMITS__CONNECTIONS: `limits.connections`: {text:?} is no whole number above zero"
            )],
        );
    }
}

#[test]
fn bad_origins_and_hosts_are_refused() {
    for text in [
        "*",
        "null",
        "app.example.com",
        "https://*",
        "https://a/b",
        "ftp://a",
        "https://",
        "https://a:99999",
    ] {
        refuses(
            &flag("--allow-origin", "guard.allow_origins", &[text]),
            &[&format!(
                "--allow-origin: `guard.allow_origins`: {text:?} is no origin, such as https://app.example.com"
            )],
        );
    }
    for text in ["*", "a:80", "https://a", "a/b", "user@a", "[::1]:1", "a b"] {
        refuses(
            &flag("--allow-host", "guard.allow_hosts", &[text]),
            &[&format!(
                "--allow-host: `guard.allow_hosts`: {text:?} is no host name without a port"
            )],
        );
    }
}

#[test]
fn bad_listen_addresses_are_refused() {
    for text in [
        "4100",
        ":4100",
        "127.0.0.1",
        "127.0.0.1:99999",
        "example.com:1",
        "::1:1x",
    ] {
        refuses(
            &flag("--listen", "listen", &[text]),
            &[&format!(
                "--listen: `listen`: {text:?} is no IP address with a port, such as 127.0.0.1:4100"
            )],
        );
    }
    refuses(
        &flag("--listen", "listen", &["unix:"]),
        &["--listen: `listen`: \"unix:\" names no file, as unix:/run/x.sock does"],
    );
    for said in [
        file("listen = []"),
        env("COUNTERSIGN_LISTEN", ""),
        env("COUNTERSIGN_LISTEN", " , "),
    ] {
        let problems = said.load().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].ends_with("`listen`: at least one address is needed"));
    }
    means(
        &env("COUNTERSIGN_LISTEN", "127.8.8.8:0"),
        "listen",
        "[127.8.8.8:0]",
    );
}

#[test]
fn bad_roles_are_refused() {
    for text in [
        "admin",
        "arn:aws:iam::1:user/x",
        "arn:aws:iam::123456789012:role",
        "",
    ] {
        refuses(
            &route(&format!("assume_role = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.assume_role`: {text:?} is no role ARN, such as arn:aws:iam::123456789012:role/NAME"
            )],
        );
    }
    means(
        &route("assume_role = \"arn:aws-cn:iam::123456789012:role/x/y\""),
        "identity",
        "None Some(\"arn:aws-cn:iam::123456789012:role/x/y\")",
    );
}

#[test]
fn bad_paths_are_refused() {
    for text in [
        "",
        "graphql",
        "/a b",
        "/a?b",
        "/a#b",
        "//",
        "/a//b",
        "/ä",
        "/%2e",
        "https://a/b",
    ] {
        refuses(
            &route(&format!("path = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.path`: {text:?} is no plain path, such as /graphql"
            )],
        );
    }
    means(&route("path = \"/\""), "path", "");
    means(&route("path = \"/a/b/\""), "path", "/a/b");
}

#[test]
fn a_route_needs_a_target() {
    refuses(
        &said().without_route(),
        &[
            "`route`: no route: give an upstream URL, as in `countersign https://ID.appsync-api.REGION.amazonaws.com/graphql`, or a [route.NAME] table with a target",
        ],
    );
    refuses(
        &file("[route]").without_route(),
        &[
            "FILE:1: `route`: no route: give an upstream URL, as in `countersign https://ID.appsync-api.REGION.amazonaws.com/graphql`, or a [route.NAME] table with a target",
        ],
    );
    refuses(
        &file("[route.a]\npath = \"/x\"\n[route.b]\ntarget = \"\"").without_route(),
        &[
            "`route.a.target`: is missing: the URL of the upstream",
            "FILE:4: `route.b.target`: must not be empty",
        ],
    );
}

#[test]
fn bad_targets_are_refused() {
    let cases = [
        (
            "http://abc.appsync-api.eu-central-1.amazonaws.com/graphql",
            "the URL must begin with https://: signed requests never travel in the clear",
        ),
        (
            "abc.appsync-api.eu-central-1.amazonaws.com",
            "the URL must begin with https://: signed requests never travel in the clear",
        ),
        ("https://", "the URL has no host"),
        (
            "https://user@abc.appsync-api.eu-central-1.amazonaws.com/graphql",
            "the URL must have neither user, query nor fragment",
        ),
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql?x=1",
            "the URL must have neither user, query nor fragment",
        ),
        (
            "https://api.example.com/graphql",
            "the region cannot be told from the host api.example.com: set `region` (--region), the region of the API",
        ),
        (
            "https://vpce-1-x.appsync-api.eu-central-1.vpce.amazonaws.com/graphql",
            "an AppSync VPC endpoint serves many APIs: set `host` (--host) to ID.appsync-api.eu-central-1.amazonaws.com",
        ),
    ];
    for (url, problem) in cases {
        refuses(
            &target(url, ""),
            &[&format!("FILE:2: `route.a.target`: {problem}")],
        );
    }
    refuses(
        &target("https://api.example.com/x", ""),
        &[
            "FILE:2: `route.a.target`: the region cannot be told from the host api.example.com: set `region` (--region), the region of the API",
            "FILE:2: `route.a.target`: the service cannot be told from the host api.example.com: set `service` (--service), such as appsync or execute-api",
        ],
    );
}

/// 443 was taken in place of a port that is none.
#[test]
fn a_port_that_is_none_is_refused() {
    for text in [
        "10.0.0.7:99999",
        "10.0.0.7:",
        ":443",
        "10.0.0.7:0",
        "10.0.0.7:4x",
        "a b",
        "user@a",
        "a/b",
        "",
    ] {
        refuses(
            &route(&format!("connect = \"{text}\"")),
            &[&format!(
                "FILE:3: `route.a.connect`: {text:?} is no address, such as 10.0.0.7:443"
            )],
        );
    }
    means(
        &route("connect = \"10.0.0.7:8443\""),
        "address",
        "10.0.0.7:8443",
    );
    means(
        &route("connect = \"vpce.example.com\""),
        "address",
        "vpce.example.com:443",
    );
    for (url, problem) in [
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com:99999/graphql",
            "the URL's port is not a number from 1 to 65535",
        ),
        (
            "https://abc.appsync-api.eu-central-1.amazonaws.com:/graphql",
            "the URL's port is not a number from 1 to 65535",
        ),
    ] {
        refuses(
            &target(url, ""),
            &[&format!("FILE:2: `route.a.target`: {problem}")],
        );
    }
}

#[test]
fn region_service_and_host_are_checked() {
    let other = "abc.appsync-api.eu-central-1.amazonaws.com is in eu-central-1, but `region` says us-east-1: remove `region`, or correct the URL";
    refuses(
        &route("region = \"us-east-1\""),
        &[&format!("FILE:2: `route.a.target`: {other}")],
    );
    refuses(
        &route("region = \"Frankfurt\""),
        &["FILE:2: `route.a.target`: \"Frankfurt\" is not an AWS region, such as eu-central-1"],
    );
    refuses(
        &route("service = \"App Sync\""),
        &[
            "FILE:2: `route.a.target`: \"App Sync\" is not a SigV4 service name, such as appsync or execute-api",
        ],
    );
    refuses(
        &route("host = \"a/b\""),
        &["FILE:2: `route.a.target`: \"a/b\" is not a host name with an optional port"],
    );
    refuses(
        &route("region = \" \""),
        &["FILE:3: `route.a.region`: must not be empty"],
    );
    check(
        &target(
            "https://api.example.com/graphql",
            "region = \"us-east-1\"\nhost = \"abc.example.com\"",
        ),
        Ok(&[
            ("region", "us-east-1"),
            ("service", "appsync"),
            ("wire_host", "abc.example.com"),
        ]),
    );
}

#[test]
fn other_values_of_a_route_are_checked() {
    refuses(
        &route("on_upstream_loss = \"ignore\""),
        &["FILE:3: `route.a.on_upstream_loss`: \"ignore\" is neither \"close\" nor \"resume\""],
    );
    means(&route("on_upstream_loss = \"resume\""), "on_loss", "Resume");
    means(&route(""), "on_loss", "Close");
    refuses(
        &route("forward_headers = [\"cookie\", \"a b\"]\ndrop_headers = [\"\u{e9}\"]"),
        &[
            "FILE:3: `route.a.forward_headers`: \"a b\" is no header name",
            "FILE:4: `route.a.drop_headers`: \"é\" is no header name",
        ],
    );
    refuses(
        &route("ca_file = \"/no/such/ca.pem\""),
        &[
            "FILE:3: `route.a.ca_file`: /no/such/ca.pem cannot be read: No such file or directory (os error 2)",
        ],
    );
    means(
        &route("ca_file = \"Cargo.toml\""),
        "trust",
        "File(\"Cargo.toml\")",
    );
}

#[test]
fn a_route_may_say_what_may_be_asked() {
    means(&route(""), "policy", "None");
    means(&route("read_only = false"), "policy", "None");
    let by_variable = route("").env("COUNTERSIGN_ROUTE__A__READ_ONLY", "true");
    let (_, config) = by_variable.load().unwrap();
    assert!(config.routes[0].policy.as_ref().unwrap().is_read_only);
    assert!(config.routes[0].decision().ends_with(", read-only"));
    let hash = "0fF".repeat(21) + "0";
    let said = route(&format!(
        "read_only = true\n[route.a.operations]\nnames = [\"GetPost\"]\n\
         sha256 = [\"{hash}\"]\nfields = [\"Query.*\", \"Mutation.a\"]\n\
         introspection = false\ndepth = 9\naliases = 0\nsize = \"16KiB\""
    ));
    let (_, config) = said.load().unwrap();
    let policy = config.routes[0].policy.clone().unwrap();
    assert_eq!(policy.table, "route.a");
    assert!(policy.is_read_only);
    let allowed = policy.operations.unwrap();
    assert!(allowed.names.unwrap().contains("GetPost"));
    assert_eq!(
        allowed.sha256.unwrap().iter().next().unwrap()[..3],
        [0x0f, 0xf0, 0xff]
    );
    assert_eq!(allowed.fields.unwrap().len(), 2);
    assert_eq!(allowed.introspection, Some(false));
    assert_eq!((allowed.depth, allowed.aliases), (Some(9), Some(0)));
    assert_eq!(allowed.size, Some(16 * 1024));
    // Said and empty: what cannot be judged is refused.
    let (_, config) = route("[route.a.operations]").load().unwrap();
    let policy = config.routes[0].policy.clone().unwrap();
    assert_eq!(policy.operations, Some(Allowed::default()));
}

#[test]
fn bad_policies_are_refused() {
    refuses(
        &route(
            "read_only = \"maybe\"\n[route.a.operations]\nnames = [\"a b\", \"\"]\n\
             sha256 = [\"00\", \"é\"]\nfields = [\"getPost\", \"Query.a*\"]\ndepth = 0\n\
             aliases = -1\nsize = \"big\"\nname = []",
        ),
        &[
            "FILE:3: `route.a.read_only`: \"maybe\" is neither true nor false",
            "FILE:5: `route.a.operations.names`: \"a b\" is no name of GraphQL, such as GetPost",
            "FILE:6: `route.a.operations.sha256`: \"00\" is no SHA-256, which has 64 hexadecimal digits",
            "FILE:6: `route.a.operations.sha256`: \"é\" is no SHA-256, which has 64 hexadecimal digits",
            "FILE:7: `route.a.operations.fields`: \"getPost\" is no root field, such as Query.getPost, Mutation.* or Subscription.onPost",
            "FILE:7: `route.a.operations.fields`: \"Query.a*\" is no root field, such as Query.getPost, Mutation.* or Subscription.onPost",
            "FILE:8: `route.a.operations.depth`: \"0\" is no whole number above zero",
            "FILE:9: `route.a.operations.aliases`: \"-1\" is no whole number",
            "FILE:10: `route.a.operations.size`: \"big\" is no size, such as \"64KiB\" or \"1MiB\"",
            "FILE:11: `route.a.operations.name`: unknown key; did you mean `names`?",
        ],
    );
    let empty = "is empty, so that nothing would be allowed: leave it out";
    refuses(
        &route("[route.a.operations]\nnames = []\nsha256 = []\nfields = []"),
        &[
            &format!("FILE:4: `route.a.operations.names`: {empty}"),
            &format!("FILE:5: `route.a.operations.sha256`: {empty}"),
            &format!("FILE:6: `route.a.operations.fields`: {empty}"),
        ],
    );
    let elsewhere = "`route.a.operations`: is for AppSync GraphQL, which alone has operations; \
                     elsewhere there is read_only";
    let events = "https://abc.appsync-api.eu-central-1.amazonaws.com/event";
    for url in [GATEWAY, events] {
        let lines = "read_only = true\n[route.a.operations]\ndepth = 1";
        refuses(&target(url, lines), &[&format!("FILE:4: {elsewhere}")]);
    }
    refuses(
        &route("operations = true"),
        &["FILE:3: `route.a.operations`: expected a table"],
    );
}

#[test]
fn two_routes_cannot_have_one_path() {
    let second = format!("[route.b]\ntarget = \"{URL}\"\n");
    refuses(
        &route(&second),
        &[
            "FILE:4: `route.b.target`: route a has the same path \"/graphql\": set `path` for one of them",
        ],
    );
    refuses(
        &route(&format!("path = \"/x\"\n{second}path = \"/x/\"")),
        &["FILE:6: `route.b.path`: route a has the same path \"/x\": set `path` for one of them"],
    );
    means(
        &route(&format!("{second}path = \"/b\"")),
        "routes",
        "a=/graphql b=/b ",
    );
}

#[test]
fn a_path_is_inferred() {
    means(&said(), "path", "/graphql");
    means(
        &target("https://abc.execute-api.us-east-1.amazonaws.com/prod", ""),
        "path",
        "/a",
    );
}

#[test]
fn routes_can_be_said_by_the_environment_alone() {
    let all = said()
        .without_route()
        .env(
            "COUNTERSIGN_ROUTE__ORDERS__TARGET",
            "https://abc.execute-api.us-east-1.amazonaws.com/prod",
        )
        .env("COUNTERSIGN_ROUTE__ORDERS__TIMEOUTS__IDLE", "7s");
    check(
        &all,
        Ok(&[
            ("routes", "orders=/orders "),
            ("idle", "7s"),
            ("service", "execute-api"),
        ]),
    );
}

#[test]
fn a_route_may_have_limits_and_timeouts_of_its_own() {
    let own = "[limits]\nresponse_body = 9\n[route.a.limits]\nrequest_body = \"2KiB\"\n[route.a.timeouts]\nconnect = \"1s\"\nfirst_byte = \"2s\"";
    check(
        &route(own),
        Ok(&[
            ("request_body", "2048"),
            ("response_body", "9"),
            ("connect", "1s"),
            ("first_byte", "2s"),
            ("idle", "330s"),
        ]),
    );
    refuses(
        &route("limits.request_body = \"x\"\ntimeouts.idle = \"y\""),
        &[
            "FILE:3: `route.a.limits.request_body`: \"x\" is no size, such as \"64KiB\" or \"1MiB\"",
            "FILE:4: `route.a.timeouts.idle`: \"y\" is no duration, such as \"250ms\", \"5s\" or \"2m\"",
        ],
    );
}

#[test]
fn tls_takes_files_or_the_local_ca() {
    const BOTH: &str =
        "`tls.dev`: makes a certificate of its own, but `cert` or `key` is set: choose one";
    means(&said(), "tls", "None");
    // Any file that is there.
    let files = said().flag("--tls-cert", "tls.cert", &["Cargo.toml"]).flag(
        "--tls-key",
        "tls.key",
        &["Cargo.lock"],
    );
    means(
        &files,
        "tls",
        "Some(TlsConfig { certificate: Files { cert: \"Cargo.toml\", key: \"Cargo.lock\" }, client_ca: None })",
    );
    refuses(
        &files.flag("--tls-dev", "tls.dev", &["true"]),
        &[&format!("--tls-dev: {BOTH}")],
    );
    refuses(
        &file("[tls]\ncert = \"Cargo.toml\"\ndev = true"),
        &[&format!("FILE:3: {BOTH}")],
    );
    refuses(
        &file("[tls]\ncert = \"Cargo.toml\""),
        &["`tls.key`: is missing: the private key of `cert` (--tls-key)"],
    );
    refuses(
        &env("COUNTERSIGN_TLS__KEY", "Cargo.toml"),
        &["`tls.cert`: is missing: the certificate of `key` (--tls-cert)"],
    );
    refuses(
        &file("[tls]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\ndev = \"yes\""),
        &[
            "FILE:2: `tls.cert`: /no/cert.pem cannot be read: No such file or directory (os error 2)",
            "FILE:3: `tls.key`: /no/key.pem cannot be read: No such file or directory (os error 2)",
            "FILE:4: `tls.dev`: \"yes\" is neither true nor false",
        ],
    );
    refuses(
        &file("[tls]\nca = \"ca.pem\""),
        &["FILE:2: `tls.ca`: unknown key; known here: cert, client_ca, dev, key"],
    );
}

#[test]
fn the_local_ca_is_kept_where_state_is_kept() {
    let dev = env("COUNTERSIGN_TLS__DEV", "true");
    let kept = |place: &str| {
        format!("Some(TlsConfig {{ certificate: Dev {{ state: {place:?} }}, client_ca: None }})")
    };
    let home = dev.clone().env("HOME", "/home/u");
    means(&home, "tls", &kept("/home/u/.local/state/countersign"));
    let state = home.clone().env("XDG_STATE_HOME", "/state");
    means(&state, "tls", &kept("/state/countersign"));
    for ignored in ["", "state"] {
        let state = home.clone().env("XDG_STATE_HOME", ignored);
        means(&state, "tls", &kept("/home/u/.local/state/countersign"));
    }
    refuses(
        &dev,
        &["COUNTERSIGN_TLS__DEV: `tls.dev`: has no place for its CA: set XDG_STATE_HOME or HOME"],
    );
    let off = file("tls.dev = true").env("COUNTERSIGN_TLS__DEV", "false");
    means(&off, "tls", "None");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources {
        file: Some(PathBuf::from("/no/such/file.toml")),
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err().to_string();
    assert_eq!(
        problems,
        "/no/such/file.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_syntax_error_is_told_with_its_line() {
    for (text, line) in [
        ("listen = [", 1),
        ("\n\n[log\n", 3),
        ("[log]\nformat = text\n", 2),
        ("a = 1\na = 2\n", 2),
    ] {
        let problems = file(text).load().unwrap_err();
        assert!(
            problems[0].starts_with(&format!("FILE:{line}: ")),
            "{problems:?}"
        );
    }
}

/// The parser has no words for some mistakes: the line stood there with nothing behind it.
#[test]
fn a_syntax_error_without_words_was_told_by_its_line_alone() {
    refuses(&file("\ra = 1\n"), &["FILE:1: is no TOML"]);
}

#[test]
fn service_links_of_kubernetes_are_no_settings() {
    let links = said()
        .env("COUNTERSIGN_PORT", "tcp://10.0.0.1:4100")
        .env("COUNTERSIGN_PORT_4100_TCP", "tcp://10.0.0.1:4100")
        .env("COUNTERSIGN_PORT_4100_TCP_ADDR", "10.0.0.1")
        .env("COUNTERSIGN_PORT_4100_TCP_PORT", "4100")
        .env("COUNTERSIGN_PORT_4100_TCP_PROTO", "tcp")
        .env("COUNTERSIGN_SERVICE_HOST", "10.0.0.1")
        .env("COUNTERSIGN_SERVICE_PORT", "4100")
        .env("COUNTERSIGN_SERVICE_PORT_HTTP", "4100")
        .env("COUNTERSIGN_WEB_SERVICE_HOST", "10.0.0.1")
        .env("COUNTERSIGN_WEB_PORT_80_TCP", "tcp://10.0.0.1:80");
    means(&links, "listen", "[127.0.0.1:4100, [::1]:4100]");
}

#[test]
fn variables_of_others_are_no_settings() {
    let others = said()
        .env("COUNTERSIGN_CONFIG", "read by the command line")
        .env("COUNTERSIGN", "x")
        .env("COUNTERSIGNATURE_LISTEN", "x")
        .env("countersign_listen", "x")
        .env("LISTEN", "x");
    means(&others, "listen", "[127.0.0.1:4100, [::1]:4100]");
}

#[test]
fn a_log_filter_has_levels_and_targets() {
    let flag = |text: &str| said().flag("--log", "log.filter", &[text]);
    for text in ["off", "warn,countersign::realtime=debug", "[{rule}]=trace"] {
        means(&flag(text), "log.filter", text);
    }
    let refused = |text: &str, why: &str| {
        let said = format!("--log: `log.filter`: {text:?} is no log filter: {why}");
        refuses(&flag(text), &[&said]);
    };
    refused(
        "a=loud",
        "error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
    );
    let many = "invalid filter directive: too many '=' in filter directive, expected 0 or 1";
    refused("a=b=info", many);
    refused("[{a=1}]=info", many);
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    refuses(
        &file("[limits.message]\nmax = 1"),
        &["FILE:1: `limits.message`: expected one value"],
    );
    refuses(
        &file("[log]\nfilter = [\"info\"]"),
        &["FILE:2: `log.filter`: expected one value"],
    );
    refuses(
        &file("listen = [[\"127.0.0.1:1\"]]"),
        &["FILE:1: `listen`: expected a list of plain values"],
    );
    refuses(
        &file("[listen]\na = 1"),
        &["FILE:1: `listen`: expected a list of plain values"],
    );
    refuses(
        &file("log = \"info\""),
        &["FILE:1: `log`: expected a table"],
    );
    refuses(
        &env("COUNTERSIGN_LIMITS", "1"),
        &["COUNTERSIGN_LIMITS: `limits`: expected a table"],
    );
    refuses(
        &env("COUNTERSIGN_DRAIN__TIMEOUT__MAX", "1s"),
        &["COUNTERSIGN_DRAIN__TIMEOUT__MAX: `drain.timeout`: expected one value"],
    );
}

/// The table that is none was also told to have no target, or to be no route.
#[test]
fn a_route_that_is_no_table_is_one_mistake() {
    refuses(
        &file(&format!("[route]\na = \"{URL}\"")).without_route(),
        &["FILE:2: `route.a`: expected a table"],
    );
    refuses(
        &file(&format!("route = \"{URL}\"")).without_route(),
        &["FILE:1: `route`: expected a table"],
    );
    refuses(
        &file("[[route]]\npath = \"/a\"").without_route(),
        &["FILE:1: `route`: expected a table"],
    );
}

#[test]
fn every_value_is_shown_with_its_source() {
    let said = file("[log]\nfilter = \"warn\"")
        .env("COUNTERSIGN_LIMITS__MESSAGE", "1KiB")
        .flag("--listen", "listen", &["127.0.0.1:1"]);
    let (raw, _) = said.load().unwrap();
    let values = raw.values();
    let find = |wanted: &str| {
        let found = values.iter().find(|(key, ..)| key == wanted).unwrap();
        let source = found.2.rsplit('/').next().unwrap();
        let source = source.split_once(".toml:").map_or(source, |(_, line)| line);
        (found.1.clone(), source.to_owned())
    };
    let owned = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(find("log.filter"), owned("\"warn\"", "2"));
    assert_eq!(find("log.format"), owned("\"text\"", "default"));
    assert_eq!(
        find("limits.message"),
        owned("\"1KiB\"", "COUNTERSIGN_LIMITS__MESSAGE")
    );
    assert_eq!(find("listen"), owned("[\"127.0.0.1:1\"]", "--listen"));
    assert_eq!(find("limits.connections"), owned("4096", "default"));
}

#[test]
fn a_sandbox_has_no_ca_of_its_own() {
    let sandbox = said().env("COUNTERSIGN_SANDBOX", "true");
    check(&sandbox, Ok(&[]));
    refuses(
        &sandbox.clone().env("COUNTERSIGN_IAM__RECORD", "/tmp/seen"),
        &["COUNTERSIGN_SANDBOX: `sandbox`: `iam.record` writes its file: leave one of them out"],
    );
    refuses(
        &sandbox
            .env("COUNTERSIGN_TLS__DEV", "true")
            .env("HOME", "/home/x"),
        &["COUNTERSIGN_SANDBOX: `sandbox`: `tls.dev` writes its CA: use `tls.cert` with it"],
    );
}

#[test]
fn every_default_can_be_said_by_the_environment() {
    let (raw, _) = said().load().unwrap();
    for (key, value, source) in raw.values() {
        if source == "URL" {
            continue;
        }
        let variable = format!("COUNTERSIGN_{}", key.replace('.', "__").to_uppercase());
        let value = value.replace(['[', ']', '"'], "");
        let value = if key == "listen" {
            "127.0.0.1:1"
        } else {
            &value
        };
        check(&env(&variable, value), Ok(&[]));
    }
}

/// The keys that the resolver asks for in a table.
fn known(table: &str) -> BTreeSet<String> {
    let problems = flag("--zzzzzzzz", &format!("{table}zzzzzzzz"), &["1"])
        .load()
        .unwrap_err();
    let (_, known) = problems[0].split_once("known here: ").unwrap();
    known.split(", ").map(str::to_owned).collect()
}

fn keys(table: &dyn TableLike) -> BTreeSet<String> {
    table.iter().map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn default_toml_has_every_key_that_has_a_default() {
    let defaults = ImDocument::parse(DEFAULTS).unwrap();
    let mut root = known("");
    assert!(root.remove("route"));
    assert_eq!(keys(defaults.as_table()), root);
    for (name, item) in defaults.as_table() {
        if let Some(table) = item.as_table_like() {
            let mut known = known(&format!("{name}."));
            // What has no default is told in a comment.
            known.retain(|key| {
                let is_told = DEFAULTS.contains(&format!("\n# {key} = "))
                    || DEFAULTS.contains(&format!("\n# [{name}.{key}.NAME]"));
                table.contains_key(key) || !is_told
            });
            assert_eq!(keys(table), known, "[{name}]");
        }
    }
}

#[test]
fn default_toml_tells_every_key_of_a_route() {
    let comments: String = DEFAULTS
        .lines()
        .filter(|line| line.starts_with('#'))
        .collect();
    let words: BTreeSet<&str> = comments
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    for table in ["", "limits.", "operations.", "timeouts."] {
        for key in known(&format!("route.graphql.{table}")) {
            assert!(words.contains(key.as_str()), "{table}{key}");
        }
    }
}

const GATEWAY: &str = "https://a1.execute-api.us-east-1.amazonaws.com/prod";

#[test]
fn a_service_is_signed_for_as_it_is_known_to_want_it_or_as_is_said() {
    let style = |placement: &str, token: &str, payload: &str| {
        format!(
            "Style {{ algorithm: V4, placement: {placement}, token: {token}, payload: {payload} }}"
        )
    };
    let headers = style("Headers", "Signed", "Hashed");
    means(&target(GATEWAY, ""), "style", &headers);
    means(&target(GATEWAY, ""), "request_body", "10485760");
    means(&target(URL, ""), "request_body", "1048576");
    let presigned = style("Query { expires: 300s }", "Signed", "Hashed");
    let analyzer = "https://api.iotwireless.us-east-1.amazonaws.com";
    means(&target(analyzer, ""), "style", &presigned);
    means(&target(analyzer, "auth = \"headers\""), "style", &headers);
    means(&target(GATEWAY, "auth = \"presign\""), "style", &presigned);
    let all = "auth = \"presign\"\npresign_expires = \"1h\"\nsession_token = \"appended\"\npayload = \"unsigned\"";
    let expected = style("Query { expires: 3600s }", "Appended", "Unsigned");
    means(&target(GATEWAY, all), "style", &expected);
    means(
        &target(GATEWAY, "region_set = \"*\""),
        "style",
        &headers.replace("algorithm: V4,", "algorithm: V4a,"),
    );
    let more = "sign_headers = [\"X-Team\"]\nodd_paths = \"keep\"\nkeepalive_message = \"{}\"\ntimeouts.keepalive = \"9m\"";
    check(
        &target(GATEWAY, more),
        Ok(&[
            ("sign_headers", "[\"x-team\"]"),
            ("odd_paths", "Keep"),
            ("keepalive", "Some(Keepalive { text: \"{}\", after: 540s })"),
        ]),
    );
}

#[test]
fn mistakes_about_signing_are_told() {
    refuses(
        &target(GATEWAY, "presign_expires = \"1h\""),
        &[
            "FILE:3: `route.a.presign_expires`: is for presigned requests: set auth = \"presign\", too",
        ],
    );
    refuses(
        &target(URL, "auth = \"presign\""),
        &["FILE:3: `route.a.auth`: is not for AppSync, which takes signatures in one way only"],
    );
    refuses(
        &target(
            GATEWAY,
            "auth = \"none\"\npresign_expires = \"8d\"\nsession_token = \"x\"\npayload = \"x\"\nodd_paths = \"x\"",
        ),
        &[
            "FILE:3: `route.a.auth`: \"none\" is neither \"headers\" nor \"presign\"",
            "FILE:4: `route.a.presign_expires`: must be at most 7 days",
            "FILE:5: `route.a.session_token`: \"x\" is neither \"signed\" nor \"appended\"",
            "FILE:6: `route.a.payload`: \"x\" is neither \"hashed\", \"hashed-in-header\" nor \"unsigned\"",
            "FILE:7: `route.a.odd_paths`: \"x\" is neither \"refuse\", \"collapse\" nor \"keep\"",
        ],
    );
}

#[test]
fn addresses_beyond_this_machine() {
    let token = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:127.0.0.1]:1"] {
        let said = flag("--listen", "listen", &[text]);
        let beyond = |mode: &'static str| said.clone().env("COUNTERSIGN_GUARD__NON_LOOPBACK", mode);
        refuses(
            &said,
            &[&format!(
                "--listen: `listen`: {text} is not a loopback address: whoever reached it could act with the IAM identity. Allow it with guard.non_loopback = \"token\" and a guard.token_file"
            )],
        );
        refuses(
            &beyond("token"),
            &[&format!(
                "--listen: `listen`: {text} is not a loopback address, and guard.non_loopback = \"token\" wants proof of its clients: set guard.token_file (--token-file), or tls.client_ca"
            )],
        );
        let shown = format!("[{text}]");
        means(&beyond("open"), "listen", &shown);
        let with_token = beyond("token").env("COUNTERSIGN_GUARD__TOKEN_FILE", token.path());
        means(&with_token, "listen", &shown);
        refuses(
            &beyond("maybe"),
            &[
                "COUNTERSIGN_GUARD__NON_LOOPBACK: `guard.non_loopback`: \"maybe\" is neither \"refuse\", \"token\" nor \"open\"",
            ],
        );
    }
    let unix = flag("--listen", "listen", &["unix:/run/x.sock", "127.0.0.1:1"]);
    means(&unix, "listen", "[unix:/run/x.sock, 127.0.0.1:1]");
}

#[test]
fn token_files() {
    let good = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o600);
    let open = TokenFile::new("0123456789abcdef0123456789abcdef\n", 0o644);
    let short = TokenFile::new("\nhunter2", 0o600);
    let file_of = |token: &TokenFile| format!("[guard]\ntoken_file = \"{}\"", token.path());
    let named = format!("[guard.tokens.ci]\nfile = \"{}\"", good.path());
    refuses(
        &file(&format!("{named}\nroutes = [\"graphql\", \"grapql\"]")),
        &["FILE:3: `guard.tokens.ci.routes`: there is no route \"grapql\""],
    );
    let limited = format!("{named}\nroutes = [\"graphql\"]\nread_only = true");
    means(
        &file(&limited),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    means(
        &file(&file_of(&good)),
        "guard.tokens",
        &format!("None {}", good.path()),
    );
    means(
        &file(&named),
        "guard.tokens",
        &format!("Some(\"ci\") {}", good.path()),
    );
    for (said, problem) in [
        (
            file(&file_of(&open)),
            format!(
                "FILE:2: `guard.token_file`: {} may be read or written by others (mode 644): chmod 600 it",
                open.path()
            ),
        ),
        (
            file(&file_of(&short)),
            format!(
                "FILE:2: `guard.token_file`: line 2 of {} is no token: letters, digits, `-`, `.`, `_` and `~`, at least 32 of them",
                short.path()
            ),
        ),
        (
            file("[guard.tokens.ci]"),
            "`guard.tokens.ci.file`: is missing: where the tokens are".to_owned(),
        ),
        (
            file(&named.replace("file", "path")),
            "FILE:2: `guard.tokens.ci.path`: unknown key; known here: file, operations, read_only, routes".to_owned(),
        ),
    ] {
        let problems = said.load().unwrap_err();
        assert!(problems.contains(&problem), "{problem}: {problems:#?}");
    }
}

struct TokenFile(PathBuf);

impl TokenFile {
    fn new(text: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-token-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
