//! A command that `sh` runs in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{self, SignalKind, signal};

/// A command that runs, with the processes that it starts. All are killed when the command has exited, and
/// when this is dropped.
pub(crate) struct Shell {
    /// Fields are dropped in this order, so the group is killed before its leader is reaped.
    group: ProcessGroup,
    child: Child,
    leader: Pid,
    ended: unix::Signal,
}

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
        // Registered before the process can exit, so that its SIGCHLD is received.
        let ended = signal(SignalKind::child())?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for name in without {
            shell.env_remove(name);
        }
        let child = shell.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = id.and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("it has no process ID"))?;
        Ok(Self {
            group: ProcessGroup(Some(leader)),
            child,
            leader,
            ended,
        })
    }

    /// Takes the standard output.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the command exits. Children that it has left may keep the output open, so they are killed.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            // Do not reap the leader yet, so that its process ID still identifies the group.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if waitid(WaitId::Pid(self.leader), options)?.is_some() {
                self.group.kill();
                return self.child.wait().await;
            }
            self.ended.recv().await;
        }
    }
}

/// Kills a process group when it is dropped. It must be dropped before the leader is reaped, because the
/// leader's process ID may be reused afterwards.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // The group may already have ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
