//! The errors of requests, and the one function that turns them into responses.

use std::time::Duration;

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{BodyError, DocumentError, GraphqlError, invalid_escape};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, Response, StatusCode};
use serde_json::error::Category;
use serde_json::json;

use super::accept::Media;
use super::body::Body;
use super::html;
use super::readings::AmbiguousPath;
use crate::guard;
use crate::memory;
use crate::operation::{ExchangeError, NotAdmitted, identified};
use crate::sign;
use crate::telemetry::metrics::metrics;
use crate::telemetry::tasks::Panicked;
use crate::telemetry::{Record, RequestId, error_chain};
use crate::upstream;

/// Why a request is not forwarded, or why upstream's response is not relayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Ambiguous(#[from] AmbiguousPath),
    #[error("the batch has more than {0} operations (limits.batch)")]
    Batch(usize),
    #[error("the request body was interrupted")]
    BodyBroken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request body was silent for {0:?} (timeouts.request_body)")]
    BodyTimeout(Duration),
    #[error("the request body took longer than {0:?} (timeouts.request_body_total)")]
    BodySlow(Duration),
    #[error("the request body is larger than {0} bytes (the route's limits.request_body)")]
    BodyTooLarge(usize),
    #[error("charset utf-8 expected, got {0:?}")]
    Charset(String),
    #[error("cannot determine the operation of this GET: {0}")]
    Document(#[from] DocumentError),
    #[error("the kind of operation, which determines the format of the response, is unclear: {0}")]
    DocumentDoubt(DocumentError),
    #[error(transparent)]
    Denied(#[from] guard::OperationDenied),
    #[error("persisted documents are not supported: send the document's text as `query`")]
    DocumentId,
    #[error("countersign is shutting down")]
    Draining,
    #[error("the events cannot be published: {0}")]
    Events(String),
    #[error(
        "an Events channel is read over a WebSocket, or by GET with `accept: text/event-stream`"
    )]
    EventsNotAcceptable,
    #[error("the channel cannot be read: {}", first_message(.0))]
    EventsRefused(Vec<GraphqlError>),
    #[error("the only supported expectation is 100-continue")]
    Expectation,
    #[error("it is unclear where the request ends: {0}")]
    Framing(&'static str),
    #[error("{0}")]
    HeaderNotForwardable(String),
    #[error(
        "the request is not valid HTTP/1.1: its request line, Content-Length, Transfer-Encoding or another header is malformed"
    )]
    Head,
    #[error("the request target has a byte that is not ASCII: percent-encode it, as in /caf%C3%A9")]
    TargetNotAscii,
    #[error("this port serves HTTP/1.1 only, and the client began HTTP/2: use HTTP/1.1")]
    Http2,
    #[error("use HTTP/1.1")]
    HttpVersion,
    #[error(transparent)]
    Internal(#[from] Panicked),
    #[error("{}", malformed(.0))]
    MalformedJson(serde_json::Error),
    #[error("{}", memory::Shortage)]
    MemoryShort,
    #[error("the query parameter `{name}` {problem}")]
    Parameter { name: &'static str, problem: String },
    #[error("{method} is not possible here: use {allow}")]
    Method { method: String, allow: &'static str },
    #[error("a mutation must be sent by POST: any web page could cause a GET")]
    MutationByGet,
    #[error("the body must not be compressed: send it without Content-Encoding")]
    Coding,
    #[error("the request has no `query`")]
    NoQuery,
    #[error(
        "none of the accepted media types can be sent: accept application/json or \
         application/graphql-response+json, or text/event-stream"
    )]
    NotAcceptable,
    #[error("PersistedQueryNotSupported")]
    PersistedQuery,
    #[error("no route matches {path:?}. Routes: {routes}")]
    NoRoute { path: String, routes: String },
    #[error(transparent)]
    Guard(#[from] guard::Refusal),
    #[error(
        "a subscription has more than one response: accept text/event-stream (curl -N -H 'accept: \
         text/event-stream') or multipart/mixed;subscriptionSpec=1.0, or subscribe over a \
         WebSocket to this URL, with the subprotocol graphql-transport-ws or graphql-ws"
    )]
    SubscriptionOverHttp,
    #[error("Stream not found: it was not reserved by PUT, or has ended")]
    StreamNotFound,
    #[error("Stream already registered")]
    StreamRegistered,
    #[error("Stream already open")]
    StreamOpen,
    #[error("countersign shut down before upstream responded")]
    Expired,
    #[error("too many streams are reserved and not opened: open them by GET, or try again")]
    StreamsExhausted,
    #[error(
        "Operation ID {0}: set extensions.operationId, or ?operationId= to stop one, to a string of \
         at most 1024 bytes"
    )]
    StreamOperationId(&'static str),
    #[error("Operation with ID already exists")]
    StreamOperationExists,
    #[error("too many results wait for the stream to be opened")]
    StreamNotOpened,
    #[error("the content type must be application/json")]
    MediaType,
    #[error(
        "AppSync does not support uploads: let a resolver return a presigned S3 URL, upload to it, \
         and send the object's key in a mutation"
    )]
    Upload,
    #[error("{0} client connections are open: try again, or raise limits.connections")]
    TooManyClients(usize),
    #[error("{0} requests are in progress: try again (limits.in_flight)")]
    TooManyInFlight(usize),
    #[error(
        "{0} requests wait for their bodies already: send the body at once, or try again \
         (limits.in_flight)"
    )]
    TooManyUnread(usize),
    #[error("the only supported transfer coding is chunked")]
    TransferCoding,
    #[error("the request target is longer than 65534 bytes")]
    TargetTooLong,
    #[error("the request target cannot be signed: {}{}", .0, remedy(.0))]
    Target(#[from] sign::TargetError),
    #[error("AWS rejected the request with a response that cannot be shown safely")]
    Unreadable(StatusCode),
    #[error("the WebSocket handshake is not valid: {0}")]
    Upgrade(&'static str),
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// The format in which the clients of a route expect errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `{"errors":[{"message","extensions":{"code","sent","requestId"}}]}`
    GraphQl(Media),
    /// `{"message","code","sent","requestId"}`
    Plain,
    /// A page, for a browser in which somebody has opened the URL.
    Page,
}

/// The header that distinguishes countersign's errors from upstream's.
const ERROR_HEADER: HeaderName = HeaderName::from_static("x-countersign-error");

/// The part of an error that a client receives.
struct ErrorSummary {
    code: Code,
    status: StatusCode,
    sent: Sent,
}

impl From<NotAdmitted> for Error {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::Memory(_) => Self::MemoryShort,
            NotAdmitted::Policy(denied) => Self::Denied(denied),
        }
    }
}

