//! The formats in which metrics are exposed.

use std::fmt::{self, Write as _};

/// The format of the exposed metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Returns the format for an `Accept` header: OpenMetrics only if the header names it, as Prometheus's
    /// does.
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

/// Converts OpenMetrics text to the Prometheus format, in which the name of a counter includes `_total`,
/// and which has neither unit lines nor an end marker.
pub(super) fn prometheus(open: &str) -> Result<String, fmt::Error> {
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
    fn open_metrics_is_converted_to_the_prometheus_format() {
        let open = "# HELP a_requests How many.\n# TYPE a_requests counter\n\
                    a_requests_total{b=\"c d\"} 1\n# HELP d_seconds Of time.\n# TYPE d_seconds gauge\n\
                    # UNIT d_seconds seconds\nd_seconds 2\n# EOF\n";
        let old = "# HELP a_requests_total How many.\n# TYPE a_requests_total counter\n\
                   a_requests_total{b=\"c d\"} 1\n# HELP d_seconds Of time.\n# TYPE d_seconds gauge\n\
                   d_seconds 2\n";
        assert_eq!(prometheus(open).unwrap(), old);
    }

    #[test]
    fn open_metrics_is_chosen_only_if_accept_names_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain"] {
            assert_eq!(Format::accepted(accept), Format::Prometheus);
        }
    }
}
