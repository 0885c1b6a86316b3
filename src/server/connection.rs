//! A client connection below HTTP: its stream, and the bodies of its responses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::config::ServerConfig;
use super::connection_state::{ConnectionState, InProgress};
use super::eviction::Evictions;
use super::framing::Framing;
use super::linger::Linger;
use super::request_wait::{Head, RequestWait};
use crate::proxy::Body;

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
}

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
    ) -> Self {
        Self {
            stream,
            state,
            framing: Framing::default(),
            wait: RequestWait::new(config, evictions),
            is_flushed: true,
            is_over: false,
            linger: None,
        }
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
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if !this.state.is_upgraded() {
                    this.framing.read(buf.filled().split_at(before).1);
                    this.state.set_ambiguous(this.framing.is_ambiguous());
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
            Poll::Pending => {
                this.wait.end();
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
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

    /// Begins the wait for the next request, because hyper flushes after it has found nothing to read,
    /// and does not read again.
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
