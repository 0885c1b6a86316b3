//! Metrics of the process, in one registry.
//!
//! Labels are bounded: routes, dialects and identities come from the configuration, and [`bound`]
//! limits the statuses and codes that upstream chooses and their combinations. The metrics of a route
//! are looked up once, in [`RouteMetrics`].

mod bound;
mod exposition;
mod keepalive;
mod kinds;
mod labels;
mod process;
mod route;
mod successes;

use std::fmt;
use std::sync::{Arc, LazyLock};

use countersign_protocol::error_code::Code;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use bound::{Codes, Combinations};
pub use exposition::Format;
use exposition::prometheus;
use keepalive::Keepalives;
pub use keepalive::LastHeard;
pub use kinds::GaugeGuard;
use kinds::{FloatGauge, quick, slow};
use labels::{BuildLabels, HandshakeLabels, ReuseLabels, RouteLabel, RouteOutcomeLabels};
pub use labels::{
    DialectLabel, IdentityLabel, IdentityOutcomeLabels, OperationLabels, OutcomeLabel,
    RequestLabels, Status,
};
use labels::{ReplayLabels, RuleLabel, TaskLabel};
use process::Process;
use successes::Successes;

use super::build;
use super::record_code::RecordCode;
use super::tasks::Task;

/// Declares every metric once: its field, which is its name without the prefix, its type, its help
/// text, and the constructor of its histograms.
///
/// A metric below `each route` has the label `route` alone; [`RouteMetrics`] has it under the same
/// name.
macro_rules! metrics {
    (
        process { $($field:ident: $kind:ty = $help:literal $(, $new:expr)?;)* }
        each route { $($of_route:ident: $route_kind:ty = $route_help:literal $(, $route_new:expr)?;)* }
    ) => {
        /// Every metric, by its name without the prefix and without a counter's `_total`.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            process: Process,
            codes: Codes,
            combinations: Combinations,
            keepalives: Mutex<Vec<Arc<Keepalives>>>,
            $(pub $field: $kind,)*
            $($of_route: Family<RouteLabel, $route_kind>,)*
        }

        /// The metrics of one route, looked up once.
        #[derive(Debug)]
        pub struct RouteMetrics {
            /// The name of the route.
            pub name: Arc<str>,
            pub requests_on_new: Counter,
            pub requests_on_reused: Counter,
            keepalives: Arc<Keepalives>,
            successes: Successes,
            $(pub $of_route: $route_kind,)*
        }

        impl Metrics {
            fn new() -> Self {
                let mut registry = Registry::default();
                let process = Process::register(&mut registry);
                let own = registry.sub_registry_with_prefix("countersign");
                $(
                    let $field: $kind = metrics!(@new $($new)?);
                    own.register(stringify!($field), $help, $field.clone());
                )*
                $(
                    let $of_route: Family<RouteLabel, $route_kind> = metrics!(@new $($route_new)?);
                    own.register(stringify!($of_route), $route_help, $of_route.clone());
                )*
                Self {
                    registry,
                    process,
                    codes: Codes::default(),
                    combinations: Combinations::default(),
                    keepalives: Mutex::default(),
                    $($field,)*
                    $($of_route,)*
                }
            }
        }

        impl RouteMetrics {
            /// Returns the metrics of the route `name`. They start at zero and are exposed from then on.
            pub fn new(name: &str) -> Arc<Self> {
                let all = metrics();
                let route: Arc<str> = name.into();
                let label = RouteLabel { route: Arc::clone(&route) };
                let requests = |connection| {
                    let route = Arc::clone(&route);
                    let labels = ReuseLabels { route, connection };
                    all.upstream_requests.get_or_create_owned(&labels)
                };
                // Prometheus detects an increase only if the series existed before it.
                for reason in ["clock", "credentials", "lost", "unprocessed"] {
                    let route = Arc::clone(&route);
                    let labels = ReplayLabels { route, reason };
                    let _ = all.upstream_replays.get_or_create(&labels);
                }
                Arc::new(Self {
                    requests_on_new: requests("new"),
                    requests_on_reused: requests("reused"),
                    keepalives: all.keepalives(&label),
                    successes: Successes::default(),
                    $($of_route: all.$of_route.get_or_create_owned(&label),)*
                    name: route,
                })
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { Family::new_with_constructor($new) };
}

metrics! {
    process {
        requests: Family<RequestLabels, Counter> =
            "Completed requests, and operations of sockets and streams";
        request_duration_seconds: Family<OperationLabels, Histogram> =
            "Time from the head of a request to the end of its response; subscriptions and tunnels are not counted", slow;
        refusals: Family<RuleLabel, Counter> =
            "Requests that were rejected and never sent, by the code of the rule";
        client_connections: Gauge = "Open client connections";
        client_connections_limit: Gauge =
            "Maximum number of client connections: limits.connections, or what the limit of open files allows";
        client_connections_accepted: Counter = "Accepted client connections";
        client_tls_handshakes: Family<OutcomeLabel, Counter> = "TLS handshakes with clients";
        sessions: Family<DialectLabel, Gauge> = "Open client sockets and streams";
        upstream_dials: Family<RouteOutcomeLabels, Counter> = "Attempts to open an upstream connection";
        upstream_requests: Family<ReuseLabels, Counter> =
            "Requests, by whether their connection was new";
        upstream_tls_handshakes: Family<HandshakeLabels, Counter> = "TLS handshakes with upstream";
        realtime_connects: Family<RouteOutcomeLabels, Counter> =
            "Attempts to open a realtime connection";
        realtime_keepalive_age_seconds: Family<RouteLabel, FloatGauge> =
            "Longest time that an open realtime connection has been silent";
        credentials_remaining_seconds: Family<IdentityLabel, FloatGauge> =
            "Remaining validity of the credentials: 0 if none are held or AWS rejects them, +Inf if they do not expire";
        credentials_refreshes: Family<IdentityOutcomeLabels, Counter> = "Loads of credentials";
        credentials_forced_loads: Family<IdentityLabel, Counter> =
            "Loads of credentials because AWS had rejected them, or because they had expired by AWS's clock";
        upstream_replays: Family<ReplayLabels, Counter> =
            "Requests that were signed and sent again, by the reason";
        task_panics: Family<TaskLabel, Counter> =
            "Panics, which are bugs of countersign, by the task that they ended; the log has their locations";
        draining: Gauge = "Whether the process is draining";
        ready: Gauge = "Whether /readyz answers 200";
        memory_limit_bytes: Gauge = "Memory limit; 0 without a limit";
        log_lines_dropped: Counter =
            "Log lines that were dropped because their reader did not keep up, or could not be written";
        build_info: Family<BuildLabels, Gauge> = "Always 1";
    }
    each route {
        signing_duration_seconds: Histogram = "Time to sign a request, including the wait for credentials", quick;
        upstream_connect_duration_seconds: Histogram =
            "Time for DNS, TCP, proxy and TLS, for requests that needed a new connection", slow;
        upstream_first_byte_duration_seconds: Histogram =
            "Time from a signed request to the head of its response", slow;
        requests_in_flight: Gauge = "Requests whose response has not ended";
        tunnels: Gauge = "Open tunnelled WebSockets";
        upstream_connections: Gauge =
            "Open upstream connections for requests, without realtime connections and tunnels";
        subscriptions: Gauge = "Active subscriptions, including those that are starting";
        subscription_start_duration_seconds: Histogram = "Time from a start to its start_ack", slow;
        events_received: Counter = "Events received from upstream";
        events_delivered: Counter = "Events delivered to clients";
        slow_consumers: Counter =
            "Subscriptions that were ended because their client read too slowly";
        realtime_connections: Gauge = "Open realtime connections";
        realtime_losses: Counter = "Lost realtime connections";
        realtime_reconnects: Counter = "Attempts to connect realtime again after a loss or a failure";
        realtime_gaps: Counter =
            "Subscriptions that were resumed after a gap, in which events may have been lost";
        clock_offset_seconds: FloatGauge =
            "Upstream's clock minus the local clock, from upstream's responses";
        signing_clock_offset_seconds: FloatGauge =
            "Correction of the local clock in signatures, from upstream's rejections";
    }
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Returns the metrics of the process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// Returns every metric with its current value.
///
/// # Errors
/// When a metric cannot be written as text.
pub fn encode(format: Format) -> Result<String, fmt::Error> {
    METRICS.observe();
    let mut open = String::new();
    text::encode(&mut open, &METRICS.registry)?;
    match format {
        Format::OpenMetrics => Ok(open),
        Format::Prometheus => prometheus(&open),
    }
}

impl Metrics {
    /// Returns the code of an error as a label, empty for no error.
    pub(super) fn code(&self, code: Option<&RecordCode>) -> Arc<str> {
        self.codes.label(code)
    }

    /// Counts a request that has ended. The number of label sets with a code that upstream chose is
    /// bounded.
    pub(super) fn count_request(&self, labels: RequestLabels, is_theirs: bool) {
        let labels = if is_theirs {
            self.combinations.bound(labels)
        } else {
            labels
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a request or operation that was rejected and never sent.
    pub fn refused(&self, code: Code) {
        let rule = code.as_str();
        self.refusals.get_or_create(&RuleLabel { rule }).inc();
    }

    /// Returns the keepalives of a route, which are observed at every scrape.
    fn keepalives(&self, route: &RouteLabel) -> Arc<Keepalives> {
        let age = &self.realtime_keepalive_age_seconds;
        let keepalives = Arc::new(Keepalives::new(age.get_or_create_owned(route)));
        self.keepalives.lock().push(Arc::clone(&keepalives));
        keepalives
    }

    /// Updates the metrics that are computed at a scrape.
    fn observe(&self) {
        self.process.observe();
        for keepalives in self.keepalives.lock().iter() {
            keepalives.observe();
        }
        let labels = BuildLabels {
            version: build::VERSION,
            revision: build::REVISION,
            rustc: build::RUSTC,
            target: build::TARGET,
        };
        self.build_info.get_or_create(&labels).set(1);
        // Prometheus detects an increase only if the series existed before it.
        for task in Task::ALL {
            let _ = self.task_panics.get_or_create(&task.into());
        }
    }
}
