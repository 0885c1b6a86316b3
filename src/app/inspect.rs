//! Builds the inspector's API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tracing::info;

use crate::admin::{Health, HealthSources};
use crate::guard::{AllowedOrigin, Guard, Origin};
use crate::inspector::{InspectApi, Inspector, Reasons, RouteSource, StateSources};
use crate::proxy::Route;
use crate::server::Listen;
use crate::sign::clock;
use crate::telemetry::BANNER_TARGET;

/// The URL of the inspector's page. It may contain the key of the page, so it is printed and not logged.
#[derive(Clone)]
pub struct PageUrl {
    address: SocketAddr,
    /// The path, with the key in its fragment.
    path: String,
}

/// Where the process serves.
pub(super) struct Addresses<'a> {
    pub(super) bound: &'a [Listen],
    pub(super) admin: SocketAddr,
    pub(super) has_tls: bool,
}

impl PageUrl {
    /// Returns the URL, with the key.
    pub fn with_key(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// Returns whether the URL contains a key.
    pub fn has_key(&self) -> bool {
        self.path.contains('#')
    }

    fn without_key(&self) -> String {
        let path = self.path.split('#').next().unwrap_or_default();
        format!("http://{}{path}", self.address)
    }
}

impl std::fmt::Debug for PageUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.without_key())
    }
}

/// Returns the routes as the inspector shows them.
pub(super) fn routes(routes: &[Route]) -> Vec<RouteSource> {
    let routes = routes.iter();
    routes
        .map(|route| RouteSource {
            name: route.name.clone(),
            path: route.path.clone(),
            upstream: Arc::clone(&route.upstream),
            api: route.api.clone(),
        })
        .collect()
}

/// Returns the API and the URL of its page, and logs the URL without its key; `None` if the inspector is off.
/// There is a key if the admin listener can be reached from other machines, or if clients need a token.
pub(super) fn api(
    inspector: &Inspector,
    routes: Vec<RouteSource>,
    sources: &HealthSources,
    guard: &Guard,
    addresses: &Addresses<'_>,
) -> Option<(InspectApi, PageUrl)> {
    let Addresses {
        bound,
        admin,
        has_tls,
    } = *addresses;
    let health = Health::new(sources.clone());
    let state = StateSources {
        started: clock::now(),
        listeners: sources.listeners.clone(),
        base_url: base_url(bound, has_tls),
        address: address(bound).map(reachable),
        needs_token: guard.requires_token(),
        routes,
        identities: sources.identities.clone(),
        connections: sources.connections.clone(),
        reasons: Reasons(Box::new(move || {
            let readiness = health.current();
            (readiness.is_draining, readiness.reasons())
        })),
    };
    let needs_key = !admin.ip().is_loopback() || guard.requires_token();
    let api = InspectApi::new(inspector, state, guard.without_browsers(), needs_key)?;
    let page = PageUrl {
        address: reachable(admin),
        path: api.path(),
    };
    info!(target: BANNER_TARGET, "inspector on {}", page.without_key());
    Some((api, page))
}

/// Returns the origins of the inspector's pages.
pub(super) fn origins(admin: SocketAddr) -> Vec<AllowedOrigin> {
    let port = admin.port();
    let names = if admin.ip().is_loopback() || admin.ip().is_unspecified() {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        names.map(|name| format!("http://{name}:{port}")).to_vec()
    } else {
        vec![format!("http://{admin}")]
    };
    let origins = names.iter().filter_map(|name| Origin::parse(name));
    origins.map(AllowedOrigin::Exact).collect()
}

/// Returns the URL at which this machine reaches the proxied port; empty if it has only unix sockets.
fn base_url(bound: &[Listen], has_tls: bool) -> String {
    let scheme = if has_tls { "https" } else { "http" };
    address(bound).map_or_else(String::new, |address| {
        format!("{scheme}://{}", reachable(address))
    })
}

/// Returns the first TCP address.
fn address(bound: &[Listen]) -> Option<SocketAddr> {
    bound.iter().find_map(|listen| match listen {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    })
}

/// Returns the address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
