//! The sources of settings: files, variables and flags, and how values are shown.

use std::collections::BTreeSet;
use std::path::PathBuf;

use toml_edit::{ImDocument, TableLike};

use super::*;

const DEFAULTS: &str = include_str!("../../../config/default.toml");

#[test]
fn the_stronger_source_wins() {
    let of_file = file("[log]\nfilter = \"warn\"");
    let of_environment = of_file.clone().env("COUNTERSIGN_LOG__FILTER", "error");
    let of_flag = of_environment
        .clone()
        .flag("--log", "log.filter", &["debug"]);
    resolves(&input(), "log.filter", "info");
    resolves(&of_file, "log.filter", "warn");
    resolves(&of_environment, "log.filter", "error");
    resolves(&of_flag, "log.filter", "debug");
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
    resolves(&one, "listen", "[127.0.0.1:1]");
    let two = env("COUNTERSIGN_LISTEN", "127.0.0.1:1, [::1]:2,");
    resolves(&two, "listen", "[127.0.0.1:1, [::1]:2]");
    let local = env("COUNTERSIGN_LISTEN", "localhost:3");
    resolves(&local, "listen", "[127.0.0.1:3]");
    let hosts = env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "api.local,Dev.Local");
    resolves(&hosts, "guard.allow_hosts", "api.local dev.local");
    let none = env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "");
    resolves(&none, "guard.allow_hosts", "");
    let origins = flag(
        "--allow-origin",
        "guard.allow_origins",
        &[
            "https://a.example:443",
            "http://b.example:8080/",
            "localhost",
            "electron://altair",
        ],
    );
    resolves(
        &origins,
        "guard.allow_origins",
        "https://a.example http://b.example:8080 localhost electron://altair",
    );
    for port in ["8080", ":8080"] {
        let both = env("COUNTERSIGN_LISTEN", port);
        resolves(&both, "listen", "[127.0.0.1:8080, [::1]:8080]");
        let admin = env("COUNTERSIGN_ADMIN", port);
        resolves(&admin, "admin", "Some(127.0.0.1:8080)");
    }
    resolves(
        &file("listen = [8080]"),
        "listen",
        "[127.0.0.1:8080, [::1]:8080]",
    );
    resolves(&env("COUNTERSIGN_LISTEN", "0"), "listen", "[127.0.0.1:0]");
    let text = file("listen = \"127.0.0.1:1\"");
    resolves(&text, "listen", "[127.0.0.1:1]");
}

#[test]
fn digits_are_accepted_as_text() {
    let profile = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "123456789012");
    resolves(&profile, "identity", "Some(\"123456789012\") None");
    resolves(
        &route("profile = 123456789012"),
        "identity",
        "Some(\"123456789012\") None",
    );
    let octal = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "007");
    resolves(&octal, "identity", "Some(\"007\") None");
    let bool = env("COUNTERSIGN_ROUTE__GRAPHQL__PROFILE", "true");
    resolves(&bool, "identity", "Some(\"true\") None");
    resolves(
        &env("COUNTERSIGN_LOG__FILTER", "info"),
        "log.filter",
        "info",
    );
}

#[test]
fn numbers_may_be_written_as_text_and_text_as_numbers() {
    resolves(
        &file("[limits]\nconnections = 7"),
        "limits.connections",
        "7",
    );
    resolves(
        &file("[limits]\nconnections = \"7\""),
        "limits.connections",
        "7",
    );
    resolves(&file("[limits]\nmessage = 512"), "limits.message", "512");
    resolves(
        &file("[limits]\nmessage = \"512b\""),
        "limits.message",
        "512",
    );
    resolves(
        &file("[limits]\nmessage = \"2kB\""),
        "limits.message",
        "2000",
    );
    resolves(
        &file("[limits]\nmessage = \"2 KiB\""),
        "limits.message",
        "2048",
    );
    resolves(
        &file("[limits]\nmessage = \"2MB\""),
        "limits.message",
        "2000000",
    );
    resolves(
        &file("[limits]\nmessage = \"1GiB\""),
        "limits.message",
        "1073741824",
    );
    resolves(&file("[pool]\nlinger = \"1m 30s\""), "pool.linger", "90s");
    resolves(
        &env("COUNTERSIGN_DRAIN__TIMEOUT", "250ms"),
        "drain",
        "0ns 250ms",
    );
    resolves(&env("COUNTERSIGN_DRAIN__DELAY", "5s"), "drain", "5s 25s");
    resolves(&env("COUNTERSIGN_ADMIN", "off"), "admin", "None");
    resolves(
        &env("COUNTERSIGN_ADMIN", "0.0.0.0:4101"),
        "admin",
        "Some(0.0.0.0:4101)",
    );
}

