//! The proxied port: from a request's head to its response.
//!
//! [`Proxy::begin`] finds the route of a request. [`Proxy::handle`] checks access, and then serves the
//! request by the kind of its route: GraphQL, Events or plain forwarding, over HTTP or a WebSocket. Every
//! error becomes a response in [`error::rescue`]. Nothing here opens a connection or signs:
//! [`crate::upstream`] does.

mod accept;
mod batch;
mod body;
mod call;
mod client;
mod content_type;
mod error;
mod events;
mod exposure;
mod forward;
mod graphql;
mod html;
mod locate;
mod page;
mod parameters;
mod readings;
mod relay;
mod relay_graphql;
mod request;
mod request_body;
mod route;
mod slot;
mod sse_single;
mod stream;
mod tunnel;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;

pub use accept::{Accept, Media, ResponseFormat};
pub use batch::items as batch_items;
pub use body::Body;
use call::Call;
pub use client::Client;
use countersign_protocol::dialect::Close;
use countersign_protocol::graphql::shown;
use error::rescue;
pub use error::{Error, ErrorFormat};
pub use events::envelope;
use http::header::{ACCESS_CONTROL_MAX_AGE, CONNECTION, CONTENT_LENGTH, VARY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use locate::{Located, Routes};
pub use parameters::operation_from_query;
pub use readings::{AmbiguousPath, Matching, NestedRoute, Top, check as check_readings};
pub use relay_graphql::{begins_with_data, rejection_body, request_errors};
use request::request_line;
pub use request::{RefusedRequest, RoutedRequest};
pub use route::{RequestLimits, Route};
pub use slot::{Slot, Slots};

use crate::guard::{self, Admission, Cors, Guard, Navigations, Refusal, is_opened_in_a_window};
use crate::inspector::Inspector;
use crate::session::Sessions;
use crate::telemetry::{Record, X_REQUEST_ID, method_name};
use crate::upstream::UpstreamKind;

/// Everything behind the proxied port.
#[derive(Debug)]
pub struct Proxy {
    guard: Guard,
    routes: Routes,
    sessions: Arc<Sessions>,
    inspector: Inspector,
    /// The address of the inspector's pages, while it is on.
    inspector_address: Option<SocketAddr>,
}

/// The client of a request, and the facts that are read from the request's head once.
#[derive(Clone, Copy)]
struct RequestContext<'a> {
    client: &'a Client,
    accept: Accept,
    /// The client asks for a WebSocket.
    is_websocket: bool,
}

impl Proxy {
    pub fn new(guard: Guard, routes: Vec<Route>, sessions: Sessions) -> Self {
        Self {
            guard,
            routes: Routes::new(routes),
            sessions: Arc::new(sessions),
            inspector: Inspector::default(),
            inspector_address: None,
        }
    }

    /// Shows every request to `inspector`, whose pages are on the admin listener.
    pub fn with_inspector(mut self, inspector: Inspector, admin: Option<SocketAddr>) -> Self {
        self.inspector_address = admin.filter(|_| inspector.is_on());
        self.inspector = inspector;
        self
    }

    /// Begins a request: creates its record, finds its route, and determines the format of its errors.
    pub fn begin(&self, request: Request<Incoming>, client: &Client) -> Box<RoutedRequest> {
        let mut record = Box::new(Record::new(method_name(request.method())));
        record.client_address = client.peer;
        record.identify(request.headers());
        record.capture = self.inspector.request(&request, client.peer);
        let located = self.routes.locate(request.uri());
        let accept = Accept::of(request.headers());
        let is_websocket = upgrade::asks_for_websocket(request.headers());
        let mut error_format = error_format(located.as_ref(), accept.media());
        // Without metadata, the client may be a program that sends the `accept` of a browser, or a page of a
        // name that was rebound to this machine.
        let is_shown =
            page::is_for_a_browser(&request, accept) && is_opened_in_a_window(request.headers());
        if is_shown && error_format != ErrorFormat::Plain {
            error_format = ErrorFormat::Page;
        }
        Box::new(RoutedRequest {
            is_websocket,
            request: Box::new(request),
            record,
            located,
            accept,
            error_format,
        })
    }

