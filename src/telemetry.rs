//! Logs: their format, their filter, and how an error is printed.
//!
//! Dependencies never log below INFO, whatever the filter says: several of them print headers,
//! frames or whole requests at TRACE. The AWS SDK does not log at all: at INFO it prints access key
//! ids, at WARN what a credential process wrote to its standard error. What it fails at is logged
//! by `sign::credentials`.

pub mod build;
pub mod metrics;
mod record;

use std::error::Error;
use std::fmt::Write as _;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

pub use record::Record;

/// Lines that may wait to be written, for which room is taken at once.
const WAITING_LINES: usize = 8_192;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// In the syntax of `tracing_subscriber::EnvFilter`: `info`, `countersign::realtime=debug`.
    pub filter: String,
}

/// Checks a filter's syntax. Values of fields are taken as text, not as patterns: building one can
/// take a minute.
///
/// # Errors
/// What is wrong with it.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_regex(false).parse(filter)
}

/// Sends log lines to standard error for the rest of the process. Lines are written by a thread
/// of their own and dropped, not waited for, when nobody takes them; the guard flushes the rest.
///
/// # Errors
/// The filter's syntax.
pub fn init(config: &LogConfig) -> Result<WorkerGuard, ParseError> {
    let filter = parse_filter(&config.filter)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .finish(std::io::stderr());
    metrics::metrics().watch_log(writer.error_counter());
    let capped = filter_fn(is_allowed);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(writer)
                    .with_filter(capped),
            )
            .init(),
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_ansi(false)
                    .with_target(false)
                    .with_writer(writer)
                    .with_filter(capped),
            )
            .init(),
    }
    Ok(guard)
}

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.starts_with("countersign")
        || (!target.starts_with("aws_") && *metadata.level() <= LevelFilter::INFO)
}

/// An error and all its causes, `outer: inner: innermost`; a cause that the text before already
/// ends with is not repeated.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
