//! The body of a response, whose beginning can be read ahead.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::UpstreamBody;
use crate::deadline::TimeoutBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response, streamed. It fails when upstream sends nothing for `timeouts.idle`.
pub struct ResponseBody {
    /// The part that was read ahead.
    peeked: Option<Box<Peeked>>,
    /// On the heap, because it is large and handed from one future to the next.
    rest: Pin<Box<TimeoutBody<UpstreamBody>>>,
}

#[derive(Default)]
struct Peeked {
    data: Bytes,
    /// The trailers or the error after `data`.
    last: Option<Result<Frame<Bytes>, BoxError>>,
    is_over: bool,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(super) fn new(body: UpstreamBody, idle: Duration) -> Self {
        Self {
            peeked: None,
            rest: Box::pin(TimeoutBody::new(idle, body)),
        }
    }

    /// Reads pieces until `is_enough` returns `true` for their bytes, or to the end. They remain part of the
    /// body, also if the future is dropped early.
    pub(super) async fn peek(&mut self, is_enough: impl Fn(&[u8]) -> bool) {
        let peeked = self.peeked.get_or_insert_default();
        while !peeked.is_over && peeked.last.is_none() && !is_enough(&peeked.data) {
            match self.rest.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if peeked.data.is_empty() => peeked.data = data,
                    Ok(data) => peeked.data = [&peeked.data, &data[..]].concat().into(),
                    Err(trailers) => peeked.last = Some(Ok(trailers)),
                },
                Some(Err(error)) => peeked.last = Some(Err(error)),
                None => peeked.is_over = true,
            }
        }
    }

    /// Returns the bytes that were read ahead.
    pub(super) fn peeked(&self) -> &[u8] {
        self.peeked.as_ref().map_or(&[], |peeked| &peeked.data)
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

/// The length is not known here: the response's head states it, and hyper must neither replace nor trust it
/// where the status excludes a body, or where upstream sends more.
impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(peeked) = &mut self.peeked {
            if !peeked.data.is_empty() {
                let data = std::mem::take(&mut peeked.data);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(last) = peeked.last.take() {
                return Poll::Ready(Some(last));
            }
            if peeked.is_over {
                return Poll::Ready(None);
            }
            self.peeked = None;
        }
        let frame = ready!(self.rest.as_mut().poll_frame(cx));
        Poll::Ready(frame)
    }
}
