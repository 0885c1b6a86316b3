//! The responses of the emulated integrations: an echo of the request, and special responses for some
//! paths after the stage.
//!
//! | path | response |
//! |---|---|
//! | `/status/N` | status N, with the echo; for 3xx also a `location` on another host |
//! | `/stream?chunks=N&every=MS&size=BYTES` | N chunks of text |
//! | `/sse?events=N&every=MS` | N server-sent events |
//! | `/cut?chunks=N&every=MS` | N chunks, then the connection is dropped |
//! | `/gzip` | JSON, compressed |
//! | `/sink` | length and hash of the body |
//! | anything else | the echo |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{GatewayBody, GatewayResponse};
use super::error::GatewayError;
use super::head::Head;
use super::sigv4::VerifiedRequest;
use super::sites::Site;
use crate::sigv4::{PlusSign, percent_decode, sha256_hex};
use crate::stats::Ledger;

/// Returns the response for `route`, the path after the stage, still encoded.
pub(super) fn integration_response(
    ledger: &Arc<Ledger>,
    site: &Site,
    stage: &str,
    route: &str,
    head: &Head,
    body: &[u8],
    verified: &VerifiedRequest,
) -> GatewayResponse {
    let (_, query) = head.path_and_query();
    let query = String::from_utf8_lossy(query);
    let number = |name: &str, or: u64| {
        let value = parameter(&query, name).and_then(|value| value.parse().ok());
        value.unwrap_or(or).min(MAX_NUMBER)
    };
    let pause = Duration::from_millis(number("every", 0));
    let mut segments = route.split('/').skip(1);
    match (segments.next().unwrap_or_default(), segments.next()) {
        ("status", Some(status)) => {
            let status = status.parse().ok().filter(|status| *status >= 200);
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            let mut response = json_response(&echo(site, stage, head, body, verified));
            *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
            if response.status().is_redirection() {
                let elsewhere = HeaderValue::from_static("https://elsewhere.example.com/");
                response.headers_mut().insert(header::LOCATION, elsewhere);
            }
            response
        }
        (route @ ("stream" | "cut"), None) => {
            let size = usize::try_from(number("size", 0)).unwrap_or_default();
            let chunk = move |n| {
                let mut chunk = format!("chunk {n}\n").into_bytes();
                chunk.resize(size.max(chunk.len()), b'.');
                Bytes::from(chunk)
            };
            let body =
                GatewayBody::chunked(ledger, number("chunks", 3), pause, route == "cut", chunk);
            response_of_type("text/plain", body)
        }
        ("sse", None) => {
            let event = |n| Bytes::from(format!("id: {n}\ndata: {{\"n\":{n}}}\n\n"));
            let body = GatewayBody::chunked(ledger, number("events", 3), pause, false, event);
            response_of_type("text/event-stream", body)
        }
        ("gzip", None) => {
            let mut response = response_of_type("application/json", GatewayBody::Full(GZIP.into()));
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            response
        }
        ("sink", None) => {
            json_response(&json!({ "length": body.len(), "sha256": sha256_hex(body) }))
        }
        _ => json_response(&echo(site, stage, head, body, verified)),
    }
}

/// Returns the first segment of the path, and the rest with its leading slash.
pub(super) fn stage_and_route(head: &Head) -> Result<(String, String), GatewayError> {
    let (path, _) = head.path_and_query();
    let path = String::from_utf8_lossy(path);
    let rest = path.strip_prefix('/').unwrap_or_default();
    let end = rest.find('/').unwrap_or(rest.len());
    let (stage, route) = rest.split_at(end);
    let is_stage = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=128).contains(&stage.len()) && stage.bytes().all(is_stage) {
        Ok((stage.to_owned(), route.to_owned()))
    } else {
        Err(GatewayError::Forbidden)
    }
}

/// Returns a parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(candidate, _)| *candidate == name)?;
    String::from_utf8(percent_decode(value, PlusSign::Space)).ok()
}

/// Returns a description of the request as it was received, and of its verification.
pub(super) fn echo(
    site: &Site,
    stage: &str,
    head: &Head,
    body: &[u8],
    verified: &VerifiedRequest,
) -> Value {
    let headers: Vec<[String; 2]> = head
        .headers
        .iter()
        .map(|(name, value)| [name.clone(), String::from_utf8_lossy(value).into_owned()])
        .collect();
    let encoded = (body.len() <= MAX_ECHOED_BODY).then(|| STANDARD.encode(body));
    json!({
        "host": head.host(),
        "service": site.service,
        "region": site.region,
        "stage": stage,
        "method": head.method.as_str(),
        "target": String::from_utf8_lossy(&head.target),
        "target_base64": STANDARD.encode(&head.target),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "raw_head_base64": STANDARD.encode(&head.raw),
        "body_length": body.len(),
        "body_sha256": sha256_hex(body),
        "body_base64": encoded,
        "presigned": verified.is_presigned,
        "signed_headers": verified.signed_headers,
        "canonical_request": verified.canonical,
    })
}

pub(super) fn json_response(value: &Value) -> GatewayResponse {
    response_of_type("application/json", value.to_string().into())
}

fn response_of_type(content_type: &'static str, body: GatewayBody) -> GatewayResponse {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}

/// The largest number of chunks, bytes or milliseconds.
const MAX_NUMBER: u64 = 1 << 20;
/// For larger bodies, the echo contains only the hash.
const MAX_ECHOED_BODY: usize = 64 << 10;
/// `{"compressed":true}`
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\xce\xcf\x2d\x28\x4a\x2d\x2e\x4e\
    \x4d\x51\xb2\x2a\x29\x2a\x4d\xad\x05\x00\xf1\xea\x39\x95\x13\x00\x00\x00";
