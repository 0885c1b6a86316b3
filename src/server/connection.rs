//! A client connection below HTTP: its stream, and the bodies of its responses.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::config::ServerConfig;
use super::connection_state::{ConnectionState, InProgress};
use super::eviction::Evictions;
use super::framing::Framing;
use super::half_close::{HalfClosed, is_end};
use super::linger::Linger;
use super::malformed::{self, AutomaticResponse};
use super::peer::Peer;
use super::request_wait::{Head, RequestWait};
use crate::proxy::{Body, Proxy};

/// A client's stream below hyper. It detects when the connection waits for a request.
#[derive(Debug)]
pub(super) struct ClientStream<S> {
    stream: S,
    state: Arc<ConnectionState>,
    framing: Framing,
    wait: RequestWait,
    /// Whether everything has been written.
    is_flushed: bool,
    /// Whether the connection closes because no request arrived.
    is_over: bool,
    linger: Option<Linger>,
    /// Set once the client has closed its sending side while a request was in progress.
    half_closed: Option<HalfClosed>,
    /// Writes the response to a head that cannot be parsed.
    proxy: Arc<Proxy>,
    peer: Option<SocketAddr>,
    max_head: usize,
    /// The rest of such a response.
    response: Bytes,
    /// Bytes to read before those of the stream.
    unread: Bytes,
    /// Whether hyper is not prepared for the head in `unread`, and must not read it.
    needs_preparation: bool,
}

/// The error of a connection that continues with a hyper that is prepared for a head with many headers or
/// an upgrade.
#[derive(Debug, thiserror::Error)]
#[error("a request has many headers, or asks for an upgrade")]
pub(super) struct UnusualHead;

/// The body of a response. Its request counts as in progress until the body is dropped.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: Body,
    _in_progress: InProgress,
}

impl TrackedBody {
    pub(super) fn new(body: Body, in_progress: InProgress) -> Self {
        Self {
            body,
            _in_progress: in_progress,
        }
    }
}

impl<S> ClientStream<S> {
    pub(super) fn new(
        stream: S,
        state: Arc<ConnectionState>,
        config: &ServerConfig,
        evictions: Evictions,
        proxy: Arc<Proxy>,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            stream,
            state,
            half_closed: None,
            proxy,
            peer,
            max_head: config.request_head,
            response: Bytes::new(),
            framing: Framing::default(),
            wait: RequestWait::new(config, evictions),
            is_flushed: true,
            is_over: false,
            linger: None,
            unread: Bytes::new(),
            needs_preparation: false,
        }
    }

    /// Continues after [`UnusualHead`] with another hyper, which is prepared for it. `read` is what the last
    /// one has read and not processed: the start of the head.
    pub(super) fn prepared(&mut self, read: &[u8]) {
        self.unread = [read, &self.unread].concat().into();
        self.needs_preparation = false;
        self.framing.prepared();
    }

    /// Returns whether the connection waits for a request.
    fn is_waiting(&self) -> bool {
        self.is_flushed && !self.is_over && self.state.is_idle()
    }

    /// Resolves with the reason to close a connection that waits for a request.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let begun = self.state.begun();
        let head = if self.framing.heads() > begun {
            Head::Complete
        } else if self.framing.is_between_requests() {
            Head::Awaited
        } else {
            Head::Begun
        };
        self.wait.poll(cx, begun, head)
    }

    /// Fails with [`UnusualHead`] once the requests before have been answered.
    fn poll_unusual(&mut self) -> Poll<io::Result<()>> {
        self.wait.end();
        if self.is_waiting() {
            Poll::Ready(Err(io::Error::other(UnusualHead)))
        } else {
            Poll::Pending
        }
    }

    /// Returns whether hyper has a complete request that it has not answered.
    fn has_request(&self) -> bool {
        let has_begun = !self.state.is_idle() || self.framing.heads() > self.state.begun();
        has_begun && self.framing.is_between_requests() && !self.state.is_upgraded()
    }

    /// Follows the bytes that hyper is about to read, and returns how many of them it may have. Of the
    /// preface of HTTP/2, it may not have the part that begins with `SM`: it closes a connection with the
    /// whole preface without a response.
    fn follow(&mut self, read: &[u8]) -> usize {
        let fitting = self.framing.read(read);
        if fitting < read.len() {
            let rest = read.split_at(fitting).1;
            self.unread = [rest, &self.unread].concat().into();
            self.needs_preparation = true;
            return fitting;
        }
        self.state.set_ambiguous(self.framing.is_ambiguous());
        let end = self.framing.is_http2() && self.state.begun() == 0;
        let end = end
            .then(|| read.iter().position(|byte| *byte == b'S'))
            .flatten();
        end.unwrap_or(read.len())
    }

    /// Replaces a response that hyper has made itself, because it cannot parse a head. Returns whether
    /// `written` is one.
    fn replace(&mut self, written: &[u8]) -> bool {
        let has_head =
            self.framing.heads() > self.state.begun() || !self.framing.is_between_requests();
        if !has_head || !self.state.is_idle() {
            return false;
        }
        let Some(automatic) = AutomaticResponse::parse(written) else {
            return false;
        };
        let error = automatic.error(&self.framing, self.max_head);
        let line = self.framing.request_line();
        let response = self.proxy.refuse_head(line, self.peer, error);
        self.response = if self.framing.is_http2() {
            Bytes::from_static(malformed::HTTP2_GOAWAY)
        } else {
            automatic.replace(response, line.starts_with(b"HEAD "))
        };
        true
    }
}

