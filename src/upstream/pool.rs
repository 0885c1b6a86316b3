//! Pools the connections to an upstream.
//!
//! A request takes a slot on an open connection, or waits for one that becomes free or is dialled. As
//! many connections are dialled as the waiting requests need, each in its own task, so that it serves
//! another request if the first one is cancelled. A response that its client does not read fills only
//! its own HTTP/2 stream window. The connection window is large enough for all streams, so that one
//! response never blocks another.

mod body;
mod connection;
mod slots;
mod stream;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Executor as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) use self::connection::Dial;
use self::connection::{Connection, Http2Builder, Io};
use self::slots::{ConnectionSlot, ConnectionSlots, Id, Opened, Unused};
use self::stream::PooledStream;
use super::Dialer;
use super::config::UpstreamConfig;
use super::dial::Dialled;
use super::error::{DialError, SendError};
use super::repeat::Repeat;
use super::tasks::TaskExecutor;
use crate::deadline::timeout;
use crate::net::set_user_timeout;
use crate::telemetry::metrics::GaugeGuard;

/// The connections to one upstream.
#[derive(Clone, Debug)]
pub(super) struct ConnectionPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: Mutex<ConnectionSlots<Arc<Connection>, Waiter>>,
    dialer: Dialer,
    tasks: TaskExecutor,
    http2: Http2Builder,
    config: UpstreamConfig,
}

type Waiter = oneshot::Sender<Result<Lease, Arc<DialError>>>;

/// A slot on a connection for one request. It becomes free when the lease is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    slot: ConnectionSlot<Arc<Connection>>,
    pool: Arc<Shared>,
}

/// The body of a response from upstream, which keeps its slot on a connection until it is dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    /// `None` if the status of the response excludes a body.
    body: Option<Incoming>,
    /// `None` if the connection is dedicated to the response.
    _lease: Option<Lease>,
}

/// The time after which an HTTP/2 connection is lost whose peer acknowledges nothing or does not read,
/// which is that of its pings. HTTP/1.1 has no pings, and upstream may read a large body in its own time,
/// so `timeouts.first_byte` applies there if that is longer.
const HTTP2_USER_TIMEOUT: Duration = Duration::from_secs(10);

// === impl ConnectionPool ===

impl ConnectionPool {
    /// Creates a pool without opening a connection.
    pub(super) fn new(dialer: Dialer, tasks: &TaskExecutor, config: &UpstreamConfig) -> Self {
        Self(Arc::new(Shared {
            slots: Mutex::default(),
            dialer,
            tasks: tasks.clone(),
            http2: Http2Builder::new(tasks, config.window),
            config: *config,
        }))
    }

    /// Returns a slot on a connection. With `after`, the dial of the connection must have started later. `now` is
    /// the time, which the caller has just read.
    ///
    /// # Errors
    /// When no slot is free and a connection cannot be opened.
    pub(super) async fn lease(
        &self,
        after: Option<Instant>,
        now: Instant,
    ) -> Result<Lease, Arc<DialError>> {
        let receiver = {
            let mut slots = self.0.slots.lock();
            if let Some(slot) = slots.take(after, now, slots_of) {
                return Ok(Lease::new(slot, &self.0));
            }
            let (sender, receiver) = oneshot::channel();
            // Read again under the lock, because those who wait are in the order of these times.
            slots.wait(sender, after, Instant::now());
            receiver
        };
        self.0.serve(now, |_| {});
        let cancelled = || DialError::Connect {
            address: self.0.dialer.address().to_string(),
            source: "the attempt to connect was cancelled".into(),
        };
        receiver
            .await
            .unwrap_or_else(|_| Err(Arc::new(cancelled())))
    }

    /// Removes the connections on which upstream has sent nothing since `instant`. Called when a request
    /// timed out on such a connection. Their other requests complete if upstream answers.
    pub(super) fn remove_silent_since(&self, instant: Instant) {
        let is_silent = |connection: &Arc<Connection>| !connection.is_heard_since(instant);
        self.0.slots.lock().remove_if(is_silent);
    }
}

fn slots_of(connection: &Arc<Connection>) -> Option<usize> {
    connection.slots()
}

// === impl Shared ===

impl Shared {
    /// Dials a connection in a task of its own.
    fn dial(pool: &Arc<Self>) {
        let dialling = Dialling(Some(Arc::clone(pool)));
        pool.tasks.execute(dialling.run());
    }

    fn opened(self: &Arc<Self>, connection: &Arc<Connection>) -> Id {
        let now = Instant::now();
        // A random lifetime, so that processes and connections do not all reconnect at once.
        let lifetime = self
            .config
            .pool_max_age
            .mul_f64(1.0 - 0.1 * fastrand::f64());
        let opened = Opened {
            connection: Arc::clone(connection),
            dialled: connection.dial.started,
            expires: now + lifetime,
        };
        let carried = connection.slots().unwrap_or(0);
        self.serve(now, |slots| slots.opened(opened, carried, now))
    }

    fn release(self: &Arc<Self>, id: Id) {
        let max_idle = self.config.pool_max_idle;
        let now = Instant::now();
        self.serve(now, |slots| slots.release(id, now, max_idle));
    }

