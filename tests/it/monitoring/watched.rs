//! A monitored daemon with its own emulator.

use std::time::Duration;

use countersign_emulator::{self as emulator, Options};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Answer, Builder, Daemon, QUIET, Running, Socket, World, get, raw_on, within};

/// The keepalive interval of the emulators. AppSync's is a minute.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// A query that succeeds.
pub(crate) const ROOMS: &str = "{ rooms { id } }";
const SSE: (&str, &str) = ("accept", "text/event-stream");

/// Sets up a daemon with an admin listener and routes of every kind.
pub(crate) fn builder(config: &str) -> Builder {
    let options = Options {
        ka_interval: KEEPALIVE,
        ..Options::default()
    };
    let quiet = if config.contains("log.filter") {
        ""
    } else {
        QUIET
    };
    let routes = ["event", "http", "ws"];
    let world = World::builder().emulator(options).routes(&routes).admin();
    world.config(quiet).config(config)
}

pub(crate) async fn start(config: &str) -> Running<Daemon> {
    builder(config).daemon().await
}

/// Starts a daemon whose credential process returns the emulator's key once, valid for `seconds`.
pub(crate) async fn start_with_credentials_for(seconds: u32, config: &str) -> Running<Daemon> {
    let script = format!(
        "[ -e $DIR/given ] && {{ echo no more >&2; exit 1; }}\n\
         : > $DIR/given\n\
         expires=$(date -u -d '+{seconds} seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo '{{\"Version\":1,\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"{}\",\
         \"SessionToken\":\"{}\",\"Expiration\":\"'$expires'\"}}'\n",
        emulator::DEMO_ACCESS_KEY_ID,
        emulator::DEMO_SECRET_ACCESS_KEY,
        emulator::DEMO_SESSION_TOKEN
    );
    let profile = "[default]\ncredential_process = /bin/sh $DIR/process.sh\n";
    builder(config)
        .keyless()
        .file("process.sh", &script)
        .file(".aws/config", profile)
        .variables(&[("PATH", "/usr/bin:/bin"), ("XDG_STATE_HOME", "$DIR")])
        .daemon()
        .await
}

impl Running<Daemon> {
    /// Posts a message to all subscribers.
    pub(crate) async fn say(&self, body: &str) -> Answer {
        let mutation =
            format!("mutation {{ postMessage(room: \"lobby\", body: \"{body}\") {{ body }} }}");
        self.query(&mutation).await
    }

    /// Subscribes by server-sent events, and reads to the end of the stream.
    pub(crate) async fn stream(&self) -> Answer {
        let path = "/graphql?query=subscription%7BonMessage%7Bid%7D%7D";
        get(self.addr, path, &[SSE]).await
    }

    /// Opens a socket with a subscription that upstream has acknowledged.
    pub(crate) async fn subscribed(&self) -> Socket {
        let mut socket = self.acked().await;
        let before = self.emulator.stats().requests.subscriptions_started;
        socket
            .subscribe("1", "subscription { onMessage { body } }")
            .await;
        let started = self
            .emulator
            .wait_for(|stats| stats.requests.subscriptions_started > before);
        within("the subscription", started).await;
        socket
    }

    /// Drops the realtime connections, and waits until the subscription is restored.
    pub(crate) async fn loses_its_connection(&self) {
        let emulator = &self.emulator;
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
}
