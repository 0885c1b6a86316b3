//! The body of a response: complete, or in chunks that are sent over time.

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

pub(crate) type GatewayResponse = Response<GatewayBody>;

/// An error ends the response early: the connection is dropped, or the HTTP/2 stream is reset.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

pub(crate) enum GatewayBody {
    Full(Bytes),
    Chunked(Chunks),
}

/// The progress of a response in chunks. When dropped, counts the response as cut if its client
/// disconnected before the last chunk.
struct Progress {
    ledger: Arc<Ledger>,
    sent: u64,
    count: u64,
}

// === impl Progress ===

impl Drop for Progress {
    fn drop(&mut self) {
        // The response to a `HEAD` sends no chunk.
        if self.sent > 0 && self.sent < self.count {
            self.ledger.count(|counts| counts.gateway.cut += 1);
        }
    }
}

// === impl GatewayBody ===

impl GatewayBody {
    /// Returns `count` chunks with a pause between them. If `aborts` is set, an error follows.
    pub(super) fn chunked(
        ledger: &Arc<Ledger>,
        count: u64,
        pause: Duration,
        aborts: bool,
        chunk: impl Fn(u64) -> Bytes + Send + 'static,
    ) -> Self {
        let progress = Progress {
            ledger: Arc::clone(ledger),
            sent: 0,
            count,
        };
        let chunks = stream::unfold((progress, chunk), move |(mut progress, chunk)| async move {
            if progress.sent == count {
                return None;
            }
            if progress.sent > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            progress.sent += 1;
            Some((Ok(chunk(progress.sent)), (progress, chunk)))
        });
        let end = aborts.then(|| Err(io::ErrorKind::ConnectionAborted.into()));
        Self::Chunked(Box::pin(chunks.chain(stream::iter(end))))
    }

    /// Returns the body for hyper.
    pub(crate) fn into_body(self) -> UnsyncBoxBody<Bytes, io::Error> {
        match self {
            Self::Full(bytes) => Full::new(bytes)
                .map_err(|never| match never {})
                .boxed_unsync(),
            Self::Chunked(chunks) => {
                StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
            }
        }
    }
}

impl From<String> for GatewayBody {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

impl fmt::Debug for GatewayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Chunked(_) => f.write_str("chunks"),
        }
    }
}
