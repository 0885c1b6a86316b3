//! The proxied port: from a request's head to its answer.
//!
//! [`Proxy::handle`] is the stack, read top to bottom: guard, route, then by the kind of the
//! route GraphQL, WebSocket or plain forwarding. Whatever fails leaves through
//! [`error::rescue`]. Nothing here opens a connection or signs: that is [`crate::upstream`].

mod body;
mod error;
mod forward;
mod graphql;
mod headers;
mod upgrade;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

pub use body::Body;
use error::{Error, Shape, rescue};
pub use headers::HeaderPolicy;

use crate::graphql::Documents;
use crate::guard::{Cors, Guard};
use crate::session::{Api, Sessions};
use crate::telemetry::Record;
use crate::upstream::{Kind, Upstream};

/// Everything behind the proxied port.
#[derive(Debug)]
pub struct Proxy {
    guard: Guard,
    /// Longest path first.
    routes: Vec<Route>,
    sessions: Sessions,
    documents: Documents,
}

/// A local path and the upstream it leads to.
#[derive(Debug)]
pub struct Route {
    pub name: String,
    /// Without a trailing slash; empty for the root.
    pub path: String,
    pub upstream: Arc<Upstream>,
    pub headers: HeaderPolicy,
    pub requests: RequestLimits,
    /// AppSync only.
    pub api: Option<Arc<Api>>,
}

/// Bounds of what a client may send on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    pub body: usize,
    pub body_timeout: Duration,
    /// Of a query's or mutation's answer, where it must be buffered.
    pub response_body: usize,
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address of ours that it reached.
    pub local: IpAddr,
    /// Counts the connection; a WebSocket takes it over.
    pub permit: Arc<OwnedSemaphorePermit>,
}

impl Proxy {
    pub fn new(guard: Guard, mut routes: Vec<Route>, sessions: Sessions) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Self {
            guard,
            routes,
            sessions,
            documents: Documents::default(),
        }
    }

    /// Answers a request of `client`.
    pub async fn handle(&self, request: Request<Incoming>, client: &Client) -> Response<Body> {
        let mut record = Record::new(method_name(request.method()));
        let route = self.route(request.uri().path());
        let shape = match route {
            Some(route) if route.upstream.endpoint().kind == Kind::Http => Shape::Plain,
            Some(_) | None => Shape::GraphQl,
        };
        // First of all, because whatever comes after acts with the IAM identity.
        let cors = match self.guard.check(&request, client.local) {
            Ok(cors) => cors,
            Err(refusal) => {
                let response = rescue(&refusal.into(), shape, &mut record);
                return finish(response, &Cors::NotAsked, record);
            }
        };
        let preflight = Cors::is_preflight(&request) && cors != Cors::NotAsked;
        if preflight {
            let mut response = Response::new(Body::full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let mut response = finish(response, &cors, record);
            cors.apply_preflight(request.headers(), response.headers_mut());
            return response;
        }
        let answered = match route {
            None => Err(Error::NoRoute(self.paths())),
            Some(route) => {
                record.route = Some(route.name.clone());
                self.answer(route, request, client, &mut record).await
            }
        };
        let response = answered.unwrap_or_else(|error| rescue(&error, shape, &mut record));
        finish(response, &cors, record)
    }

    async fn answer(
        &self,
        route: &Route,
        request: Request<Incoming>,
        client: &Client,
        record: &mut Record,
    ) -> Result<Response<Body>, Error> {
        match &route.api {
            Some(api) if upgrade::is_websocket(request.headers()) => {
                upgrade::accept(route, api, &self.sessions, request, client)
            }
            Some(_) | None if self.sessions.is_draining() => Err(Error::Draining),
            None if upgrade::is_websocket(request.headers()) => Err(Error::Tunnel),
            Some(_) => graphql::answer(route, &self.documents, request, record).await,
            None => forward::answer(route, request, record).await,
        }
    }

    /// GraphQL routes match exactly, and by their realtime paths; others match what is below them.
    fn route(&self, path: &str) -> Option<&Route> {
        let graphql_routes = self.routes.iter().filter(|route| route.api.is_some());
        let only_one = graphql_routes.count() == 1;
        self.routes.iter().find(|route| {
            let rest = path.strip_prefix(route.path.as_str());
            match (&route.api, rest) {
                (Some(_), Some("" | "/realtime")) => true,
                (Some(_), _) => only_one && path == "/realtime",
                (None, Some(rest)) => rest.is_empty() || rest.starts_with('/'),
                (None, None) => false,
            }
        })
    }

    fn paths(&self) -> String {
        let paths = self.routes.iter().map(|route| match route.path.as_str() {
            "" => "/",
            path => path,
        });
        paths.collect::<Vec<_>>().join(", ")
    }
}

fn finish(mut response: Response<Body>, cors: &Cors, mut record: Record) -> Response<Body> {
    cors.apply(response.headers_mut());
    record.status = response.status().as_u16();
    response.body_mut().set_record(record);
    response
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
