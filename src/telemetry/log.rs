//! Sets up the log: its format and filter.
//!
//! Dependencies never log below INFO, whatever the filter is: several of them print headers,
//! frames or whole requests at TRACE. The AWS SDK does not log at all: at INFO it prints access key
//! ids, and at WARN the standard error of credential processes. `sign::credentials` logs its
//! failures.

mod entry;
mod lines;
mod log_format;
mod pretty;
mod request_line;
mod style;
mod summary;
mod wrap;

use std::io;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, info};
use tracing_subscriber::filter::{FilterExt as _, ParseError, Targets, filter_fn};
use tracing_subscriber::fmt::format::{Format, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use lines::LogLines;
pub use lines::{HeldLines, LogGuard};
pub use log_format::{LogFormat, When};
use pretty::PrettyLines;
use request_line::{LineFormat, RequestLines};
pub(super) use request_line::{STARTED as STARTED_TARGET, TARGET as REQUEST_TARGET};

use super::graphql_errors::log_errors;
use super::metrics::metrics;
use super::otlp::Export;
use super::trace;

/// `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Levels by target, separated by commas, in the syntax of `tracing_subscriber::filter::Targets`:
    /// `info`, `info,countersign::realtime=debug`.
    pub filter: String,
    /// Whether pretty lines are coloured.
    pub color: When,
    /// Whether the lines of requests have the errors of GraphQL responses.
    pub graphql_errors: When,
    /// Whether pretty lines have the routes of operations: there are several of a kind.
    pub shows_routes: bool,
    /// Whether a banner shows what is served where, so that the log need not.
    pub has_banner: bool,
}

/// The target of the lines that say what a banner shows.
pub const BANNER_TARGET: &str = "countersign::app::start";

/// What standard error is.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub is_terminal: bool,
    /// The user has not turned colours off.
    pub allows_colors: bool,
}

impl LogConfig {
    /// Chooses what depends on standard error.
    #[must_use]
    pub fn on(mut self, terminal: Terminal) -> Self {
        let Terminal {
            is_terminal,
            allows_colors,
        } = terminal;
        if self.format == LogFormat::Auto {
            self.format = if is_terminal {
                LogFormat::Pretty
            } else {
                LogFormat::Text
            };
        }
        self.color = match self.color.holds(is_terminal && allows_colors) {
            true => When::Always,
            false => When::Never,
        };
        self.has_banner = is_terminal && self.format == LogFormat::Pretty;
        self
    }
}

/// Parses a filter. `EnvFilter` is not used, because it also accepts values of span fields, with some of
/// which it panics or takes a minute to build its patterns.
///
/// # Errors
/// When the syntax is invalid.
pub fn parse_filter(filter: &str) -> Result<Targets, ParseError> {
    filter.parse()
}

/// Sends log lines to standard error for the rest of the process, and spans to `export`. Lines are
/// written by a separate thread, for which requests never wait: lines are dropped while standard error is
/// not read. The returned guard flushes the remaining lines when it is dropped.
///
/// # Errors
/// When the syntax of the filter is invalid.
pub fn init(config: &LogConfig, export: Option<&Export>) -> Result<LogGuard, ParseError> {
    let (guard, _) = init_held(config, export)?;
    Ok(guard)
}

/// Does the same, but the lines are written when the returned [`HeldLines`] is dropped. Drop it before the
/// guard.
///
/// # Errors
/// When the syntax of the filter is invalid.
pub fn init_held(
    config: &LogConfig,
    export: Option<&Export>,
) -> Result<(LogGuard, HeldLines), ParseError> {
    let filter = parse_filter(&config.filter)?;
    let dropped = metrics().log_lines_dropped.clone();
    let (writer, guard, held) = LogLines::start(io::stderr(), dropped);
    // Without a level hint, the target of every line of every dependency would be checked.
    let capped = filter_fn(is_allowed).with_max_level_hint(LevelFilter::TRACE);
    let is_pretty = config.format == LogFormat::Pretty;
    log_errors(config.graphql_errors.holds(is_pretty));
    let filter = if is_pretty && filter.would_enable(REQUEST_TARGET, &Level::INFO) {
        filter.with_target(STARTED_TARGET, Level::DEBUG)
    } else {
        filter
    };
    let filter = if config.has_banner {
        filter.with_target(BANNER_TARGET, Level::WARN)
    } else {
        filter
    };
    let filter = filter.and(capped);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Pretty => {
            let is_colored = config.color == When::Always;
            fmt::layer()
                .with_ansi(is_colored)
                .event_format(PrettyLines::new(is_colored, config.shows_routes))
                .with_writer(writer)
                .with_filter(filter)
                .boxed()
        }
        LogFormat::Json => fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(RequestLines {
                format: LineFormat::Json,
                others: Format::default().json().flatten_event(true),
            })
            .with_writer(writer)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text | LogFormat::Auto => fmt::layer()
            .with_ansi(false)
            .event_format(RequestLines {
                format: LineFormat::Text,
                others: Format::default().with_ansi(false).with_target(false),
            })
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
            info!("traces are exported to {}", export.origin());
        }
    }
    Ok((guard, held))
}

/// Returns whether this is the span of a request, which the log does not contain.
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
    fn without_export_no_spans_are_created() {
        let config = LogConfig {
            format: LogFormat::Text,
            filter: "trace".to_owned(),
            color: When::Never,
            graphql_errors: When::Auto,
            shows_routes: false,
            has_banner: false,
        };
        let _flush = init(&config, None).unwrap();
        assert!(tracing::enabled!(target: "countersign::x", Level::TRACE));
        assert!(!tracing::enabled!(target: "hyper::x", Level::DEBUG));
        assert!(Trace::begin(&HeaderMap::new()).is_none());
    }
}
