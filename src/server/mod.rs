//! Accepts client connections and serves HTTP/1.1 on them, plain or over TLS, until the process
//! drains.
//!
//! The accept loop never waits for a peer, and neither an accept error nor a panic ends it. At the
//! connection limit, a new connection replaces the one that has waited longest for a request. If all have
//! requests, or if the one that is replaced has not had a request, a request that comes soon is refused.

pub(crate) mod accept;
mod address;
mod bind_error;
mod capacity;
mod config;
mod connection;
mod connection_state;
mod dev_ca;
mod eviction;
mod framing;
pub(crate) mod half_close;
mod handler;
mod linger;
mod listener;
mod malformed;
mod passed;
mod peer;
mod request_wait;
#[cfg(target_os = "linux")]
mod sock_diag;
mod tls;
#[cfg_attr(windows, path = "unix_socket_windows.rs")]
mod unix_socket;
mod write_timeout;

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use accept::{ConnectionSlots, Slot, accept};
pub use address::Listen;
pub use bind_error::BindError;
pub use config::ServerConfig;
use connection::{ClientStream, UnusualHead};
use connection_state::ConnectionState;
pub use dev_ca::DevCaError;
use eviction::Evictions;
use handler::RequestHandler;
use listener::Accepted;
pub use listener::Listener;
use malformed::MAX_HEADERS;
pub use passed::{Passed, PassedError};
use peer::Peer;
pub use tls::{Certificate, Tls, TlsConfig, TlsError};
use tls::{OpenError, Opened, open};
use write_timeout::WriteTimeout;

use crate::deadline::{PeerTimer, allowance, timeout};
use crate::guard::{LocalAddress, Scheme};
use crate::lifecycle::ClientTasks;
use crate::memory::{Memory, ResponseBudget};
use crate::proxy::{Client, Proxy, Slots};
use crate::session::ClientConnection;
use crate::telemetry::metrics::metrics;
use crate::telemetry::tasks::{Task, caught, supervised};

/// Serves a proxy on any number of listeners.
#[derive(Clone, Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    config: ServerConfig,
    tls: Option<Tls>,
    memory: Memory,
    connections: ConnectionSlots,
    slots: Slots,
    budget: Arc<ResponseBudget>,
    /// The number of the latest connection.
    last_connection: Arc<AtomicU64>,
    tasks: ClientTasks,
}

/// The number of client connections, and whether memory is short.
#[derive(Clone, Debug)]
pub struct Connections {
    slots: ConnectionSlots,
    memory: Memory,
}

/// How long final responses may take to reach their clients after the deadline of the drain.
const FINAL_RESPONSES: Duration = Duration::from_secs(1);
/// How long a connection without a request so far may still send one after the drain has begun.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// The number of connections beyond the limit whose requests are refused with a response, and how long
/// they may take. Further ones wait to be accepted.
const SPARE_CONNECTIONS: usize = 32;
const SPARE_TIME: Duration = Duration::from_secs(2);
/// How long a new connection is not closed for another one, because its request is probably on its way.
const FRESH: Duration = Duration::from_millis(100);
/// How long a new connection waits while memory is short before its requests are refused.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

impl Server {
    /// When the drain begins, each connection finishes its request and closes; when its deadline
    /// expires, the remaining connections are closed.
    pub fn new(
        proxy: Proxy,
        config: ServerConfig,
        tls: Option<Tls>,
        memory: Memory,
        tasks: ClientTasks,
    ) -> Self {
        let limit = capacity::connections(config.connections);
        Self {
            proxy: Arc::new(proxy),
            config,
            tls,
            connections: ConnectionSlots::new(limit, SPARE_CONNECTIONS),
            slots: Slots::new(config.in_flight),
            budget: ResponseBudget::new(
                config.buffered,
                config.buffered_connection,
                memory.clone(),
            ),
            memory,
            last_connection: Arc::default(),
            tasks,
        }
    }

    pub fn connections(&self) -> Connections {
        Connections {
            slots: self.connections.clone(),
            memory: self.memory.clone(),
        }
    }

    /// Starts to accept on a bound listener.
    pub fn listen(&self, listener: Listener) {
        let server = self.clone();
        self.tasks.tracker.spawn(async move {
            let draining = server.tasks.draining.clone();
            let accepting = supervised(Task::Accept, || server.accept(&listener));
            draining.run_until_cancelled(accepting).await;
        });
    }

