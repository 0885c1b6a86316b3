//! Sets up the log: its format and filter.
//!
//! Dependencies never log below INFO, whatever the filter is: several of them print headers,
//! frames or whole requests at TRACE. The AWS SDK does not log at all: at INFO it prints access key
//! ids, and at WARN the standard error of credential processes. `sign::credentials` logs its
//! failures.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, info};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, ParseError, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use prometheus_client::metrics::counter::Counter;

use super::metrics::metrics;
use super::otlp::Export;
use super::trace;

/// The number of lines that may wait to be written. Their memory is allocated at startup.
const WAITING_LINES: usize = 8_192;
/// The number of bytes of lines that [`HeldLines`] keeps in memory.
const HELD_BYTES: usize = 1 << 20;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Counts the lines that cannot be written, because the reader of the log has gone or its device is full.
/// The thread that writes must not see these errors, because it ends a batch of lines at the first one.
struct Counting<W> {
    writer: W,
    unwritten: Counter,
}

/// Keeps lines in memory while they are held.
struct Holding<W> {
    writer: Counting<W>,
    held: Arc<Mutex<Option<Vec<u8>>>>,
}

/// The lines of the log that wait until a command has printed something. Dropping it writes them.
#[derive(Debug)]
pub struct HeldLines {
    held: Arc<Mutex<Option<Vec<u8>>>>,
    unwritten: Counter,
}

/// `[log]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Levels by target, separated by commas, in the syntax of `tracing_subscriber::filter::Targets`:
    /// `info`, `info,countersign::realtime=debug`.
    pub filter: String,
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
pub fn init(config: &LogConfig, export: Option<&Export>) -> Result<WorkerGuard, ParseError> {
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
) -> Result<(WorkerGuard, HeldLines), ParseError> {
    let filter = parse_filter(&config.filter)?;
    let held = Arc::new(Mutex::new(Some(Vec::new())));
    let unwritten = metrics().log_lines_dropped.clone();
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .finish(Holding {
            writer: Counting {
                writer: io::stderr(),
                unwritten: unwritten.clone(),
            },
            held: Arc::clone(&held),
        });
    let held = HeldLines { held, unwritten };
    metrics().watch_log(writer.error_counter());
    // Without a level hint, the target of every line of every dependency would be checked.
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
            info!("traces are exported to {}", export.origin());
        }
    }
    Ok((guard, held))
}

// === impl Counting ===

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Is called with one line at a time.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.writer.write_all(line).is_err() {
            self.unwritten.inc();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.writer.flush();
        Ok(())
    }
}

// === impl Holding ===

impl<W: Write> Write for Holding<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        // Locked during the write, so that no line overtakes those that are released.
        let mut held = self.held.lock();
        match held.as_mut() {
            Some(lines) if lines.len() + line.len() <= HELD_BYTES => lines.extend_from_slice(line),
            Some(_) => {
                self.writer.unwritten.inc();
            }
            None => self.writer.write_all(line)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

// === impl HeldLines ===

impl HeldLines {
    fn release(&self, writer: impl Write) {
        let mut writer = Counting {
            writer,
            unwritten: self.unwritten.clone(),
        };
        let mut held = self.held.lock();
        let lines = held.take().unwrap_or_default();
        // `Counting` counts errors and returns none.
        let _ = writer.write_all(&lines);
        let _ = writer.flush();
    }
}

impl Drop for HeldLines {
    fn drop(&mut self) {
        self.release(io::stderr());
    }
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
    fn lines_that_cannot_be_written_are_counted() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let unwritten = Counter::default();
        let mut log = Counting {
            writer: full,
            unwritten: unwritten.clone(),
        };
        for _ in 0..3 {
            log.write_all(b"line\n").unwrap();
        }
        log.flush().unwrap();
        assert_eq!(unwritten.get(), 3);
    }

    #[test]
    fn held_lines_are_written_in_order_when_released() {
        let held = Arc::new(Mutex::new(Some(Vec::new())));
        let unwritten = Counter::default();
        let mut log = Holding {
            writer: Counting {
                writer: Vec::new(),
                unwritten: unwritten.clone(),
            },
            held: Arc::clone(&held),
        };
        log.write_all(b"1\n").unwrap();
        log.write_all(b"2\n").unwrap();
        log.write_all(&[b'x'; HELD_BYTES]).unwrap();
        assert_eq!(log.writer.writer, b"");
        assert_eq!(unwritten.get(), 1);
        let mut released = Vec::new();
        let lines = HeldLines { held, unwritten };
        lines.release(&mut released);
        assert_eq!(released, b"1\n2\n");
        log.write_all(b"3\n").unwrap();
        assert_eq!(log.writer.writer, b"3\n");
    }

    #[test]
    fn without_export_no_spans_are_created() {
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
