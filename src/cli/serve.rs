//! `countersign [serve]`: runs until a signal stops it.

use tracing::info;

use super::failure::Failure;
use super::process::orphans::Reaper;
use super::process::signals::Signals;
use super::process::{self, sandbox, systemd};
use super::runtime::{export, runtime, start_log};
use super::settings::Settings;
use crate::app::App;
use crate::config::{self, Config};
use crate::memory::Memory;
use crate::server::Passed;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let mut sources = settings.sources();
    // This may re-execute the program, so it comes before sockets are taken from the environment.
    let memory = config::memory(&sources).map(Memory::new);
    if memory.is_some_and(|memory| memory.limit().is_some()) {
        process::memory::return_free();
    }
    // Signals that arrive during the start must not be lost.
    let signals = Signals::early().map_err(Failure::Runtime)?;
    // This and the sandbox must come before any other thread starts.
    let sockets = systemd::sockets()?;
    sources.flags.extend_from_slice(&sockets.flags);
    let (_, config) = config::load(&sources)?;
    let socket_directories = if sockets.replace_listen() {
        // The process that passed the sockets removes their files.
        Vec::new()
    } else {
        config.socket_directories()
    };
    let sandbox = if config.sandbox {
        Some(sandbox::enter(&socket_directories).map_err(Failure::Sandbox)?)
    } else {
        None
    };
    let runtime = runtime()?;
    let export = export(&config, runtime.handle())?;
    let _flush = start_log(&config.log, export.as_ref())?;
    if let Some(file) = &sources.file {
        info!("configuration file: {}", file.display());
    }
    if let Some(sandbox) = sandbox {
        sandbox.log();
    }
    let served = runtime.block_on(serve(config, sockets.passed, signals));
    if let Some(export) = export {
        export.flush();
    }
    served
}

async fn serve(config: Config, passed: Vec<Passed>, signals: Signals) -> Result<(), Failure> {
    // This must come before a credential provider runs its first program.
    let _reaper = Reaper::start();
    let app = App::start_on(config, passed).await?;
    let notifier = systemd::Notifier::ready(app.credentials(), app.stopping());
    let (first, second) = signals.stops();
    app.run(first, second).await;
    notifier.stopping_sent().await;
    Ok(())
}
