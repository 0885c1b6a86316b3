//! Passes a request on to a route that is not GraphQL, and an answer back.

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
use super::error::Error;
use super::exposure::Relayed;
use super::{Client, Route, Slot, method_name};
use crate::memory::{Buffer, Memory, Share, Shortage};
use crate::operation::{Outgoing, exchange};
use crate::sign::{RequestTarget, TargetError, redact};
use crate::telemetry::{Record, RecordCode};
use crate::upstream::{self, ResponseBody, filter_response_headers, read_to_end, rejection};

/// A refusal of AWS is no longer than this; what is longer is an application's own answer.
pub(super) const MAX_REFUSAL: usize = 256 * 1024;
/// A refusal is held beside what is made of it.
pub(super) const COPIES: usize = 2;

/// A request's body, which ends while memory is short.
struct Looking {
    body: Pin<Box<TimeoutBody<Incoming>>>,
    memory: Memory,
}

/// What has been read of an answer, to see whether it is a refusal of AWS.
enum Read {
    Whole(Buffer),
    /// It is longer than [`MAX_REFUSAL`]; the rest is to come.
    Begun(Bytes, Pin<Box<ResponseBody>>),
}

impl HttpBody for Looking {
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

/// Everything below the route's path goes to the same place below the target's path.
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

/// What the local `uri` means upstream.
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

/// Reads a request's whole body, within the route's limits, and takes its slot then.
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
    let body = Looking {
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

/// Sends a request whose headers may go upstream.
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

/// Passes an answer on as it comes.
pub(super) async fn pass_on(
    mut head: Parts,
    body: ResponseBody,
    share: &Share,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    if !may_echo_a_token(head.status, &head.headers) {
        return Ok(Response::from_parts(head, Body::stream(body)));
    }
    let body = match begin(body, share).await? {
        Read::Whole(buffer) => redacted(head.status, &head.headers, buffer)?,
        Read::Begun(..) if is_of_aws(&head.headers) => {
            let limit = MAX_REFUSAL;
            return Err(upstream::Error::ResponseTooLarge { limit }.into());
        }
        Read::Begun(read, rest) => {
            return Ok(Response::from_parts(head, Body::stream_after(read, rest)));
        }
    };
    note_rejection(head.status, &String::from_utf8_lossy(&body), record);
    // A HEAD has the length of what it would have had.
    if !body.is_empty() {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok(Response::from_parts(head, Body::full(body)))
}

/// Puts a refusal of AWS's, if it is understood, into the log.
pub(super) fn note_rejection(status: StatusCode, body: &str, record: &mut Record) {
    let kind = record.code.as_ref().map(RecordCode::as_str);
    if let Some(code) = rejection(status, kind, body) {
        record.code = Some(code.into());
        record.cause = Some(code.remedy().to_owned());
    }
}

/// Refusals of a signature are 400, 401 or 403, and echo the canonical request; what AWS marks as
/// its error is read at any status.
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

/// Whether AWS names the kind of its error.
pub(super) fn is_of_aws(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amzn-errortype")
}

/// Reads an answer to its end, or to where it is longer than a refusal.
async fn begin(body: ResponseBody, share: &Share) -> Result<Read, Error> {
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
            return Ok(Read::Begun(buffer.finish(), body));
        }
        let pushed = buffer.push(piece).await;
        pushed.map_err(|_| upstream::Error::Unbuffered)?;
    }
    Ok(Read::Whole(buffer))
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
