//! What the configuration means: one settings struct for each part.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_protocol::realtime::placement::OnLoss;

use super::guard::{check_listen, check_routes, guard};
use super::problem::Problems;
use super::raw::Raw;
use super::route::{RouteConfig, Shared, routes};
use super::table::Table;
use super::tls::tls;
use super::traces::traces;
use super::values::{self, Forwarded};
use crate::guard::GuardConfig;
use crate::proxy::MemoryLimit;
use crate::realtime::RealtimeConfig;
use crate::server::{Certificate, Listen, ServerConfig, TlsConfig};
use crate::session::SessionConfig;
use crate::telemetry::{LogConfig, TraceConfig};
use crate::upstream::UpstreamConfig;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<Listen>,
    /// Of the admin listener, if there is to be one.
    pub admin: Option<SocketAddr>,
    /// Whether files can be changed once the configuration has been read.
    pub sandbox: bool,
    pub routes: Vec<RouteConfig>,
    pub guard: GuardConfig,
    /// Users who may connect to unix sockets beside our own; if there are none, the file's mode
    /// decides alone.
    pub peer_uids: Vec<u32>,
    pub server: ServerConfig,
    pub memory: MemoryLimit,
    /// On the addresses of plain HTTP.
    pub tls: Option<TlsConfig>,
    pub session: SessionConfig,
    /// Bytes of events that may wait for all client sockets together.
    pub outbox_total: usize,
    pub drain: DrainConfig,
    pub log: LogConfig,
    /// Where spans go, if they are to be exported.
    pub traces: Option<TraceConfig>,
    /// Where it is recorded what IAM must allow.
    pub record: Option<PathBuf>,
}

/// `[drain]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// For which new work is still taken.
    pub delay: Duration,
    /// For what is running then.
    pub timeout: Duration,
}

impl Config {
    /// # Errors
    /// All mistakes that [`Raw`] holds.
    pub fn resolve(raw: &Raw) -> Result<Self, Problems> {
        let problems = RefCell::default();
        let config = resolve(&Table::root(raw, &problems), raw.state());
        let problems = problems.into_inner();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            None if problems.is_empty() => Err(Problems(raw.lost())),
            Some(_) | None => Err(Problems(problems)),
        }
    }

    /// Where unix sockets are made and removed.
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

/// `None` only if a problem was reported. No table is left early: the others' mistakes count too.
fn resolve(root: &Table<'_>, state: Option<&Path>) -> Option<Config> {
    let listen = root.list("listen", values::listen);
    if listen.as_ref().is_some_and(Vec::is_empty) {
        root.report("listen", "at least one address is needed");
    }
    let admin = root.read("admin", values::admin);
    let sandbox = root.read("sandbox", values::switch);
    let guard = guard(&root.table("guard"));
    let tls = tls(&root.table("tls"), state);
    if let (Some(listen), Some(said)) = (&listen, &guard) {
        check_listen(root, listen, said, tls.as_ref());
    }
    let makes_ca = tls
        .as_ref()
        .is_some_and(|tls| matches!(tls.certificate, Certificate::Dev { .. }));
    if sandbox == Some(true) && makes_ca {
        root.report("sandbox", "`tls.dev` writes its CA: use `tls.cert` with it");
    }
    let limits = limits(&root.table("limits"));
    let timeouts = timeouts(&root.table("timeouts"));
    let pool = pool(&root.table("pool"));
    let drain = drain(&root.table("drain"));
    let log = log(&root.table("log"));
    let traces = traces(&root.table("traces"));
    let iam = root.table("iam");
    let record = iam.read("record", values::text).map(PathBuf::from);
    iam.finish();
    if sandbox == Some(true) && record.is_some() {
        root.report(
            "sandbox",
            "`iam.record` writes its file: leave one of them out",
        );
    }
    let passes_forwarded = guard
        .as_ref()
        .is_some_and(|said| said.forwarded == Forwarded::Pass);
    let shared = shared(
        passes_forwarded,
        limits.as_ref(),
        timeouts.as_ref(),
        pool.as_ref(),
    );
    let routes = routes(root, shared);
    root.finish();
    if let (Some(routes), Some(said)) = (&routes, &guard) {
        check_routes(root, said, routes);
    }

    let guard = guard?;
    let requires_certificate = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());

    let (limits, timeouts, pool) = (limits?, timeouts?, pool?);
    Some(Config {
        listen: listen?,
        admin: admin?,
        sandbox: sandbox?,
        routes: routes?,
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
        drain: drain?,
        log: log?,
        traces,
        record,
    })
}