impl From<ExchangeError> for Error {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Expired => Self::Expired,
            ExchangeError::Upstream(error) => Self::Upstream(error),
        }
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::DocumentId => Self::DocumentId,
            BodyError::Json(error) => Self::MalformedJson(error),
            BodyError::PersistedQuery => Self::PersistedQuery,
        }
    }
}

impl Error {
    /// Returns the error's code in responses, log lines and metrics.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Ambiguous(_) => Code::PathAmbiguous,
            Self::Batch(_) => Code::BadBatch,
            Self::BodyBroken(_) => Code::BodyBroken,
            Self::BodyTimeout(_) | Self::BodySlow(_) => Code::BodyTimeout,
            Self::BodyTooLarge(_) => Code::BodyTooLarge,
            Self::Document(_) | Self::DocumentDoubt(_) => Code::BadDocument,
            Self::Denied(_) => Code::OperationNotAllowed,
            Self::DocumentId => Code::DocumentIdNotSupported,
            Self::Draining | Self::Expired => Code::ShuttingDown,
            Self::Events(_) => Code::BadEvents,
            Self::EventsNotAcceptable => Code::EventsNotAcceptable,
            Self::EventsRefused(_) => Code::EventsRefused,
            Self::Guard(refusal) => refusal.code(),
            Self::Expectation => Code::BadExpectation,
            Self::Framing(_) => Code::BadFraming,
            Self::HeaderNotForwardable(_) => Code::HeaderNotForwardable,
            Self::Head | Self::TargetNotAscii => Code::BadHead,
            Self::Http2 | Self::HttpVersion => Code::HttpVersion,
            Self::Internal(_) => Code::Internal,
            Self::MalformedJson(_) => Code::BadJson,
            Self::Charset(_) | Self::MediaType | Self::Coding => Code::UnsupportedMediaType,
            Self::MemoryShort => Code::MemoryShort,
            Self::Method { .. } => Code::MethodNotAllowed,
            Self::MutationByGet => Code::MutationByGet,
            Self::NoQuery => Code::NoQuery,
            Self::NotAcceptable => Code::NotAcceptable,
            Self::PersistedQuery => Code::PersistedQueryNotSupported,
            Self::NoRoute { .. } => Code::NoRoute,
            Self::Parameter { .. } => Code::BadParameter,
            Self::SubscriptionOverHttp => Code::SubscriptionOverHttp,
            Self::StreamNotFound => Code::StreamNotFound,
            Self::StreamRegistered => Code::StreamAlreadyRegistered,
            Self::StreamOpen => Code::StreamAlreadyOpen,
            Self::StreamsExhausted => Code::StreamsExhausted,
            Self::StreamOperationId(_) => Code::OperationIdMissing,
            Self::StreamOperationExists => Code::OperationIdExists,
            Self::StreamNotOpened => Code::StreamNotOpened,
            Self::TooManyClients(_) => Code::TooManyClients,
            Self::TooManyInFlight(_) | Self::TooManyUnread(_) => Code::TooManyInFlight,
            Self::TransferCoding => Code::TransferCoding,
            Self::Upload => Code::UploadNotSupported,
            Self::TargetTooLong => Code::HeadTooLarge,
            Self::Target(_) => Code::TargetNotSignable,
            Self::Unreadable(_) => Code::UpstreamErrorUnreadable,
            Self::Upgrade(_) => Code::BadUpgrade,
            Self::Upstream(error) => error.code(),
        }
    }

    fn summary(&self) -> ErrorSummary {
        let code = self.code();
        let (mut status, mut sent) = code.defaults();
        if let Self::EventsRefused(errors) = self {
            status = events_status(errors);
        }
        if let Self::Unreadable(upstreams) = self {
            status = *upstreams;
        }
        if let Self::Expired = self {
            sent = Sent::Maybe;
        }
        if let Self::Upstream(error) = self {
            sent = error.sent();
        }
        ErrorSummary { code, status, sent }
    }

    /// Returns the message for the client: one sentence, and the remedy if there is one.
    fn message(&self) -> String {
        if let Self::Upstream(error) = self
            && let Some(remedy) = error.remedy()
        {
            return format!("{error}. {remedy}");
        }
        self.to_string()
    }
}