#[test]
fn names_of_flags_are_names_of_variables() {
    resolves(&env("COUNTERSIGN_LOG", "debug"), "log.filter", "debug");
    resolves(&env("COUNTERSIGN_LOG_FORMAT", "json"), "log.format", "Json");
    let origin = env("COUNTERSIGN_ALLOW_ORIGIN", "https://a.example");
    resolves(&origin, "guard.allow_origins", "https://a.example");
    let both = env("COUNTERSIGN_LOG__FILTER", "warn").env("COUNTERSIGN_LOG", "debug");
    resolves(&both, "log.filter", "warn");
    rejects(
        &env("COUNTERSIGN_LOG_FORMAT", "xml"),
        &[
            "COUNTERSIGN_LOG_FORMAT: invalid value \"xml\": expected \"auto\", \"pretty\", \"text\" or \"json\"",
        ],
    );
}

#[test]
fn variables_with_a_wrong_name_are_rejected_with_the_right_one() {
    for (name, meant) in [
        ("COUNTERSIGN_LIMITS_MESSAGE", "COUNTERSIGN_LIMITS__MESSAGE"),
        (
            "COUNTERSIGN_GUARD_ALLOW_ORIGINS",
            "COUNTERSIGN_GUARD__ALLOW_ORIGINS",
        ),
        ("COUNTERSIGN_PROFILE", "COUNTERSIGN_ROUTE__GRAPHQL__PROFILE"),
        ("COUNTERSIGN_TARGET", "COUNTERSIGN_URL"),
        ("COUNTERSIGN_LOG_LEVEL", "COUNTERSIGN_LOG"),
        (
            "COUNTERSIGN_TIMEOUTS__CONECT",
            "COUNTERSIGN_TIMEOUTS__CONNECT",
        ),
        ("COUNTERSIGN_ALOW_ORIGIN", "COUNTERSIGN_ALLOW_ORIGIN"),
        (
            "COUNTERSIGN_ROUTE_API_TARGET",
            "COUNTERSIGN_ROUTE__API__TARGET",
        ),
        (
            "COUNTERSIGN_ROUTE_API_CA_FILE",
            "COUNTERSIGN_ROUTE__API__CA_FILE",
        ),
    ] {
        let advice = match name {
            "COUNTERSIGN_PROFILE" => {
                format!("applies only with a URL: pass the URL, or set {meant}")
            }
            _ => format!("unknown setting; did you mean {meant}?"),
        };
        rejects(&env(name, "x"), &[&format!("{name}: {advice}")]);
    }
}

/// The lost defaults were not reported.
#[test]
fn a_table_that_another_source_sets_to_a_value_loses_its_defaults() {
    let lost = "has no value: another source sets its table to a plain value";
    let problems = ["allow_origins", "forwarded", "non_loopback", "peer_uids"];
    let problems = problems.map(|key| format!("`guard.{key}`: {lost}"));
    let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
    rejects(
        &flag("--guard", "guard", &["a"]).flag("--allow-host", "guard.allow_hosts", &["b"]),
        &problems,
    );
}

