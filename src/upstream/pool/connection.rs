//! One connection of a pool: its handshake, and the requests on it.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::Either;
use http::header::{HOST, HeaderValue};
use http::uri::Authority;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;

use super::body::Http2Body;
use super::stream::{LastHeard, PooledStream};
use crate::deadline::PeerTimer;
use crate::upstream::error::SendError;
use crate::upstream::repeat::Repeat;
use crate::upstream::tasks::TaskExecutor;

/// The settings of HTTP/2 connections.
#[derive(Clone, Debug)]
pub(super) struct Http2Builder(http2::Builder<TaskExecutor>);

/// A connection that requests can be sent on. When the last handle is dropped, the connection
/// completes its requests and closes.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    heard: Arc<LastHeard>,
    /// How many requests it carries at a time.
    slots: Arc<AtomicUsize>,
    /// Whether a response has ended and the connection is not yet ready for the next request. Always
    /// `false` with HTTP/2.
    is_returning: AtomicBool,
    pub(super) dial: Dial,
}

/// When the dial of a connection started, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Dial {
    pub(in crate::upstream) started: Instant,
    pub(in crate::upstream) took: Duration,
}

/// The future that reads and writes a connection.
pub(super) enum Io {
    Http1(Box<http1::Connection<PooledStream, Full<Bytes>>>),
    Http2 {
        connection: Box<http2::Connection<PooledStream, Http2Body, TaskExecutor>>,
        slots: Arc<AtomicUsize>,
        heard: Arc<LastHeard>,
    },
}

#[derive(Debug)]
enum Sender {
    Http1(Mutex<http1::SendRequest<Full<Bytes>>>),
    Http2(http2::SendRequest<Http2Body>),
}

/// The most requests on one HTTP/2 connection. Application Load Balancers allow 128 streams.
const MAX_STREAMS: usize = 100;
/// The connection window as a multiple of the stream window: more than there can be streams.
const CONNECTION_WINDOW_FACTOR: u32 = 128;
/// The time without a frame after which an HTTP/2 connection with open streams is sent a ping. A request
/// on a connection that was idle for longer is followed by a ping at once.
const PING_AFTER: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Http2Builder ===

impl Http2Builder {
    pub(super) fn new(tasks: &TaskExecutor, stream_window: u32) -> Self {
        let mut builder = http2::Builder::new(tasks.clone());
        builder
            .timer(PeerTimer)
            // No stream is opened before upstream has limited their number.
            .initial_max_send_streams(0)
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(stream_window.saturating_mul(CONNECTION_WINDOW_FACTOR))
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT);
        Self(builder)
    }
}

// === impl Connection ===