    /// Returns the response to a request of `client`.
    pub async fn handle(&self, request: Box<RoutedRequest>, client: &Client) -> Response<Body> {
        let RoutedRequest {
            mut request,
            mut record,
            located,
            accept,
            is_websocket,
            error_format,
        } = *request;
        let is_page = page::is_asked_for(&request, located.as_ref(), accept) && !is_websocket;
        let navigations = match &located {
            // Nothing is signed for the page, or without a route, so every link may lead there.
            None => Navigations::AllowFromEverySite,
            Some(_) if is_page => Navigations::AllowFromEverySite,
            Some(located) => located.route.browser.navigations,
        };
        // This check is the first, because everything after it acts with the IAM identity.
        let checked = self
            .guard
            .check(&request, client.local, client.scheme, navigations);
        let is_icon = located.is_none() && page::is_icon(&request);
        let checked = match checked {
            // A browser asks for it by itself, beside every page.
            Err(Refusal::CrossSite(_) | Refusal::Navigation(_)) if is_icon => Ok(Cors::NoOrigin),
            checked => checked,
        };
        let cors = match checked {
            Ok(cors) => cors,
            Err(refusal) => {
                let is_socket = is_websocket && matches!(error_format, ErrorFormat::GraphQl(_));
                return self.refuse_page(refusal, request, client, is_socket, error_format, record);
            }
        };
        let preflight = Cors::is_preflight(&request) && cors != Cors::NoOrigin;
        if preflight {
            let mut response = Response::new(Body::full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let mut response = finish(response, &cors, record);
            cors.apply_preflight(request.headers(), response.headers_mut());
            return response;
        }
        let is_from_browser = guard::is_from_browser(request.headers());
        let result = match located {
            _ if is_icon => Ok(page::no_icon()),
            _ if is_page => self.page(located.as_ref(), &request, client, &mut record),
            None => self
                .guard
                .admit(request.headers(), "", false, false)
                .map_err(Error::from)
                .and_then(|_| {
                    Err(Error::NoRoute {
                        path: shown(request.uri().path()),
                        routes: self.routes.paths(),
                    })
                }),
            Some(located) => {
                record.set_route(located.route.upstream.metrics());
                record.trace.set_route(&located.route.path);
                let context = RequestContext {
                    client,
                    accept,
                    is_websocket,
                };
                match self.admit(located, &mut request, is_websocket, &cors, &mut record) {
                    Ok((route, admission)) => {
                        self.dispatch(&route, request, context, &admission, &mut record)
                            .await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let mut response = result.unwrap_or_else(|error| rescue(&error, error_format, &mut record));
        if is_from_browser {
            exposure::keep_state(&mut response);
            exposure::vary_by_site(&mut response);
        }
        if error_format != ErrorFormat::Plain {
            let accept = HeaderValue::from_static("accept");
            response.headers_mut().append(VARY, accept);
        }
        finish(response, &cors, record)
    }

    /// Returns the page of a path to a client with a token for its route, if tokens are required. While the
    /// inspector is on, the path of a GraphQL route leads to GraphiQL.
    fn page(
        &self,
        located: Option<&Located>,
        request: &Request<Incoming>,
        client: &Client,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        let route = located.map(|located| &*located.route);
        if let Some(route) = route {
            record.set_route(route.upstream.metrics());
        }
        let name = route.map_or("", |route| &route.name);
        self.guard.admit(request.headers(), name, false, false)?;
        let inspector = self.inspector_address;
        Ok(page::respond(
            &self.routes,
            request,
            client.scheme,
            route,
            inspector,
        ))
    }

    /// Returns the response to a request that the guard refuses. A page of a web server on this machine
    /// may read it. Nothing is signed for it either way.
    fn refuse_page(
        &self,
        refusal: Refusal,
        request: Box<Request<Incoming>>,
        client: &Client,
        is_socket: bool,
        error_format: ErrorFormat,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let cors = Cors::of_refusal(&refusal, request.headers());
        let reason = Close::new(Close::FORBIDDEN, refusal.to_string());
        let response = rescue(&refusal.into(), error_format, &mut record);
        // Not with its CORS headers, so that pages can read the response but not embed it.
        let finish = |response| finish(response, &Cors::NoOrigin, record);
        if Cors::is_preflight(&request) && cors != Cors::NoOrigin {
            // Otherwise the browser would not send the request whose refusal the page can read.
            let mut response = Response::new(Body::full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let mut response = finish(response);
            cors.apply(response.headers_mut());
            cors.apply_preflight(request.headers(), response.headers_mut());
            let uncached = HeaderValue::from_static("0");
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_MAX_AGE, uncached);
            return response;
        }
        if is_socket
            && cors != Cors::NoOrigin
            && let Some(closed) =
                upgrade::accept_and_close(&self.sessions, *request, client, reason)
        {
            return finish(closed);
        }
        let mut response = finish(response);
        cors.apply(response.headers_mut());
        response
    }

    /// Checks the token, which a preflight does not contain, and rejects content types that browsers send
    /// without a preflight. Changes the target of the request to that of its route.
    fn admit(
        &self,
        Located { route, target }: Located,
        request: &mut Request<Incoming>,
        is_websocket: bool,
        cors: &Cors,
        record: &mut Record,
    ) -> Result<(Arc<Route>, Admission), Error> {
        let is_appsync = route.api.is_some();
        let admission = self.guard.admit(
            request.headers(),
            &route.name,
            is_appsync,
            is_appsync && is_websocket,
        )?;
        if let Admission::Granted(grant) = &admission {
            record.token.clone_from(&grant.name);
        }
        if let Some(target) = target? {
            *request.uri_mut() = target;
        }
        if route.api.is_none() {
            guard::check_content_type(request, cors)?;
        }
        Ok((route, admission))
    }

    /// Returns the response to a request whose head cannot be parsed, or is too large. `line` is the start
    /// of its first line, and `peer` is the address of its client.
    pub fn refuse_head(
        &self,
        line: &[u8],
        peer: Option<SocketAddr>,
        error: Error,
    ) -> Response<Body> {
        let (method, path) = request_line(line);
        let mut record = Box::new(Record::new(method));
        record.client_address = peer;
        let located = path.and_then(|path| self.routes.locate(&path));
        self.refuse(RefusedRequest {
            error,
            record,
            error_format: error_format(located.as_ref(), Media::Json),
            route: located.map(|located| located.route),
        })
    }

    /// Returns the response to a refused request.
    pub fn refuse(&self, refused: RefusedRequest) -> Response<Body> {
        let RefusedRequest {
            error,
            mut record,
            route,
            error_format,
        } = refused;
        if let Some(route) = route {
            record.set_route(route.upstream.metrics());
        }
        let response = rescue(&error, error_format, &mut record);
        let mut response = finish(response, &Cors::NoOrigin, record);
        let is_shed = matches!(error, Error::MemoryShort | Error::TooManyInFlight(_));
        // After any other refusal it is unclear how much of the request has been read, or where it ends.
        if !is_shed {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    /// Serves a request by the kind of its route.
    async fn dispatch(
        &self,
        route: &Route,
        request: Box<Request<Incoming>>,
        context: RequestContext<'_>,
        admission: &Admission,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        let RequestContext {
            client,
            accept,
            is_websocket,
        } = context;
        if is_websocket || !reads_body(route, &request) {
            client.slot.take()?;
        }
        let policies = match admission {
            Admission::Granted(grant) => &route.policies.and(&grant.policies),
            Admission::Pending(_) => &route.policies,
        };
        let request_id = &record.id.clone();
        let call = route.api.as_ref().map(|api| Call {
            request_id,
            sessions: &self.sessions,
            route,
            api,
            policies,
            client,
            accept,
            admission,
        });
        match call {
            Some(call) if is_websocket => upgrade::accept(call, *request),
            Some(_) | None if self.sessions.is_draining() => Err(Error::Draining),
            None if is_websocket => {
                policies.evaluate_websocket()?;
                Box::pin(tunnel::open(
                    &self.sessions,
                    route,
                    *request,
                    client,
                    record,
                ))
                .await
            }
            Some(call) => match route.upstream.endpoint().kind {
                UpstreamKind::Events => Box::pin(events::serve(call, *request, record)).await,
                UpstreamKind::Graphql | UpstreamKind::Http => {
                    graphql::serve(call, request, record).await
                }
            },
            None => {
                policies.evaluate_method(request.method(), request.headers())?;
                forward::forward(route, *request, client, record).await
            }
        }
    }
}

/// Returns the format of errors for the clients of a route.
fn error_format(located: Option<&Located>, media: Media) -> ErrorFormat {
    match located {
        Some(located) if located.route.upstream.endpoint().kind == UpstreamKind::Http => {
            ErrorFormat::Plain
        }
        Some(_) | None => ErrorFormat::GraphQl(media),
    }
}

/// Returns whether the request's body must arrive before the request can be handled.
fn reads_body(route: &Route, request: &Request<Incoming>) -> bool {
    let is_read = route.api.is_none() || request.method() == Method::POST;
    is_read && !request.body().is_end_stream()
}

/// Adds the request's id and the headers that protect a response in browsers, and attaches the request's record to it.
fn finish(mut response: Response<Body>, cors: &Cors, mut record: Box<Record>) -> Response<Body> {
    cors.apply(response.headers_mut());
    exposure::restrict(&mut response, cors);
    record.status = response.status().as_u16();
    if let Some(id) = record.id.header_value() {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    record
        .capture
        .response_head(response.status(), response.headers());
    record.show();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    response.body_mut().set_record(record, length);
    response
}
