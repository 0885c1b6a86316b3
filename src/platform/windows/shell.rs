//! A command that `cmd` runs.

use std::ffi::OsString;
use std::io;
use std::process::{self, ExitStatus, Stdio};

use tokio::process::{Child, ChildStdout, Command};

/// A command that runs, with the processes that it starts. All are killed when this is dropped before the
/// command has exited.
pub(crate) struct Shell(Child);

impl Shell {
    /// Starts a command without the variables `without`. Its standard output is a pipe, and its input and
    /// errors are empty.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        command: &str,
        without: impl Iterator<Item = OsString>,
    ) -> io::Result<Self> {
        let mut shell = Command::new("cmd.exe");
        shell
            // /S removes the outer quotation marks, and keeps the others as they are.
            .args(["/D", "/S", "/C"])
            .raw_arg(format!("\"{command}\""))
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for name in without {
            shell.env_remove(name);
        }
        Ok(Self(shell.spawn()?))
    }

    /// Takes the standard output.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Waits until the command exits.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The ID is `None` when the command has exited. `cmd` alone would be killed by `kill_on_drop`, and not
        // what it runs.
        if let Some(id) = self.0.id() {
            let _ = process::Command::new("taskkill.exe")
                .args(["/F", "/T", "/PID", &id.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
