//! An AppSync that fits in a process: GraphQL and Events, over HTTP and realtime, behind TLS, with IAM
//! only; and an API Gateway beside it.
//!
//! It is the opposing witness to countersign's signer. It verifies Signature Version 4 with code of
//! its own, from the bytes it received, and refuses in AWS's words. Where AWS's behaviour is
//! unknown it takes the stricter reading. It forwards nothing and reads no configuration.
//!
//! | file | what |
//! |---|---|
//! | `server` | listeners, TLS, HTTP |
//! | `http`, `handshake` | a request, a realtime upgrade |
//! | `socket`, `hub` | a realtime connection, who is told of what |
//! | `realtime`, `messages` | what is said on one of GraphQL, frame by frame |
//! | `events` | the same for Events, its channels, and publishing by HTTP |
//! | `gateway` | API Gateway, IoT Wireless's stream, and other services |
//! | `sigv4`, `iam`, `refusal` | the verdicts, and how no is said |
//! | `graphql`, `selection` | the chat's schema, what a subscriber is sent |
//! | `switches`, `stats`, `control` | faults on request, what was seen, both over HTTP |
//! | `api`, `tls`, `clock` | what the others share |
//!
//! <https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html>

mod api;
mod clock;
mod control;
mod events;
mod gateway;
mod graphql;
mod handshake;
mod http;
mod hub;
mod iam;
mod messages;
mod realtime;
mod refusal;
mod selection;
mod server;
mod sigv4;
mod socket;
mod stats;
mod switches;
mod tls;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use api::Api;

pub use http::Answer;
pub use stats::{Events, GatewayStats, LiveChannel, LiveSubscription, Realtime, Requests, Stats};
pub use switches::{Change, InvalidChange, Settings, Switches};
pub use tls::TlsError;

/// The access key id of [`Key::demo`]. Like its companions it is made up, opens nothing anywhere,
/// and is no secret: it stands in AWS's own documentation.
pub const DEMO_ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
/// The secret of [`Key::demo`], from AWS's documentation.
pub const DEMO_SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The session token of [`Key::demo`].
pub const DEMO_SESSION_TOKEN: &str = "AQoDYXdzEXAMPLETOKEN==";

/// The account of the emulated APIs, as ARNs have it; from AWS's documentation.
pub const ACCOUNT: &str = "123456789012";

/// What an emulator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the API listens, by TLS. A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the control listener is, by plain HTTP. A loopback address; port 0 takes a free one.
    pub control: SocketAddr,
    pub region: String,
    /// The keys whose signatures are accepted.
    pub keys: Vec<Key>,
    /// Subscriptions that one realtime connection may hold.
    pub max_subscriptions: usize,
    /// The time between two `ka` frames.
    pub ka_interval: Duration,
    /// The `connectionTimeoutMs` of the acknowledgement.
    pub connection_timeout: Duration,
    /// After this a realtime connection is closed, with code 1000. AppSync's is 24 hours.
    pub connection_lifetime: Duration,
    /// Names beside those of AWS that are judged as a service's.
    pub custom_hosts: Vec<CustomHost>,
    /// Whether HTTP/2 is offered. What comes by HTTP/1.1 is judged, and echoed, byte for byte.
    pub http2: bool,
}

/// A custom domain of a REST API, or of another service. It has no stage in its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomHost {
    /// In lower case, without a port.
    pub host: String,
    pub service: String,
    pub region: String,
}

/// An access key that the emulator knows. `Debug` shows its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// With one, every request must carry and sign it; without one, none may.
    pub session_token: Option<String>,
}

/// Why an emulator did not start.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
}

/// A running emulator. Dropped, it stops without waiting for its tasks.
pub struct Emulator {
    api: Arc<Api>,
    addr: SocketAddr,
    control_addr: SocketAddr,
    ca_pem: String,
}

// === impl Emulator ===

impl Emulator {
    /// Binds both listeners and serves until [`shutdown`](Self::shutdown) or drop.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (listener, addr) = listen(options.listen).await?;
        let (control, control_addr) = listen(options.control).await?;
        let offered: &[&[u8]] = match options.http2 {
            true => &[b"h2", b"http/1.1"],
            false => &[b"http/1.1"],
        };
        let api = Arc::new(Api::new(options));
        let names = [&api.api_host, &api.realtime_host]
            .into_iter()
            .cloned()
            .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
            .chain(api.gateway.names.certified())
            .collect();
        let tls = tls::make(names, offered, api.clock.now())?;