#[test]
fn unknown_keys_are_rejected_at_every_level() {
    rejects(
        &file("\nlisen = []"),
        &["FILE:2: `lisen`: unknown key; did you mean `listen`?"],
    );
    rejects(
        &file("[limit]\nmessage = 1"),
        &["FILE:1: `limit`: unknown key; did you mean `limits`?"],
    );
    rejects(
        &file("[limits]\n\nmesage = 1"),
        &["FILE:3: `limits.mesage`: unknown key; did you mean `message`?"],
    );
    rejects(
        &file("log = { formt = \"text\" }"),
        &["FILE:1: `log.formt`: unknown key; did you mean `format`?"],
    );
    rejects(
        &file("guard.allow_origin = []"),
        &["FILE:1: `guard.allow_origin`: unknown key; did you mean `allow_origins`?"],
    );
    rejects(
        &route("regoin = \"eu-central-1\""),
        &["FILE:3: `route.a.regoin`: unknown key; did you mean `region`?"],
    );
    rejects(
        &route("[route.a.limits]\nrequest_bdy = 1"),
        &["FILE:4: `route.a.limits.request_bdy`: unknown key; did you mean `request_body`?"],
    );
    rejects(
        &route("timeouts.init = \"1s\""),
        &["FILE:3: `route.a.timeouts.init`: unknown key here; it belongs to [timeouts]"],
    );
    rejects(
        &env("COUNTERSIGN_DRAIN__TIMEOUTS", "1s"),
        &["COUNTERSIGN_DRAIN__TIMEOUTS: unknown setting; did you mean COUNTERSIGN_DRAIN__TIMEOUT?"],
    );
    rejects(
        &env("COUNTERSIGN_LISTNE", "127.0.0.1:1"),
        &["COUNTERSIGN_LISTNE: unknown setting; did you mean COUNTERSIGN_LISTEN?"],
    );
    rejects(
        &env("COUNTERSIGN_ROUTE__GRAPHQL__PATHS", "/x"),
        &[
            "COUNTERSIGN_ROUTE__GRAPHQL__PATHS: unknown setting; did you mean COUNTERSIGN_ROUTE__GRAPHQL__PATH?",
        ],
    );
    rejects(
        &flag("--log-fmt", "log.fmt", &["text"]),
        &["--log-fmt: unknown key; known here: color, filter, format, graphql_errors"],
    );
}

