//! The admin listener: serves health checks, metrics and the inspector, and stops the process on request.
//!
//! It is separate from the proxied port, so that clients of that port cannot use it and cannot fill
//! it up. On a pod's address every peer may read health and metrics, but none may stop the process. At
//! the connection limit, a new connection replaces the one that has waited longest without a request.

mod health;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use health::{Health, HealthSources, Readiness};

use crate::deadline::PeerTimer;
use crate::guard::{Guard, LocalAddress, Navigations, Scheme};
use crate::inspector::{InspectApi, Lifetime};
use crate::lifecycle::BackgroundTasks;
use crate::server::accept::{ConnectionSlots, accept};
use crate::server::half_close::HeldOpen;
use crate::telemetry::metrics::{self, Format};
use crate::telemetry::tasks::{Task, caught, supervised};

/// Serves the admin listener.
#[derive(Debug)]
pub struct Admin {
    guard: Guard,
    health: Health,
    quit: CancellationToken,
    connections: ConnectionSlots,
    inspector: Option<InspectApi>,
}

type AdminBody = UnsyncBoxBody<Bytes, Infallible>;

/// The connection limit. Probes and scrapes need only a few connections.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of its request, from the start of the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may last. It serves one request.
const MAX_LIFETIME: Duration = Duration::from_secs(10);
/// The maximum size of a request's head in bytes.
const MAX_HEAD_SIZE: usize = 8_192;

impl Admin {
    /// `quit` is cancelled when a client asks the process to stop.
    pub fn new(guard: Guard, health: Health, quit: CancellationToken) -> Self {
        Self {
            guard,
            health,
            quit,
            connections: ConnectionSlots::new(MAX_CONNECTIONS, 0),
            inspector: None,
        }
    }

    /// Serves the inspector, too.
    pub fn with_inspector(mut self, inspector: Option<InspectApi>) -> Self {
        self.inspector = inspector;
        self
    }

    /// Serves `listener` until the background tasks are stopped.
    pub fn serve(self, listener: TcpListener, tasks: BackgroundTasks) {
        let admin = Arc::new(self);
        let tracker = tasks.tracker.clone();
        tracker.spawn(async move {
            let accepting = supervised(Task::Admin, || admin.accept(&listener, &tasks));
            tasks.stop.run_until_cancelled(accepting).await;
        });
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener, tasks: &BackgroundTasks) {
        let next = || async { listener.accept().await.map(Some) };
        let serve = |(stream, peer), slot| {
            let (admin, stop) = (Arc::clone(self), tasks.stop.clone());
            tasks.tracker.spawn(caught(Task::Admin, async move {
                let lifetime = Lifetime::new(MAX_LIFETIME);
                let served = admin.serve_connection(stream, peer, &lifetime);
                let served = within(served, &lifetime);
                stop.run_until_cancelled(served).await;
                drop(slot);
            }));
        };
        accept("admin", &self.connections, next, serve).await;
    }

    async fn serve_connection(&self, stream: TcpStream, peer: SocketAddr, lifetime: &Lifetime) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let has_request = Notify::new();
        let service = service_fn(|request| {
            has_request.notify_one();
            async move {
                let answering = self.answer(request, local, peer, lifetime);
                let answered = caught(Task::Admin, answering).await;
                let answer = answered.unwrap_or_else(|panicked| {
                    let text = panicked.to_string();
                    plain_text(StatusCode::INTERNAL_SERVER_ERROR, &text).map(Full::boxed_unsync)
                });
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(PeerTimer)
            .header_read_timeout(HEAD_TIMEOUT)
            .keep_alive(false)
            .max_buf_size(MAX_HEAD_SIZE)
            .serve_connection(TokioIo::new(HeldOpen::new(stream)), service);
        let mut connection = pin!(connection);
        // `biased` reads the bytes that have arrived before the connection can be evicted.
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            () = has_request.notified() => connection.await,
            () = self.connections.evictions().chosen() => {
                return debug!("admin connection evicted");
            }
        };
        if let Err(error) = served {
            debug!(exception.message = %error, "admin connection failed");
        }
    }

    /// Checks access, and responds.
    async fn answer(
        &self,
        request: Request<Incoming>,
        local: SocketAddr,
        peer: SocketAddr,
        lifetime: &Lifetime,
    ) -> Response<AdminBody> {
        let path = request.uri().path();
        let navigations = match self.inspector {
            // The same for everybody, without data: a link of the proxied port leads there.
            Some(_) if is_page(path) => Navigations::AllowFromEverySite,
            Some(_) if path.starts_with("/inspect/assets/") => Navigations::AllowAsPart,
            // A user may open these pages in a browser.
            Some(_) | None => Navigations::Allow,
        };
        let local_ip = LocalAddress::Tcp(local.ip());
        if let Err(refusal) = self
            .guard
            .check(&request, local_ip, Scheme::Http, navigations)
        {
            let text = refusal.to_string();
            return plain_text(StatusCode::FORBIDDEN, &text).map(Full::boxed_unsync);
        }
        match &self.inspector {
            Some(inspector) if is_inspector(request.uri().path()) => {
                inspector.respond(request, lifetime).await
            }
            Some(_) | None => self
                .respond(&request, local, peer)
                .await
                .map(Full::boxed_unsync),
        }
    }

    async fn respond(
        &self,
        request: &Request<Incoming>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" | "/readyz" | "/startupz" | "/metrics" if !is_get => not_allowed("GET"),
            "/livez" => plain_text(StatusCode::OK, "alive"),
            "/startupz" => {
                if self.health.has_started() {
                    plain_text(StatusCode::OK, "started")
                } else {
                    plain_text(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "not started yet: see /readyz",
                    )
                }
            }
            "/readyz" => {
                let is_deep = request.uri().query() == Some("deep");
                readiness(&self.health.readiness(is_deep).await)
            }
            "/metrics" => {
                self.health.observe();
                scrape(request.headers().get(ACCEPT))
            }
            "/quitquitquit" if *request.method() == Method::POST => self.quit(request, local, peer),
            "/quitquitquit" => not_allowed("POST"),
            _ => {
                let inspector = self.inspector.as_ref().map_or("", |_| ", /inspect/");
                let text = format!(
                    "no such page. Pages: /livez, /readyz, /startupz, /metrics{inspector} and, by POST, /quitquitquit"
                );
                plain_text(StatusCode::NOT_FOUND, &text)
            }
        }
    }