impl Connection {
    /// Starts HTTP on an open stream, in the version that TLS has negotiated. With HTTP/2, waits for the
    /// settings of upstream, which limit the number of streams.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) async fn handshake(
        stream: PooledStream,
        dial: Dial,
        http2: &Http2Builder,
    ) -> Result<(Self, Io), Box<dyn Error + Send + Sync>> {
        let heard = stream.last_heard();
        let (sender, io, slots) = if stream.is_http2() {
            let (sender, connection) = http2.0.handshake(stream).await?;
            let mut connection = Box::new(connection);
            let slots = poll_fn(|cx| {
                heard.register(cx.waker());
                if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                    let closed = || Err("upstream closed the connection".into());
                    return Poll::Ready(ended.map_err(Box::from).and_then(|()| closed()));
                }
                match slots_of(&connection) {
                    0 => Poll::Pending,
                    slots => Poll::Ready(Ok::<_, Box<dyn Error + Send + Sync>>(slots)),
                }
            });
            let slots = Arc::new(AtomicUsize::new(slots.await?));
            let io = Io::Http2 {
                connection,
                slots: Arc::clone(&slots),
                heard: Arc::clone(&heard),
            };
            (Sender::Http2(sender), io, slots)
        } else {
            let (sender, connection) = http1::handshake(stream).await?;
            let sender = Sender::Http1(Mutex::new(sender));
            let io = Io::Http1(Box::new(connection));
            (sender, io, Arc::new(AtomicUsize::new(1)))
        };
        let connection = Self {
            sender,
            heard,
            slots,
            is_returning: AtomicBool::new(false),
            dial,
        };
        Ok((connection, io))
    }

    /// Returns how many requests it carries at a time, `None` if it is closed.
    pub(super) fn slots(&self) -> Option<usize> {
        let is_closed = match &self.sender {
            Sender::Http1(sender) => sender.lock().is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        (!is_closed).then(|| self.slots.load(Ordering::Relaxed))
    }

    /// Returns whether upstream has sent something at `instant` or later.
    pub(super) fn is_heard_since(&self, instant: Instant) -> bool {
        self.heard.is_since(instant)
    }

    /// Sends a request with an absolute URI and without a `Host` at once. The future returns the head of the
    /// response; dropping it cancels the request.
    ///
    /// # Errors
    /// When the connection is lost, or upstream refuses the request.
    pub(super) fn send(
        &self,
        request: Request<Bytes>,
        repeat: Repeat,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        // Not an `async fn`, whose future would hold the request as well.
        match &self.sender {
            Sender::Http1(sender) => {
                let request = in_origin_form(request).map(Full::new);
                let response = sender.lock().try_send_request(request);
                Either::Left(response.map_err(|error| SendError::new(error, false)))
            }
            Sender::Http2(sender) => {
                let (head, data) = request.into_parts();
                let (body, proof) = Http2Body::new(data, repeat);
                let request = Request::from_parts(head, body);
                let response = sender.clone().try_send_request(request);
                Either::Right(response.map_err(move |error| SendError::new(error, proof.holds())))
            }
        }
    }

    /// Ends a request, and returns whether its slot is free now. If it is not, [`Io::run`] reports when
    /// the connection is ready for the next request.
    pub(super) fn return_slot(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => {
                self.is_returning.store(true, Ordering::SeqCst);
                sender.lock().is_ready() && self.is_returning.swap(false, Ordering::SeqCst)
            }
            Sender::Http2(_) => true,
        }
    }

    /// Returns, once for each request, whether its slot has become free after [`Self::return_slot`].
    fn has_returned(&self) -> bool {
        let Sender::Http1(sender) = &self.sender else {
            return false;
        };
        self.is_returning.load(Ordering::SeqCst)
            && sender.lock().is_ready()
            && self.is_returning.swap(false, Ordering::SeqCst)
    }
}

fn slots_of(connection: &http2::Connection<PooledStream, Http2Body, TaskExecutor>) -> usize {
    connection.current_max_send_streams().min(MAX_STREAMS)
}

/// Turns the authority of the URI into a `Host` header (RFC 9112, section 3.2.1).
fn in_origin_form<B>(mut request: Request<B>) -> Request<B> {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    let host = uri.authority.as_ref().map(Authority::as_str);
    if let Some(Ok(host)) = host.map(HeaderValue::from_str) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(path) = uri.path_and_query {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

// === impl Io ===

impl Io {
    /// Reads and writes the connection until it ends. The requests on it report errors. Calls
    /// `on_returned` when a slot has become free that was not free at once, and `on_grown` with
    /// the number of slots when there are more than before.
    pub(super) async fn run(
        self,
        handle: Weak<Connection>,
        on_returned: impl Fn(),
        on_grown: impl Fn(usize),
    ) {
        match self {
            Self::Http1(connection) => {
                let mut connection = pin!(connection);
                let ended = poll_fn(|cx| {
                    let ended = connection.as_mut().poll(cx);
                    if handle.upgrade().is_some_and(|handle| handle.has_returned()) {
                        on_returned();
                    }
                    ended
                });
                let _ = ended.await;
            }
            Self::Http2 {
                connection,
                slots,
                heard,
            } => {
                let mut connection = pin!(connection);
                let ended = poll_fn(|cx| {
                    // Upstream may send other settings at any time. Another task reads them.
                    heard.register(cx.waker());
                    let ended = connection.as_mut().poll(cx);
                    let now = slots_of(&connection);
                    if now > slots.swap(now, Ordering::Relaxed) {
                        on_grown(now);
                    }
                    ended
                });
                let _ = ended.await;
            }
        }
    }
}