impl<S: Peer> ClientStream<S> {
    /// Resolves when hyper may notice that the client has closed its sending side, which it would take
    /// for the end of the connection: once no request is in progress, or the client is gone.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_request() {
            return Poll::Ready(());
        }
        let new = || HalfClosed::new(&self.stream);
        let half_closed = self.half_closed.get_or_insert_with(new);
        half_closed.poll_gone(cx, &self.stream)
    }
}

impl<S: AsyncRead + Unpin> ClientStream<S> {
    /// Reads what has not been read, and then the stream.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> ClientStream<S> {
    /// Writes the response that replaces one of hyper's.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.response.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.response))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.response.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Peer + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.needs_preparation {
            return this.poll_unusual();
        }
        let result = this.poll_bytes(cx, buf);
        if is_end(&result, buf, before) && this.poll_end(cx).is_pending() {
            this.wait.end();
            return Poll::Pending;
        }
        match result {
            Poll::Ready(Ok(())) => {
                if !this.state.is_upgraded() {
                    let passed = this.follow(buf.filled().split_at(before).1);
                    buf.set_filled(before + passed);
                    if this.needs_preparation && passed == 0 {
                        return this.poll_unusual();
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.is_waiting() => {
                let reason = ready!(this.poll_wait(cx));
                this.is_over = true;
                this.wait.close();
                Poll::Ready(Err(reason))
            }
            Poll::Pending if this.state.is_upgraded() => {
                this.wait.end_all();
                Poll::Pending
            }
            Poll::Pending => {
                this.wait.end();
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Peer + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        if self.replace(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
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
        if let [buf, rest @ ..] = bufs
            && rest.iter().all(|rest| rest.is_empty())
            && self.replace(buf)
        {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    /// Begins the wait for the next request, because hyper flushes after it has found nothing to read,
    /// and does not read again.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_response(cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.is_flushed = true;
        if this.is_waiting() && (this.needs_preparation || this.poll_wait(cx).is_ready()) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            let is_at_rest = this.is_over || this.framing.is_between_requests();
            if is_at_rest || this.state.is_upgraded() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(Linger::new);
        linger.poll(cx, &mut this.stream).map(Ok)
    }
}

impl HttpBody for TrackedBody {
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
