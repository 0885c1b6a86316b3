//! Relays AppSync's response to an operation as a GraphQL response.
//!
//! A success is relayed as it arrives; only its media type may change, and the log names a field that AppSync
//! denied in it. A rejection is short: it is read
//! to its end, its session tokens are masked, and if it is not a GraphQL response it is wrapped in one.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::graphql::read_object;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::accept::Media;
use super::body::Body;
use super::error::Error;
use super::relay::{COPIES, is_of_aws, relay};
use crate::memory::{Buffer, Share};
use crate::operation::{ErrorResponse, FieldDenials, identified, read_error};
use crate::sign::redact;
use crate::telemetry::{Record, RequestId};
use crate::upstream::{self, Explanation, MAX_REJECTION, ResponseBody, Upstream};

/// `{"data"?, "errors"?: [{"message", "path"?}]}`
#[derive(Deserialize)]
struct ResponseMembers<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorMembers {
    #[serde(rename = "message")]
    _message: String,
    #[serde(default)]
    path: Option<IgnoredAny>,
}

/// How many bytes suffice to see whether a response begins with data that is not null.
const PEEK: usize = 64;

pub(super) async fn relay_graphql(
    upstream: &Arc<Upstream>,
    (mut head, body): (Parts, ResponseBody),
    media: Media,
    is_strict: bool,
    share: &Share,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let has_length = |limit: usize| {
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        length.is_none_or(|length| length <= limit)
    };
    let is_plain = head
        .headers
        .get(CONTENT_ENCODING)
        .is_none_or(|value| value == "identity");
    if head.status.is_success() && is_of_aws(&head.headers) {
        return Box::pin(relay(head, body, share, record)).await;
    }
    if head.status.is_success() {
        if !is_json(&head.headers) {
            return Ok(Response::from_parts(head, Body::stream(body)));
        }
        label(&mut head.headers, media);
        let mut response = match media {
            Media::GraphqlResponse if is_strict && is_plain => {
                Box::pin(strict(head, body, share)).await?
            }
            Media::GraphqlResponse | Media::Json => Response::from_parts(head, Body::stream(body)),
        };
        if is_plain {
            let search = FieldDenials::default();
            response.body_mut().search(Arc::clone(upstream), search);
        }
        return Ok(response);
    }
    if !is_plain || !has_length(MAX_REJECTION) {
        return Box::pin(relay(head, body, share, record)).await;
    }
    Box::pin(relay_rejection(head, body, media, share, record)).await
}

/// Relays a response that is not a success: reads it to its end, masks its tokens and explains it.
async fn relay_rejection(
    mut head: Parts,
    body: ResponseBody,
    media: Media,
    share: &Share,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let mut buffer = Buffer::new(share, COPIES);
    let read = buffer.read(body, MAX_REJECTION).await;
    read.map_err(read_error)?;
    let body = rejection_body(&head, buffer.bytes(), record);
    let body = buffer.replace(body);
    let json = HeaderValue::from_static(Media::Json.as_str());
    head.headers.insert(CONTENT_TYPE, json);
    label(&mut head.headers, media);
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    Ok(Response::from_parts(head, Body::full(body)))
}

/// Returns the body for a rejection: a GraphQL response in which session tokens are masked, and whose errors
/// are explained. Adds the rejection to the record.
pub fn rejection_body(head: &Parts, body: &[u8], record: &mut Record) -> Bytes {
    let text = String::from_utf8_lossy(body);
    // The explanation compares the token that AWS echoes with the one that was sent.
    let response = ErrorResponse::read(head, &text);
    response.record(record);
    let masked = redact::mask_tokens(&text);
    if is_graphql(&masked) {
        let explanation = response.explanation();
        let explained =
            explanation.and_then(|explanation| explained(&masked, explanation, &record.id));
        return Bytes::from(explained.unwrap_or_else(|| masked.into_owned()));
    }
    let errors = response.errors().into_iter();
    let errors: Vec<_> = errors.map(|error| identified(error, &record.id)).collect();
    Bytes::from(serde_json::json!({ "errors": errors }).to_string())
}

/// Adds an explanation and the request's id to the errors of a GraphQL response.
fn explained(body: &str, explanation: &Explanation, id: &RequestId) -> Option<String> {
    let mut json: Value = serde_json::from_str(body).ok()?;
    for error in json.get_mut("errors")?.as_array_mut()? {
        let extensions = error.as_object_mut()?.entry("extensions");
        let extensions = extensions.or_insert_with(|| Value::Object(Map::new()));
        let Some(extensions) = extensions.as_object_mut() else {
            continue;
        };
        for (name, value) in explanation.extensions() {
            extensions.entry(name).or_insert_with(|| value.into());
        }
        let id = id.to_string();
        extensions
            .entry(RequestId::MEMBER)
            .or_insert_with(|| id.into());
    }
    Some(json.to_string())
}

