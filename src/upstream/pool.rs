//! Pools the connections to an upstream, and limits the requests in flight on each connection.
//!
//! If a client does not read its response, the response fills only the window of its own HTTP/2 stream.
//! The connection window is large enough for all streams, so that one response never blocks another.

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
use tower_service::Service;

use super::Dialer;
use super::config::UpstreamConfig;
use super::dial::Dialled;
use super::error::DialError;
use crate::lifecycle::BackgroundTasks;
use crate::telemetry::metrics::GaugeGuard;
use crate::telemetry::tasks::{Task, caught};

/// The client that sends requests over the connections of one pool.
pub(super) type PooledClient = Client<PoolConnector, Full<Bytes>>;

/// The pools of connections to one upstream. With HTTP/2, a pool is one connection.
#[derive(Debug)]
pub(super) struct ConnectionPools {
    pools: [Mutex<ConnectionPool>; MAX_POOLS],
    factory: PoolFactory,
}

/// Connections of about the same age. When it expires, the whole pool is replaced, because hyper's pool
/// has no maximum age for connections. The connections of a replaced pool complete the requests in flight
/// and then close.
#[derive(Debug)]
struct ConnectionPool {
    client: PooledClient,
    in_flight: Arc<AtomicUsize>,
    /// Set by the first request; `None` before.
    expires: Option<Instant>,
}

/// Creates pools. A pool opens a connection only when a request needs one.
#[derive(Debug)]
struct PoolFactory {
    builder: Builder,
    connector: PoolConnector,
    max_age: Duration,
}

/// Counts a request as in flight until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<AtomicUsize>);

/// The body of a response from upstream, which counts as in flight until it is dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    /// `None` if the status of the response excludes a body.
    body: Option<Incoming>,
    _in_flight: Option<InFlight>,
}

/// The number of requests in flight from which a pool is avoided. Application Load Balancers allow 128
/// streams on a connection; a request beyond that limit would wait, unsent, until a response ends.
const MAX_STREAMS: usize = 100;
const MAX_POOLS: usize = 16;
/// The connection window as a multiple of the stream window. It exceeds [`MAX_STREAMS`], so that all
/// stream windows fit into it.
const CONNECTION_WINDOW_FACTOR: u32 = 128;

// === impl ConnectionPools ===

impl ConnectionPools {
    /// Creates the pools without opening a connection.
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
            connector: PoolConnector(dialer.clone()),
            max_age: config.pool_max_age,
        };
        Self {
            pools: std::array::from_fn(|_| Mutex::new(factory.create())),
            factory,
        }
    }

    /// Returns the client of the first pool below [`MAX_STREAMS`], so that few requests share one
    /// connection. If there is none, returns that of the pool with the fewest requests in flight.
    pub(super) fn pick(&self) -> (PooledClient, InFlight) {
        let now = Instant::now();
        let in_flight = |pool: &&Mutex<ConnectionPool>| {
            let mut pool = pool.lock();
            if pool.expires.is_some_and(|expires| now >= expires) {
                *pool = self.factory.create();
            }
            pool.in_flight.load(Ordering::Relaxed)
        };
        let [first, ..] = &self.pools;
        let below_limit = self.pools.iter().find(|pool| in_flight(pool) < MAX_STREAMS);
        let pool = below_limit.or_else(|| self.pools.iter().min_by_key(in_flight));
        let mut pool = pool.unwrap_or(first).lock();
        pool.expires
            .get_or_insert_with(|| now + self.factory.lifetime());
        pool.in_flight.fetch_add(1, Ordering::Relaxed);
        (pool.client.clone(), InFlight(Arc::clone(&pool.in_flight)))
    }
}

impl PoolFactory {
    fn create(&self) -> ConnectionPool {
        ConnectionPool {
            client: self.builder.build(self.connector.clone()),
            in_flight: Arc::default(),
            expires: None,
        }
    }

    /// Returns a random lifetime of 90 to 100 % of the maximum age, so that processes and pools do not all
    /// reconnect at once.
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
    pub(super) fn new(body: Option<Incoming>, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: Some(in_flight),
        }
    }
}

/// For a response on a dedicated connection.
impl From<Option<Incoming>> for UpstreamBody {
    fn from(body: Option<Incoming>) -> Self {
        Self {
            body,
            _in_flight: None,
        }
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

/// Spawns the connection tasks of a pool where they are tracked and can be stopped.
#[derive(Clone, Debug)]
pub(super) struct TaskExecutor(pub(super) BackgroundTasks);

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.0.stop.clone();
        self.0.tracker.spawn(async move {
            let task = caught(Task::Upstream, task);
            stop.run_until_cancelled(task).await;
        });
    }
}

/// Opens connections for a pool.
#[derive(Clone, Debug)]
pub(super) struct PoolConnector(Dialer);

/// When a pooled connection was dialled, and how long that took. It is an extension of each response.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialInfo {
    pub(super) started: Instant,
    pub(super) took: Duration,
}

/// A connection of a pool.
pub(super) struct PooledStream {
    stream: TokioIo<TlsStream<TcpStream>>,
    dialled: DialInfo,
    _gauge: GaugeGuard,
}

// === impl PoolConnector ===

impl Service<Uri> for PoolConnector {
    type Response = PooledStream;
    type Error = Arc<DialError>;
    type Future = Pin<Box<dyn Future<Output = Result<PooledStream, Arc<DialError>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// Opens a connection. Ignores the URI, because the address comes from the configuration.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.0.clone();
        let started = Instant::now();
        Box::pin(async move {
            let Dialled { stream, took } = dialer.dial().await.map_err(Arc::new)?;
            Ok(PooledStream {
                stream: TokioIo::new(stream),
                dialled: DialInfo { started, took },
                _gauge: GaugeGuard::new(&dialer.metrics().upstream_connections),
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
    async fn panic_in_a_connection_task_ends_only_that_task() {
        let tasks = TaskExecutor(BackgroundTasks::default());
        let open = Arc::new(AtomicUsize::new(1));
        let in_flight = InFlight(Arc::clone(&open));
        tasks.execute(async move {
            let _in_flight = in_flight;
            panic!("on purpose");
        });
        tasks.0.tracker.close();
        tasks.0.tracker.wait().await;
        assert_eq!(open.load(Ordering::Relaxed), 0);
        let label = Task::Upstream.into();
        let panics = &crate::telemetry::metrics::metrics().task_panics;
        assert_eq!(panics.get_or_create(&label).get(), 1);
    }
}