        let acceptor = TlsAcceptor::from(tls.config);
        api.tasks
            .spawn(server::serve_api(Arc::clone(&api), listener, acceptor));
        api.tasks
            .spawn(server::serve_control(Arc::clone(&api), control));
        tracing::info!(%addr, control = %control_addr, host = %api.api_host, "emulator started");
        Ok(Self {
            api,
            addr,
            control_addr,
            ca_pem: tls.ca_pem,
        })
    }

    /// Where the API listens, by TLS.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the control listener is, by plain HTTP.
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    /// The authority that signed the API's certificate, made at this start.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// `….appsync-api.{region}.amazonaws.com`, made up at this start. Nothing resolves it: connect to
    /// [`addr`](Self::addr) and name it in SNI and `Host`.
    pub fn api_host(&self) -> &str {
        &self.api.api_host
    }

    /// `….appsync-realtime-api.{region}.amazonaws.com`.
    pub fn realtime_host(&self) -> &str {
        &self.api.realtime_host
    }

    /// AppSync's id of the API, as ARNs have it. No host name tells it.
    pub fn api_id(&self) -> &str {
        &self.api.id
    }

    /// `….execute-api.{region}.amazonaws.com`, a REST API: the first segment of a path is the stage,
    /// of any name.
    pub fn rest_host(&self) -> &str {
        &self.api.gateway.names.rest
    }

    /// An HTTP API with the stage `$default`, which is not in the path.
    pub fn http_host(&self) -> &str {
        &self.api.gateway.names.http
    }

    /// A WebSocket API, with the stage for a path.
    pub fn websocket_host(&self) -> &str {
        &self.api.gateway.names.websocket
    }

    /// `api.iotwireless.{region}.amazonaws.com`, with `/start-network-analyzer-stream`.
    pub fn analyzer_host(&self) -> &str {
        &self.api.gateway.names.analyzer
    }

    pub fn switches(&self) -> &Switches {
        &self.api.switches
    }

    pub fn stats(&self) -> Stats {
        self.api.stats()
    }

    /// Waits until the stats are as wanted, and returns them. There is no time limit.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&Stats) -> bool) -> Stats {
        let mut version = self.api.ledger.watch();
        loop {
            version.borrow_and_update();
            let stats = self.stats();
            // The sender lives in `self.api`, so a change is always still to be hoped for.
            if wanted(&stats) || version.changed().await.is_err() {
                return stats;
            }
        }
    }

    /// Drops every connection and waits for every task.
    pub async fn shutdown(self) {
        self.api.shutdown.cancel();
        self.api.tasks.close();
        self.api.tasks.wait().await;
        tracing::info!("emulator stopped");
    }
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    if !addr.ip().is_loopback() {
        return Err(Error::NotLoopback(addr));
    }
    let failed = |source| Error::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.api.shutdown.cancel();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("addr", &self.addr)
            .field("control_addr", &self.control_addr)
            .field("api_host", &self.api.api_host)
            .finish_non_exhaustive()
    }
}

// === impl Options ===

/// Free ports of 127.0.0.1, `us-east-1`, the demo key, and AppSync's own numbers.
impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: any_port,
            control: any_port,
            region: "us-east-1".to_owned(),
            keys: vec![Key::demo()],
            max_subscriptions: 100,
            ka_interval: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(300),
            connection_lifetime: Duration::from_secs(24 * 60 * 60),
            custom_hosts: Vec::new(),
            http2: true,
        }
    }
}

// === impl Key ===

impl Key {
    /// The demo key, with its session token.
    pub fn demo() -> Self {
        Self {
            access_key_id: DEMO_ACCESS_KEY_ID.to_owned(),
            secret_access_key: DEMO_SECRET_ACCESS_KEY.to_owned(),
            session_token: Some(DEMO_SESSION_TOKEN.to_owned()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_and_stops() {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let (label, rest) = emulator.api_host().split_once('.').unwrap();
        assert_eq!(label.len(), 26);
        assert_eq!(rest, "appsync-api.us-east-1.amazonaws.com");
        assert!(emulator.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
        // An idle connection must not hold the shutdown up.
        let _idle = tokio::net::TcpStream::connect(emulator.addr())
            .await
            .unwrap();
        emulator.shutdown().await;
    }

    #[tokio::test]
    async fn listens_on_loopback_only() {
        let options = Options {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            ..Options::default()
        };
        let refused = Emulator::start(options).await;
        assert!(matches!(refused, Err(Error::NotLoopback(_))));
    }

    #[tokio::test]
    async fn switches_are_typed() {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let change = Change {
            gate: Some(true),
            ..Change::default()
        };
        assert!(emulator.switches().apply(&change).unwrap().gate);
        let change = Change {
            close_clean: Some(1006),
            ..Change::default()
        };
        assert_eq!(
            emulator.switches().apply(&change),
            Err(InvalidChange::CloseCode(1006))
        );
        assert!(emulator.switches().settings().gate);
        let stats = emulator.wait_for(|stats| stats.requests.http == 0).await;
        assert_eq!(stats, Stats::default());
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", Options::default());
        assert!(text.contains(DEMO_ACCESS_KEY_ID));
        assert!(!text.contains(DEMO_SECRET_ACCESS_KEY) && !text.contains(DEMO_SESSION_TOKEN));
    }
}
