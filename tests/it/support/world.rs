//! countersign with an emulator behind it, in this process or as a daemon.

use std::path::PathBuf;

use countersign::app::App;
use countersign::config::{self, Config, Credentials, Flag, Sources, Trust};
use countersign_emulator::{self as emulator, Emulator};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Answer, Daemon, JSON, PATIENCE, Scratch, Socket, post, within};

/// countersign and an emulator behind it, in this process.
pub struct Stage {
    pub emulator: Emulator,
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    hurry: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

impl Stage {
    /// With the defaults.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With a route to the emulator's Events, too.
    pub async fn with_events(settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(emulator::Options::default()).await.unwrap();
        let target = format!("https://{}/event", emulator.api_host());
        let connect = emulator.addr().to_string();
        let mut all = vec![
            ("route.event.target", target.as_str()),
            ("route.event.connect", &connect),
        ];
        all.extend(settings);
        Self::over(emulator, &all).await
    }

    /// With routes to the emulator's REST API (`/rest`), its HTTP API (`/http`) and its WebSocket API
    /// (`/ws`). Paths below the routes are what follows the stage.
    ///
    /// In the values of settings `$API`, `$REST`, `$HTTP`, `$WS` and `$ANALYZER` stand for the
    /// emulator's names, and every route with a target is connected to the emulator.
    pub async fn with_gateway(settings: &[(&str, &str)]) -> Self {
        Self::with_gateway_on(emulator::Options::default(), settings).await
    }

    pub async fn with_gateway_on(options: emulator::Options, settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        let names = [
            ("$API", emulator.api_host()),
            ("$REST", emulator.rest_host()),
            ("$HTTP", emulator.http_host()),
            ("$WS", emulator.websocket_host()),
            ("$ANALYZER", emulator.analyzer_host()),
        ];
        let own = [
            ("route.rest.target", "https://$REST/prod"),
            ("route.http.target", "https://$HTTP/"),
            ("route.ws.target", "https://$WS/prod"),
        ];
        let mut all: Vec<(String, String)> = Vec::new();
        for (key, value) in own.iter().chain(settings) {
            let value = names
                .iter()
                .fold((*value).to_owned(), |value, (name, host)| {
                    value.replace(name, host)
                });
            if let Some(route) = key.strip_suffix(".target") {
                all.push((format!("{route}.connect"), emulator.addr().to_string()));
            }
            all.push(((*key).to_owned(), value));
        }
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Self::over(emulator, &all).await
    }

    /// With settings by dotted key; `,` separates the items of a list. A key in capitals is a
    /// variable of the environment, such as XDG_STATE_HOME, in which `tls.dev` keeps its CA.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(emulator::Options::default(), settings).await
    }

    pub async fn on(options: emulator::Options, settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        Self::over(emulator, settings).await
    }

    async fn over(emulator: Emulator, settings: &[(&str, &str)]) -> Self {
        let config = stage_config(&emulator, settings);
        let app = App::start(config).await.unwrap();
        let addr = app.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel();
        let done = tokio::task::spawn(app.run(
            async {
                let _ = stopped.await;
            },
            async {
                if hurried.await.is_err() {
                    std::future::pending::<()>().await;
                }
            },
        ));
        Self {
            emulator,
            addr,
            stop: Some(stop),
            hurry: Some(hurry),
            done,
        }
    }