#[test]
fn all_mistakes_of_all_sources_are_in_one_report() {
    rejects(
        &file("listen = [\"0.0.0.0:1\", \"x\"]\n[limits]\nmessage = \"much\"\n[timeouts]\ninit = \"soon\"")
            .env("COUNTERSIGN_POOL__MAX_IDLE", "-1")
            .env("COUNTERSIGN_GUARD__ALLOW_HOSTS", "a b,http://c")
            .flag("--log-format", "log.format", &["xml"])
            .flag("--region", "route.graphql.region", &["eu-west-1"]),
        &[
            "FILE:1: `listen`: invalid address \"x\": expected a port or an IP address with a port, such as 4100 or 127.0.0.1:4100, or unix:PATH",
            "COUNTERSIGN_GUARD__ALLOW_HOSTS: invalid host name \"a b\": expected a name without scheme, port or path",
            "COUNTERSIGN_GUARD__ALLOW_HOSTS: invalid host name \"http://c\": did you mean c?",
            "FILE:3: `limits.message`: invalid size \"much\": expected a whole number above zero, or one with a unit, such as 64KiB or 1MiB",
            "FILE:5: `timeouts.init`: invalid duration \"soon\": expected a number with a unit, such as 250ms, 5s or 2m",
            "COUNTERSIGN_POOL__MAX_IDLE: invalid number \"-1\": expected a whole number above zero",
            "--log-format: invalid value \"xml\": expected \"auto\", \"pretty\", \"text\" or \"json\"",
            "--region: \"eu-west-1\" is not the region of the URL: abc.appsync-api.eu-central-1.amazonaws.com is in eu-central-1. Leave out the region, or correct the URL",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let sources = Sources {
        file: Some(PathBuf::from("/no/such/file.toml")),
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err().to_string();
    assert_eq!(
        problems,
        format!(
            "--config: {} does not exist: correct the path, or pass the URL of your API instead",
            absolute("/no/such/file.toml")
        )
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_line() {
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

/// The messages of the TOML parser do not show what to write. A line is not quoted, because the file may
/// be another one, such as that of the AWS CLI.
#[test]
fn a_syntax_error_is_reported_with_the_right_form() {
    for (line, message) in [
        (
            "listen = 127.0.0.1:4100",
            "the value of `listen` is not valid TOML: write listen = [\"127.0.0.1:4100\"]",
        ),
        (
            "timeouts.connect = 5s",
            "the value of `connect` is not valid TOML: write connect = \"5s\"",
        ),
        (
            "log.format = json",
            "the value of `format` is not valid TOML: write format = \"auto\"",
        ),
        (
            "listen: 4100",
            "a key and its value are separated by `=`: write listen = [\"127.0.0.1:4100\"]",
        ),
        (
            "aws_secret_access_key = wJalr/x",
            "this line is not valid TOML (invalid string, expected `\"`, `'`): write key = \"value\" or [table]",
        ),
    ] {
        rejects(&file(line), &[&format!("FILE:1: {message}")]);
    }
}

/// The TOML parser has no message for some mistakes: the error ended after its line number.
#[test]
fn a_syntax_error_without_a_message_is_reported_as_invalid_toml() {
    rejects(
        &file("\ra = 1\n"),
        &["FILE:1: this line is not valid TOML: write key = \"value\" or [table]"],
    );
}

#[test]
fn kubernetes_service_links_are_ignored() {
    let links = input()
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
    resolves(&links, "listen", "[127.0.0.1:4100, [::1]:4100]");
}

#[test]
fn other_environment_variables_are_ignored() {
    let others = input()
        .env("COUNTERSIGN_CONFIG", "read by the command line")
        .env("COUNTERSIGN", "x")
        .env("COUNTERSIGNATURE_LISTEN", "x")
        .env("countersign_listen", "x")
        .env("LISTEN", "x");
    resolves(&others, "listen", "[127.0.0.1:4100, [::1]:4100]");
}

#[test]
fn values_of_the_wrong_type_are_rejected() {
    rejects(
        &file("[limits.message]\nmax = 1"),
        &["FILE:1: `limits.message`: expected one value"],
    );
    rejects(
        &file("[log]\nfilter = [\"info\"]"),
        &["FILE:2: `log.filter`: expected one value"],
    );
    rejects(
        &file("listen = [[\"127.0.0.1:1\"]]"),
        &["FILE:1: `listen`: expected a list of plain values"],
    );
    rejects(
        &file("[listen]\na = 1"),
        &["FILE:1: `listen`: expected a list of plain values"],
    );
    rejects(
        &file("log = \"info\""),
        &["FILE:1: `log`: expected a table: write [log] and a key below it, such as `format`"],
    );
    rejects(
        &env("COUNTERSIGN_LIMITS", "1"),
        &["COUNTERSIGN_LIMITS: expected one of its keys, such as COUNTERSIGN_LIMITS__MEMORY"],
    );
    rejects(
        &env("COUNTERSIGN_DRAIN__TIMEOUT__MAX", "1s"),
        &["COUNTERSIGN_DRAIN__TIMEOUT__MAX: expected one value"],
    );
}

#[test]
fn every_value_is_shown_with_its_source() {
    let input = file("[log]\nfilter = \"warn\"")
        .env("COUNTERSIGN_LIMITS__MESSAGE", "1KiB")
        .flag("--listen", "listen", &["127.0.0.1:1"]);
    let (raw, _) = input.load().unwrap();
    let values = raw.values();
    let find = |wanted: &str| {
        let found = values.iter().find(|(key, ..)| key == wanted).unwrap();
        let source = found.2.rsplit('/').next().unwrap();
        let source = source.split_once(".toml:").map_or(source, |(_, line)| line);
        (found.1.clone(), source.to_owned())
    };
    let owned = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(find("log.filter"), owned("\"warn\"", "2"));
    assert_eq!(find("log.format"), owned("\"auto\"", "default"));
    assert_eq!(
        find("limits.message"),
        owned("\"1KiB\"", "COUNTERSIGN_LIMITS__MESSAGE")
    );
    assert_eq!(find("listen"), owned("[\"127.0.0.1:1\"]", "--listen"));
    assert_eq!(find("limits.connections"), owned("4096", "default"));
}

#[test]
fn every_default_can_be_set_by_an_environment_variable() {
    let (raw, _) = input().load().unwrap();
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

/// Returns the keys that the parser knows in a table.
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
            // A setting without a default appears in a comment.
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
fn default_toml_mentions_every_key_of_a_route() {
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
