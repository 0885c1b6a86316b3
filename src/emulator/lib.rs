//! An emulator of AppSync (GraphQL and Events, over HTTP and realtime, behind TLS, with IAM only) and
//! of API Gateway.
//!
//! The emulator checks countersign's signer independently: it verifies Signature Version 4 with its
//! own code, from the bytes that it received, and rejects requests with AWS's error texts. Where AWS's
//! behaviour is unknown, the emulator assumes the stricter behaviour. It does not forward requests or
//! read configuration.
//!
//! | file | what |
//! |---|---|
//! | `options`, `context` | the settings of an emulator; the state that all parts share |
//! | `server`, `services` | listeners, TLS and HTTP; the two services behind them |
//! | `appsync`, `http`, `handshake` | AppSync: host names and policy checks, HTTP requests, realtime upgrades |
//! | `socket`, `hub` | realtime connections, distribution of events |
//! | `realtime`, `messages` | GraphQL on a realtime connection, its frames |
//! | `events` | Events on a realtime connection, channels, publishing over HTTP |
//! | `gateway` | API Gateway, IoT Wireless's stream, and other services |
//! | `sigv4`, `iam`, `appsync_error` | verification of signatures and policies; AppSync's errors |
//! | `graphql`, `selection` | the chat's schema, the events of a subscription |
//! | `switches`, `stats`, `control` | faults that tests switch on, statistics, and the HTTP API of both |
//! | `protocol`, `host`, `tls`, `clock` | protocol and host names, certificates, time |
//!
//! <https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html>

mod appsync;
mod appsync_error;
mod clock;
mod connect_error;
mod context;
mod control;
mod events;
mod fixed_response;
mod gateway;
mod graphql;
mod handshake;
mod host;
mod http;
mod hub;
mod iam;
mod message_handler;
mod messages;
mod options;
mod protocol;
mod realtime;
mod responses;
mod selection;
mod server;
mod services;
mod sigv4;
mod socket;
mod stats;
mod switches;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use services::Services;

pub use fixed_response::FixedResponse;
pub use options::{
    ACCOUNT, CustomHost, DEMO_ACCESS_KEY_ID, DEMO_SECRET_ACCESS_KEY, DEMO_SESSION_TOKEN, Key,
    Options,
};
pub use stats::{Events, GatewayStats, LiveChannel, LiveSubscription, Realtime, Requests, Stats};
pub use switches::{Change, InvalidChange, Settings};
pub use tls::TlsError;

/// The reason why an emulator could not start.
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

/// A running emulator. Dropping it stops it without waiting for its tasks.
pub struct Emulator {
    services: Arc<Services>,
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
        let alpn_protocols: &[&[u8]] = if options.http2 {
            &[b"h2", b"http/1.1"]
        } else {
            &[b"http/1.1"]
        };
        let services = Arc::new(Services::new(options));
        let (context, appsync) = (&services.context, &services.appsync);
        let names = [&appsync.api_host, &appsync.realtime_host]
            .into_iter()
            .cloned()
            .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
            .chain(services.gateway.names.certificate_names())
            .collect();
        let tls = tls::generate(names, alpn_protocols, context.clock.now())?;

        let acceptor = TlsAcceptor::from(tls.config);
        let api = server::serve_api(Arc::clone(&services), listener, acceptor);
        context.tasks.spawn(api);
        let control = server::serve_control(Arc::clone(&services), control);
        context.tasks.spawn(control);
        let host = &appsync.api_host;
        tracing::info!(%addr, control = %control_addr, %host, "emulator started");
        Ok(Self {
            services,
            addr,
            control_addr,
            ca_pem: tls.ca_pem,
        })
    }

    /// Returns the address of the API's listener, which serves TLS.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the control listener, which serves plain HTTP.
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    /// Returns the certificate of the authority that issued the API's certificate, in PEM. It is
    /// created at each start.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the API's host name, `….appsync-api.{region}.amazonaws.com`. Its first label is random at
    /// each start. The name does not resolve: connect to [`addr`](Self::addr), and send the name in SNI
    /// and `Host`.
    pub fn api_host(&self) -> &str {
        &self.services.appsync.api_host
    }

    /// Returns the host name for realtime, `….appsync-realtime-api.{region}.amazonaws.com`.
    pub fn realtime_host(&self) -> &str {
        &self.services.appsync.realtime_host
    }

    /// Returns the API's id, which is part of ARNs but not of host names.
    pub fn api_id(&self) -> &str {
        &self.services.appsync.id
    }

    /// Returns the host name of the REST API, `….execute-api.{region}.amazonaws.com`. The first segment
    /// of a path is the stage; any stage name is accepted.
    pub fn rest_host(&self) -> &str {
        &self.services.gateway.names.rest
    }

    /// Returns the host name of the HTTP API. Its stage is `$default`, which is not part of the path.
    pub fn http_host(&self) -> &str {
        &self.services.gateway.names.http
    }

    /// Returns the host name of the WebSocket API. The path consists of the stage alone.
    pub fn websocket_host(&self) -> &str {
        &self.services.gateway.names.websocket
    }

    /// Returns `api.iotwireless.{region}.amazonaws.com`, which serves `/start-network-analyzer-stream`.
    pub fn analyzer_host(&self) -> &str {
        &self.services.gateway.names.analyzer
    }

    /// Returns the current settings of all switches.
    pub fn settings(&self) -> Settings {
        self.services.context.switches.settings()
    }

    /// Applies a change: first its settings, then its actions. Returns the new settings.
    pub fn switch(&self, change: &Change) -> Result<Settings, InvalidChange> {
        self.services.switch(change)
    }

    /// Returns the current statistics.
    pub fn stats(&self) -> Stats {
        self.services.stats()
    }

    /// Waits until the statistics satisfy `is_reached`, without a time limit, and returns them.
    pub async fn wait_for(&self, mut is_reached: impl FnMut(&Stats) -> bool) -> Stats {
        let mut version = self.services.context.ledger.watch();
        loop {
            version.borrow_and_update();
            let stats = self.stats();
            // `self.services` owns the sender, so `changed` cannot fail while `self` exists.
            if is_reached(&stats) || version.changed().await.is_err() {
                return stats;
            }
        }
    }

    /// Drops every connection and waits for every task.
    pub async fn shutdown(self) {
        let context = &self.services.context;
        context.shutdown.cancel();
        context.tasks.close();
        context.tasks.wait().await;
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
        self.services.context.shutdown.cancel();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("addr", &self.addr)
            .field("control_addr", &self.control_addr)
            .field("api_host", &self.services.appsync.api_host)
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
        // An idle connection must not delay the shutdown.
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
    async fn switch_accepts_typed_changes() {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let change = Change {
            gate: Some(true),
            ..Change::default()
        };
        assert!(emulator.switch(&change).unwrap().gate);
        let change = Change {
            close_clean: Some(1006),
            ..Change::default()
        };
        assert_eq!(
            emulator.switch(&change),
            Err(InvalidChange::CloseCode(1006))
        );
        assert!(emulator.settings().gate);
        let stats = emulator.wait_for(|stats| stats.requests.http == 0).await;
        assert_eq!(stats, Stats::default());
    }
}