/// Returns the message for malformed JSON. serde's own is not used for unexpected values, because it
/// quotes them: variables, passwords.
fn malformed(error: &serde_json::Error) -> String {
    if let Some(escape) = invalid_escape(error) {
        return format!("the body: {escape}");
    }
    match error.classify() {
        Category::Data => format!(
            "the body is valid JSON, but not a GraphQL request or Events message (line {}, column {})",
            error.line(),
            error.column()
        ),
        Category::Eof | Category::Io | Category::Syntax => {
            format!("the body is not JSON: {error}")
        }
    }
}

/// Returns how to make a target signable, if a setting does.
fn remedy(refusal: &sign::TargetError) -> &'static str {
    match refusal {
        sign::TargetError::DotSegment | sign::TargetError::EmptySegment => {
            ". Send the path without it, or set the route's odd_paths"
        }
        sign::TargetError::Invalid
        | sign::TargetError::NamelessParameter
        | sign::TargetError::NotUtf8
        | sign::TargetError::Relative
        | sign::TargetError::TooLong => "",
    }
}

fn first_message(errors: &[GraphqlError]) -> &str {
    errors
        .first()
        .map_or("unknown error", |error| &error.message)
}

/// Returns the status for a refused channel.
fn events_status(errors: &[GraphqlError]) -> StatusCode {
    let Some(error) = errors.first() else {
        return StatusCode::BAD_REQUEST;
    };
    let kind = extension(error, "errorType");
    if kind.starts_with("Unauthorized") || kind.starts_with("AccessDenied") {
        StatusCode::FORBIDDEN
    } else if kind.is_empty() && !extension(error, "code").is_empty() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::BAD_REQUEST
    }
}

