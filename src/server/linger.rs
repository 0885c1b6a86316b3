//! Reads and discards what a client still sends after its last response.
//!
//! If the socket were closed immediately, the system would reset the connection, and the client could
//! lose the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// The closing of a connection on which the client may still be sending.
#[derive(Debug)]
pub(super) struct Linger {
    timer: Pin<Box<Sleep>>,
}

/// How long to read before the socket is closed.
const DURATION: Duration = Duration::from_secs(1);

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(DURATION)),
        }
    }

    /// Resolves when the client has closed its side or the time has expired.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<()> {
        let mut bytes = [0; 4_096];
        while self.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}
