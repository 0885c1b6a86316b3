//! Resolves the configuration into one settings struct for each part of the program.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_protocol::realtime::placement::OnLoss;

use super::declare::SettingsTable as _;
use super::guard::{check_listen, check_routes, guard};
use super::problem::Problems;
use super::raw::Raw;
use super::route::{RouteConfig, RouteDefaults, routes};
use super::settings::{
    DrainSettings, GeneralSettings, IamSettings, InspectSettings, LimitSettings, LogSettings,
    PoolSettings, TimeoutSettings,
};
use super::table::Table;
use super::tls::tls;
use super::traces::traces;
use super::values::Forwarded;
use crate::guard::GuardConfig;
use crate::memory::MemoryLimit;
use crate::realtime::RealtimeConfig;
use crate::server::{Certificate, Listen, ServerConfig, TlsConfig};
use crate::session::SessionConfig;
use crate::telemetry::{LogConfig, TraceConfig};
use crate::upstream::{UpstreamConfig, UpstreamKind};

/// A complete, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<Listen>,
    /// The address of the admin listener; `None` if it is off.
    pub admin: Option<SocketAddr>,
    /// Whether the admin listener may use another port, because nobody has chosen its address.
    pub is_admin_default: bool,
    /// Whether the process gives up the right to change files after it has read the configuration.
    pub sandbox: bool,
    pub routes: Vec<RouteConfig>,
    pub guard: GuardConfig,
    /// Additional users who may connect to unix sockets. If there are none, the mode of the socket
    /// decides.
    pub peer_uids: Vec<u32>,
    pub server: ServerConfig,
    pub memory: MemoryLimit,
    /// TLS, on the addresses of plain HTTP.
    pub tls: Option<TlsConfig>,
    pub session: SessionConfig,
    /// The maximum size, in bytes, of the events that wait for all client sockets together.
    pub outbox_total: usize,
    pub drain: DrainConfig,
    pub log: LogConfig,
    /// The export of spans; `None` if it is off.
    pub traces: Option<TraceConfig>,
    /// The file in which operations are recorded, for least-privilege policies.
    pub record: Option<PathBuf>,
    pub inspect: InspectConfig,
}

/// `[inspect]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectConfig {
    pub is_enabled: bool,
    /// How much memory the recorded requests may occupy, in bytes.
    pub memory: usize,
}

/// `[drain]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// How long requests are served as before.
    pub delay: Duration,
    /// How long running requests may take after that.
    pub timeout: Duration,
}

impl Config {
    /// Resolves the merged sources.
    ///
    /// # Errors
    /// All mistakes in them.
    pub fn resolve(raw: &Raw) -> Result<Self, Problems> {
        let problems = RefCell::default();
        let config = resolve(&Table::root(raw, &problems), raw.state());
        let mut problems = problems.into_inner();
        if problems.is_empty() {
            problems = raw.lost();
        }
        // The missing URL may follow from another mistake.
        problems.sort_by_key(|problem| problem.key.is_empty());
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            Some(_) | None => Err(Problems(problems)),
        }
    }

    /// Returns the directories in which unix sockets are created and removed.
    pub fn socket_directories(&self) -> Vec<PathBuf> {
        let directory = |place: &Listen| match place {
            Listen::Tcp(_) => None,
            Listen::Unix(path) => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
                Some(_) | None => Some(PathBuf::from(".")),
            },
        };
        self.listen.iter().filter_map(directory).collect()
    }
}

