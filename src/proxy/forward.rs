//! Forwards requests on routes that are not AppSync's, and relays the responses.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::response::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::exposure::Relayed;
use super::request::method_name;
use super::route::Route;
use super::slot::Slot;
use crate::memory::{Buffer, Memory, Share, Shortage};
use crate::operation::{Outgoing, exchange};
use crate::sign::{RequestTarget, TargetError, redact};
use crate::telemetry::{Record, RecordCode};
use crate::upstream::{self, ResponseBody, filter_response_headers, read_to_end, rejection};

/// The longest rejection by AWS; longer responses are an application's own.
pub(super) const MAX_REFUSAL: usize = 256 * 1024;
/// A rejection is held beside its redacted form.
pub(super) const COPIES: usize = 2;

/// A request's body that fails when memory becomes short.
struct MemoryChecked {
    body: Pin<Box<TimeoutBody<Incoming>>>,
    memory: Memory,
}

/// The start of a response, read to see whether it is a rejection by AWS.
enum Start {
    Complete(Buffer),
    /// It is longer than [`MAX_REFUSAL`]; the second part has not been read.
    Partial(Bytes, Pin<Box<ResponseBody>>),
}

impl HttpBody for MemoryChecked {
    type Data = Bytes;
    type Error = <TimeoutBody<Incoming> as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        if data.is_some_and(|data| self.memory.is_short_after(data.len())) {
            Poll::Ready(Some(Err(Shortage.into())))
        } else {
            Poll::Ready(frame)
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Forwards a request: a path below the route's path goes to the same path below the target's.
pub(super) async fn forward(
    route: &Route,
    request: Request<Incoming>,
    client: &Client,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (mut head, body) = request.into_parts();
    let target = target(route, &head.uri)?;
    let body = read(route, body, &client.slot, record).await?;
    route.headers.filter_request(&mut head.headers);
    let (head, body) = send(route, head.method, &target, head.headers, body, record).await?;
    pass_on(head, body, &client.share, record).await
}

/// Returns the upstream target for the local `uri`.
pub(super) fn target(route: &Route, uri: &Uri) -> Result<RequestTarget, TargetError> {
    let base = &route.upstream.endpoint().path;
    let below = uri.path().strip_prefix(route.path.as_str());
    RequestTarget::below(
        base,
        below.unwrap_or_default(),
        uri.query(),
        route.requests.paths,
    )
}

/// Reads a request's body to its end, within the route's limits, and then takes the request's slot.
pub(super) async fn read(
    route: &Route,
    body: Incoming,
    slot: &Slot,
    record: &mut Record,
) -> Result<Bytes, Error> {
    let limit = route.requests.body;
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::BodyTooLarge(limit));
    }
    let is_to_come = !body.is_end_stream();
    let timeout = route.requests.body_timeout;
    let body = MemoryChecked {
        body: Box::pin(TimeoutBody::new(timeout, body)),
        memory: route.memory.clone(),
    };
    let body = Limited::new(body, limit);
    let (counted, total) = slot.wait(route.requests.body_total);
    let collected = tokio::select! {
        biased;
        collected = tokio::time::timeout(total, read_to_end(body)) => collected,
        () = route.memory.shortage() => return Err(Error::MemoryShort),
    };
    let Ok(body) = collected else {
        return Err(slot.late(counted.is_some(), total));
    };
    drop(counted);
    let bytes = body.map_err(|error| {
        if error.is::<Shortage>() {
            return Error::MemoryShort;
        }
        if error.is::<LengthLimitError>() {
            return Error::BodyTooLarge(limit);
        }
        if error.is::<TimeoutError>() {
            return Error::BodyTimeout(timeout);
        }
        Error::BodyBroken(error)
    })?;
    if is_to_come {
        slot.take()?;
    }
    record.bytes_in = bytes.len();
    Ok(bytes)
}

/// Signs and sends a request whose headers are final.
pub(super) async fn send(
    route: &Route,
    method: Method,
    target: &RequestTarget,
    headers: HeaderMap,
    body: Bytes,
    record: &mut Record,
) -> Result<(Parts, ResponseBody), Error> {
    let request = Outgoing {
        name: method_name(&method),
        method,
        target,
        headers,
        body,
    };
    let expired = route.expired.cancelled();
    let sent = exchange(&route.upstream, &route.headers, request, expired, record).await;
    let (mut head, body) = sent?.into_parts();
    filter_response_headers(&mut head.headers);
    head.extensions
        .insert(Relayed(route.browser.response_headers));
    Ok((head, body))
}

/// Relays a response as it arrives, with session tokens masked.
pub(super) async fn pass_on(
    mut head: Parts,
    body: ResponseBody,
    share: &Share,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    if !may_echo_a_token(head.status, &head.headers) {
        return Ok(Response::from_parts(head, Body::stream(body)));
    }
    let body = match read_start(body, share).await? {
        Start::Complete(buffer) => redacted(head.status, &head.headers, buffer)?,
        Start::Partial(..) if is_of_aws(&head.headers) => {
            let limit = MAX_REFUSAL;
            return Err(upstream::Error::ResponseTooLarge { limit }.into());
        }
        Start::Partial(read, rest) => {
            return Ok(Response::from_parts(head, Body::stream_after(read, rest)));
        }
    };
    note_rejection(head.status, &String::from_utf8_lossy(&body), record);
    // The response to a HEAD keeps the length that it announces.
    if !body.is_empty() {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok(Response::from_parts(head, Body::full(body)))
}

/// Notes the code of a rejection by AWS in the record, if its reason is known.
pub(super) fn note_rejection(status: StatusCode, body: &str, record: &mut Record) {
    let kind = record.code.as_ref().map(RecordCode::as_str);
    if let Some(code) = rejection(status, kind, body) {
        record.code = Some(code.into());
        record.cause = Some(code.remedy().to_owned());
    }
}

/// Whether a response may echo a session token. Rejected signatures have status 400, 401 or 403 and
/// echo the canonical request; responses that AWS marks as its errors are read at any status.
fn may_echo_a_token(status: StatusCode, headers: &HeaderMap) -> bool {
    let refused = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    is_of_aws(headers) || (refused && length <= MAX_REFUSAL)
}

/// Whether AWS marks the response as its own error.
pub(super) fn is_of_aws(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amzn-errortype")
}

/// Reads a response to its end, or until it is longer than a rejection.
async fn read_start(body: ResponseBody, share: &Share) -> Result<Start, Error> {
    let mut buffer = Buffer::new(share, COPIES);
    buffer.permit(MAX_REFUSAL, body.size_hint().exact());
    let mut body = Box::pin(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(upstream::Error::Interrupted)?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        if buffer.bytes().len() + piece.len() > MAX_REFUSAL {
            buffer.append(piece);
            return Ok(Start::Partial(buffer.finish(), body));
        }
        let pushed = buffer.push(piece).await;
        pushed.map_err(|_| upstream::Error::Unbuffered)?;
    }
    Ok(Start::Complete(buffer))
}

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
