//! The body of a response. It counts its bytes, and writes the log line of its request when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use countersign_protocol::error_code::Code;
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::operation::{FieldDenials, record_denial};
use crate::session::Piece;
use crate::sign::redact;
use crate::telemetry::{ErrorSearch, Record};
use crate::upstream::{ResponseBody, Upstream};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response body. Dropping it writes the request's log line.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    record: Option<Box<Record>>,
    /// The body has ended.
    is_over: bool,
    /// The length that the response's head announces, if it does.
    length: Option<usize>,
    /// The search for fields that AppSync denied.
    denials: Option<(Arc<Upstream>, FieldDenials)>,
    /// The search for GraphQL errors, if they are logged.
    errors: Option<Box<ErrorSearch>>,
}

/// The pieces of a batch's response, in their order.
pub(super) type BatchPieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

enum Inner {
    Full(Option<Bytes>),
    /// The part that was already read, the rest, and the masking of session tokens in both.
    Stream(Option<Bytes>, ResponseBody, redact::MaskingStream),
    Pieces(mpsc::Receiver<Piece>),
    Batch(BatchPieces),
    Ended,
    Cut,
    /// Upstream's response was interrupted; hyper gets the error once the earlier bytes have been sent.
    Broken(Option<BoxError>),
}

/// The error that ends a response early, so that the client notices the interruption.
#[derive(Debug, thiserror::Error)]
#[error("the stream was interrupted")]
struct Cut;

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            inner: Inner::Full((!bytes.is_empty()).then_some(bytes)),
            record: None,
            is_over: false,
            length: None,
            denials: None,
            errors: None,
        }
    }

    pub(super) fn stream(body: ResponseBody) -> Self {
        Self::stream_after(Bytes::new(), body)
    }

    /// Returns a body that begins with `read`, the part that has been read already.
    pub(super) fn stream_after(read: Bytes, rest: ResponseBody) -> Self {
        Self {
            inner: Inner::Stream(
                (!read.is_empty()).then_some(read),
                rest,
                redact::MaskingStream::default(),
            ),
            record: None,
            is_over: false,
            length: None,
            denials: None,
            errors: None,
        }
    }

    /// Returns the body that a session writes.
    pub(super) fn pieces(pieces: mpsc::Receiver<Piece>) -> Self {
        Self {
            inner: Inner::Pieces(pieces),
            record: None,
            is_over: false,
            length: None,
            denials: None,
            errors: None,
        }
    }

    /// Returns a body of the results of a batch's operations.
    pub(super) fn batch(pieces: BatchPieces) -> Self {
        Self {
            inner: Inner::Batch(pieces),
            record: None,
            is_over: false,
            length: None,
            denials: None,
            errors: None,
        }
    }

    /// Searches the body for a field that AppSync denied, and for errors if they are logged, and adds them to
    /// the record.
    pub(super) fn search(&mut self, upstream: Arc<Upstream>, denials: FieldDenials) {
        self.errors = ErrorSearch::start();
        self.denials = Some((upstream, denials));
    }

    /// Sets the record to write at the end. `length` is what the response's head announces.
    pub(super) fn set_record(&mut self, record: Box<Record>, length: Option<usize>) {
        self.record = Some(record);
        self.length = length;
    }
}

impl Body {
    /// Returns whether the client closed the connection before the end of the body. hyper reads no more
    /// than the announced length, and so may not notice the end itself.
    fn is_cut_short(&self, record: &Record) -> bool {
        let is_whole = self.length.is_some_and(|length| record.bytes_out >= length);
        let has_body = record.method != "HEAD" && !matches!(record.status, 204 | 304);
        let is_streamed = matches!(self.inner, Inner::Stream(..) | Inner::Batch(_));
        is_streamed && has_body && !self.is_over && !is_whole
    }
}

/// Returns the next frame of upstream's body. A piece that may be the start of a session token is held
/// back until the next one.
fn poll_stream(
    read: &mut Option<Bytes>,
    rest: &mut ResponseBody,
    tokens: &mut redact::MaskingStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    loop {
        let frame = match read.take() {
            Some(bytes) => Frame::data(bytes),
            None => match ready!(Pin::new(&mut *rest).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if tokens.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Ok(Frame::data(tokens.finish())))),
            },
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(data) => {
                let masked = tokens.push(data);
                if !masked.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(masked))));
                }
            }
            // Trailers must not overtake bytes that are held back.
            Err(_) if !tokens.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(tokens.finish()))));
            }
            Err(mut trailers) => {
                if let Some(trailers) = trailers.trailers_mut() {
                    redact::mask_headers(trailers);
                }
                return Poll::Ready(Some(Ok(trailers)));
            }
        }
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
            Inner::Stream(read, rest, tokens) => {
                match ready!(poll_stream(read, rest, tokens, cx)) {
                    Some(Err(error)) => {
                        if let Some(record) = &mut this.record {
                            record.error = Some(error.to_string());
                            record.code.get_or_insert(Code::UpstreamBroken.into());
                        }
                        // The head may not have been sent yet, as with `Inner::Pieces`.
                        this.inner = Inner::Broken(Some(error));
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    frame => frame,
                }
            }
            Inner::Pieces(pieces) => match ready!(pieces.poll_recv(cx)) {
                Some(Piece::Text(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::End) => {
                    this.inner = Inner::Ended;
                    None
                }
                interrupted @ (Some(Piece::Stop) | None) => {
                    if let (Some(record), Some(_)) = (&mut this.record, interrupted) {
                        record.code = Some(Code::ShuttingDown.into());
                    }
                    // While a body is pending, hyper flushes its buffer; at an error it discards it.
                    this.inner = Inner::Cut;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
            Inner::Batch(pieces) => {
                let piece = ready!(pieces.as_mut().poll_next(cx));
                piece.map(|bytes| Ok(Frame::data(bytes)))
            }
            Inner::Ended => None,
            Inner::Cut => Some(Err(BoxError::from(Cut))),
            Inner::Broken(error) => error.take().map(Err),
        };
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    record.bytes_out += data.len();
                    record.capture.response_body(data);
                    if let Some(errors) = &mut this.errors {
                        errors.push(data);
                    }
                    if let Some((upstream, denials)) = &mut this.denials
                        && let Some(message) = denials.push(data)
                    {
                        record_denial(upstream, &message, record);
                    }
                }
                // A stop is not worth a warning, so it has no error.
                Some(Err(_)) if record.code == Some(Code::ShuttingDown.into()) => {}
                Some(Err(error)) => {
                    record.error = Some(error.to_string());
                    record.code.get_or_insert(Code::UpstreamBroken.into());
                }
                None => {}
            }
        }
        this.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Stream(read, rest, tokens) => {
                read.is_none() && tokens.is_empty() && rest.is_end_stream()
            }
            Inner::Pieces(_) | Inner::Batch(_) | Inner::Cut | Inner::Broken(_) => false,
            Inner::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Stream(None, rest, tokens) if tokens.is_empty() => rest.size_hint(),
            Inner::Stream(..)
            | Inner::Pieces(_)
            | Inner::Batch(_)
            | Inner::Ended
            | Inner::Cut
            | Inner::Broken(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            if self.is_cut_short(&record) {
                record.abandon();
            }
            if let Some(errors) = &self.errors {
                record.graphql_errors = errors.finish().map(Box::new);
            }
            record.write();
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stream(..) => "Stream",
            Self::Pieces(_) => "Pieces",
            Self::Batch(_) => "Batch",
            Self::Ended => "Ended",
            Self::Cut => "Cut",
            Self::Broken(_) => "Broken",
        })
    }
}
