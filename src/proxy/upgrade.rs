//! Accepts a client's WebSocket. An upstream failure never rejects the upgrade, because clients do not
//! retry after that: it is reported later by a close code.

use countersign_protocol::dialect::{EVENTS_PROTOCOLS, GRAPHQL_PROTOCOLS};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::body::Body;
use super::call::Call;
use super::error::Error;
use crate::upstream::UpstreamKind;

/// Whether the client asks for a WebSocket (RFC 6455, section 4.1).
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

pub(super) fn is_named_by_connection(headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, "upgrade")
}

pub(super) fn accept(
    call: Call<'_>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    if request.method() != Method::GET {
        return Err(Error::Upgrade("it must be a GET"));
    }
    if !is_named_by_connection(request.headers()) {
        return Err(Error::Upgrade("Connection must name Upgrade"));
    }
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
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let spoken: &[&'static str] = match call.route.upstream.endpoint().kind {
        UpstreamKind::Events => &EVENTS_PROTOCOLS,
        UpstreamKind::Graphql | UpstreamKind::Http => &GRAPHQL_PROTOCOLS,
    };
    let is_offered = |name: &&&str| has_token(headers, &SEC_WEBSOCKET_PROTOCOL, name);
    let protocol = spoken.iter().find(is_offered).copied();
    if let Some(name) = protocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }

    let upgrade = hyper::upgrade::on(&mut request);
    // They contain the client's spelling of header names, which hyper uses for the response: Python's
    // gql looks for `Sec-WebSocket-Protocol` in exactly these letters.
    *response.extensions_mut() = std::mem::take(request.extensions_mut());
    let headers = std::mem::take(request.headers_mut());
    let client = call.session_client(headers);
    call.sessions.serve(upgrade, protocol, client);
    Ok(response)
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let tokens = value.to_str().unwrap_or_default().split(',');
        tokens
            .map(str::trim)
            .any(|token| token.eq_ignore_ascii_case(wanted))
    })
}
