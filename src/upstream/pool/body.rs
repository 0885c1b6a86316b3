//! The body of a request over HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::upstream::repeat::Repeat;

/// A body that is complete from the start.
///
/// When a GOAWAY frame arrives while hyper sends the head of a request, hyper reports it as the error of
/// the request, also if upstream has the head and processes it. So a request that must not be processed
/// twice ends with a frame of its own, also if it has no body, and whether hyper has gone on to that frame
/// shows which of the two has happened.
#[derive(Debug)]
pub(super) struct Http2Body {
    data: Bytes,
    ends_with_head: bool,
    is_begun: Arc<AtomicBool>,
}

/// Whether a GOAWAY frame proves that upstream does not process the request.
#[derive(Debug)]
pub(super) struct GoawayProof {
    repeat: Repeat,
    is_begun: Arc<AtomicBool>,
}

impl Http2Body {
    pub(super) fn new(data: Bytes, repeat: Repeat) -> (Self, GoawayProof) {
        let is_begun = Arc::new(AtomicBool::new(false));
        let proof = GoawayProof {
            repeat,
            is_begun: Arc::clone(&is_begun),
        };
        let body = Self {
            ends_with_head: data.is_empty() && repeat == Repeat::Safe,
            data,
            is_begun,
        };
        (body, proof)
    }
}

impl GoawayProof {
    pub(super) fn holds(&self) -> bool {
        self.repeat == Repeat::Safe || self.is_begun.load(Ordering::Relaxed)
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_begun.store(true, Ordering::Relaxed);
        let data = std::mem::take(&mut self.data);
        let frame = (!data.is_empty()).then(|| Ok(Frame::data(data)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let is_begun = self.is_begun.load(Ordering::Relaxed);
        self.data.is_empty() && (is_begun || self.ends_with_head)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.data.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn goaway_proves_nothing_until_hyper_sends_the_body() {
        for (data, repeat, ends_with_head, is_proof) in [
            ("", Repeat::Never, false, false),
            ("", Repeat::Safe, true, true),
            ("a", Repeat::Never, false, false),
            ("a", Repeat::Safe, false, true),
        ] {
            let (mut body, proof) = Http2Body::new(data.into(), repeat);
            assert_eq!(body.is_end_stream(), ends_with_head, "{data:?} {repeat:?}");
            assert_eq!(proof.holds(), is_proof, "{data:?} {repeat:?}");
            assert_eq!(body.size_hint().exact(), u64::try_from(data.len()).ok());
            let sent = (&mut body).collect().await.unwrap().to_bytes();
            assert_eq!(sent, data);
            assert!(body.is_end_stream() && proof.holds());
        }
    }
}
