//! Connections for requests: dialled, kept warm, and no more requests on one than it has room for.
//!
//! An answer that its client does not take fills its stream's window and nothing else: the window
//! of the connection has room for all streams, so no answer waits for another.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::Dialer;
use super::client::UpstreamConfig;
use super::dial::Dialled;
use super::error::DialError;
use crate::telemetry::metrics::Held;
use crate::telemetry::tasks::{Task, caught};

/// Sends requests.
pub(super) type PooledClient = Client<Connector, Full<Bytes>>;

/// Pools of connections to one upstream. Over HTTP/2 a pool is one connection.
#[derive(Debug)]
pub(super) struct ConnectionPools {
    pools: [Mutex<ConnectionPool>; MAX_POOLS],
    factory: PoolFactory,
}

/// Connections of one age: replaced as a whole when `expires` has come, because hyper's pool has
/// no maximum age. Connections of a pool that was replaced complete what is in flight, then close.
#[derive(Debug)]
struct ConnectionPool {
    requests: PooledClient,
    open: Arc<AtomicUsize>,
    /// Counts from the first request.
    expires: Option<Instant>,
}

/// Makes pools that have no connection yet.
#[derive(Debug)]
struct PoolFactory {
    builder: Builder,
    connector: Connector,
    max_age: Duration,
}

/// A request that is under way, until its answer has ended.
#[derive(Debug)]
pub(super) struct InFlight(Arc<AtomicUsize>);

/// An answer's body, which keeps its place on the connection.
#[derive(Debug)]
pub struct UpstreamBody {
    /// None of an answer whose status excludes one.
    body: Option<Incoming>,
    _open: Option<InFlight>,
}

/// Application Load Balancers allow 128 streams on a connection; a request beyond them would wait
/// unsent until another's answer ends.
const MAX_STREAMS: usize = 100;
const MAX_POOLS: usize = 16;
/// A connection's window has room for all streams that there can be, and more.
const CONNECTION_WINDOW_FACTOR: u32 = 128;

// === impl ConnectionPools ===

impl ConnectionPools {
    /// Connections are opened when they are needed.
    pub(super) fn new(dialer: &Dialer, tasks: &TaskExecutor, config: &UpstreamConfig) -> Self {
        let mut builder = Client::builder(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle.min(config.pool_max_age))
            .pool_max_idle_per_host(config.pool_max_idle)
            .http2_initial_stream_window_size(config.window)
            .http2_initial_connection_window_size(
                config.window.saturating_mul(CONNECTION_WINDOW_FACTOR),
            )
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10));
        let factory = PoolFactory {
            builder,
            connector: Connector(dialer.clone()),
            max_age: config.pool_max_age,
        };
        Self {
            pools: std::array::from_fn(|_| Mutex::new(factory.make())),
            factory,
        }
    }

    /// The first with room, so that few requests share one connection; else the one with the least
    /// to do.
    pub(super) fn pick(&self) -> (PooledClient, InFlight) {
        let now = Instant::now();
        let open = |pool: &&Mutex<ConnectionPool>| {
            let mut pool = pool.lock();
            if pool.expires.is_some_and(|expires| now >= expires) {
                *pool = self.factory.make();
            }
            pool.open.load(Ordering::Relaxed)
        };
        let [first, ..] = &self.pools;
        let with_room = self.pools.iter().find(|pool| open(pool) < MAX_STREAMS);
        let pool = with_room.or_else(|| self.pools.iter().min_by_key(open));
        let mut pool = pool.unwrap_or(first).lock();
        pool.expires
            .get_or_insert_with(|| now + self.factory.lifetime());
        pool.open.fetch_add(1, Ordering::Relaxed);
        (pool.requests.clone(), InFlight(Arc::clone(&pool.open)))
    }
}

impl PoolFactory {
    fn make(&self) -> ConnectionPool {
        ConnectionPool {
            requests: self.builder.build(self.connector.clone()),
            open: Arc::default(),
            expires: None,
        }
    }

    /// Not the same for all processes and pools, or they would connect at the same moment.
    fn lifetime(&self) -> Duration {
        self.max_age.mul_f64(1.0 - 0.1 * fastrand::f64())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl UpstreamBody ===

impl UpstreamBody {
    pub(super) fn new(body: Option<Incoming>, open: InFlight) -> Self {
        Self {
            body,
            _open: Some(open),
        }
    }
}

/// Of a connection of its own.
impl From<Option<Incoming>> for UpstreamBody {
    fn from(body: Option<Incoming>) -> Self {
        Self { body, _open: None }
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

/// Runs the pool's connection tasks where they are counted and can be stopped.
#[derive(Clone, Debug)]
pub(super) struct TaskExecutor {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let task = caught(Task::Upstream, task);
            stop.run_until_cancelled(task).await;
        });
    }
}

/// Feeds dialled connections to the pool.
#[derive(Clone, Debug)]
pub(super) struct Connector(Dialer);

/// When and how long a pooled connection was dialled; rides in the response's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialInfo {
    pub(super) started: Instant,
    pub(super) took: Duration,
}

/// A connection in the pool.
pub(super) struct PooledStream {
    stream: TokioIo<TlsStream<TcpStream>>,
    dialled: DialInfo,
    _open: Held,
}

// === impl Connector ===

impl Service<Uri> for Connector {
    type Response = PooledStream;
    type Error = Arc<DialError>;
    type Future = Pin<Box<dyn Future<Output = Result<PooledStream, Arc<DialError>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is ignored: where to connect is configuration.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.0.clone();
        let started = Instant::now();
        Box::pin(async move {
            let Dialled { stream, took } = dialer.dial().await.map_err(Arc::new)?;
            Ok(PooledStream {
                stream: TokioIo::new(stream),
                dialled: DialInfo { started, took },
                _open: Held::new(&dialer.metrics().upstream_connections),
            })
        })
    }
}

// === impl PooledStream ===

impl Connection for PooledStream {
    fn connected(&self) -> Connected {
        let (_, tls) = self.stream.inner().get_ref();
        let connected = Connected::new().extra(self.dialled);
        match tls.alpn_protocol() {
            Some(b"h2") => connected.negotiated_h2(),
            Some(_) | None => connected,
        }
    }
}

impl Read for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for PooledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_connection_of_the_pool_ends_only_its_task() {
        let tasks = TaskExecutor {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let open = Arc::new(AtomicUsize::new(1));
        let held = InFlight(Arc::clone(&open));
        tasks.execute(async move {
            let _held = held;
            panic!("on purpose");
        });
        tasks.tasks.close();
        tasks.tasks.wait().await;
        assert_eq!(open.load(Ordering::Relaxed), 0);
        let label = Task::Upstream.into();
        let panics = &crate::telemetry::metrics::metrics().task_panics;
        assert_eq!(panics.get_or_create(&label).get(), 1);
    }
}