struct Limits {
    memory: MemoryLimit,
    connections: usize,
    in_flight: usize,
    buffered: usize,
    buffered_connection: usize,
    request_head: usize,
    request_body: usize,
    http_request_body: usize,
    response_body: usize,
    batch: usize,
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
    request_body_total: Duration,
    idle_client: Duration,
    init: Duration,
    ping: Duration,
    write: Duration,
    keepalive: Duration,
}

struct Pool {
    idle: Duration,
    max_idle: usize,
    max_age: Duration,
    subscriptions: usize,
    linger: Duration,
    handshake: Duration,
    start_ack: Duration,
    keepalive: Duration,
    spread: Duration,
}

fn limits(table: &Table<'_>) -> Option<Limits> {
    let size = |key| table.read(key, values::size);
    let count = |key| table.read(key, values::count);
    let request_head = table.read("request_head", |text| match values::size(text)? {
        // hyper cannot work with less.
        size if size < 8_192 => Err("must be at least 8KiB".to_owned()),
        size => Ok(size),
    });
    let memory = table.read("memory", values::memory);
    let read = (
        count("connections"),
        count("batch"),
        size("request_body"),
        size("response_body"),
        size("message"),
        count("subscriptions"),
        count("operations"),
        size("outbox"),
        size("outbox_total"),
        size("http_request_body"),
        count("in_flight"),
        size("buffered"),
        size("buffered_connection"),
    );
    table.finish();
    Some(Limits {
        memory: memory?,
        connections: read.0?,
        in_flight: read.10?,
        request_head: request_head?,
        batch: read.1?,
        request_body: read.2?,
        response_body: read.3?,
        message: read.4?,
        subscriptions: read.5?,
        operations: read.6?,
        outbox: read.7?,
        outbox_total: read.8?,
        http_request_body: read.9?,
        buffered: read.11?,
        buffered_connection: read.12?,
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
        duration("keepalive"),
        duration("request_body_total"),
        duration("idle_client"),
    );
    table.finish();
    Some(Timeouts {
        connect: read.0?,
        first_byte: read.1?,
        idle: read.2?,
        request_head: read.3?,
        request_body: read.4?,
        request_body_total: read.9?,
        idle_client: read.10?,
        init: read.5?,
        ping: read.6?,
        write: read.7?,
        keepalive: read.8?,
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
        duration("max_age"),
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
        max_age: read.8?,
    })
}

fn drain(table: &Table<'_>) -> Option<DrainConfig> {
    let delay = table.read("delay", values::duration_or_none);
    let timeout = table.read("timeout", values::duration);
    table.finish();
    Some(DrainConfig {
        delay: delay?,
        timeout: timeout?,
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
    passes_forwarded: bool,
    limits: Option<&Limits>,
    timeouts: Option<&Timeouts>,
    pool: Option<&Pool>,
) -> Option<Shared> {
    let (limits, timeouts, pool) = (limits?, timeouts?, pool?);
    Some(Shared {
        passes_forwarded,
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
            // What fits into the memory is the app's to say.
            window: 256 * 1024,
        },
        realtime: RealtimeConfig {
            on_loss: OnLoss::Close,
            subscriptions: pool.subscriptions,
            linger: pool.linger,
            handshake: pool.handshake,
            start_ack: pool.start_ack,
            keepalive: pool.keepalive,
        },
        keepalive: timeouts.keepalive,
    })
}
