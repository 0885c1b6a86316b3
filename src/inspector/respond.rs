//! Responses of the inspector.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

/// A response of the inspector.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Why a request to the inspector fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("send the header x-countersign-inspector with each request to /inspect/api/")]
    HeaderMissing,
    #[error(
        "send the key of the URL that countersign printed at its start, or a token of \
         guard.token_file, in the header x-countersign-inspector"
    )]
    KeyMissing,
    #[error("the key is not valid: use the URL that countersign printed at its last start")]
    KeyWrong,
    #[error("no such page")]
    NotFound,
    #[error("the entry does not exist, or was removed to make room for others (inspect.memory)")]
    NoEntry,
    #[error("use {0}")]
    Method(&'static str),
    #[error("send a JSON object, with content-type: application/json")]
    NotJson,
    #[error("invalid {0}")]
    Parameter(&'static str),
    #[error("the request cannot be repeated: {0}")]
    NotReplayable(&'static str),
    #[error(
        "the request may change something: send it with \"confirm\": true, if it shall be repeated"
    )]
    NotConfirmed,
    #[error("the request could not be sent to countersign: {0}")]
    NotSent(String),
    #[error("the request cannot be signed: {0}")]
    NotSigned(String),
    #[error("a presigned URL is not the whole request: {0}. Copy it as signed curl")]
    NotPresigned(&'static str),
    #[error("too many inspector pages are open: close some")]
    TooManyStreams,
}

impl ApiError {
    fn code(&self) -> &'static str {
        match self {
            Self::HeaderMissing => "HEADER_MISSING",
            Self::KeyMissing => "KEY_MISSING",
            Self::KeyWrong => "KEY_WRONG",
            Self::NotFound | Self::NoEntry => "NOT_FOUND",
            Self::Method(_) => "METHOD_NOT_ALLOWED",
            Self::NotJson => "BAD_JSON",
            Self::Parameter(_) => "BAD_PARAMETER",
            Self::NotReplayable(_) => "NOT_REPLAYABLE",
            Self::NotConfirmed => "MUTATION_NOT_CONFIRMED",
            Self::NotSent(_) => "NOT_SENT",
            Self::NotSigned(_) => "NOT_SIGNED",
            Self::NotPresigned(_) => "NOT_PRESIGNED",
            Self::TooManyStreams => "TOO_MANY_STREAMS",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::HeaderMissing => StatusCode::FORBIDDEN,
            Self::KeyMissing | Self::KeyWrong => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::NoEntry => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson | Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::NotReplayable(_) | Self::NotPresigned(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotConfirmed => StatusCode::CONFLICT,
            Self::NotSent(_) | Self::NotSigned(_) => StatusCode::BAD_GATEWAY,
            Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Headers that keep other pages from reading, embedding or opening what the inspector serves.
const PROTECTION: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// Adds the headers that protect a response in browsers.
pub(super) fn protect(mut answer: Answer) -> Answer {
    for (name, value) in PROTECTION {
        let headers = answer.headers_mut();
        let name = HeaderName::from_static(name);
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// Returns a response of JSON.
pub(super) fn json_answer(value: &Value) -> Answer {
    text_answer(StatusCode::OK, "application/json", value.to_string())
}

/// Returns the response to a request that fails.
pub(super) fn error_answer(error: &ApiError) -> Answer {
    let body = json!({ "error": { "code": error.code(), "message": error.to_string() } });
    text_answer(error.status(), "application/json", body.to_string())
}

/// Returns a response that is not cached.
pub(super) fn text_answer(status: StatusCode, media_type: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
