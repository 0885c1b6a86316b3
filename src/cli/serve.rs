//! `countersign [serve]`: runs until a signal.

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Settings, sandbox};
use crate::app::App;
use crate::config::{self, Config, Problem, Problems};
use crate::telemetry::{self, LogConfig};

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let (_, config) = config::load(&settings.sources())?;
    // Before there is any other thread.
    let sandbox = match config.sandbox {
        true => Some(sandbox::enter(&config).map_err(Failure::Sandbox)?),
        false => None,
    };
    let _flush = start_log(&config.log)?;
    if let Some(sandbox) = sandbox {
        sandbox.tell();
    }
    runtime()?.block_on(serve(config))
}

pub(super) async fn serve(config: Config) -> Result<(), Failure> {
    // Before anything is bound: a signal that comes early must not be lost.
    let mut signals = Signals::new()?;
    let mut again = Signals::new()?;
    let app = App::start(config).await?;
    let first = signals.next();
    let second = async {
        again.next().await;
        again.next().await;
    };
    app.run(first, second).await;
    Ok(())
}

pub(super) fn start_log(
    config: &LogConfig,
) -> Result<tracing_appender::non_blocking::WorkerGuard, Failure> {
    telemetry::init(config).map_err(|error| {
        let problem = Problem {
            key: "log.filter".to_owned(),
            source: None,
            message: error.to_string(),
        };
        Failure::Config(Problems(vec![problem]))
    })
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(Failure::Runtime)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::Runtime)?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
