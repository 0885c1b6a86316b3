//! Metrics of the process, in one registry, as there is one log.
//!
//! Labels are bounded: routes, dialects and identities come from configuration, and what comes from
//! elsewhere is never a label without a bound.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub ready: Gauge,
    pub draining: Gauge,
    pub client_connections: Gauge,
    pub client_connections_limit: Gauge,
    credentials_remaining: Family<IdentityLabel, Gauge<f64, AtomicU64>>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IdentityLabel {
    identity: String,
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of the process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// Every metric as it is now.
///
/// # Errors
/// When a metric cannot be written as text.
pub fn encode(format: Format) -> Result<String, fmt::Error> {
    let mut open = String::new();
    text::encode(&mut open, &METRICS.registry)?;
    Ok(match format {
        Format::OpenMetrics => open,
        Format::Prometheus => prometheus(&open),
    })
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let ready = Gauge::default();
        registry.register("ready", "Whether /readyz says so", ready.clone());
        let draining = Gauge::default();
        registry.register(
            "draining",
            "Whether the process was told to stop",
            draining.clone(),
        );
        let client_connections = Gauge::default();
        registry.register(
            "client_connections",
            "Open connections of clients",
            client_connections.clone(),
        );
        let client_connections_limit = Gauge::default();
        registry.register(
            "client_connections_limit",
            "How many connections of clients there may be",
            client_connections_limit.clone(),
        );
        let credentials_remaining = Family::default();
        registry.register(
            "credentials_remaining_seconds",
            "How long the credentials held are valid: 0 if none are held, +Inf if they do not expire",
            credentials_remaining.clone(),
        );
        Self {
            registry,
            ready,
            draining,
            client_connections,
            client_connections_limit,
            credentials_remaining,
        }
    }

    pub fn credentials_remaining(&self, identity: &str) -> Gauge<f64, AtomicU64> {
        let label = IdentityLabel {
            identity: identity.to_owned(),
        };
        self.credentials_remaining.get_or_create_owned(&label)
    }
}

impl Format {
    /// What an `Accept` header asks for; OpenMetrics only by its name, as Prometheus does.
    pub fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// OpenMetrics text in the older format: there, a counter's own name has its `_total`, there is no
/// unit line, and no end mark.
fn prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some("HELP"), Some(name), text) => {
                help = Some((name, text.unwrap_or_default()))
            }
            (Some("#"), Some("TYPE"), Some(name), kind) => {
                let kind = kind.unwrap_or_default();
                let end = if kind == "counter" { "_total" } else { "" };
                if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{end} {help}\n"));
                }
                text.push_str(&format!("# TYPE {name}{end} {kind}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
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
        assert_eq!(prometheus(open), old);
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
}
