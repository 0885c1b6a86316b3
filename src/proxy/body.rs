//! The body of a response: ours or upstream's, counted, and logged when it is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::telemetry::Record;
use crate::upstream::ResponseBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response body. Dropping it writes the request's log line.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    record: Option<Record>,
}

enum Inner {
    Full(Option<Bytes>),
    Stream(Pin<Box<ResponseBody>>),
}

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            inner: Inner::Full((!bytes.is_empty()).then_some(bytes)),
            record: None,
        }
    }

    pub(super) fn stream(body: ResponseBody) -> Self {
        Self {
            inner: Inner::Stream(Box::pin(body)),
            record: None,
        }
    }

    pub(super) fn set_record(&mut self, record: Record) {
        self.record = Some(record);
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match &mut this.inner {
            Inner::Full(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Inner::Stream(body) => ready!(body.as_mut().poll_frame(cx)),
        };
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => record.bytes_out += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => record.cause = Some(error.to_string()),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            record.write();
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stream(_) => "Stream",
        })
    }
}
