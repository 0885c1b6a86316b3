//! `countersign [serve]`: runs until a signal stops it.

use tracing::info;

use super::banner::Banner;
use super::failure::Failure;
use super::output::{note, write_banner};
use super::process::orphans::Reaper;
use super::process::signals::Signals;
use super::process::{self, sandbox, systemd};
use super::runtime::{export, on_terminal, runtime, start_held_log};
use super::settings::Settings;
use crate::app::App;
use crate::config::{self, Config};
use crate::memory::Memory;
use crate::server::Passed;
use crate::telemetry::HeldLines;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    settings.check_url()?;
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
    let log = on_terminal(&config.log);
    let (_flush, held) = start_held_log(&log, export.as_ref())?;
    let banner = log.has_banner.then(|| (Banner::of(&config), held));
    if let Some(file) = &sources.file {
        info!("configuration file: {}", file.display());
    }
    if let Some(sandbox) = sandbox {
        sandbox.log();
    }
    let served = runtime.block_on(serve(config, sockets.passed, signals, banner));
    if let Some(export) = export {
        runtime.block_on(export.flush());
    }
    served
}

/// Writes the banner before the lines of the log that wait for it.
async fn serve(
    config: Config,
    passed: Vec<Passed>,
    signals: Signals,
    banner: Option<(Banner, HeldLines)>,
) -> Result<(), Failure> {
    // This must come before a credential provider runs its first program.
    let _reaper = Reaper::start();
    let app = App::start_on(config, passed).await?;
    if let Some((banner, held)) = banner {
        write_banner(&banner.text(&app));
        drop(held);
    } else if let Some(page) = app.inspector().filter(|page| page.has_key()) {
        // Not a line of the log: the key is a secret.
        note(&format!("inspector on {}", page.with_key()));
    }
    let notifier = systemd::Notifier::ready(app.credentials(), app.stopping());
    let (first, second) = signals.stops();
    app.run(first, second).await;
    notifier.stopping_sent().await;
    Ok(())
}
