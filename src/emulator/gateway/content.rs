//! The body of an answer: whole, or in parts that are sent over time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::stats::Ledger;

pub(crate) type Reply = Response<Content>;

/// An error ends the answer early: the connection is dropped, or the HTTP/2 stream is reset.
pub(super) type Parts = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

pub(crate) enum Content {
    Whole(Bytes),
    Parts(Parts),
}

/// The progress of an answer in parts. When dropped, counts the answer as cut if its client left
/// before the last part.
struct Progress {
    ledger: Arc<Ledger>,
    sent: u64,
    count: u64,
}

// === impl Progress ===

impl Drop for Progress {
    fn drop(&mut self) {
        // The answer to a `HEAD` sends no part.
        if self.sent > 0 && self.sent < self.count {
            self.ledger.count(|counts| counts.gateway.cut += 1);
        }
    }
}

// === impl Content ===

impl Content {
    /// Returns `count` parts with a pause before each but the first. With `breaks`, an error follows.
    pub(super) fn parts(
        ledger: &Arc<Ledger>,
        count: u64,
        pause: Duration,
        breaks: bool,
        part: impl Fn(u64) -> Bytes + Send + 'static,
    ) -> Self {
        let progress = Progress {
            ledger: Arc::clone(ledger),
            sent: 0,
            count,
        };
        let parts = stream::unfold((progress, part), move |(mut progress, part)| async move {
            if progress.sent == count {
                return None;
            }
            if progress.sent > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            progress.sent += 1;
            Some((Ok(part(progress.sent)), (progress, part)))
        });
        let end = breaks.then(|| Err(io::ErrorKind::ConnectionAborted.into()));
        Self::Parts(Box::pin(parts.chain(stream::iter(end))))
    }

    /// Returns the body for hyper.
    pub(crate) fn into_body(self) -> UnsyncBoxBody<Bytes, io::Error> {
        match self {
            Self::Whole(bytes) => Full::new(bytes)
                .map_err(|never| match never {})
                .boxed_unsync(),
            Self::Parts(parts) => {
                StreamBody::new(parts.map(|part| part.map(Frame::data))).boxed_unsync()
            }
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Parts(_) => f.write_str("parts"),
        }
    }
}
