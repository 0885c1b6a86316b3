//! Reads the body of a request, within the limits of its route.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::error::Error;
use super::route::Route;
use super::slot::Slot;
use crate::deadline::{Elapsed, TimeoutBody, timeout};
use crate::memory::{Memory, Shortage};
use crate::telemetry::Record;
use crate::upstream::read_to_end;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A request's body that fails when memory becomes short.
struct MemoryChecked {
    body: TimeoutBody<Incoming>,
    memory: Memory,
}

impl HttpBody for MemoryChecked {
    type Data = Bytes;
    type Error = <TimeoutBody<Incoming> as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
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

/// Reads a request's body to its end, within the route's limits, and then takes the request's slot.
///
/// # Errors
/// When a limit is exceeded, the client is too slow, memory is short or no slot is free.
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
    let idle = route.requests.body_timeout;
    let body = MemoryChecked {
        body: TimeoutBody::new(idle, body),
        memory: route.memory.clone(),
    };
    let body = Limited::new(body, limit);
    let (counted, total) = slot.wait(route.requests.body_total);
    let collected = tokio::select! {
        biased;
        collected = timeout(total, read_to_end(body)) => collected,
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
        if error.is::<Elapsed>() {
            return Error::BodyTimeout(idle);
        }
        Error::BodyBroken(error)
    })?;
    if is_to_come {
        slot.take()?;
    }
    record.bytes_in = bytes.len();
    record.capture.request_body(&bytes);
    Ok(bytes)
}

/// Reads a body of JSON. Returns it without the byte order mark with which some clients begin it, and
/// which AppSync would not accept (RFC 8259, section 8.1).
///
/// # Errors
/// See [`read`].
pub(super) async fn read_json(
    route: &Route,
    body: Incoming,
    slot: &Slot,
    record: &mut Record,
) -> Result<Bytes, Error> {
    let body = read(route, body, slot, record).await?;
    Ok(match body.strip_prefix(BYTE_ORDER_MARK) {
        Some(json) => body.slice_ref(json),
        None => body,
    })
}
