//! A client connection: its clock, and what is done about each request before the proxy sees it.
//!
//! [`Watched`] lies below hyper and knows when a request is under way. While none is, the
//! connection may be idle for a time, a head that has begun must be complete in another, and the
//! connection is closed when room is needed for a new one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, timeout};

use super::framing::{Framing, asks_for_websocket, check, has_odd_body};
use super::tls::{OpenError, Opened, open};
use super::{Server, ServerConfig};
use crate::proxy::{Body, Client, Error};

/// What a connection's stream and its requests know of each other.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Requests that have begun.
    begun: AtomicUsize,
    /// Told of the first one.
    first: Notify,
    /// Those that are not over.
    under_way: AtomicUsize,
    /// The connection has left HTTP.
    is_upgraded: AtomicBool,
    is_ambiguous: AtomicBool,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Exchange>);

/// A response's body, and with it its request's end.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

/// A stream below hyper.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    exchange: Arc<Exchange>,
    framing: Framing,
    idle: Duration,
    head: Duration,
    room: Arc<Notify>,
    waiting: Option<Waiting>,
    /// Fires at a deadline or before it.
    timer: Pin<Box<Sleep>>,
    /// Nothing waits to be written.
    is_flushed: bool,
    /// It is closed for want of a request.
    is_over: bool,
    is_lingering: bool,
}

/// The time between two requests.
#[derive(Debug)]
struct Waiting {
    /// Requests before it.
    after: usize,
    since: Instant,
    /// When the next head began.
    begun: Option<Instant>,
    told: Pin<Box<OwnedNotified>>,
    /// It has been told to make room, and has not yet.
    makes_room: bool,
    room: Arc<Notify>,
}

/// How long what a client still sends is read after the last answer: closed at once, a socket
/// would be reset, and the answer lost with it.
const LINGER: Duration = Duration::from_secs(1);

impl Server {
    /// Waits for the first byte, and opens what it begins.
    pub(super) async fn open(&self, stream: TcpStream) -> Result<Opened, OpenError> {
        let opening = async {
            match timeout(self.config.idle_client, stream.peek(&mut [0])).await {
                Ok(peeked) => peeked.map_err(OpenError::Socket)?,
                Err(_) => return Err(OpenError::Idle),
            };
            let opening = open(stream, self.tls.as_ref(), self.config.write);
            let opened = timeout(self.config.request_head_timeout, opening).await;
            opened.unwrap_or(Err(OpenError::Slow))
        };
        tokio::select! {
            biased;
            opened = opening => opened,
            () = self.room.notified() => Err(OpenError::Room),
        }
    }

    /// Answers one request of `client`.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
        under_way: UnderWay,
    ) -> Response<Answer> {
        let is_ambiguous = under_way.0.is_ambiguous.load(Ordering::Relaxed);
        let checked = check(&request, is_ambiguous);
        let is_upgrade = asks_for_websocket(request.headers());
        let mut closes = checked.is_err() || has_odd_body(&request);
        let response = match (checked, self.slots.check()) {
            (Err(error), _) => self.proxy.refuse(&request, &error),
            (Ok(()), _) if self.memory.is_short() => {
                self.proxy.refuse(&request, &Error::MemoryShort)
            }
            (Ok(()), Err(error)) => self.proxy.refuse(&request, &error),
            (Ok(()), Ok(())) => {
                let client = Client {
                    slot: self.slots.slot(),
                    ..client.clone()
                };
                self.proxy.handle(request, &client).await
            }
        };
        let mut response = response.map(|body| Answer {
            body,
            _under_way: under_way,
        });
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let exchange = &response.body()._under_way.0;
            exchange.is_upgraded.store(true, Ordering::Relaxed);
            return response;
        }
        // What follows a refused upgrade may not have been meant as a request.
        closes |= is_upgrade;
        if closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

impl Exchange {
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.notify_one();
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Waits for the first request. For one caller at a time.
    pub(super) async fn has_begun(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 {
            self.first.notified().await;
        }
    }

    fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0 && !self.is_upgraded()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A request came first; another connection must make room.
        if self.makes_room {
            self.room.notify_one();
        }
    }
}

impl<S> Watched<S> {
    pub(super) fn new(
        stream: S,
        exchange: Arc<Exchange>,
        config: &ServerConfig,
        room: Arc<Notify>,
    ) -> Self {
        Self {
            stream,
            exchange,
            framing: Framing::default(),
            idle: config.idle_client,
            head: config.request_head_timeout,
            room,
            waiting: None,
            timer: Box::pin(tokio::time::sleep(config.idle_client)),
            is_flushed: true,
            is_over: false,
            is_lingering: false,
        }
    }

    /// Whether the next thing to happen is a request.
    fn is_waiting(&self) -> bool {
        self.is_flushed && !self.is_over && self.exchange.is_idle()
    }

    /// The reason to close a connection that waits for a request.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let now = Instant::now();
        let after = self.exchange.begun.load(Ordering::Relaxed);
        let known = self.waiting.take().filter(|known| known.after == after);
        let waiting = self.waiting.insert(known.unwrap_or_else(|| Waiting {
            after,
            since: now,
            begun: None,
            told: Box::pin(Arc::clone(&self.room).notified_owned()),
            makes_room: false,
            room: Arc::clone(&self.room),
        }));
        if waiting.begun.is_none() && !self.framing.is_between_requests() {
            waiting.begun = Some(now);
        }
        let (deadline, reason) = match waiting.begun {
            Some(begun) => (
                begun + self.head,
                "a request's head took too long (timeouts.request_head)",
            ),
            None => (
                waiting.since + self.idle,
                "it was idle (timeouts.idle_client)",
            ),
        };
        waiting.makes_room = waiting.makes_room || waiting.told.as_mut().poll(cx).is_ready();
        if waiting.makes_room {
            let reason = "its place was needed (limits.connections)";
            return Poll::Ready(io::Error::other(reason));
        }
        // Reset only when it must be, and not by every request.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if deadline <= now {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if !this.exchange.is_upgraded() {
                    this.framing.read(buf.filled().split_at(before).1);
                    let is_ambiguous = this.framing.is_ambiguous();
                    let known = &this.exchange.is_ambiguous;
                    known.store(is_ambiguous, Ordering::Relaxed);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.is_waiting() => {
                let reason = ready!(this.poll_wait(cx));
                this.is_over = true;
                if let Some(mut waiting) = this.waiting.take() {
                    waiting.makes_room = false;
                }
                Poll::Ready(Err(reason))
            }
            Poll::Pending => {
                this.waiting = None;
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    /// The wait for the next request begins here: hyper has seen that there is nothing to read,
    /// and does not ask again.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.is_flushed = true;
        if this.is_waiting() && this.poll_wait(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_lingering {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            let rests = this.is_over || this.framing.is_between_requests();
            if rests || this.exchange.is_upgraded() {
                return Poll::Ready(Ok(()));
            }
            this.is_lingering = true;
            this.timer.as_mut().reset(Instant::now() + LINGER);
        }
        let mut bytes = [0; 4_096];
        while this.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