/// Relays a response with the status of the specification (GraphQL over HTTP, "Status Codes"): AppSync
/// reports a request error with status 200 and `data: null`.
async fn strict(
    mut head: Parts,
    mut body: ResponseBody,
    share: &Share,
) -> Result<Response<Body>, Error> {
    let mut buffer = Buffer::new(share, COPIES);
    buffer.set_limit(MAX_REJECTION, None);
    loop {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(upstream::Error::Interrupted)?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        let length = buffer.bytes().len() + piece.len();
        let begins = match buffer.bytes() {
            [] => begins_with_data(piece),
            read => begins_with_data(&[read, &piece[..piece.len().min(PEEK)]].concat()),
        };
        if (length >= PEEK && begins) || length > MAX_REJECTION {
            buffer.append(piece);
            let body = Body::stream_after(buffer.finish(), body);
            return Ok(Response::from_parts(head, body));
        }
        let pushed = buffer.push(piece).await;
        pushed.map_err(|_| upstream::Error::Unbuffered)?;
    }
    let Some(rest) = request_errors(&redact::mask_known(buffer.bytes())) else {
        let read = redact::mask_known_body(buffer.finish());
        return Ok(Response::from_parts(head, Body::full(read)));
    };
    head.status = StatusCode::BAD_REQUEST;
    head.headers.insert(CONTENT_LENGTH, rest.len().into());
    Ok(Response::from_parts(head, Body::full(buffer.replace(rest))))
}

/// Returns whether a response begins with data that is not null.
pub fn begins_with_data(read: &[u8]) -> bool {
    let start: Vec<u8> = read
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .take(9)
        .collect();
    start.len() == 9 && start.starts_with(br#"{"data":"#) && start.last() != Some(&b'n')
}

/// Returns `{"errors":[…]}` if a response consists of request errors: it has no data, and no error
/// that occurred while a field was executed.
pub fn request_errors(body: &[u8]) -> Option<Bytes> {
    let members: ResponseMembers<'_> = read_object(std::str::from_utf8(body).ok()?)?;
    if members.data.is_some_and(|data| data.get() != "null") {
        return None;
    }
    let raw = members.errors?;
    let errors = errors(raw)?;
    let is_request = errors.iter().all(|error| error.path.is_none());
    is_request.then(|| Bytes::from(format!(r#"{{"errors":{}}}"#, raw.get())))
}

/// Returns whether a body is a GraphQL response.
fn is_graphql(body: &str) -> bool {
    let Some(members) = read_object::<ResponseMembers<'_>>(body) else {
        return false;
    };
    match members.errors {
        Some(raw) => errors(raw).is_some(),
        None => members.data.is_some(),
    }
}

/// Returns the entries of `errors`, if it is an array of errors; never empty.
fn errors(raw: &RawValue) -> Option<Vec<ErrorMembers>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let errors: Option<Vec<ErrorMembers>> =
        items.iter().map(|item| read_object(item.get())).collect();
    errors.filter(|errors| !errors.is_empty())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn label(headers: &mut HeaderMap, media: Media) {
    if media == Media::GraphqlResponse {
        let value = HeaderValue::from_static(Media::GraphqlResponse.as_str());
        headers.insert(CONTENT_TYPE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphql_responses() {
        for body in [
            r#"{"data":null,"errors":[{"message":"m"}]}"#,
            r#"{"data":{"a":1}}"#,
            r#"{"errors":[{"message":"m","errorType":"T"}]}"#,
        ] {
            assert!(is_graphql(body), "{body}");
        }
        for body in [
            r#"{"message":"Forbidden"}"#,
            r#"{"errors":[]}"#,
            r#"{"errors":[{"errorType":"T"}]}"#,
            r#"{"errors":{"message":"m"}}"#,
            "<html>",
            "[]",
            "",
        ] {
            assert!(!is_graphql(body), "{body}");
        }
    }

    /// serde reads an array as the values of an object's members.
    #[test]
    fn arrays_are_not_responses() {
        for body in ["[[]]", r#"[{"a":1}]"#, r#"{"errors":[["m"]]}"#] {
            assert!(!is_graphql(body), "{body}");
        }
        check_strict(r#"[null,[{"message":"m"}]]"#, None);
        check_strict(r#"{"errors":[["m"]]}"#, None);
    }

    #[track_caller]
    fn check_strict(body: &str, expected: Option<&str>) {
        let found = request_errors(body.as_bytes());
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
    }

    #[test]
    fn request_errors_have_no_data_and_no_path() {
        check_strict(
            r#"{"data":null,"errors":[{"message":"m","path":null,"locations":[]}]}"#,
            Some(r#"{"errors":[{"message":"m","path":null,"locations":[]}]}"#),
        );
        check_strict(
            r#"{"errors":[{"message":"m"}]}"#,
            Some(r#"{"errors":[{"message":"m"}]}"#),
        );
        check_strict(
            r#"{"data":null,"errors":[{"message":"m","path":["a"]}]}"#,
            None,
        );
        check_strict(r#"{"data":{"a":null},"errors":[{"message":"m"}]}"#, None);
        check_strict(r#"{"data":null}"#, None);
        check_strict("nonsense", None);
    }

    #[test]
    fn data_is_found_at_the_beginning_only() {
        assert!(begins_with_data(br#"{"data":{"a":1}}"#));
        assert!(begins_with_data(b" {\n \"data\" : {"));
        assert!(!begins_with_data(br#"{"data":null,"errors":[]}"#));
        assert!(!begins_with_data(br#"{"errors":[],"data":{}}"#));
        assert!(!begins_with_data(br#"{"data":"#));
    }
}
