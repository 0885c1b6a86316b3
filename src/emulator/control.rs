//! The control listener: `GET /state` and `POST /switch` over plain HTTP, for tests and manual use.
//!
//! Requests are not signed, so only those with a loopback name in `Host` and without `Origin` are
//! accepted.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::host::{is_loopback_name, without_port};
use super::responses::Body;
use super::services::Services;
use super::switches::Change;

pub(super) async fn handle_request(
    services: &Services,
    request: Request<Incoming>,
) -> Response<Body> {
    if !is_local(&request) {
        return error(
            StatusCode::FORBIDDEN,
            "the control listener accepts only requests to a loopback name, and none from web pages",
        );
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/state") => json_response(StatusCode::OK, &services.stats()),
        (&Method::POST, "/switch") => switch(services, request.into_body()).await,
        (_, "/state" | "/switch") => error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        _ => error(
            StatusCode::NOT_FOUND,
            "unknown path: use GET /state or POST /switch",
        ),
    }
}

async fn switch(services: &Services, body: Incoming) -> Response<Body> {
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return error(
            StatusCode::BAD_REQUEST,
            "the body could not be read, or is larger than 64 KiB",
        );
    };
    // For an unknown key, the error lists the known ones.
    let change: Change = match serde_json::from_slice(&body.to_bytes()) {
        Ok(change) => change,
        Err(invalid) => return error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    match services.switch(&change) {
        Ok(settings) => json_response(StatusCode::OK, &settings),
        Err(invalid) => error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    }
}

/// Checks that no web page sent the request: a browser sets `Origin` on each `POST`, and `Host`
/// from the URL.
fn is_local(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST);
    host.and_then(|host| without_port(host.to_str().ok()?))
        .is_some_and(is_loopback_name)
        && !request.headers().contains_key(header::ORIGIN)
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    json_response(status, &json!({"error": message}))
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

const MAX_BODY: usize = 64 << 10;
