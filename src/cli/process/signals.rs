//! The signals of the commands that run until a signal stops them.
//!
//! SIGTERM, SIGINT and SIGQUIT stop the program, and so does SIGHUP when the terminal that it was
//! started in is closed. Any other SIGHUP, SIGUSR1 and SIGUSR2 are logged and ignored: their default
//! action would kill without a drain.

use std::io::{self, IsTerminal as _, stderr, stdin};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Receives the signals that arrive after its creation.
#[derive(Debug)]
pub(in crate::cli) struct Signals {
    stops: Stops,
    hang_up: Signal,
    user1: Signal,
    user2: Signal,
    /// Whether a SIGHUP may mean that the terminal was closed.
    has_terminal: bool,
}

#[derive(Debug)]
struct Stops {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

/// Time within which the terminal closes after SIGHUP, if it does: a shell with `huponexit` sends the
/// signal first.
const TERMINAL_CLOSE: Duration = Duration::from_secs(1);
/// Time between two checks of the terminal.
const TERMINAL_POLL: Duration = Duration::from_millis(50);

impl Signals {
    /// Replaces the default actions of the signals. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::cli) fn new() -> io::Result<Self> {
        // If the parent process ignores SIGHUP for this one, as nohup does, this one must outlive the
        // terminal.
        let has_terminal = (stdin().is_terminal() || stderr().is_terminal()) && !is_ignored(1);
        Ok(Self {
            stops: Stops {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
            },
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            has_terminal,
        })
    }

    /// Does the same before the runtime is built, without starting a thread. The runtime receives the
    /// signals that arrived before it started.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::cli) fn early() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        Self::new()
    }

    /// Resolves at the next signal that stops the program. Logs all signals.
    pub(in crate::cli) async fn next(&mut self) {
        loop {
            tokio::select! {
                name = self.stops.next() => return info!("received {name}: stopping"),
                _ = self.hang_up.recv() => match self.reason_to_stop().await {
                    Some(reason) => return info!("{reason}: stopping"),
                    None => warn!(
                        "ignored SIGHUP: the configuration is read only at start; restart \
                         countersign to apply changes"
                    ),
                },
                _ = self.user1.recv() => warn!("ignored SIGUSR1: it has no effect"),
                _ = self.user2.recv() => warn!("ignored SIGUSR2: it has no effect"),
            }
        }
    }

    /// Returns the reason to stop after a SIGHUP: the terminal is closed, or another signal arrives
    /// meanwhile. Returns `None` if the program continues.
    async fn reason_to_stop(&mut self) -> Option<String> {
        if !self.has_terminal {
            return None;
        }
        let closed = async {
            while stdin().is_terminal() || stderr().is_terminal() {
                tokio::time::sleep(TERMINAL_POLL).await;
            }
        };
        tokio::select! {
            () = closed => {
                // Both the shell and the kernel send SIGHUP when a terminal closes. The other one
                // must not count as the second signal.
                self.has_terminal = false;
                Some("the terminal was closed".to_owned())
            }
            name = self.stops.next() => Some(format!("received {name}")),
            () = tokio::time::sleep(TERMINAL_CLOSE) => None,
        }
    }
}

impl Stops {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Whether the parent process ignores a signal for this one. Always false outside Linux.
fn is_ignored(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}
