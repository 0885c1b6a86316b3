//! Opens the tunnel for a client's WebSocket on a route that is not AppSync's. The handshake with
//! upstream comes first, so that the client receives upstream's response if upstream rejects it.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::exposure::Relayed;
use super::relay::relay;
use super::route::Route;
use super::upgrade;
use crate::guard;
use crate::operation::{record_response, record_timing};
use crate::session::{Sessions, Tunnel};
use crate::sign::redact;
use crate::telemetry::Record;
use crate::upstream::{Timing, filter_response_headers};

/// Performs the handshake with upstream and, if upstream accepts it, with the client.
pub(super) async fn open(
    sessions: &Sessions,
    route: &Route,
    mut request: Request<Incoming>,
    client: &Client,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    upgrade::check_request(&request)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let (mut head, _) = request.into_parts();
    let target = route.target(&head.uri)?;
    route.headers.filter_handshake(&mut head.headers);
    guard::strip_token_protocol(&mut head.headers);
    set_upgrade(&mut head.headers);
    let span = record.trace.upstream_span("GET");
    route.headers.continue_trace(&mut head.headers, &span);
    let mut timing = Timing::default();
    let capture = record.capture.clone();
    let shown = capture.is_on().then(|| head.headers.clone());
    let opened = route
        .upstream
        .open_tunnel(&target, head.headers, &mut timing)
        .await
        .map_err(Error::from);
    record_timing(&timing, record);
    if let (Some(headers), Some(now)) = (shown.clone(), timing.signed_at) {
        // At the same time, the signature is the same.
        let signed = route
            .upstream
            .signed_request(&Method::GET, &target, headers, &[], now);
        if let Ok((uri, headers)) = signed.await {
            let status = opened.as_ref().ok().map(Response::status);
            capture.sent(&Method::GET, &uri, &headers, &[], timing.attempts, status);
        }
    }
    let [signed, connected] = record.steps();
    let outcome = opened.as_ref().map(|response| response.status().as_u16());
    span.end(
        [connected, signed],
        outcome.map_err(|error| error.code().as_str()),
    );
    let mut upstream_response = opened?;
    redact::mask_headers(upstream_response.headers_mut());
    record_response(upstream_response.headers(), record);
    filter_response_headers(upstream_response.headers_mut());
    let relayed = Relayed(route.browser.response_headers);
    upstream_response.extensions_mut().insert(relayed);
    if upstream_response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = upstream_response.into_parts();
        return relay(head, body, &client.share, record).await;
    }
    let tunnel = Tunnel {
        client: upgraded,
        upstream: hyper::upgrade::on(&mut upstream_response),
        metrics: Arc::clone(route.upstream.metrics()),
        keepalive: route.keepalive.clone(),
        permit: Arc::clone(&client.permit),
        client_address: client.peer,
        request_id: record.id.clone(),
        capture: shown.map_or_else(Default::default, |headers| capture.part("tunnel", &headers)),
    };
    sessions.tunnel(tunnel);
    let mut response = Response::new(Body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = std::mem::take(upstream_response.headers_mut());
    set_upgrade(response.headers_mut());
    // The request's extensions hold its spelling of header names, which hyper uses for the response.
    *response.extensions_mut() = head.extensions;
    response.extensions_mut().insert(relayed);
    Ok(response)
}

/// Sets the hop-by-hop headers of an upgrade.
fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}