fn extension<'e>(error: &'e GraphqlError, key: &str) -> &'e str {
    let value = error.extensions.get(key);
    value.and_then(|value| value.as_str()).unwrap_or_default()
}

/// Counts an error as a refusal, unless upstream or the drain caused it.
fn count(error: &Error, summary: &ErrorSummary) {
    let is_refusal = !matches!(error, Error::Upstream(_) | Error::Draining);
    if is_refusal && summary.sent == Sent::No {
        metrics().refused(summary.code);
    }
}

/// Returns the cause of a rejection by AWS that another log line explains.
fn explained_cause(error: &Error) -> Option<&str> {
    let Error::EventsRefused(errors) = error else {
        return None;
    };
    errors.first()?.extensions.get("cause")?.as_str()
}

/// Returns the text of an error for the log. It contains no path, which may be secret.
fn error_text(error: &Error) -> String {
    if let Error::NoRoute { routes, .. } = error {
        return format!("no route matches the path. Routes: {routes}");
    }
    error_chain(error)
}

/// Returns an error as an entry of `errors` in a GraphQL response.
pub(super) fn graphql_error(error: &Error, id: &RequestId) -> GraphqlError {
    let summary = error.summary();
    count(error, &summary);
    identified(
        GraphqlError::coded(error.message(), summary.code, summary.sent),
        id,
    )
}

/// Does the same, and writes the record of the operation that failed with it.
pub(super) fn refused(error: &Error, record: &mut Record) -> GraphqlError {
    record.code = Some(error.code().into());
    record.sent = Some(error.summary().sent);
    record.error = Some(error_text(error));
    record.write();
    graphql_error(error, &record.id)
}

/// Turns an error into a response, and adds it to the record.
pub(super) fn rescue(
    error: &Error,
    error_format: ErrorFormat,
    record: &mut Record,
) -> Response<Body> {
    let summary = error.summary();
    count(error, &summary);
    let ErrorSummary { code, status, sent } = summary;
    let message = error.message();
    record.code = Some(code.into());
    record.sent = Some(sent);
    record.cause = explained_cause(error).map(str::to_owned);
    record.error = record.cause.is_none().then(|| error_text(error));
    let mut response = match error_format {
        ErrorFormat::GraphQl(media) => {
            let error = identified(GraphqlError::coded(message, code, sent), &record.id);
            json_response(media, &json!({ "errors": [error] }))
        }
        ErrorFormat::Plain => {
            let error = json!({
                "message": message,
                "code": code.as_str(),
                "sent": sent.as_str(),
                (RequestId::MEMBER): record.id.to_string(),
            });
            json_response(Media::Json, &error)
        }
        ErrorFormat::Page => html::explain(status, code, sent, &message),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ERROR_HEADER, HeaderValue::from_static(code.as_str()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"countersign\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Error::Method { allow, .. } = error {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Error::MutationByGet = error {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn json_response(media: Media, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::full(value.to_string()));
    let media = HeaderValue::from_static(media.as_str());
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}
