//! Starts what commands run on: the runtime, the log and the export of spans.

use std::io::{self, IsTerminal as _};
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tracing_subscriber::filter::ParseError;

use super::failure::Failure;
use super::settings::allows_colors;
use crate::config::{Config, Problem, Problems};
use crate::telemetry::{self, Export, HeldLines, LogConfig, LogGuard, Terminal};

/// Returns the exporter of spans, which runs on `runtime`, or `None` if none is configured.
pub(super) fn export(config: &Config, runtime: &Handle) -> Result<Option<Export>, Failure> {
    let export = config.traces.as_ref();
    let export = export.map(|traces| Export::new(traces, runtime.clone()));
    Ok(export.transpose()?)
}

/// Starts the log. The returned guard writes the remaining lines when it is dropped.
pub(super) fn start_log(config: &LogConfig, export: Option<&Export>) -> Result<LogGuard, Failure> {
    telemetry::init(&on_terminal(config), export).map_err(invalid_filter)
}

/// Does the same, and holds the lines until the returned [`HeldLines`] is dropped.
pub(super) fn start_held_log(
    config: &LogConfig,
    export: Option<&Export>,
) -> Result<(LogGuard, HeldLines), Failure> {
    telemetry::init_held(&on_terminal(config), export).map_err(invalid_filter)
}

/// Returns the settings of the log with what depends on standard error.
pub(super) fn on_terminal(config: &LogConfig) -> LogConfig {
    config.clone().on(Terminal {
        is_terminal: io::stderr().is_terminal(),
        allows_colors: allows_colors(),
    })
}

fn invalid_filter(error: ParseError) -> Failure {
    let problem = Problem {
        key: "log.filter".to_owned(),
        source: None,
        message: error.to_string(),
    };
    Failure::Config(Problems(vec![problem]))
}

/// Builds the runtime, with one thread for each core. On a single core, it is the calling thread, which
/// saves a seventh of the CPU time of a request, because no task is handed from thread to thread.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = if cores == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build().map_err(Failure::Runtime)
}
