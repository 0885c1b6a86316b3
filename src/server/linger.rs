//! Reads and discards what a client still sends after its last response.
//!
//! If the socket were closed immediately, the system would reset the connection, and the client could
//! lose the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::deadline::Deadline;

/// The closing of a connection on which the client may still be sending.
#[derive(Debug)]
pub(super) struct Linger {
    until: Instant,
    deadline: Deadline,
}

/// How long to read before the socket is closed.
const DURATION: Duration = Duration::from_secs(1);

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            until: Instant::now() + DURATION,
            deadline: Deadline::default(),
        }
    }

    /// Resolves when the client has closed its side or the time has expired.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<()> {
        let mut bytes = [0; 4_096];
        while self.deadline.poll(cx, self.until).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}
