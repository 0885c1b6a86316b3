//! Relays upstream's responses, with session tokens masked.

use std::borrow::Cow;

use bytes::Bytes;
use countersign_protocol::error_code::Code;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::body::Body;
use super::error::Error;
use crate::memory::{Buffer, Share};
use crate::sign::redact;
use crate::telemetry::{Record, RecordCode};
use crate::upstream::{
    self, Explanation, ForeignPage, MAX_REJECTION, ResponseBody, may_be_rejection, rejection,
};

/// A rejection is in memory twice: as it was received, and with its tokens masked.
pub(super) const COPIES: usize = 2;

/// The start of a response, read to see whether it is a rejection by AWS.
enum ResponseStart {
    Complete(Buffer),
    /// It is not a rejection, or is longer than [`MAX_REJECTION`]; the second part has not been read.
    Partial(Bytes, ResponseBody),
}

/// Relays a response as it arrives, with session tokens masked.
pub(super) async fn relay(
    mut head: Parts,
    body: ResponseBody,
    share: &Share,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let body = match read_start(&head, body, share).await? {
        ResponseStart::Complete(buffer) => {
            record_rejection(&head, &String::from_utf8_lossy(buffer.bytes()), record);
            redacted(head.status, &head.headers, buffer)?
        }
        ResponseStart::Partial(..) if is_of_aws(&head.headers) => {
            let limit = MAX_REJECTION;
            return Err(upstream::Error::ResponseTooLarge { limit }.into());
        }
        ResponseStart::Partial(read, rest) => {
            return Ok(Response::from_parts(head, Body::stream_after(read, rest)));
        }
    };
    // The response to a HEAD keeps the length that it announces.
    if !body.is_empty() {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok(Response::from_parts(head, Body::full(body)))
}

/// Records why AWS, or a server of AWS in front of it, rejected a request, as far as it is known.
fn record_rejection(head: &Parts, body: &str, record: &mut Record) {
    let kind = record.code.as_ref().map(RecordCode::as_str);
    if let Some(code) = rejection(head.status, kind, body) {
        record.code = Some(code.into());
    }
    let page = ForeignPage::of(head.status, &head.headers, body);
    if let Some(page) = &page {
        record.code.get_or_insert(Code::UpstreamNotJson.into());
        record.error = Some(format!("upstream responded {}", page.description));
    }
    let explanation = Explanation::of_response(head, body);
    let explanation = explanation.or_else(|| page.as_ref().map(Explanation::of_page));
    if let Some(explanation) = explanation {
        explanation.record(record);
    }
}

/// Returns whether AWS marks the response as its own error.
pub(super) fn is_of_aws(headers: &HeaderMap) -> bool {
    headers.contains_key(&upstream::ERROR_TYPE)
}

/// Reads a response to its end, or until it is clear that it is not a rejection.
async fn read_start(
    head: &Parts,
    mut body: ResponseBody,
    share: &Share,
) -> Result<ResponseStart, Error> {
    let may_be_rejection = |start: &[u8]| may_be_rejection(head.status, &head.headers, start);
    if !may_be_rejection(&[]) {
        return Ok(ResponseStart::Partial(Bytes::new(), body));
    }
    let mut buffer = Buffer::new(share, COPIES);
    buffer.set_limit(MAX_REJECTION, body.size_hint().exact());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(upstream::Error::Interrupted)?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        if buffer.bytes().len() + piece.len() > MAX_REJECTION {
            buffer.append(piece);
            return Ok(ResponseStart::Partial(buffer.finish(), body));
        }
        let pushed = buffer.push(piece).await;
        pushed.map_err(|_| upstream::Error::Unbuffered)?;
        if !may_be_rejection(buffer.bytes()) {
            return Ok(ResponseStart::Partial(buffer.finish(), body));
        }
    }
    Ok(ResponseStart::Complete(buffer))
}

/// Returns a rejection with its session tokens masked.
fn redacted(status: StatusCode, headers: &HeaderMap, buffer: Buffer) -> Result<Bytes, Error> {
    let is_encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value != "identity");
    if is_encoded && is_of_aws(headers) {
        return Err(Error::Unreadable(status));
    }
    let redacted = match redact::mask_tokens(&String::from_utf8_lossy(buffer.bytes())) {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(Bytes::from(text)),
    };
    Ok(match redacted {
        Some(text) => buffer.replace(text),
        None => buffer.finish(),
    })
}