    async fn accept(&self, listener: &Listener) {
        let next = || async {
            let accepted = listener.accept().await?;
            if accepted.is_some() {
                self.memory.recovery(MEMORY_WAIT).await;
            }
            Ok(accepted)
        };
        let serve = |accepted, slot| {
            metrics().client_connections_accepted.inc();
            let server = self.clone();
            let served = async move { server.serve(accepted, slot).await };
            self.tasks.tracker.spawn(caught(Task::Connection, served));
        };
        accept("client", &self.connections, next, serve).await;
    }

    async fn serve(&self, accepted: Accepted, mut slot: Slot) {
        if let Accepted::Tcp(stream) = &accepted
            && !slot.is_spare
        {
            match self.first_byte(stream).await {
                Ok(()) => {}
                Err(OpenError::Evicted) => match self.connections.spare() {
                    Some(spare) => slot = spare,
                    None => {
                        return debug!(exception.message = %OpenError::Evicted, "client connection not opened");
                    }
                },
                Err(error) => {
                    return debug!(exception.message = %error, "client connection not opened");
                }
            }
        }
        if slot.is_spare {
            let _ = tokio::time::timeout(SPARE_TIME, self.serve_in(accepted, slot)).await;
        } else {
            self.serve_in(accepted, slot).await;
        }
    }

    /// Serves a connection in its slot.
    async fn serve_in(&self, accepted: Accepted, slot: Slot) {
        let is_spare = slot.is_spare;
        let permit = Arc::new(slot.permit);
        let ended = CancellationToken::new();
        let _ends = ended.clone().drop_guard();
        let number = self.last_connection.fetch_add(1, Ordering::Relaxed);
        let connection = ClientConnection::new(number, ended);
        let peer = accepted.peer();
        let client = |local, scheme| Client {
            peer,
            local,
            scheme,
            permit,
            connection,
            slot: self.slots.slot(),
            share: self.budget.share(),
        };
        let stream = match accepted {
            Accepted::Tcp(stream) => stream,
            Accepted::Unix(stream) => {
                let stream = WriteTimeout::new(stream, self.config.write, |_| {});
                return self
                    .serve_http(stream, &client(LocalAddress::Unix, Scheme::Http), is_spare)
                    .await;
            }
        };
        let Ok(local) = prepare(&stream) else {
            return;
        };
        let opened = tokio::select! {
            opened = self.open(stream, is_spare) => opened,
            () = self.drain_begins(pending()) => return,
        };
        let opened = match opened {
            Ok(opened) => opened,
            // Nobody else shows the user why the client reports a broken connection.
            Err(error @ (OpenError::NotConfigured | OpenError::Protocol)) => {
                return warn!(
                    exception.message = error.to_string(),
                    client.address = peer.map(|peer| display(peer.ip())),
                    client.port = peer.map(|peer| peer.port()),
                    "client connection not opened"
                );
            }
            Err(error) => return debug!(exception.message = %error, "client connection not opened"),
        };
        match opened {
            Opened::Plain(stream) => {
                self.serve_http(stream, &client(local, Scheme::Http), is_spare)
                    .await;
            }
            Opened::Tls(stream) => {
                self.serve_http(stream, &client(local, Scheme::Https), is_spare)
                    .await;
            }
        }
    }

    /// Waits for the first byte of a connection, which may be evicted.
    async fn first_byte(&self, stream: &TcpStream) -> Result<(), OpenError> {
        let fresh_until = Instant::now() + FRESH;
        let mut candidate = self.connections.evictions().candidate();
        let evicted = async move {
            poll_fn(|cx| candidate.poll_chosen(cx)).await;
            tokio::time::sleep_until(fresh_until).await;
            candidate.close();
        };
        let mut first = [0];
        tokio::select! {
            biased;
            peeked = timeout(self.config.idle_client, stream.peek(&mut first)) => match peeked {
                Ok(peeked) => peeked.map(drop).map_err(OpenError::Socket),
                Err(_) => Err(OpenError::Idle),
            },
            () = evicted => Err(OpenError::Evicted),
            () = self.drain_begins(pending()) => Err(OpenError::Draining),
        }
    }

