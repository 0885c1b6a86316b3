//! Requests over HTTP: `POST /graphql`, `GET /graphql?query=…`, and `POST /event`.
//!
//! A request is verified as it was received. The response is the result of its execution, or an error
//! in AppSync's format. Realtime upgrades go to `handshake`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::appsync::AppSync;
use super::appsync_error::AppSyncError;
use super::events;
use super::fixed_response::FixedResponse;
use super::graphql::Operation;
use super::handshake;
use super::protocol::{HostKind, Protocol};
use super::responses::{self, Body, common_headers};
use super::sigv4::{Headers, PlusSign, Received, percent_decode};

/// Handles one request on the TLS listener. An error makes hyper drop the connection.
pub(super) async fn handle_request(
    api: Arc<AppSync>,
    sni: Option<Arc<str>>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    if api.context.switches.settings().refuse_connections {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    api.context.ledger.count(|counts| counts.requests.http += 1);
    let host = host(&request);
    if handshake::is_upgrade(&request) {
        return Ok(handshake::accept_upgrade(&api, sni.as_deref(), &host, request).await);
    }

    let protocol = Protocol::from_path(request.uri().path());
    if protocol == Some(Protocol::Events) {
        api.context
            .ledger
            .count(|counts| counts.events.requests += 1);
    }
    let result = serve(&api, &host, protocol, request).await;
    tokio::time::sleep(api.context.switches.settings().delay()).await;
    Ok(result.unwrap_or_else(|error| {
        if protocol == Some(Protocol::Events) {
            api.context
                .ledger
                .count(|counts| counts.events.refused += 1);
        }
        responses::error_response(&api, &error)
    }))
}

async fn serve(
    api: &Arc<AppSync>,
    host: &str,
    protocol: Option<Protocol>,
    request: Request<Incoming>,
) -> Result<Response<Body>, AppSyncError> {
    let (parts, body) = request.into_parts();
    let known = matches!(api.host_kind(host), Some(HostKind::Api | HostKind::Custom));
    let protocol = protocol.filter(|_| known).ok_or(AppSyncError::NotFound)?;
    if parts.method == Method::OPTIONS {
        return Ok(preflight(api));
    }
    if api.context.switches.settings().throttle {
        return Err(AppSyncError::Throttled);
    }
    let body = read(body, protocol).await?;
    let headers = Headers::from_request(&parts.headers, host);
    let query = parts.uri.query().unwrap_or_default();
    api.verify(&Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query,
        headers: &headers,
        body: &body,
    })?;

    let fixed = api.context.switches.settings().answer_http;
    let has_text = |fixed: &FixedResponse| String::from_utf8_lossy(&body).contains(&fixed.only);
    if let Some(fixed) = fixed.filter(has_text) {
        return Ok(responses::fixed_response(api, &fixed));
    }
    match protocol {
        Protocol::GraphQl => {
            let operation = match parts.method {
                Method::POST if body.is_empty() => return Err(AppSyncError::EmptyBody),
                Method::POST => Operation::parse(&body)?,
                Method::GET => from_query(query)?,
                _ => return Err(AppSyncError::NotFound),
            };
            api.check_field_policies(&operation)?;
            graphql(api, operation, headers).await
        }
        Protocol::Events if parts.method == Method::POST => {
            let mut response = Response::new(Body::from(events::handle_publish(api, &body)?));
            common_headers(api, response.headers_mut());
            Ok(response)
        }
        Protocol::Events => Err(AppSyncError::NotFound),
    }
}

async fn graphql(
    api: &Arc<AppSync>,
    operation: Operation,
    headers: Headers,
) -> Result<Response<Body>, AppSyncError> {
    // Like AppSync, the emulator finishes an operation even if its client disconnects.
    let (executing, shutdown) = (Arc::clone(api), api.context.shutdown.clone());
    let execution = api.context.tasks.spawn(async move {
        let execution = executing.graphql.execute(operation, headers);
        shutdown.run_until_cancelled(execution).await
    });
    let json = match execution.await {
        Ok(Some(executed)) => executed?,
        Ok(None) | Err(_) => return Err(AppSyncError::Internal),
    };

    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    common_headers(api, headers);
    headers.insert(TOKENS_CONSUMED, HeaderValue::from_static("1"));
    Ok(response)
}

async fn read(body: Incoming, protocol: Protocol) -> Result<Bytes, AppSyncError> {
    let largest = match protocol {
        Protocol::GraphQl => MAX_BODY,
        Protocol::Events => MAX_PUBLISH,
    };
    let limited = Limited::new(body, largest).collect();
    match tokio::time::timeout(BODY_TIMEOUT, limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(AppSyncError::TooLarge),
        // The client has disconnected, or its body did not arrive in time.
        Ok(Err(_)) | Err(_) => Err(AppSyncError::Unparsable),
    }
}

/// Parses an operation from a query string. Like AppSync, the emulator executes mutations by `GET`.
fn from_query(query: &str) -> Result<Operation, AppSyncError> {
    let text = |text: &str| {
        String::from_utf8(percent_decode(text, PlusSign::Space))
            .map_err(|_| AppSyncError::Unparsable)
    };
    let mut operation = Operation {
        query: String::new(),
        variables: serde_json::Value::Null,
        operation_name: None,
    };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match text(name)?.as_str() {
            "query" => operation.query = text(value)?,
            "operationName" => operation.operation_name = Some(text(value)?),
            "variables" => {
                operation.variables =
                    serde_json::from_str(&text(value)?).map_err(|_| AppSyncError::Unparsable)?;
            }
            _ => {}
        }
    }
    if operation.query.trim().is_empty() {
        return Err(AppSyncError::Unparsable);
    }
    Ok(operation)
}

/// Returns the `:authority` of HTTP/2, or the `Host` header.
pub(super) fn host(request: &Request<Incoming>) -> String {
    match request.uri().authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Returns the response to a preflight. AppSync does not require a signature for it.
fn preflight(api: &AppSync) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    common_headers(api, headers);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "172800"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const TOKENS_CONSUMED: HeaderName = HeaderName::from_static("x-amzn-appsync-tokensconsumed");
const MAX_BODY: usize = 1 << 20;
/// Large enough for five events of 240 KB each in JSON.
const MAX_PUBLISH: usize = 3 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
