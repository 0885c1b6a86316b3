//! What the configuration means: one settings struct for each part.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::Table;
use super::{Problems, Raw, values};
use crate::guard::GuardConfig;
use crate::proxy::{HeaderPolicy, RequestLimits};
use crate::realtime::{OnLoss, RealtimeConfig};
use crate::server::ServerConfig;
use crate::session::SessionConfig;
use crate::sign::credentials::IdentityConfig;
use crate::telemetry::LogConfig;
use crate::upstream::{Endpoint, Kind, Overrides, UpstreamConfig};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<SocketAddr>,
    pub routes: Vec<RouteConfig>,
    pub guard: GuardConfig,
    pub server: ServerConfig,
    pub session: SessionConfig,
    /// Bytes of events that may wait for all client sockets together.
    pub outbox_total: usize,
    pub drain: Duration,
    pub log: LogConfig,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    pub name: String,
    /// Without a trailing slash; empty for the root.
    pub path: String,
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    pub trust: Trust,
    /// `connect` was set: no proxy comes between.
    pub is_dialled_directly: bool,
    pub headers: HeaderPolicy,
    pub requests: RequestLimits,
    pub upstream: UpstreamConfig,
    pub realtime: RealtimeConfig,
}

/// Where a route's credentials come from.
#[derive(Clone)]
pub enum Credentials {
    Provider(IdentityConfig),
    /// The demo's, for its own emulator.
    Fixed {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
}

/// Which certificate authorities a route trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    System,
    File(PathBuf),
    /// PEM text.
    Pem(String),
}

/// Settings that a route may have of its own.
#[derive(Clone, Copy)]
struct Shared {
    request_body: usize,
    request_body_timeout: Duration,
    response_body: usize,
    upstream: UpstreamConfig,
    realtime: RealtimeConfig,
}

impl Config {
    /// # Errors
    /// All mistakes that [`Raw`] holds.
    pub fn resolve(raw: &Raw) -> Result<Self, Problems> {
        let problems = RefCell::default();
        let config = resolve(&raw.table(&problems));
        let problems = problems.into_inner();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            Some(_) | None => Err(Problems(problems)),
        }
    }
}

impl RouteConfig {
    /// What was decided for the route, in one readable line.
    pub fn decision(&self) -> String {
        let Endpoint {
            kind,
            scope,
            address,
            wire_host,
            path,
            realtime,
            ..
        } = &self.endpoint;
        let kind = match kind {
            Kind::AppSync => "AppSync GraphQL",
            Kind::Http => "HTTP",
        };
        let local = match self.path.as_str() {
            "" => "/",
            path => path,
        };
        let mut line = format!(
            "route {}: {local} -> {kind} https://{wire_host}{path} (region {}, service {}, {})",
            self.name, scope.region, scope.service, self.credentials
        );
        if let Some(realtime) = realtime {
            line.push_str(&format!(
                ", subscriptions wss://{}{}",
                realtime.wire_host, realtime.path
            ));
        }
        if self.is_dialled_directly {
            line.push_str(&format!(", dialled at {address}"));
        }
        line
    }
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider(identity) => write!(f, "credentials of the {identity}"),
            Self::Fixed { .. } => f.write_str("the demo's credentials"),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({self})")
    }
}

/// `None` only if a problem was reported. No table is left early: the others' mistakes count too.
fn resolve(root: &Table<'_>) -> Option<Config> {
    let listen = root.list("listen", values::listen);
    if listen.as_ref().is_some_and(Vec::is_empty) {
        root.report("listen", "at least one address is needed");
    }
    let guard = guard(&root.table("guard"));
    let limits = limits(&root.table("limits"));
    let timeouts = timeouts(&root.table("timeouts"));
    let pool = pool(&root.table("pool"));
    let drain = root.table("drain");
    let drain_timeout = drain.read("timeout", values::duration);
    drain.finish();
    let log = log(&root.table("log"));
    let shared = shared(limits.as_ref(), timeouts.as_ref(), pool.as_ref());
    let routes = routes(root, shared);
    root.finish();

    let (limits, timeouts, pool) = (limits?, timeouts?, pool?);
    Some(Config {
        listen: listen?,
        routes: routes?,
        guard: guard?,
        server: ServerConfig {
            connections: limits.connections,
            request_head: limits.request_head,
            request_head_timeout: timeouts.request_head,
        },
        session: SessionConfig {
            message: limits.message,
            subscriptions: limits.subscriptions,
            operations: limits.operations,
            outbox: limits.outbox,
            init: timeouts.init,
            ping: timeouts.ping,
            write: timeouts.write,
            spread: pool.spread,
        },
        outbox_total: limits.outbox_total,
        drain: drain_timeout?,
        log: log?,
    })
}