    /// Opens a connection as plain HTTP or TLS, which its first byte determines.
    async fn open(&self, stream: TcpStream, is_spare: bool) -> Result<Opened, OpenError> {
        let evicted = async {
            if is_spare {
                pending::<()>().await;
            }
            self.connections.evictions().chosen().await;
        };
        let opening = open(stream, self.tls.as_ref(), self.config.write);
        tokio::select! {
            biased;
            opened = timeout(self.config.request_head_timeout, opening) => {
                opened.unwrap_or(Err(OpenError::Slow))
            }
            () = evicted => Err(OpenError::Evicted),
        }
    }

    async fn serve_http<S>(&self, stream: S, client: &Client, is_spare: bool)
    where
        S: AsyncRead + AsyncWrite + Peer + Unpin + Send + 'static,
    {
        let state = Arc::new(ConnectionState::new(is_spare));
        let evictions = if is_spare {
            // Evicting the connection would free no slot.
            Evictions::default()
        } else {
            self.connections.evictions().clone()
        };
        let stream = ClientStream::new(
            stream,
            Arc::clone(&state),
            &self.config,
            evictions,
            Arc::clone(&self.proxy),
            client.peer,
        );
        let handler = RequestHandler {
            proxy: &self.proxy,
            memory: &self.memory,
            client,
            state: &state,
            connection_limit: self.connections.limit(),
        };
        let mut builder = http1::Builder::new();
        builder
            .timer(PeerTimer)
            // `ClientStream` has timers of its own, for heads and for the time between requests.
            .header_read_timeout(None)
            .max_buf_size(self.config.request_head);
        let service = service_fn(move |request| handler.respond(request));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = connection.with_upgrades();
        let ended = loop {
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = self.drain_begins(state.has_begun()) => {
                    Pin::new(&mut connection).graceful_shutdown();
                    // Polls the requests when `expired` is cancelled: `proxy::forward::send` waits for that.
                    match self.tasks.expired.run_until_cancelled(&mut connection).await {
                        Some(ended) => break ended,
                        None => match timeout(FINAL_RESPONSES, &mut connection).await {
                            Ok(ended) => break ended,
                            Err(_) => return,
                        },
                    }
                }
            };
            if !ended.as_ref().is_err_and(has_unusual_head) {
                break ended;
            }
            let Some(parts) = connection.into_parts() else {
                break ended;
            };
            // hyper allocates and clears the room for every request, and copies the name of each header, which
            // together costs more than to read one. Some clients look for `Sec-WebSocket-Protocol` in exactly
            // these letters, so the response to a handshake has the spelling of the request.
            builder.max_headers(MAX_HEADERS).preserve_header_case(true);
            let mut stream = parts.io.into_inner();
            stream.prepared(&parts.read_buf);
            let prepared = builder.serve_connection(TokioIo::new(stream), parts.service);
            connection = prepared.with_upgrades();
        };
        if let Err(error) = ended {
            debug!(exception.message = %error, "client connection failed");
        }
    }

    /// Resolves when a connection must accept no more requests: when the drain begins, or, for a
    /// connection without a request so far, after a grace period, because its client opened it to send a
    /// request and may not retry.
    async fn drain_begins(&self, first_request: impl Future<Output = ()>) {
        self.tasks.draining.cancelled().await;
        tokio::select! {
            () = first_request => {}
            () = allowance(FIRST_REQUEST) => {}
            () = self.tasks.expired.cancelled() => {}
        }
    }
}

// === impl Connections ===

impl Connections {
    /// Returns the number of open connections. A WebSocket counts until it ends.
    pub fn open(&self) -> usize {
        self.slots.taken()
    }

    /// Returns the connection limit.
    pub fn limit(&self) -> usize {
        self.slots.limit()
    }

    /// Returns whether requests are refused because memory is short.
    pub fn is_memory_short(&self) -> bool {
        self.memory.is_short()
    }
}

/// Returns whether a connection ended because hyper is not prepared for the head of a request.
fn has_unusual_head(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>()?.get_ref());
    source.is_some_and(|source| source.is::<UnusualHead>())
}

fn prepare(stream: &TcpStream) -> io::Result<LocalAddress> {
    stream.set_nodelay(true)?;
    stream
        .local_addr()
        .map(|address| LocalAddress::Tcp(address.ip()))
}
