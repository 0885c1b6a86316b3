//! Closes the connection of a client that reads too little of what is written to it. Otherwise a client
//! that reads a byte now and then could keep its data buffered forever.
//!
//! The timeout runs only while data waits to be written, so idle streams stay open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::peer::Peer;
use crate::deadline::Deadline;

/// A stream whose writes fail when the peer reads fewer than [`MIN_PROGRESS`] bytes within the limit.
#[derive(Debug)]
pub(super) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Makes the stream discard unsent data when it is closed.
    abandon: fn(&S),
    /// Set while data waits to be written.
    stall: Option<Stall>,
}

#[derive(Debug)]
struct Stall {
    /// The end of the current period.
    until: Instant,
    deadline: Deadline,
    /// The number of bytes that the peer has read in the current period.
    read: usize,
}

/// The number of bytes that a peer must read in each period.
const MIN_PROGRESS: usize = 4 * 1024;

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, limit: Duration, abandon: fn(&S)) -> Self {
        Self {
            stream,
            limit,
            abandon,
            stall: None,
        }
    }

    fn count_written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(written)) => {
                if let Some(stall) = &mut self.stall {
                    stall.read += written;
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.stalled(cx),
        }
    }

    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let stall = self.stall.get_or_insert_with(|| Stall {
            until: Instant::now() + limit,
            deadline: Deadline::default(),
            read: 0,
        });
        while stall.deadline.poll(cx, stall.until).is_ready() {
            if stall.read < MIN_PROGRESS {
                (self.abandon)(&self.stream);
                let error = "the client does not read (timeouts.write)";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
            }
            stall.read = 0;
            stall.until = Instant::now() + limit;
        }
        Poll::Pending
    }
}

impl<S: Peer> Peer for WriteTimeout<S> {
    fn is_gone(&self) -> bool {
        self.stream.is_gone()
    }

    fn probe(&self) {
        self.stream.probe();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count_written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count_written(cx, result)
    }

    /// hyper calls this when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.stall = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.stalled(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(shut) => Poll::Ready(shut),
            Poll::Pending => self.stalled(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Writes 64 KiB through a pipe of 8 KiB, of which the peer reads `bytes` every `pause`.
    async fn written(bytes: usize, pause: Duration) -> io::Result<()> {
        let (ours, mut theirs) = duplex(8 * 1024);
        let mut stream = WriteTimeout::new(ours, LIMIT, |_| {});
        let reading = async {
            let mut buffer = vec![0; bytes];
            loop {
                tokio::time::sleep(pause).await;
                theirs.read_exact(&mut buffer).await.unwrap();
            }
        };
        let writing = async {
            stream.write_all(&[0; 64 * 1024]).await?;
            stream.flush().await
        };
        tokio::select! {
            written = writing => written,
            () = reading => Ok(()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_nothing_is_closed_after_the_timeout() {
        let begun = Instant::now();
        let error = written(1, Duration::from_secs(3_600)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waited = begun.elapsed();
        assert!(waited >= LIMIT && waited < LIMIT * 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_a_byte_a_second_is_closed() {
        assert!(written(1, Duration::from_secs(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_client_may_take_longer_than_the_timeout() {
        let begun = Instant::now();
        written(1_024, Duration::from_secs(2)).await.unwrap();
        assert!(begun.elapsed() > LIMIT * 5, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_does_not_run_while_nothing_waits_to_be_written() {
        let (ours, mut theirs) = duplex(8 * 1024);
        let mut stream = WriteTimeout::new(ours, LIMIT, |_| {});
        for _ in 0..3 {
            let (written, _) = tokio::join!(stream.write_all(&[0; 16 * 1024]), async {
                theirs.read_exact(&mut [0; 16 * 1024]).await.unwrap();
            });
            written.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(LIMIT * 10).await;
        }
    }
}
