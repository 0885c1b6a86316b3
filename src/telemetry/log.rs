//! Sets up the log: its format and filter.
//!
//! Dependencies never log below INFO, whatever the filter is: several of them print headers,
//! frames or whole requests at TRACE. The AWS SDK does not log at all: at INFO it prints access key
//! ids, and at WARN the standard error of credential processes. `sign::credentials` logs its
//! failures.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, info};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, ParseError, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use super::metrics::metrics;
use super::otlp::Export;
use super::trace;

/// How many lines may wait to be written; their memory is allocated at the start.
const WAITING_LINES: usize = 8_192;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Levels by target, separated by commas, in the syntax of `tracing_subscriber::filter::Targets`:
    /// `info`, `info,countersign::realtime=debug`.
    pub filter: String,
}

/// Checks a filter's syntax. `EnvFilter`, which also takes the values of spans' fields, panics at
/// some of them and builds patterns for a minute of others.
///
/// # Errors
/// The error.
pub fn parse_filter(filter: &str) -> Result<Targets, ParseError> {
    filter.parse()
}

/// Sends log lines to standard error for the rest of the process, and spans to `export`. Lines are
/// written by a separate thread. Requests never wait for it: lines are dropped when standard error is
/// not read. The guard flushes the remaining lines.
///
/// # Errors
/// The filter's syntax.
pub fn init(config: &LogConfig, export: Option<&Export>) -> Result<WorkerGuard, ParseError> {
    let filter = parse_filter(&config.filter)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .finish(std::io::stderr());
    metrics().watch_log(writer.error_counter());
    // Without a level hint, every line of every dependency would be filtered by its target.
    let capped = filter_fn(is_allowed).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(capped);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .with_writer(writer)
            .with_filter(filter)
            .boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines);
    match export {
        None => registry.init(),
        Some(export) => {
            let spans = tracing_opentelemetry::layer()
                .with_tracer(export.tracer())
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_filter(filter_fn(is_span).with_max_level_hint(LevelFilter::INFO));
            registry.with(spans).init();
            info!("traces are exported to {}", export.place());
        }
    }
    Ok(guard)
}

/// Whether a line or span belongs in the log; spans of requests do not.
fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.target() == trace::TARGET
}

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = target.starts_with("countersign");
    let is_capped = !target.starts_with("aws_") && *metadata.level() <= LevelFilter::INFO;
    !is_span(metadata) && (is_ours || is_capped)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::Trace;
    use super::*;

    #[test]
    fn the_log_alone_makes_no_spans() {
        let config = LogConfig {
            format: LogFormat::Text,
            filter: "trace".to_owned(),
        };
        let _flush = init(&config, None).unwrap();
        assert!(tracing::enabled!(target: "countersign::x", tracing::Level::TRACE));
        assert!(!tracing::enabled!(target: "hyper::x", tracing::Level::DEBUG));
        assert!(Trace::begin(&HeaderMap::new()).is_none());
    }
}