    /// Sends the first signal: the drain begins.
    pub fn begin_drain(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Sends the second signal.
    pub fn hurry(&mut self) {
        let _ = self.hurry.take().unwrap().send(());
    }

    /// Waits for the end of the drain.
    pub async fn drained(mut self) {
        if self.stop.is_some() {
            self.begin_drain();
        }
        within("the drain", self.done).await.unwrap();
        within("the emulator's end", self.emulator.shutdown()).await;
    }

    /// Turns the emulator's switches, as its control listener would.
    pub fn switch(&self, change: Value) {
        let change = serde_json::from_value(change).unwrap();
        self.emulator.switches().apply(&change).unwrap();
    }

    /// Waits until the emulator has seen what is wanted.
    pub async fn saw(
        &self,
        what: &str,
        wanted: impl FnMut(&emulator::Stats) -> bool,
    ) -> emulator::Stats {
        match tokio::time::timeout(PATIENCE, self.emulator.wait_for(wanted)).await {
            Ok(stats) => stats,
            Err(_) => panic!(
                "the emulator did not see {what}: {:?}",
                self.emulator.stats()
            ),
        }
    }

    pub async fn subscriptions(&self, count: usize) -> emulator::Stats {
        let what = format!("{count} subscriptions");
        self.saw(&what, |stats| stats.realtime.subscriptions == count)
            .await
    }

    /// `POST /graphql` with a query and no variables.
    pub async fn query(&self, query: &str) -> Answer {
        let body = json!({ "query": query }).to_string();
        post(self.addr, "/graphql", &[JSON], &body).await
    }

    pub async fn socket(&self) -> Socket {
        Socket::open(self.addr, &[]).await
    }

    /// A socket that has been acknowledged.
    pub async fn acked(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.init().await;
        socket
    }
}

pub fn flag(key: &str, value: &str) -> Flag {
    let is_list = value.contains(',') || key.ends_with("hosts") || key.ends_with("origins");
    Flag {
        key: key.to_owned(),
        name: "test",
        values: value.split(',').map(str::to_owned).collect(),
        is_list: is_list || key == "listen",
    }
}

/// A configuration whose one route leads to `emulator`.
fn stage_config(emulator: &Emulator, settings: &[(&str, &str)]) -> Config {
    let target = format!("https://{}/graphql", emulator.api_host());
    let connect = emulator.addr().to_string();
    let mut flags = vec![
        flag("listen", "127.0.0.1:0"),
        flag("admin", "off"),
        flag("route.graphql.target", &target),
        flag("route.graphql.connect", &connect),
    ];
    let mut environment = Vec::new();
    for &(key, value) in settings {
        if key.starts_with(|first: char| first.is_ascii_uppercase()) {
            environment.push((key.to_owned(), value.to_owned()));
        } else {
            flags.push(flag(key, value));
        }
    }
    let sources = Sources {
        flags,
        environment,
        ..Sources::default()
    };
    let (_, mut config) = config::load(&sources).unwrap();
    for route in &mut config.routes {
        route.trust = Trust::Pem(emulator.ca_pem().to_owned());
        route.credentials = Credentials::Fixed(aws_credential_types::Credentials::new(
            emulator::DEMO_ACCESS_KEY_ID,
            emulator::DEMO_SECRET_ACCESS_KEY,
            Some(emulator::DEMO_SESSION_TOKEN.to_owned()),
            None,
            "fixed",
        ));
    }
    config
}

/// An emulator for daemons of the built binary, and a directory of the test's own.
pub struct Backstage {
    pub emulator: Emulator,
    pub home: Scratch,
}

impl Backstage {
    pub async fn new(name: &str) -> Self {
        Self {
            emulator: Emulator::start(emulator::Options::default()).await.unwrap(),
            home: Scratch::new(name),
        }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }

    /// The path of its certificate authority's certificate.
    pub fn ca_file(&self) -> String {
        self.home.file("upstream.pem", self.emulator.ca_pem())
    }

    /// What leads a daemon to the emulator's GraphQL API, after `more`.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let connect = self.emulator.addr().to_string();
        let target = format!("https://{}/graphql", self.emulator.api_host());
        let own = ["--connect", &connect, "--ca-file", &self.ca_file(), &target];
        let all = more.iter().chain(&own);
        all.map(|&argument| argument.to_owned()).collect()
    }

    /// A daemon before the emulator, on a port of its own. Its home directory is ours.
    pub fn start(&self, more: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let home = self.home.0.display().to_string();
        let environment = [&[("HOME", home.as_str())], environment].concat();
        let listen = ["--listen", "127.0.0.1:0"];
        Daemon::start(&self.arguments(&[&listen, more].concat()), &environment)
    }
}
