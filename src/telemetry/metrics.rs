//! Metrics of the process, in one registry.
//!
//! Labels are bounded: routes, dialects and identities come from the configuration. Of the values
//! that upstream chooses, there are at most [`MAX_CODES`] codes, and [`bound`] limits statuses and
//! combinations. The metrics of a route are looked up once, in [`RouteMetrics`].

mod bound;
mod process;
mod route;

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};

use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing_appender::non_blocking::ErrorCounter;

pub use bound::Status;
use bound::Theirs;
use process::Process;
pub use route::{LastHeard, RouteMetrics};

use super::build;
use super::record::RecordCode;
use super::tasks::{Task, TaskLabel};
use countersign_protocol::error_code::Code;

/// A gauge that is not a whole number.
pub type Exact = Gauge<f64, AtomicU64>;
type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// Declares every metric once: its field, which is its name without the prefix, its type, its help
/// text, and its constructor if that is not `default`.
macro_rules! metrics {
    ($($field:ident: $kind:ty = $help:literal $(, $new:expr)?;)*) => {
        /// Every metric, by its name without the prefix and without a counter's `_total`.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            process: Process,
            codes: RwLock<HashSet<Arc<str>>>,
            theirs: Theirs,
            routes: Mutex<Vec<Arc<RouteMetrics>>>,
            log_lines: Mutex<Option<ErrorCounter>>,
            $(pub $field: $kind,)*
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
                Self {
                    registry,
                    process,
                    codes: RwLock::default(),
                    theirs: Theirs::default(),
                    routes: Mutex::default(),
                    log_lines: Mutex::default(),
                    $($field,)*
                }
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
}

metrics! {
    requests: Family<RequestLabels, Counter> =
        "Completed requests, and operations of sockets and streams";
    request_duration_seconds: Times<OperationLabels> =
        "Time from the head of a request to the end of its response", Times::new_with_constructor(slow);
    signing_duration_seconds: Times<RouteLabel> =
        "Credentials and signature", Times::new_with_constructor(quick);
    upstream_connect_duration_seconds: Times<RouteLabel> =
        "Time for DNS, TCP, proxy and TLS, for requests that needed a new connection",
        Times::new_with_constructor(slow);
    upstream_first_byte_duration_seconds: Times<RouteLabel> =
        "Time from a signed request to the head of its response", Times::new_with_constructor(slow);
    requests_in_flight: Family<RouteLabel, Gauge> =
        "Requests whose response has not ended";
    refusals: Family<RuleLabel, Counter> =
        "Requests that were rejected and never sent, by the code of the rule";
    client_connections: Gauge = "Open client connections";
    client_connections_limit: Gauge = "Maximum number of client connections";
    client_connections_accepted: Counter = "Accepted client connections";
    client_tls_handshakes: Family<OutcomeLabel, Counter> = "TLS handshakes with clients";
    sessions: Family<DialectLabel, Gauge> = "Open client sockets and streams";
    tunnels: Family<RouteLabel, Gauge> = "Open tunnelled WebSockets";
    upstream_connections: Family<RouteLabel, Gauge> =
        "Open upstream connections for requests, without realtime connections and tunnels";
    upstream_dials: Family<RouteOutcomeLabels, Counter> = "Dialled upstream connections";
    upstream_requests: Family<ReuseLabels, Counter> = "Requests, by whether their connection was new";
    upstream_tls_handshakes: Family<HandshakeLabels, Counter> = "TLS handshakes with upstream";
    subscriptions: Family<RouteLabel, Gauge> = "Active subscriptions, including those that are starting";
    subscription_start_duration_seconds: Times<RouteLabel> =
        "Time from a start to its start_ack", Times::new_with_constructor(slow);
    events_received: Family<RouteLabel, Counter> = "Events received from upstream";
    events_delivered: Family<RouteLabel, Counter> = "Events delivered to clients";
    slow_consumers: Family<RouteLabel, Counter> =
        "Subscriptions that were ended because their client read too slowly";
    realtime_connections: Family<RouteLabel, Gauge> = "Open realtime connections";
    realtime_connects: Family<RouteOutcomeLabels, Counter> = "Attempts to open a realtime connection";
    realtime_losses: Family<RouteLabel, Counter> = "Lost realtime connections";
    realtime_reconnects: Family<RouteLabel, Counter> = "Attempts to reconnect realtime after a loss";
    realtime_gaps: Family<RouteLabel, Counter> =
        "Subscriptions that were resumed after a gap, in which events may have been lost";
    realtime_keepalive_age_seconds: Family<RouteLabel, Exact> =
        "Longest time that an open realtime connection has been silent";
    credentials_remaining_seconds: Family<IdentityLabel, Exact> =
        "Remaining validity of the credentials: 0 if none are held, +Inf if they do not expire";
    credentials_refreshes: Family<IdentityOutcomeLabels, Counter> = "Loads of credentials";
    clock_offset_seconds: Family<RouteLabel, Exact> = "Upstream's clock minus the local clock, from upstream's responses";
    task_panics: Family<TaskLabel, Counter> =
        "Panics, which are bugs of countersign, by the task that they ended";
    draining: Gauge = "Whether the process is draining";
    ready: Gauge = "Whether /readyz answers 200";
    memory_limit_bytes: Gauge = "Memory limit; 0 without a limit";
    log_lines_dropped: Counter = "Log lines that were dropped because their reader did not keep up";
    build_info: Family<BuildLabels, Gauge> = "Always 1";
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RouteLabel {
    pub route: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RequestLabels {
    pub route: Arc<str>,
    pub client: &'static str,
    pub operation: &'static str,
    pub status: Status,
    /// Empty when all went well.
    pub code: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OperationLabels {
    pub route: Arc<str>,
    pub operation: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RuleLabel {
    pub rule: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct DialectLabel {
    pub dialect: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RouteOutcomeLabels {
    pub route: Arc<str>,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReuseLabels {
    pub route: Arc<str>,
    pub connection: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct HandshakeLabels {
    pub route: Arc<str>,
    pub kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct IdentityLabel {
    pub identity: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct IdentityOutcomeLabels {
    pub identity: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct BuildLabels {
    pub version: &'static str,
    pub revision: &'static str,
    pub rustc: &'static str,
    pub target: &'static str,
}

/// Increments a gauge, and decrements it when it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
/// How many codes there may be: ours, which are fewer than a hundred, and those of AWS and of resolvers.
const MAX_CODES: usize = 200;
const MAX_CODE: usize = 64;
const OTHER: &str = "OTHER";

/// The metrics of the process.
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
    /// Returns the code of an error as a label, empty for no error: each of ours, and at most
    /// [`MAX_CODES`] of upstream's.
    pub(super) fn code(&self, code: Option<&RecordCode>) -> Arc<str> {
        let is_ours = !matches!(code, Some(RecordCode::Upstream(_)));
        let code = code.map_or("", RecordCode::as_str);
        if let Some(known) = self.codes.read().get(code) {
            return Arc::clone(known);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        let is_fit = code.len() <= MAX_CODE && code.chars().all(is_plain);
        let mut codes = self.codes.write();
        let is_label = is_ours || (is_fit && codes.len() < MAX_CODES);
        let code: Arc<str> = if is_label { code } else { OTHER }.into();
        codes.insert(Arc::clone(&code));
        code
    }

    /// Counts a request that has ended. The number of label sets with a code that upstream chose is
    /// bounded.
    pub(super) fn count_request(&self, labels: RequestLabels, is_theirs: bool) {
        let labels = if is_theirs {
            self.theirs.bound(labels)
        } else {
            labels
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a request or operation that was refused here and never sent.
    pub fn refused(&self, code: Code) {
        let rule = code.as_str();
        self.refusals.get_or_create(&RuleLabel { rule }).inc();
    }

    /// Sets the counter of dropped log lines.
    pub(super) fn watch_log(&self, lines: ErrorCounter) {
        *self.log_lines.lock() = Some(lines);
    }

    /// Updates the metrics that are computed at a scrape.
    fn observe(&self) {
        self.process.observe();
        for route in self.routes.lock().iter() {
            route.observe();
        }
        if let Some(lines) = &*self.log_lines.lock() {
            let dropped = lines.dropped_lines() as u64;
            let known = self.log_lines_dropped.get();
            self.log_lines_dropped.inc_by(dropped.saturating_sub(known));
        }
        let labels = BuildLabels {
            version: build::VERSION,
            revision: build::REVISION,
            rustc: build::RUSTC,
            target: build::TARGET,
        };
        self.build_info.get_or_create(&labels).set(1);
        // Prometheus sees an increase only of a series that existed before.
        for task in Task::ALL {
            let _ = self.task_panics.get_or_create(&task.into());
        }
    }
}

/// Returns a histogram for durations of milliseconds to seconds.
fn slow() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// Returns a histogram for durations that are normally microseconds.
fn quick() -> Histogram {
    Histogram::new([
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.01, 0.1, 1.0, 5.0,
    ])
}

impl GaugeGuard {
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Format {
    /// Returns the format for an `Accept` header: OpenMetrics only if it is named, as Prometheus does.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics text to the older format, in which the name of a counter includes `_total`, and
/// which has neither unit lines nor an end marker.
fn prometheus(open: &str) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some("HELP"), Some(name), text) => {
                help = Some((name, text.unwrap_or_default()));
            }
            (Some("#"), Some("TYPE"), Some(name), kind) => {
                let kind = kind.unwrap_or_default();
                let end = if kind == "counter" { "_total" } else { "" };
                if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                    writeln!(text, "# HELP {name}{end} {help}")?;
                }
                writeln!(text, "# TYPE {name}{end} {kind}")?;
            }
            _ => writeln!(text, "{line}")?,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_is_made_of_the_newer() {
        let open = "# HELP a_requests How many.\n# TYPE a_requests counter\n\
                    a_requests_total{b=\"c d\"} 1\n# HELP d_seconds Of time.\n# TYPE d_seconds gauge\n\
                    # UNIT d_seconds seconds\nd_seconds 2\n# EOF\n";
        let old = "# HELP a_requests_total How many.\n# TYPE a_requests_total counter\n\
                   a_requests_total{b=\"c d\"} 1\n# HELP d_seconds Of time.\n# TYPE d_seconds gauge\n\
                   d_seconds 2\n";
        assert_eq!(prometheus(open).unwrap(), old);
    }

    #[test]
    fn open_metrics_is_given_to_who_asks_for_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain"] {
            assert_eq!(Format::accepted(accept), Format::Prometheus);
        }
    }

    #[test]
    fn codes_that_others_choose_are_bounded() {
        let metrics = Metrics::new();
        let theirs = |code: &str| metrics.code(Some(&RecordCode::Upstream(code.to_owned())));
        let ours = |code: Code| metrics.code(Some(&code.into()));
        assert_eq!(&*metrics.code(None), "");
        assert_eq!(&*ours(Code::HostNotAllowed), "HOST_NOT_ALLOWED");
        assert_eq!(&*theirs("Lambda:Unhandled"), "Lambda:Unhandled");
        for odd in ["a b", "a\n", "\"", &"x".repeat(MAX_CODE + 1)] {
            assert_eq!(&*theirs(odd), OTHER, "{odd:?}");
        }
        for at in 0..2 * MAX_CODES {
            theirs(&format!("Chosen{at}"));
        }
        assert!(metrics.codes.read().len() <= MAX_CODES + 1);
        assert_eq!(&*theirs("OneMore"), OTHER);
        assert_eq!(&*ours(Code::HostNotAllowed), "HOST_NOT_ALLOWED");
        assert_eq!(
            &*ours(Code::CredentialsUnavailable),
            "CREDENTIALS_UNAVAILABLE"
        );
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let gauge = Gauge::default();
        let (one, two) = (GaugeGuard::new(&gauge), GaugeGuard::new(&gauge));
        assert_eq!(gauge.get(), 2);
        drop(one);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
