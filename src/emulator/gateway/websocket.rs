//! HTTP requests to WebSocket APIs: upgrades and `@connections`; and the upgrade to IoT Wireless's
//! packet stream.
//!
//! Requests are authorized by headers or by a presigned query; nothing is checked after the upgrade.
//! The query controls the integration of `$connect`. With `status=N`, it rejects the connection with
//! this status. With `subprotocol=NAME`, it selects this subprotocol if the client offers it, and
//! otherwise none. Without it, it selects the first one that the client offers.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::{GatewayBody, GatewayResponse};
use super::error::GatewayError;
use super::head::Head;
use super::routes::{self, parameter};
use super::sigv4::VerifiedRequest;
use super::sites::Site;
use super::sockets::{MAX_MESSAGE, SocketService, Upgrade};
use super::state::Gateway;
use crate::sigv4::{PlusSign, percent_decode};

/// The outcome of a request.
pub(super) enum RequestOutcome {
    Response(GatewayResponse),
    Upgrade(Upgrade),
}

/// Handles a request to the WebSocket API.
pub(super) fn websocket_response(
    gateway: &Gateway,
    site: &Site,
    head: &Head,
    body: &[u8],
    verified: &VerifiedRequest,
) -> Result<RequestOutcome, GatewayError> {
    let (stage, route) = routes::stage_and_route(head)?;
    if let Some(id) = connection_id(&route) {
        return manage(gateway, head, &id, body).map(RequestOutcome::Response);
    }
    if !head.is_upgrade() {
        return Err(GatewayError::UpgradeRequired);
    }
    if !matches!(route.as_str(), "" | "/") {
        return Err(GatewayError::Forbidden);
    }
    let query = query(head);
    if let Some(status) = parameter(&query, "status") {
        let status = status.parse().ok();
        return Ok(RequestOutcome::Response(rejected_by_integration(status)));
    }

    let mut headers = upgrade_headers(head)?;
    let offered = head.items("sec-websocket-protocol");
    let chosen = match parameter(&query, "subprotocol") {
        Some(named) => offered.into_iter().find(|offered| *offered == named),
        None => offered.into_iter().next(),
    };
    if let Some(value) = chosen.and_then(|chosen| HeaderValue::try_from(chosen).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let service = SocketService::Api {
        id: new_id(),
        handshake: routes::echo(site, &stage, head, body, verified),
        user_agent: head.text("user-agent").unwrap_or_default(),
    };
    Ok(RequestOutcome::Upgrade(Upgrade { headers, service }))
}

/// Handles a request to IoT Wireless. Only the packet stream of a network analyzer is served. It
/// requires a presigned URL that signs `host` alone and expires within five minutes.
pub(super) fn analyzer_response(
    head: &Head,
    verified: &VerifiedRequest,
) -> Result<RequestOutcome, GatewayError> {
    let (path, _) = head.path_and_query();
    if path != b"/start-network-analyzer-stream" {
        return Err(GatewayError::NotFound);
    }
    if !head.is_upgrade() {
        return Err(GatewayError::UpgradeRequired);
    }
    if !verified.is_presigned || verified.signed_headers != ["host"] {
        return Err(GatewayError::Forbidden);
    }
    let query = query(head);
    let expires = parameter(&query, "X-Amz-Expires").and_then(|seconds| seconds.parse().ok());
    if expires.is_none_or(|seconds: u32| seconds > MAX_STREAM_EXPIRY_S) {
        return Err(GatewayError::Forbidden);
    }
    let configuration = parameter(&query, "configuration-name");
    let service = SocketService::Analyzer {
        configuration: configuration.unwrap_or_else(|| DEFAULT_CONFIGURATION.to_owned()),
    };
    let headers = upgrade_headers(head)?;
    Ok(RequestOutcome::Upgrade(Upgrade { headers, service }))
}

/// Handles `POST`, `GET` and `DELETE` of `@connections/{id}`.
fn manage(
    gateway: &Gateway,
    head: &Head,
    id: &str,
    body: &[u8],
) -> Result<GatewayResponse, GatewayError> {
    let sockets = &gateway.sockets;
    let is_queued = match head.method {
        Method::GET => {
            let description = sockets.describe(id).ok_or(GatewayError::Gone)?;
            return Ok(routes::json_response(&description));
        }
        Method::POST if body.len() > MAX_MESSAGE => return Err(GatewayError::TooLarge),
        Method::POST => sockets.send(id, String::from_utf8_lossy(body).into_owned()),
        Method::DELETE => sockets.close(id),
        _ => return Err(GatewayError::NotFound),
    };
    if !is_queued {
        return Err(GatewayError::Gone);
    }
    let mut response = Response::new(GatewayBody::from(String::new()));
    if head.method == Method::DELETE {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    Ok(response)
}

/// Returns the id of `/@connections/abc=`, or of `/%40connections/abc%3D`.
pub(super) fn connection_id(route: &str) -> Option<String> {
    let decoded = String::from_utf8(percent_decode(route, PlusSign::Literal)).ok()?;
    let id = decoded.strip_prefix("/@connections/")?;
    Some(id.to_owned())
}

fn rejected_by_integration(status: Option<u16>) -> GatewayResponse {
    let status = status.filter(|status| (400..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = routes::json_response(&json!({ "message": "refused by the integration" }));
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
    response
}

/// Returns the headers of the 101.
fn upgrade_headers(head: &Head) -> Result<HeaderMap, GatewayError> {
    let key = head.text("sec-websocket-key").filter(|key| key.len() == 24);
    let accept = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let is_13 = head.text("sec-websocket-version").as_deref() == Some("13");
    let (Some(accept), true) = (accept, is_13) else {
        return Err(GatewayError::BadRequest("Bad Request".to_owned()));
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(headers)
}

fn query(head: &Head) -> String {
    let (_, query) = head.path_and_query();
    String::from_utf8_lossy(query).into_owned()
}

/// Returns an id of AWS's form: fifteen letters and digits, and an equals sign.
pub(super) fn new_id() -> String {
    let id: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(15)
        .collect();
    id + "="
}

const DEFAULT_CONFIGURATION: &str = "NetworkAnalyzerConfig_Default";
const MAX_STREAM_EXPIRY_S: u32 = 300;