struct Limits {
    connections: usize,
    request_head: usize,
    request_body: usize,
    response_body: usize,
    message: usize,
    subscriptions: usize,
    operations: usize,
    outbox: usize,
    outbox_total: usize,
}

struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    idle: Duration,
    request_head: Duration,
    request_body: Duration,
    init: Duration,
    ping: Duration,
    write: Duration,
}

struct Pool {
    idle: Duration,
    max_idle: usize,
    subscriptions: usize,
    linger: Duration,
    handshake: Duration,
    start_ack: Duration,
    keepalive: Duration,
    spread: Duration,
}

fn guard(table: &Table<'_>) -> Option<GuardConfig> {
    let allow_hosts = table.list("allow_hosts", values::host_name);
    let allow_origins = table.list("allow_origins", values::origin);
    table.finish();
    Some(GuardConfig {
        allow_hosts: allow_hosts?,
        allow_origins: allow_origins?,
    })
}

fn limits(table: &Table<'_>) -> Option<Limits> {
    let size = |key| table.read(key, values::size);
    let count = |key| table.read(key, values::count);
    let request_head = table.read("request_head", |text| match values::size(text)? {
        // hyper cannot work with less.
        size if size < 8_192 => Err("must be at least 8KiB".to_owned()),
        size => Ok(size),
    });
    let read = (
        count("connections"),
        size("request_body"),
        size("response_body"),
        size("message"),
        count("subscriptions"),
        count("operations"),
        size("outbox"),
        size("outbox_total"),
    );
    table.finish();
    Some(Limits {
        connections: read.0?,
        request_head: request_head?,
        request_body: read.1?,
        response_body: read.2?,
        message: read.3?,
        subscriptions: read.4?,
        operations: read.5?,
        outbox: read.6?,
        outbox_total: read.7?,
    })
}

fn timeouts(table: &Table<'_>) -> Option<Timeouts> {
    let duration = |key| table.read(key, values::duration);
    let read = (
        duration("connect"),
        duration("first_byte"),
        duration("idle"),
        duration("request_head"),
        duration("request_body"),
        duration("init"),
        duration("ping"),
        duration("write"),
    );
    table.finish();
    Some(Timeouts {
        connect: read.0?,
        first_byte: read.1?,
        idle: read.2?,
        request_head: read.3?,
        request_body: read.4?,
        init: read.5?,
        ping: read.6?,
        write: read.7?,
    })
}

fn pool(table: &Table<'_>) -> Option<Pool> {
    let duration = |key| table.read(key, values::duration);
    let count = |key| table.read(key, values::count);
    let read = (
        duration("idle"),
        count("max_idle"),
        count("subscriptions"),
        duration("linger"),
        duration("handshake"),
        duration("start_ack"),
        duration("keepalive"),
        duration("spread"),
    );
    table.finish();
    Some(Pool {
        idle: read.0?,
        max_idle: read.1?,
        subscriptions: read.2?,
        linger: read.3?,
        handshake: read.4?,
        start_ack: read.5?,
        keepalive: read.6?,
        spread: read.7?,
    })
}

fn log(table: &Table<'_>) -> Option<LogConfig> {
    let format = table.read("format", values::log_format);
    let filter = table.read("filter", values::log_filter);
    table.finish();
    Some(LogConfig {
        format: format?,
        filter: filter?,
    })
}

fn shared(
    limits: Option<&Limits>,
    timeouts: Option<&Timeouts>,
    pool: Option<&Pool>,
) -> Option<Shared> {
    let (limits, timeouts, pool) = (limits?, timeouts?, pool?);
    Some(Shared {
        request_body: limits.request_body,
        request_body_timeout: timeouts.request_body,
        response_body: limits.response_body,
        upstream: UpstreamConfig {
            connect: timeouts.connect,
            first_byte: timeouts.first_byte,
            idle: timeouts.idle,
            pool_idle: pool.idle,
            pool_max_idle: pool.max_idle,
        },
        realtime: RealtimeConfig {
            on_loss: OnLoss::Close,
            subscriptions: pool.subscriptions,
            linger: pool.linger,
            handshake: pool.handshake,
            start_ack: pool.start_ack,
            keepalive: pool.keepalive,
        },
    })
}

