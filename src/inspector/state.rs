//! The state of the process, for the page: routes, credentials, limits, connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::entry::ShownConnection;
use super::json::{millis_of, without_nulls};
use super::mask;
use super::store::Store;
use crate::operation::AppSyncApi;
use crate::server::Connections;
use crate::sign::clock;
use crate::sign::credentials::CredentialSource;
use crate::telemetry::build::VERSION;
use crate::upstream::{Upstream, UpstreamKind};

/// The parts of the process whose state the page shows.
#[derive(Debug)]
pub struct StateSources {
    pub started: SystemTime,
    /// The addresses of the proxied port.
    pub listeners: Vec<String>,
    /// The URL of the proxied port.
    pub base_url: String,
    /// The address at which this process reaches the proxied port; `None` if it has only unix sockets.
    pub address: Option<SocketAddr>,
    /// Clients of the proxied port need a token.
    pub needs_token: bool,
    pub routes: Vec<RouteSource>,
    pub identities: Vec<Arc<CredentialSource>>,
    pub connections: Connections,
    /// Returns why the process is not ready.
    pub reasons: Reasons,
}

/// One route.
#[derive(Debug)]
pub struct RouteSource {
    pub name: String,
    /// Without a trailing slash; empty for the root.
    pub path: String,
    pub upstream: Arc<Upstream>,
    /// AppSync only.
    pub api: Option<Arc<AppSyncApi>>,
}

/// A function that returns whether the process drains, and why it is not ready.
pub struct Reasons(pub Box<dyn Fn() -> (bool, Vec<String>) + Send + Sync>);

impl std::fmt::Debug for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reasons")
    }
}

impl RouteSource {
    /// Returns the path that clients use.
    pub(super) fn shown_path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }
}

impl StateSources {
    /// Returns the id of the realtime connection that carries the subscription of an entry.
    pub(super) fn realtime_of(&self, entry: u64) -> Option<u64> {
        let apis = self.routes.iter().filter_map(|route| route.api.as_ref());
        let mut connections = apis.flat_map(|api| api.connections());
        let carries = |connection: &ShownConnection| connection.entries.contains(&entry);
        connections.find(carries).map(|connection| connection.id)
    }

    /// Returns the state as `State` of `web/src/api.ts`.
    pub(super) fn state(&self, store: &Store) -> Value {
        let now = clock::now();
        let (is_draining, reasons) = (self.reasons.0)();
        let routes: Vec<Value> = self.routes.iter().map(route).collect();
        let credentials = self.identities.iter();
        let credentials: Vec<Value> = credentials.map(|source| credential(source, now)).collect();
        let realtime: Vec<Value> = self.routes.iter().flat_map(connections).collect();
        let usage = store.usage();
        json!({
            "version": VERSION,
            "started": millis_of(self.started),
            "now": millis_of(now),
            "listeners": self.listeners,
            "base_url": self.base_url,
            "is_ready": reasons.is_empty(),
            "is_draining": is_draining,
            "reasons": reasons,
            "routes": routes,
            "credentials": credentials,
            "limits": [
                {
                    "setting": "limits.connections",
                    "label": "client connections",
                    "used": self.connections.open(),
                    "limit": self.connections.limit(),
                    "unit": "count",
                },
                {
                    "setting": "inspect.memory",
                    "label": "memory of the inspector",
                    "used": usage.used,
                    "limit": usage.limit,
                    "unit": "bytes",
                },
            ],
            "realtime": realtime,
            "recorder": recorder(store),
            "metrics": without_nulls(json!({
                "resident_bytes": crate::memory::resident(),
                "is_memory_short": self.connections.is_memory_short(),
            })),
        })
    }
}

/// Returns the state of the recorder as `RecorderState`.
pub(super) fn recorder(store: &Store) -> Value {
    let usage = store.usage();
    json!({
        "is_paused": usage.is_paused,
        "memory_limit": usage.limit,
        "memory_used": usage.used,
        "entries": usage.entries,
        "evicted": usage.evicted,
        "body_limit": store.part_limit(),
    })
}

fn route(source: &RouteSource) -> Value {
    let endpoint = source.upstream.endpoint();
    let kind = match endpoint.kind {
        UpstreamKind::Graphql => "graphql",
        UpstreamKind::Events => "events",
        UpstreamKind::Http => "http",
    };
    let signer = source.upstream.signer();
    let metrics = source.upstream.metrics();
    let offset = metrics.clock_offset_seconds.get() + metrics.signing_clock_offset_seconds.get();
    let target = format!("https://{}{}", endpoint.wire_host, endpoint.path);
    json!({
        "name": source.name,
        "path": source.shown_path(),
        "kind": kind,
        "target": target,
        "region": signer.scope().region,
        "service": signer.scope().service,
        "credentials": signer.credential_source().name(),
        "clock_offset_ms": offset * 1000.0,
    })
}

fn connections(route: &RouteSource) -> Vec<Value> {
    let api = route.api.iter();
    let connections = api.flat_map(|api| api.connections());
    connections
        .map(|connection| {
            json!({
                "id": connection.id,
                "route": route.name,
                "subscriptions": connection.subscriptions,
                "limit": connection.limit,
                "entries": connection.entries,
            })
        })
        .collect()
}

fn credential(source: &CredentialSource, now: SystemTime) -> Value {
    let held = source.held();
    let held = held.as_deref();
    let failure = source.failure(now).map(|error| error.explanation());
    without_nulls(json!({
        "name": source.name(),
        "provider": held.map(|held| held.provider()),
        "access_key_id": held.map(|held| mask::access_key(held.access_key())),
        "account": held.and_then(|held| held.account()),
        "expires": held.and_then(|held| held.expires()).map(millis_of),
        "failure": failure,
    }))
}
