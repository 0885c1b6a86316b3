//! Operations whose response is a stream: GraphQL over SSE, and Apollo's multipart subscriptions.

use countersign_protocol::dialect::{Multipart, Output, Sse, StreamDialect, bad_document};
use countersign_protocol::graphql::{
    DocumentError, Event, Inspected, OperationKey, SelectedOperation,
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, Response};

use super::accept::ResponseFormat;
use super::body::Body;
use super::call::Call;
use super::error::Error;
use crate::session::{OpenedStream, Sessions, StreamOperation};
use crate::telemetry::tasks::Panicked;

/// Asks nginx and other proxies not to buffer a stream.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Opens a stream of the operation's results.
pub(super) async fn open(
    call: Call<'_>,
    headers: HeaderMap,
    format: ResponseFormat,
    selected: SelectedOperation,
    inspected: Box<Inspected>,
) -> Result<Response<Body>, Error> {
    let work = StreamOperation::Graphql(selected, inspected);
    let client = call.session_client(headers);
    let sessions = call.sessions;
    let opened = match format {
        ResponseFormat::Multipart => sessions.stream(Multipart::default(), work, client).await,
        ResponseFormat::Sse | ResponseFormat::Json(_) => {
            sessions.stream(Sse::default(), work, client).await
        }
    };
    Ok(begin(opened.ok_or_else(|| not_opened(sessions))?))
}

/// Returns a stream with the error of a document that cannot be executed. Its status is 200, because
/// clients would retry after any other.
pub(super) fn refused(error: &DocumentError) -> Response<Body> {
    let mut sse = Sse::default();
    sse.open();
    sse.handle_event(OperationKey(0), &Event::Error(vec![bad_document(error)]));
    let mut text = String::new();
    while let Some(Output::Send(piece)) = sse.poll_output() {
        text.push_str(&piece);
    }
    head(sse.content_type(), Body::full(text))
}

/// Returns the error for a session that ended before its first event.
pub(super) fn not_opened(sessions: &Sessions) -> Error {
    if sessions.is_expired() {
        Error::Draining
    } else {
        Error::Internal(Panicked)
    }
}

/// Returns the response of a stream that has its first event.
pub(super) fn begin(opened: OpenedStream) -> Response<Body> {
    head(opened.content_type, Body::pieces(opened.body))
}

/// Returns a response whose body is a stream.
pub(super) fn head(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_ACCEL_BUFFERING, "no"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
