//! A daemon that is watched, with an emulator of its own behind it.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_emulator::{self as emulator, Emulator, Options};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{Answer, Daemon, JSON, Scratch, Socket, demo_key, get, post, raw_on, within};

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) daemon: Daemon,
    /// Gone, once it was stopped.
    pub(crate) emulator: Option<Emulator>,
    homes: Vec<Scratch>,
}

/// Of the emulators; AppSync's is a minute.
const KEEPALIVE: Duration = Duration::from_secs(1);
const SSE: (&str, &str) = ("accept", "text/event-stream");

impl Subject {
    /// `settings` are lines of TOML with dotted keys.
    pub(crate) async fn start(name: &'static str, settings: &str) -> Self {
        Self::with(name, settings, &demo_key()).await
    }

    /// With credentials of the demo for so many seconds, from a process that gives them once.
    pub(crate) async fn with_credentials_for(
        name: &'static str,
        seconds: u32,
        settings: &str,
    ) -> Self {
        let home = Scratch::new(&format!("monitoring-{name}-home"));
        let path = home.0.display().to_string();
        let script = format!(
            "[ -e {path}/given ] && {{ echo no more >&2; exit 1; }}\n\
             : > {path}/given\n\
             expires=$(date -u -d '+{seconds} seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
             echo '{{\"Version\":1,\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"{}\",\
             \"SessionToken\":\"{}\",\"Expiration\":\"'$expires'\"}}'\n",
            emulator::DEMO_ACCESS_KEY_ID,
            emulator::DEMO_SECRET_ACCESS_KEY,
            emulator::DEMO_SESSION_TOKEN
        );
        let script = home.file("process.sh", &script);
        std::fs::create_dir_all(home.0.join(".aws")).unwrap();
        let profile = format!("[default]\ncredential_process = /bin/sh {script}\n");
        home.file(".aws/config", &profile);
        let environment = [
            ("HOME", path.as_str()),
            ("PATH", "/usr/bin:/bin"),
            ("XDG_STATE_HOME", &path),
        ];
        let mut subject = Self::with(name, settings, &environment).await;
        subject.homes.push(home);
        subject
    }

    pub(crate) async fn with(
        name: &'static str,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let options = Options {
            ka_interval: KEEPALIVE,
            ..Options::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let home = Scratch::new(&format!("monitoring-{}", name.replace(' ', "-")));
        let ca_file = home.file("emulator.pem", emulator.ca_pem());
        let routes = [
            ("graphql", format!("{}/graphql", emulator.api_host())),
            ("event", format!("{}/event", emulator.api_host())),
            ("http", format!("{}/", emulator.http_host())),
            ("ws", format!("{}/prod", emulator.websocket_host())),
        ];
        let connect = emulator.addr();
        let routes = routes.map(|(name, target)| {
            format!(
                "route.{name}.target = \"https://{target}\"\nroute.{name}.connect = \"{connect}\"\n\
                 route.{name}.ca_file = \"{ca_file}\"\n"
            )
        });
        let quiet = match settings.contains("log.filter") {
            true => "",
            false => "log.filter = \"info,countersign::request=off\"\n",
        };
        let listen = "listen = [\"127.0.0.1:0\"]";
        let config = format!("{listen}\n{quiet}{settings}\n{}", routes.concat());
        let config = home.file("config.toml", &config);
        let mut variables = vec![("COUNTERSIGN_ADMIN", "127.0.0.1:0")];
        variables.extend(environment);
        let mut daemon = Daemon::start(&["--config", &config], &variables);
        let admin = daemon.admin().await;
        let addr = daemon.address().await;
        Self {
            name,
            addr,
            admin,
            daemon,
            emulator: Some(emulator),
            homes: vec![home],
        }
    }

    pub(crate) fn emulator(&self) -> &Emulator {
        self.emulator.as_ref().unwrap()
    }

    /// Turns the emulator's switches, as its control listener would.
    pub(crate) fn switch(&self, change: Value) {
        let change = serde_json::from_value(change).unwrap();
        self.emulator().switches().apply(&change).unwrap();
    }

    pub(crate) async fn query(&self) -> Answer {
        self.ask("{ rooms { id } }").await
    }

    /// A message, which everybody who is subscribed gets.
    pub(crate) async fn say(&self, body: &str) -> Answer {
        let mutation =
            format!("mutation {{ postMessage(room: \"lobby\", body: \"{body}\") {{ body }} }}");
        self.ask(&mutation).await
    }

    pub(crate) async fn ask(&self, query: &str) -> Answer {
        let body = json!({ "query": query }).to_string();
        post(self.addr, "/graphql", &[JSON], &body).await
    }

    /// Subscribes by server-sent events, and reads to the end.
    pub(crate) async fn stream(&self) -> Answer {
        let path = "/graphql?query=subscription%7BonMessage%7Bid%7D%7D";
        get(self.addr, path, &[SSE]).await
    }

    /// A socket with a subscription, which upstream has.
    pub(crate) async fn subscribed(&self) -> Socket {
        let mut socket = Socket::open(self.addr, &[]).await;
        socket.init().await;
        let before = self.emulator().stats().requests.subscriptions_started;
        socket
            .subscribe("1", "subscription { onMessage { body } }")
            .await;
        let started = self
            .emulator()
            .wait_for(|stats| stats.requests.subscriptions_started > before);
        within("the subscription", started).await;
        socket
    }

    /// Drops the realtime connections, and waits until the subscription is there again.
    pub(crate) async fn loses_its_connection(&self) {
        let emulator = self.emulator();
        let before = emulator.stats().realtime.connections_total;
        self.switch(json!({ "close_all": true }));
        let resumed = emulator.wait_for(|stats| {
            stats.realtime.connections_total > before && stats.realtime.subscriptions == 1
        });
        within("the resumed subscription", resumed).await;
    }

    /// Sends many requests that are refused, on one connection.
    pub(crate) async fn is_refused(&self, times: usize) {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let request = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let last = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let all = request.repeat(times - 1) + last;
        let answer = raw_on(stream, all.as_bytes()).await;
        assert_eq!(answer.status, 404);
    }

    /// The metrics, in the text format.
    pub(crate) async fn metrics(&self) -> String {
        let answer = get(self.admin, "/metrics", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) async fn end(mut self) {
        self.daemon.signal("-TERM");
        assert_eq!(self.daemon.exited().await, 0, "{}", self.daemon.log);
        assert!(!self.daemon.log.contains("panicked"), "{}", self.daemon.log);
        if let Some(emulator) = self.emulator.take() {
            emulator.shutdown().await;
        }
    }
}
