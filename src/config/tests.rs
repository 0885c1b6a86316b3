//! Tests of the configuration: each has sources, and what they resolve to or all mistakes in them.

mod listeners;
mod reference;
mod routes;
mod sources;
mod values;

use super::*;

const URL: &str = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";

/// Sources. A valid route is added, unless they contain a route.
#[derive(Clone, Default)]
struct Input {
    file: Option<String>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
    is_without_route: bool,
}

fn input() -> Input {
    Input::default()
}

fn file(text: &str) -> Input {
    input().file(text)
}

fn env(name: &str, value: &str) -> Input {
    input().env(name, value)
}

fn flag(name: &'static str, key: &str, values: &[&str]) -> Input {
    input().flag(name, key, values)
}

/// Returns a file of one route, with the target in line 2.
fn route(lines: &str) -> Input {
    file(&format!("[route.a]\ntarget = \"{URL}\"\n{lines}")).without_route()
}

/// Returns a file of one route to this target.
fn target(url: &str, lines: &str) -> Input {
    file(&format!("[route.a]\ntarget = \"{url}\"\n{lines}")).without_route()
}

/// Returns an absolute path as messages show it: on Windows, with the drive.
fn absolute(path: &str) -> String {
    std::path::absolute(path).unwrap().display().to_string()
}

impl Input {
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

    /// Loads the sources. Mistakes show the path of the file as `FILE`.
    fn load(&self) -> Result<(Raw, Config), Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        let mut sources = Sources {
            file: None,
            environment: self.environment.clone(),
            flags: self.flags.clone(),
            ..Sources::default()
        };
        if let Some(text) = &self.file {
            std::fs::write(&path, text).unwrap();
            sources.file = Some(path.clone());
        }
        if !self.is_without_route {
            let url = input().flag("URL", "route.graphql.target", &[URL]);
            sources.flags.extend(url.flags);
        }
        let loaded = load(&sources);
        loaded.map_err(|problems| {
            let text = problems.to_string();
            let text = text.replace(&path.display().to_string(), "FILE");
            text.lines().map(str::to_owned).collect()
        })
    }
}

/// Returns what a configuration resolves to at one place.
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
        "browser" => format!(
            "{:?} {:?}",
            route.browser.navigations, route.browser.response_headers
        ),
        "keepalive" => format!("{:?}", route.keepalive),
        "policy" => format!("{:?}", route.policy),
        "on_loss" => format!("{:?}", route.realtime.on_loss),
        _ => panic!("no such place: {place}"),
    }
}

#[track_caller]
fn check(input: &Input, expected: Result<&[(&str, &str)], &[&str]>) {
    match (input.load(), expected) {
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
fn resolves(input: &Input, place: &str, value: &str) {
    check(input, Ok(&[(place, value)]));
}

#[track_caller]
fn rejects(input: &Input, problems: &[&str]) {
    check(input, Err(problems));
}
