//! The transport of a pooled connection.
//!
//! It records when upstream was last heard. It also hides that upstream no longer reads: an upstream
//! may reject a request whose body is still being sent, and close the connection (RFC 9110, section
//! 15.5.14). Writing fails then, but its response can still be read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::telemetry::metrics::GaugeGuard;

/// The TLS stream of a connection.
pub(super) struct PooledStream {
    stream: TokioIo<TlsStream<TcpStream>>,
    heard: Arc<LastHeard>,
    /// Whether something was read that may not have been processed yet.
    is_unprocessed: bool,
    /// Whether upstream has closed its reading side. What is written from then on is discarded.
    is_write_closed: bool,
    _gauge: GaugeGuard,
}

/// When upstream last sent something on a connection.
#[derive(Debug)]
pub(super) struct LastHeard {
    opened: Instant,
    /// Milliseconds after `opened`.
    after: AtomicU64,
    /// Woken when everything that was read was processed.
    processed: AtomicWaker,
}

// === impl LastHeard ===

impl LastHeard {
    /// Wakes the task of `waker` once, when what upstream sends next was processed.
    pub(super) fn register(&self, waker: &Waker) {
        self.processed.register(waker);
    }

    /// Returns whether upstream has sent something at `instant` or later.
    pub(super) fn is_since(&self, instant: Instant) -> bool {
        let after = Duration::from_millis(self.after.load(Ordering::Relaxed));
        self.opened + after >= instant
    }

    fn note(&self) {
        let after = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after.store(after, Ordering::Relaxed);
    }
}

// === impl PooledStream ===

impl PooledStream {
    pub(super) fn new(stream: TlsStream<TcpStream>, gauge: GaugeGuard) -> Self {
        let heard = LastHeard {
            opened: Instant::now(),
            after: AtomicU64::new(0),
            processed: AtomicWaker::new(),
        };
        Self {
            stream: TokioIo::new(stream),
            heard: Arc::new(heard),
            is_unprocessed: false,
            is_write_closed: false,
            _gauge: gauge,
        }
    }

    pub(super) fn last_heard(&self) -> Arc<LastHeard> {
        Arc::clone(&self.heard)
    }

    pub(super) fn is_http2(&self) -> bool {
        let (_, tls) = self.stream.inner().get_ref();
        tls.alpn_protocol() == Some(b"h2")
    }

    /// Writes with `write`, whose result is `discarded` if upstream no longer reads.
    fn write<T>(
        &mut self,
        discarded: T,
        write: impl FnOnce(Pin<&mut TokioIo<TlsStream<TcpStream>>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_write_closed {
            return Poll::Ready(Ok(discarded));
        }
        match write(Pin::new(&mut self.stream)) {
            Poll::Ready(Err(error)) if is_write_closed(&error) => {
                self.is_write_closed = true;
                Poll::Ready(Ok(discarded))
            }
            written @ (Poll::Ready(_) | Poll::Pending) => written,
        }
    }
}

fn is_write_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl Read for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => {
                self.heard.note();
                self.is_unprocessed = true;
            }
            // HTTP reads again only when it has processed everything.
            Poll::Pending if self.is_unprocessed => {
                self.is_unprocessed = false;
                self.heard.processed.wake();
            }
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
        read
    }
}

impl Write for PooledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |stream| stream.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.write(length, |stream| stream.poll_write_vectored(cx, bufs))
    }
}
