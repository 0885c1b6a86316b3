//! The console events of the commands that run until one of them stops them.
//!
//! Ctrl-C, Ctrl-Break, closing the console, logging off and shutting down stop the program. After the last
//! three, the system ends the process after some seconds, even if it is still draining.

use std::io;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};
use tracing::info;

/// Receives the events that arrive after its creation.
#[derive(Debug)]
pub(in crate::cli) struct Signals {
    interrupt: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    log_off: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Replaces the default actions of the events.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::cli) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            r#break: ctrl_break()?,
            close: ctrl_close()?,
            log_off: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Does the same before the runtime is built. Events need no runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::cli) fn early() -> io::Result<Self> {
        Self::new()
    }

    /// Resolves at the next event, which is logged.
    pub(in crate::cli) async fn next(&mut self) {
        let reason = tokio::select! {
            _ = self.interrupt.recv() => "received Ctrl-C",
            _ = self.r#break.recv() => "received Ctrl-Break",
            _ = self.close.recv() => "the console was closed",
            _ = self.log_off.recv() => "the user logs off",
            _ = self.shutdown.recv() => "the system shuts down",
        };
        info!("{reason}: stopping");
    }
}
