//! Accepts a client's WebSocket on an AppSync route. If upstream fails, the upgrade is accepted all the
//! same, and a close code reports the failure: clients do not retry after a rejected upgrade.

use std::sync::Arc;

use countersign_protocol::dialect::{Close, EVENTS_PROTOCOLS, GRAPHQL_PROTOCOLS};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::Body;
use super::call::Call;
use super::client::Client;
use super::error::Error;
use crate::session::Sessions;
use crate::upstream::UpstreamKind;

/// Returns whether the client asks for a WebSocket (RFC 6455, section 4.1). Reads the values as bytes,
/// so that no byte beside the token hides it.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Checks the parts of a handshake that every WebSocket needs.
///
/// # Errors
/// When the request is not a `GET`, does not name `Upgrade` in `Connection`, or has a body, whose bytes
/// other servers could read as the first frames.
pub(super) fn check_request<B: HttpBody>(request: &Request<B>) -> Result<(), Error> {
    if request.method() != Method::GET {
        return Err(Error::Upgrade("it must be a GET"));
    }
    if !has_token(request.headers(), &CONNECTION, "upgrade") {
        return Err(Error::Upgrade("Connection must name Upgrade"));
    }
    if !request.body().is_end_stream() {
        return Err(Error::Upgrade(
            "it must have no body: remove Content-Length and Transfer-Encoding",
        ));
    }
    Ok(())
}

/// Accepts the WebSocket, in the first of the route's protocols that the client offers.
pub(super) fn accept(
    call: Call<'_>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let supported: &[&'static str] = match call.route.upstream.endpoint().kind {
        UpstreamKind::Events => &EVENTS_PROTOCOLS,
        UpstreamKind::Graphql | UpstreamKind::Http => &GRAPHQL_PROTOCOLS,
    };
    let (mut response, protocol) = handshake(&request, supported)?;
    let upgrade = upgrade(&mut request, &mut response);
    let headers = std::mem::take(request.headers_mut());
    let client = call.session_client(headers);
    call.sessions.serve(upgrade, protocol, client);
    Ok(response)
}

/// Accepts a WebSocket for a protocol of GraphQL or Events only to close it, because browsers do not show
/// the response to a rejected upgrade. Returns `None` for any other WebSocket.
pub(super) fn accept_and_close(
    sessions: &Sessions,
    mut request: Request<Incoming>,
    client: &Client,
    close: Close,
) -> Option<Response<Body>> {
    let supported = [&GRAPHQL_PROTOCOLS[..], &EVENTS_PROTOCOLS].concat();
    let (mut response, protocol) = handshake(&request, &supported).ok()?;
    protocol?;
    let upgrade = upgrade(&mut request, &mut response);
    sessions.close(upgrade, Arc::clone(&client.permit), close);
    Some(response)
}

/// Returns the response to a handshake, and the first of the supported protocols that the client offers.
fn handshake(
    request: &Request<Incoming>,
    supported: &[&'static str],
) -> Result<(Response<Body>, Option<&'static str>), Error> {
    check_request(request)?;
    let headers = request.headers();
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Error::Upgrade("Sec-WebSocket-Version must be 13"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or(Error::Upgrade("Sec-WebSocket-Key is missing"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Error::Upgrade("Sec-WebSocket-Key is malformed"))?;

    let mut response = Response::new(Body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let response_headers = response.headers_mut();
    response_headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response_headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    response_headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let is_offered = |name: &&&str| has_token(headers, &SEC_WEBSOCKET_PROTOCOL, name);
    let protocol = supported.iter().find(is_offered).copied();
    if let Some(name) = protocol {
        response_headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((response, protocol))
}

fn upgrade(request: &mut Request<Incoming>, response: &mut Response<Body>) -> OnUpgrade {
    let upgrade = hyper::upgrade::on(&mut *request);
    // The request's extensions hold its spelling of header names, which hyper uses for the response.
    // Python's gql looks for `Sec-WebSocket-Protocol` in exactly this spelling.
    *response.extensions_mut() = std::mem::take(request.extensions_mut());
    upgrade
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let tokens = value.to_str().unwrap_or_default().split(',');
        tokens
            .map(str::trim)
            .any(|found| found.eq_ignore_ascii_case(token))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&[u8]], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(UPGRADE, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(asks_for_websocket(&headers), expected, "{values:?}");
    }

    #[test]
    fn websockets_are_detected_in_any_value_of_upgrade() {
        check(&[b"websocket"], true);
        check(&[b"WebSocket"], true);
        check(&[b"h2c, websocket\t"], true);
        check(&[b"h2c", b"websocket"], true);
        check(&[b"websocket, \x80"], true);
        check(&[], false);
        check(&[b""], false);
        check(&[b"h2c"], false);
        check(&[b"websockets"], false);
        check(&[b"web socket"], false);
    }
}
