//! The layers around every request on the proxied port.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, service_fn};

use super::connection::TrackedBody;
use super::connection_state::ConnectionState;
use super::framing::{self, has_odd_body};
use crate::memory::Memory;
use crate::proxy::{Body, Client, Error, Proxy, RefusedRequest, RoutedRequest, Slots};
use crate::telemetry::tasks::{Task, caught};

/// Returns the service that answers the requests of one connection.
///
/// Its layers are listed from the outside in: a request passes them from top to bottom, and its
/// response from bottom to top.
pub(super) fn request_stack<'a>(
    proxy: &'a Proxy,
    memory: &'a Memory,
    slots: &'a Slots,
    client: &'a Client,
    state: &'a Arc<ConnectionState>,
    connection_limit: usize,
) -> impl Service<Request<Incoming>, Response = Response<TrackedBody>, Error = Infallible, Future: Send>
+ Clone {
    ServiceBuilder::new()
        // Outermost, so that a request has a record, which becomes its log line, its span and its
        // metrics, even if a layer below refuses it. Both are on the heap, because each layer moves them.
        .map_request(move |request| proxy.begin(request, client))
        // The connection's timers rest until the body of the response has been sent.
        .layer_fn(move |inner| around(inner, move |request, inner| track(state, request, inner)))
        // The bytes after a request may not be a request: then the connection is closed.
        .layer_fn(|inner| around(inner, close_after_odd_request))
        // Errors become responses, in the format that the clients of the route expect. Below the
        // record, to which it adds the error.
        .layer_fn(move |inner| around(inner, move |request, inner| rescue(proxy, request, inner)))
        // A panic is an error of its own request alone.
        .layer_fn(|inner| around(inner, catch_panics))
        // Before anything acts on a request, it must be clear where it ends.
        .layer_fn(move |inner| {
            check(inner, move |request: &RoutedRequest| {
                framing::check(request.http(), state.is_ambiguous())
            })
        })
        // A connection beyond the limit is accepted only for this response.
        .layer_fn(move |inner| {
            check(inner, move |_: &RoutedRequest| {
                if state.is_spare() {
                    return Err(Error::TooManyClients(connection_limit));
                }
                Ok(())
            })
        })
        // While memory is short, requests are refused before their bodies are read.
        .layer_fn(move |inner| {
            check(inner, move |_: &RoutedRequest| {
                if memory.is_short() {
                    return Err(Error::MemoryShort);
                }
                Ok(())
            })
        })
        // At the limit of requests in flight, a request is refused at once. It takes its slot only
        // when its body has arrived (see `proxy::slot`), so that slow bodies hold none.
        .layer_fn(move |inner| check(inner, move |_: &RoutedRequest| slots.check()))
        // On the heap, because each layer above would move the large future of the handler.
        .service(service_fn(move |request| {
            let client = Client {
                slot: slots.slot(),
                ..client.clone()
            };
            Box::pin(
                async move { Ok::<_, Box<RefusedRequest>>(proxy.handle(request, &client).await) },
            )
        }))
}

/// Counts the request as in progress until the body of its response is dropped.
async fn track<S>(
    state: &Arc<ConnectionState>,
    request: Box<RoutedRequest>,
    mut inner: S,
) -> Result<Response<TrackedBody>, Infallible>
where
    S: Service<Box<RoutedRequest>, Response = Response<Body>, Error = Infallible>,
{
    let in_progress = state.begin();
    let response = inner.call(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        state.upgrade();
    }
    Ok(response.map(|body| TrackedBody::new(body, in_progress)))
}

/// Closes the connection after a body where other servers expect none, and after a refused upgrade.
async fn close_after_odd_request<S>(
    request: Box<RoutedRequest>,
    mut inner: S,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Box<RoutedRequest>, Response = Response<Body>, Error = Infallible>,
{
    let is_odd = has_odd_body(request.http()) || request.asks_for_websocket();
    let mut response = inner.call(request).await?;
    if is_odd && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

async fn rescue<S>(
    proxy: &Proxy,
    request: Box<RoutedRequest>,
    mut inner: S,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Box<RoutedRequest>, Response = Response<Body>, Error = Box<RefusedRequest>>,
{
    let result = inner.call(request).await;
    Ok(result.unwrap_or_else(|refused| proxy.refuse(*refused)))
}

/// Begins the span, too, which runs code of the exporter.
async fn catch_panics<S>(
    mut request: Box<RoutedRequest>,
    mut inner: S,
) -> Result<Response<Body>, Box<RefusedRequest>>
where
    S: Service<Box<RoutedRequest>, Response = Response<Body>, Error = Box<RefusedRequest>>,
{
    let (id, error_format) = (request.id(), request.error_format());
    let handled = caught(Task::Request, async move {
        request.trace();
        inner.call(request).await
    });
    match handled.await {
        Ok(result) => result,
        Err(panicked) => Err(RefusedRequest::by_panic(panicked, id, error_format)),
    }
}

/// A layer that is a function of the request and of the service below it.
#[derive(Clone, Copy)]
struct Around<S, F> {
    inner: S,
    call: F,
}

fn around<S, F>(inner: S, call: F) -> Around<S, F> {
    Around { inner, call }
}

impl<S, F, R, T, E, Fut> Service<R> for Around<S, F>
where
    S: Clone,
    F: FnMut(R, S) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    /// Every service of the stack is always ready: requests that exceed a limit are refused, and
    /// none waits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Fut {
        (self.call)(request, self.inner.clone())
    }
}

/// A layer that refuses some requests.
#[derive(Clone, Copy)]
struct Check<S, F> {
    inner: S,
    is_fine: F,
}

fn check<S, F>(inner: S, is_fine: F) -> Check<S, F> {
    Check { inner, is_fine }
}

impl<S, F> Service<Box<RoutedRequest>> for Check<S, F>
where
    S: Service<Box<RoutedRequest>, Error = Box<RefusedRequest>>,
    F: FnMut(&RoutedRequest) -> Result<(), Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Box<RoutedRequest>) -> Self::Future {
        match (self.is_fine)(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(error) => Either::Right(ready(Err(request.refuse(error)))),
        }
    }
}
