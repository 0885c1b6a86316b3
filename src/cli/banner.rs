//! What `countersign serve` prints on a terminal when it has started: what is served where, with whose
//! credentials, to whom, and how to stop it.

use std::net::SocketAddr;

use crate::app::App;
use crate::config::{Config, Credentials, RouteConfig};
use crate::server::Listen;
use crate::upstream::UpstreamKind;
use crate::visible::visible;

/// The parts of the configuration that are printed.
#[derive(Debug)]
pub(super) struct Banner {
    routes: Vec<RouteConfig>,
    unix_sockets: Vec<String>,
    access: Vec<String>,
    has_tls: bool,
}

impl Banner {
    pub(super) fn of(config: &Config) -> Self {
        let unix_sockets = config.listen.iter().filter_map(|listen| match listen {
            Listen::Unix(_) => Some(listen.to_string()),
            Listen::Tcp(_) => None,
        });
        Self {
            routes: config.routes.clone(),
            unix_sockets: unix_sockets.collect(),
            access: access(config),
            has_tls: config.tls.is_some(),
        }
    }

    /// Returns the text for what has been started.
    pub(super) fn text(&self, app: &App) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut text = format!("countersign {version} (Ctrl-C stops it)\n\n");
        let base = app.addresses().first().map(|address| local(*address));
        for route in &self.routes {
            text.push_str(&self.route(route, base.as_deref()));
        }
        for socket in &self.unix_sockets {
            text.push_str(&entry("socket", socket));
        }
        for access in &self.access {
            text.push_str(&entry("access", access));
        }
        if let Some(admin) = app.admin() {
            text.push_str(&entry(
                "health",
                &format!("http://{admin}/readyz, /metrics"),
            ));
        }
        if let Some(page) = app.inspector() {
            text.push_str(&entry("inspector", &page.with_key()));
        }
        text.push('\n');
        text
    }

    fn route(&self, route: &RouteConfig, base: Option<&str>) -> String {
        let endpoint = &route.endpoint;
        let path = if route.path.is_empty() {
            "/"
        } else {
            &route.path
        };
        let scheme = if self.has_tls { "https" } else { "http" };
        let local = base.map_or(path.to_owned(), |base| format!("{scheme}://{base}{path}"));
        let kind = match endpoint.kind {
            UpstreamKind::Graphql => "AppSync GraphQL",
            UpstreamKind::Events => "AppSync Events",
            UpstreamKind::Http => "HTTP",
        };
        let credentials = match &route.credentials {
            Credentials::Provider(source) => source.to_string(),
            Credentials::Fixed(_) => route.credentials.to_string(),
        };
        let mut text = format!("  {local}\n");
        text.push_str(&entry(
            "->",
            &format!("https://{}{}", endpoint.wire_host, endpoint.path),
        ));
        let scope = &endpoint.scope;
        let mut signing = format!("{kind}, region {}, service {}", scope.region, scope.service);
        if route
            .policy
            .as_ref()
            .is_some_and(|policy| policy.is_read_only)
        {
            signing.push_str(", read-only");
        }
        text.push_str(&entry("signed for", &signing));
        text.push_str(&entry("credentials", &visible(&credentials)));
        text.push('\n');
        text
    }
}

/// Returns who may use the port.
fn access(config: &Config) -> Vec<String> {
    let guard = &config.guard;
    let is_local = config.listen.iter().all(Listen::is_local);
    let who = if is_local {
        "programs on this machine"
    } else {
        "every program that can reach the port"
    };
    let mut access = vec![
        match (guard.tokens.is_empty(), guard.requires_certificate) {
            (true, false) => who.to_owned(),
            (false, false) => format!("{who}, with a token"),
            (true, true) => format!("{who}, with a certificate"),
            (false, true) => format!("{who}, with a certificate and a token"),
        },
    ];
    let origins = &guard.allow_origins;
    if !origins.is_empty() {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        access.push(format!("web pages of {}", origins.join(", ")));
    }
    access
}

fn entry(name: &str, value: &str) -> String {
    format!("    {name:<12} {value}\n")
}

/// Returns the address at which this machine reaches a listener.
fn local(address: SocketAddr) -> String {
    super::demo::reachable(address).to_string()
}