/// Returns `None` only if a problem was reported. Mistakes in one table do not hide those in others.
fn resolve(root: &Table<'_>, state: Option<&Path>) -> Option<Config> {
    let general = GeneralSettings::read(root)?;
    let listen = general.listen.concat();
    if listen.is_empty() {
        root.report(
            "listen",
            "must have at least one address, such as 127.0.0.1:4100",
        );
    }
    let guard_table = root.table("guard");
    let guard = guard(&guard_table);
    let tls = tls(&root.table("tls"), state);
    if let (Some(guard), true) = (&guard, guard_table.is_sound()) {
        check_listen(root, &listen, guard, tls.as_ref());
    }
    let makes_ca = tls
        .as_ref()
        .is_some_and(|tls| matches!(tls.certificate, Certificate::Dev { .. }));
    if general.sandbox && makes_ca {
        root.report(
            "sandbox",
            "cannot be combined with `tls.dev`, which writes its CA: use `tls.cert`",
        );
    }
    let limits = LimitSettings::read(&root.table("limits"))?;
    let timeouts = TimeoutSettings::read(&root.table("timeouts"))?;
    let pool = PoolSettings::read(&root.table("pool"))?;
    let drain = DrainSettings::read(&root.table("drain"))?;
    let log = LogSettings::read(&root.table("log"))?;
    let traces = traces(&root.table("traces"));
    let IamSettings { record } = IamSettings::read(&root.table("iam"))?;
    if general.sandbox && record.is_some() {
        root.report(
            "sandbox",
            "cannot be combined with `iam.record`, which writes its file: remove one of them",
        );
    }
    let inspect = InspectSettings::read(&root.table("inspect"))?;
    if inspect.enabled && general.admin.is_none() {
        root.report(
            "admin",
            "must not be off with `inspect.enabled` (--inspect), whose page it serves",
        );
    }
    let forwarded = guard.as_ref().map(|guard| guard.forwarded);
    let defaults = route_defaults(forwarded, &limits, &timeouts, &pool);
    let routes = routes(root, defaults);
    root.report_unknown_keys();
    if let (Some(routes), Some(guard), true) = (&routes, &guard, guard_table.is_sound()) {
        check_routes(root, guard, routes);
    }

    let (routes, guard) = (routes?, guard?);
    let shows_routes = has_several_of_a_kind(&routes);
    let requires_certificate = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    Some(Config {
        listen,
        admin: general.admin,
        is_admin_default: root.is_default("admin"),
        sandbox: general.sandbox,
        routes,
        guard: GuardConfig {
            requires_certificate,
            request_head: limits.request_head,
            ..guard.guard
        },
        peer_uids: guard.peer_uids,
        server: ServerConfig {
            connections: limits.connections,
            in_flight: limits.in_flight,
            buffered: limits.buffered,
            buffered_connection: limits.buffered_connection,
            request_head: limits.request_head,
            request_head_timeout: timeouts.request_head,
            idle_client: timeouts.idle_client,
            write: timeouts.write,
        },
        memory: limits.memory,
        tls,
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
        drain: DrainConfig {
            delay: drain.delay,
            timeout: drain.timeout,
        },
        log: LogConfig {
            shows_routes,
            has_banner: false,
            format: log.format,
            filter: log.filter,
            color: log.color,
            graphql_errors: log.graphql_errors,
        },
        traces,
        record,
        inspect: InspectConfig {
            is_enabled: inspect.enabled,
            memory: inspect.memory,
        },
    })
}

/// Returns whether the kind of an operation does not show its route.
fn has_several_of_a_kind(routes: &[RouteConfig]) -> bool {
    [UpstreamKind::Graphql, UpstreamKind::Events]
        .iter()
        .any(|kind| {
            let of_kind = routes.iter().filter(|route| route.endpoint.kind == *kind);
            of_kind.count() > 1
        })
}

/// Returns the settings that apply to all routes.
fn route_defaults(
    forwarded: Option<Forwarded>,
    limits: &LimitSettings,
    timeouts: &TimeoutSettings,
    pool: &PoolSettings,
) -> RouteDefaults {
    RouteDefaults {
        passes_forwarded: forwarded == Some(Forwarded::Pass),
        request_body: limits.request_body,
        http_request_body: limits.http_request_body,
        request_body_timeout: timeouts.request_body,
        request_body_total: timeouts.request_body_total,
        response_body: limits.response_body,
        batch: limits.batch,
        upstream: UpstreamConfig {
            connect: timeouts.connect,
            first_byte: timeouts.first_byte,
            idle: timeouts.idle,
            pool_idle: pool.idle,
            pool_max_idle: pool.max_idle,
            pool_max_age: pool.max_age,
            // The app sets it, depending on the memory.
            window: 256 * 1024,
        },
        realtime: RealtimeConfig {
            on_loss: OnLoss::Close,
            patience: timeouts.resume,
            subscriptions: pool.subscriptions,
            linger: pool.linger,
            handshake: pool.handshake,
            start_ack: pool.start_ack,
            keepalive: pool.keepalive,
        },
        keepalive: timeouts.keepalive,
    }
}