fn routes(root: &Table<'_>, shared: Option<Shared>) -> Option<Vec<RouteConfig>> {
    let tables = root.tables("route")?;
    if tables.is_empty() {
        root.report(
            "route",
            "no route: give an upstream URL, as in `countersign https://ID.appsync-api.REGION.amazonaws.com/graphql`, or a [route.NAME] table with a target",
        );
        return None;
    }
    let mut routes: Vec<RouteConfig> = Vec::new();
    let mut complete = true;
    for (name, table) in tables {
        let Some(table) = table else {
            complete = false;
            continue;
        };
        let Some(route) = route(name, &table, shared) else {
            complete = false;
            continue;
        };
        if let Some(other) = routes.iter().find(|other| other.path == route.path) {
            let is_said = table.is_said("path");
            table.report(
                if is_said { "path" } else { "target" },
                format!(
                    "route {} has the same path {:?}: set `path` for one of them",
                    other.name, route.path
                ),
            );
        }
        routes.push(route);
    }
    complete.then_some(routes)
}

fn route(name: String, table: &Table<'_>, shared: Option<Shared>) -> Option<RouteConfig> {
    let target = table.read("target", values::text);
    if target.is_none() && !table.is_said("target") {
        table.report("target", "is missing: the URL of the upstream");
    }
    let path = table.read("path", values::path);
    let overrides = Overrides {
        region: table.read("region", values::text),
        service: table.read("service", values::text),
        host: table.read("host", values::text),
        connect: table.read("connect", values::address),
    };
    let profile = table.read("profile", values::text);
    let assume_role = table.read("assume_role", values::role);
    let ca_file = table.read("ca_file", |path| match std::fs::metadata(path) {
        Ok(_) => Ok(PathBuf::from(path)),
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    });
    let forward = table.list("forward_headers", values::header_name);
    let drop = table.list("drop_headers", values::header_name);
    let on_loss = table.read("on_upstream_loss", values::on_loss);

    let limits = table.table("limits");
    let request_body = limits.read("request_body", values::size);
    let response_body = limits.read("response_body", values::size);
    limits.finish();
    let timeouts = table.table("timeouts");
    let connect = timeouts.read("connect", values::duration);
    let first_byte = timeouts.read("first_byte", values::duration);
    let idle = timeouts.read("idle", values::duration);
    timeouts.finish();

    let endpoint = target.and_then(|target| match Endpoint::infer(&target, &overrides) {
        Ok(endpoint) => Some(endpoint),
        Err(problems) => {
            for problem in problems {
                table.report("target", problem.to_string());
            }
            None
        }
    });
    table.finish();

    let (endpoint, shared) = (endpoint?, shared?);
    let default_path = || match endpoint.kind {
        Kind::AppSync => "/graphql".to_owned(),
        Kind::Http => format!("/{name}"),
    };
    Some(RouteConfig {
        path: path.unwrap_or_else(default_path),
        credentials: Credentials::Provider(IdentityConfig {
            profile,
            assume_role,
            region: endpoint.scope.region.clone(),
        }),
        trust: ca_file.map_or(Trust::System, Trust::File),
        is_dialled_directly: overrides.connect.is_some(),
        headers: HeaderPolicy::new(
            endpoint.kind,
            &forward.unwrap_or_default(),
            drop.unwrap_or_default(),
        ),
        requests: RequestLimits {
            body: request_body.unwrap_or(shared.request_body),
            body_timeout: shared.request_body_timeout,
            response_body: response_body.unwrap_or(shared.response_body),
        },
        upstream: UpstreamConfig {
            connect: connect.unwrap_or(shared.upstream.connect),
            first_byte: first_byte.unwrap_or(shared.upstream.first_byte),
            idle: idle.unwrap_or(shared.upstream.idle),
            ..shared.upstream
        },
        realtime: RealtimeConfig {
            on_loss: on_loss.unwrap_or(shared.realtime.on_loss),
            ..shared.realtime
        },
        endpoint,
        name,
    })
}
