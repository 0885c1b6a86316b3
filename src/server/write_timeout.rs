//! Closes the connection of a client that reads too little of what is written to it. Otherwise the
//! system would buffer the data for as long as the client reads a byte now and then.
//!
//! The timeout runs only while data waits to be written, so idle streams stay open.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail when the peer reads fewer than [`LEAST`] bytes within the limit.
#[derive(Debug)]
pub(super) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Makes the stream discard unsent data.
    abandon: fn(&S),
    /// Set while data waits to be written.
    stall: Option<Stall>,
}

#[derive(Debug)]
struct Stall {
    /// Fires at the end of the current period.
    timer: Pin<Box<Sleep>>,
    /// How many bytes the peer has read in the current period.
    taken: usize,
}

/// A peer that reads less counts as one that does not read.
const LEAST: usize = 4 * 1024;

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, limit: Duration, abandon: fn(&S)) -> Self {
        Self {
            stream,
            limit,
            abandon,
            stall: None,
        }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(taken)) => {
                if let Some(stall) = &mut self.stall {
                    stall.taken += taken;
                }
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.stalled(cx),
        }
    }

    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let stall = self.stall.get_or_insert_with(|| Stall {
            timer: Box::pin(tokio::time::sleep(limit)),
            taken: 0,
        });
        while stall.timer.as_mut().poll(cx).is_ready() {
            if stall.taken < LEAST {
                (self.abandon)(&self.stream);
                let error = "the client does not read (timeouts.write)";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
            }
            stall.taken = 0;
            stall.timer.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
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
        self.written(cx, result)
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
        self.written(cx, result)
    }

    /// Called when everything has been written.
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

    /// Writes 64 KiB through a pipe of 8 KiB, of which the peer takes `bytes` every `pause`.
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
    async fn who_takes_nothing_is_left_in_time() {
        let begun = Instant::now();
        let error = written(1, Duration::from_secs(3_600)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waited = begun.elapsed();
        assert!(waited >= LIMIT && waited < LIMIT * 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_nothing() {
        assert!(written(1, Duration::from_secs(1)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_may_take_longer_than_the_limit() {
        let begun = Instant::now();
        written(1_024, Duration::from_secs(2)).await.unwrap();
        assert!(begun.elapsed() > LIMIT * 5, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_counts_for_nothing() {
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
