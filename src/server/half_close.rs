//! Clients that close only their sending side after a request, as `nc -N` does, and wait for the
//! response (RFC 9112, section 9.6).
//!
//! hyper would end the request of such a client, because TCP does not show whether the client also reads
//! no more. So the end is held back until the request has been answered, or the client is known to be
//! gone. [`Peer::is_gone`] knows that of clients on this machine; of others it learns it when the
//! client's system answers a keepalive probe with a reset, or answers none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::peer::Peer;

/// A client that has closed its sending side. Checks repeatedly whether it is gone.
#[derive(Debug)]
pub(super) struct HalfClosed {
    next_check: Pin<Box<Sleep>>,
    interval: Duration,
}

/// A stream that ends only once the peer is gone. Its reader limits how long a request may take.
#[derive(Debug)]
pub(crate) struct HeldOpen<S> {
    stream: S,
    half_closed: Option<HalfClosed>,
}

/// The first interval between two checks. A client may close its socket right after its sending side.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
const MAX_INTERVAL: Duration = Duration::from_secs(5);

impl HalfClosed {
    pub(super) fn new(peer: &impl Peer) -> Self {
        peer.probe();
        Self {
            next_check: Box::pin(sleep(Duration::ZERO)),
            interval: MIN_INTERVAL,
        }
    }

    /// Resolves when the client is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, peer: &impl Peer) -> Poll<()> {
        loop {
            ready!(self.next_check.as_mut().poll(cx));
            if peer.is_gone() {
                return Poll::Ready(());
            }
            let next = Instant::now() + self.interval;
            self.next_check.as_mut().reset(next);
            self.interval = (2 * self.interval).min(MAX_INTERVAL);
        }
    }
}

// === impl HeldOpen ===

impl<S> HeldOpen<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            half_closed: None,
        }
    }
}

impl<S: AsyncRead + Peer + Unpin> AsyncRead for HeldOpen<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if is_end(&result, buf, before) {
            let new = || HalfClosed::new(&this.stream);
            let half_closed = this.half_closed.get_or_insert_with(new);
            ready!(half_closed.poll_gone(cx, &this.stream));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeldOpen<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Returns whether a read found that the peer sends nothing more. Over TLS, a peer may end without
/// announcing it.
pub(super) fn is_end(result: &Poll<io::Result<()>>, buf: &ReadBuf<'_>, before: usize) -> bool {
    match result {
        Poll::Ready(Ok(())) => buf.filled().len() == before && buf.remaining() > 0,
        Poll::Ready(Err(error)) => error.kind() == io::ErrorKind::UnexpectedEof,
        Poll::Pending => false,
    }
}