    /// Changes the slots, gives those that are free to waiting requests, and dials as many connections
    /// as the others need.
    fn serve<T>(
        self: &Arc<Self>,
        now: Instant,
        change: impl FnOnce(&mut ConnectionSlots<Arc<Connection>, Waiter>) -> T,
    ) -> T {
        let (changed, served, dials) = {
            let mut slots = self.slots.lock();
            let changed = change(&mut slots);
            let served = slots.serve(now, slots_of);
            (changed, served, slots.dials_needed(Waiter::is_closed))
        };
        for (waiter, slot) in served {
            // If the request was cancelled, the lease is dropped.
            let _ = waiter.send(Ok(Lease::new(slot, self)));
        }
        for _ in 0..dials {
            Self::dial(self);
        }
        changed
    }

    /// Removes the connection with `id` when it has had no requests for `pool.idle`.
    async fn remove_when_unused(pool: &Weak<Self>, id: Id) {
        let mut at = Instant::now();
        while let Some(pool) = pool.upgrade() {
            let idle = pool.config.pool_idle;
            match pool.slots.lock().remove_unused(id, at, idle) {
                Unused::CheckAt(next) => at = next,
                Unused::Removed => break,
            }
            drop(pool);
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

/// A dial in progress. If it is cancelled, the requests fail that no other dial serves.
struct Dialling(Option<Arc<Shared>>);

impl Dialling {
    async fn run(mut self) {
        let Some(pool) = self.0.clone() else {
            return;
        };
        let started = Instant::now();
        let opened = Self::open(&pool, started).await;
        self.0 = None;
        match opened {
            Ok((connection, io)) => {
                let connection = Arc::new(connection);
                let id = pool.opened(&connection);
                // The connection is closed when the pool and the leases have dropped their handles.
                let handle = Arc::downgrade(&connection);
                drop(connection);
                let weak = Arc::downgrade(&pool);
                drop(pool);
                Self::serve(io, handle, id, weak).await;
            }
            Err(error) => {
                let error = Arc::new(error);
                for waiter in pool.serve(Instant::now(), |slots| slots.dial_failed(Some(started))) {
                    let _ = waiter.send(Err(Arc::clone(&error)));
                }
            }
        }
    }

    async fn open(pool: &Shared, started: Instant) -> Result<(Connection, Io), DialError> {
        let address = || pool.dialer.address().to_string();
        let Dialled { stream, took } = pool.dialer.dial_with_repeats().await?;
        let gauge = GaugeGuard::new(&pool.dialer.metrics().upstream_connections);
        let (tcp, tls) = stream.get_ref();
        let user_timeout = match tls.alpn_protocol() {
            Some(b"h2") => HTTP2_USER_TIMEOUT,
            _ => HTTP2_USER_TIMEOUT.max(pool.config.first_byte),
        };
        set_user_timeout(tcp, user_timeout).map_err(|source| DialError::Connect {
            address: address(),
            source: source.into(),
        })?;
        let stream = PooledStream::new(stream, gauge);
        let handshake = Connection::handshake(stream, Dial { started, took }, &pool.http2);
        let after = pool.config.connect;
        let remaining = (started + after).saturating_duration_since(Instant::now());
        timeout(remaining, handshake)
            .await
            .map_err(|_| DialError::Timeout {
                address: address(),
                after,
            })?
            .map_err(|source| DialError::Connect {
                address: address(),
                source,
            })
    }

    /// Serves the requests on a connection until it ends.
    async fn serve(io: Io, handle: Weak<Connection>, id: Id, pool: Weak<Shared>) {
        let on_returned = || {
            if let Some(pool) = pool.upgrade() {
                pool.release(id);
            }
        };
        let on_grown = |carried| {
            if let Some(pool) = pool.upgrade() {
                pool.serve(Instant::now(), |slots| slots.set_slots(id, carried));
            }
        };
        let unused = async {
            Shared::remove_when_unused(&pool, id).await;
            // The connection ends after its last request.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = io.run(handle, on_returned, on_grown) => {}
            () = unused => {}
        }
        if let Some(pool) = pool.upgrade() {
            pool.slots.lock().remove(id);
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            // The requests fail because their senders are dropped.
            drop(pool.slots.lock().dial_failed(None));
        }
    }
}

// === impl Lease ===

impl Lease {
    fn new(slot: ConnectionSlot<Arc<Connection>>, pool: &Arc<Shared>) -> Self {
        Self {
            slot,
            pool: Arc::clone(pool),
        }
    }

    /// Returns when the connection was dialled, and how long it took.
    pub(super) fn dial(&self) -> Dial {
        self.slot.connection.dial
    }

    /// Returns whether upstream has sent something on the connection at `instant` or later.
    pub(super) fn is_heard_since(&self, instant: Instant) -> bool {
        self.slot.connection.is_heard_since(instant)
    }

    /// Sends a request with an absolute URI and without a `Host`.
    ///
    /// # Errors
    /// When the connection is lost, or upstream refuses the request.
    pub(super) fn send(
        &self,
        request: Request<Bytes>,
        repeat: Repeat,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        self.slot.connection.send(request, repeat)
    }

    /// Removes the connection from the pool, so that no other request uses it.
    pub(super) fn retire(&self) {
        self.pool.slots.lock().remove(self.slot.id);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.slot.connection.return_slot() {
            self.pool.release(self.slot.id);
        }
    }
}

// === impl UpstreamBody ===

impl UpstreamBody {
    pub(super) fn new(body: Option<Incoming>, lease: Lease) -> Self {
        Self {
            body,
            _lease: Some(lease),
        }
    }
}

/// For a response on a dedicated connection.
impl From<Option<Incoming>> for UpstreamBody {
    fn from(body: Option<Incoming>) -> Self {
        Self { body, _lease: None }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