    fn quit(
        &self,
        request: &Request<Incoming>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>> {
        if !may_quit(&self.guard, request.headers(), local.ip(), peer.ip()) {
            return plain_text(
                StatusCode::FORBIDDEN,
                "only processes of this machine, through a loopback address, or clients with a token of \
                 guard.token_file may stop countersign",
            );
        }
        info!("stop requested by /quitquitquit");
        self.quit.cancel();
        plain_text(StatusCode::OK, "stopping")
    }
}

/// Waits for the end of a connection, at most for its lifetime, which may be extended meanwhile.
async fn within(served: impl Future<Output = ()>, lifetime: &Lifetime) {
    let started = Instant::now();
    let mut served = pin!(served);
    loop {
        let end = started + lifetime.get();
        if timeout_at(end, served.as_mut()).await.is_ok() || started + lifetime.get() <= end {
            return;
        }
    }
}

/// Returns whether a path is that of a page of the inspector, which contains nothing but code.
fn is_page(path: &str) -> bool {
    matches!(path, "/inspect" | "/inspect/" | "/inspect/graphiql")
}

/// Returns whether a path belongs to the inspector.
fn is_inspector(path: &str) -> bool {
    path == "/inspect" || path.starts_with("/inspect/")
}

/// Returns whether the client may stop the process: it must be on this machine or have a token, and
/// must not be a web page.
fn may_quit(guard: &Guard, headers: &HeaderMap, local: IpAddr, peer: IpAddr) -> bool {
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    let is_local = is_loopback(local) && is_loopback(peer);
    !headers.contains_key(ORIGIN) && (is_local || guard.has_unrestricted_token(headers))
}

/// Returns `{"status":"ready",…}` with 200, or `{"status":"not ready",…,"reasons":["…"]}` with 503.
fn readiness(readiness: &Readiness) -> Response<Full<Bytes>> {
    let (status, text) = if readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let credentials = readiness.credentials.iter().map(|(identity, failure)| {
        let text = if failure.is_none() { "held" } else { "none" };
        (identity.clone(), text.into())
    });
    let mut json = json!({
        "status": text,
        "listeners": readiness.listeners,
        "draining": readiness.is_draining,
        "credentials": serde_json::Map::from_iter(credentials),
        "connections": { "open": readiness.connections, "limit": readiness.connections_limit },
        "memory": if readiness.is_memory_short { "short" } else { "enough" },
        "reasons": readiness.reasons(),
    });
    let providers = readiness
        .providers
        .iter()
        .map(|(identity, provider, expires)| {
            let value = json!({ "provider": provider, "expires": expires });
            (identity.clone(), value)
        });
    json["providers"] = serde_json::Map::from_iter(providers).into();
    if !readiness.upstreams.is_empty() {
        let upstreams = readiness.upstreams.iter().map(|(route, is_reached)| {
            let text = if *is_reached {
                "reached"
            } else {
                "not reached"
            };
            (route.clone(), text.into())
        });
        json["upstreams"] = serde_json::Map::from_iter(upstreams).into();
    }
    respond_with(status, "application/json", format!("{json}\n"))
}

fn scrape(accept: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let format = Format::accepted(
        accept
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    );
    match metrics::encode(format) {
        Ok(text) => respond_with(StatusCode::OK, format.media_type(), text),
        Err(error) => {
            warn!(exception.message = error.to_string(), "metrics not encoded");
            plain_text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics cannot be written",
            )
        }
    }
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain_text(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allow}"));
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn plain_text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond_with(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn respond_with(
    status: StatusCode,
    media_type: &'static str,
    text: String,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Binds the admin listener.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(local: &str, peer: &str, headers: &[(&'static str, &'static str)], expected: bool) {
        let guard = Guard::new(crate::guard::GuardConfig::default()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let may = may_quit(&guard, &map, ip(local), ip(peer));
        assert_eq!(may, expected, "{local} {peer} {headers:?}");
    }

    #[test]
    fn only_clients_on_this_machine_may_stop_the_process() {
        check("127.0.0.1", "127.0.0.1", &[], true);
        check("::1", "::1", &[], true);
        check("::ffff:127.0.0.1", "::ffff:127.0.0.1", &[], true);
        check("10.0.0.7", "10.0.0.7", &[], false);
        check("10.0.0.7", "10.0.0.8", &[], false);
        check("127.0.0.1", "10.0.0.8", &[], false);
        check("127.0.0.1", "127.0.0.1", &[("origin", "null")], false);
        // Without configured tokens, no value is a valid token.
        check(
            "10.0.0.7",
            "10.0.0.8",
            &[("authorization", "Bearer x")],
            false,
        );
    }
}
