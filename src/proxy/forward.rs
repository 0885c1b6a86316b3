//! Sends requests upstream, and forwards those on routes that are not AppSync's.

use std::future::poll_fn;
use std::task::Poll;

use http::response::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::exposure::Relayed;
use super::relay::relay;
use super::request_body;
use super::route::Route;
use crate::operation::exchange;
use crate::telemetry::Record;
use crate::upstream::{
    Repeat, ResponseBody, UpstreamRequest, filter_response_headers, set_length_of_empty_body,
};

/// Forwards a request: a path below the route's path goes to the same path below the target's.
pub(super) async fn forward(
    route: &Route,
    request: Request<Incoming>,
    client: &Client,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (mut head, body) = request.into_parts();
    let target = route.target(&head.uri)?;
    let body = request_body::read(route, body, &client.slot, record).await?;
    route.headers.filter_request(&mut head.headers);
    if body.is_empty() {
        set_length_of_empty_body(&head.method, &mut head.headers);
    }
    let mut request = UpstreamRequest {
        repeat: Repeat::from(&head.method),
        method: head.method,
        target: &target,
        headers: head.headers,
        body,
    };
    let (head, body) = send(route, &mut request, record).await?;
    drop(request);
    relay(head, body, &client.share, record).await
}

/// Signs and sends a request, and returns upstream's response. The headers are those that go upstream.
///
/// Only for the future of a client's request, and not for a task of its own, which the end of the drain would
/// not wake.
pub(super) async fn send(
    route: &Route,
    request: &mut UpstreamRequest<'_>,
    record: &mut Record,
) -> Result<(Parts, ResponseBody), Error> {
    if route.expired.is_cancelled() {
        return Err(Error::Draining);
    }
    // Does not join the list of those who wait for the deadline: the server polls the request when it expires
    // (`Server::serve_http`).
    let expired = poll_fn(|_| match route.expired.is_cancelled() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    let sent = exchange(&route.upstream, &route.headers, request, expired, record).await;
    let (mut head, body) = sent?.into_parts();
    filter_response_headers(&mut head.headers);
    head.extensions
        .insert(Relayed(route.browser.response_headers));
    Ok((head, body))
}
