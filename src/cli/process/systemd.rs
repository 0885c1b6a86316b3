//! The interface to systemd and compatible programs: passed sockets (sd_listen_fds(3)),
//! readiness (sd_notify(3)) and the watchdog (sd_watchdog_enabled(3)).
//!
//! Does nothing unless systemd has set its environment variables.

use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Flag;
use crate::server::{Passed, PassedError};
use crate::telemetry::tasks::{Task, caught, supervised};

/// Why a socket that was passed cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on socket {number} of those passed in LISTEN_FDS")]
pub(in crate::cli) struct SocketError {
    number: usize,
    source: SocketErrorKind,
}

#[derive(Debug, thiserror::Error)]
enum SocketErrorKind {
    #[error("it is neither a TCP nor a unix stream socket: {0}")]
    Kind(#[source] std::io::Error),
    #[error(transparent)]
    Passed(#[from] PassedError),
}

/// The sockets that were passed, and the settings that follow from them.
#[derive(Debug)]
pub(in crate::cli) struct Sockets {
    pub(in crate::cli) passed: Vec<Passed>,
    /// The addresses of the sockets, which replace the configured ones and are checked like them.
    pub(in crate::cli) flags: Vec<Flag>,
}

/// Takes the sockets, and removes LISTEN_FDS and LISTEN_PID from the environment, so that no child
/// process takes the sockets, too. Must be called while the process has one thread.
///
/// # Errors
/// When one of the sockets cannot be used.
pub(in crate::cli) fn sockets() -> Result<Sockets, SocketError> {
    let names = names();
    let mut fds = ListenFd::from_env();
    let mut passed = Vec::new();
    let (mut listen, mut admin) = (Vec::new(), Vec::new());
    for number in 0..fds.len() {
        let taken = take(&mut fds, number).map_err(|source| SocketError { number, source })?;
        let Some(socket) = taken else {
            continue;
        };
        let address = socket.address().to_string();
        match names.get(number).map(String::as_str) {
            Some("admin") => admin.push(address),
            Some(_) | None => listen.push(address),
        }
        passed.push(socket);
    }
    let flag = |key: &str, values: Vec<String>| Flag {
        key: key.to_owned(),
        name: "LISTEN_FDS",
        is_list: key == "listen",
        values,
    };
    let flags = [flag("listen", listen), flag("admin", admin)];
    let flags = flags.into_iter().filter(|flag| !flag.values.is_empty());
    Ok(Sockets {
        passed,
        flags: flags.collect(),
    })
}

/// Returns the `FileDescriptorName=` of each socket.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn names() -> Vec<String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    names.split(':').map(str::to_owned).collect()
}

impl Sockets {
    /// Returns whether the inherited sockets replace `listen`.
    pub(in crate::cli) fn replace_listen(&self) -> bool {
        self.flags.iter().any(|flag| flag.key == "listen")
    }
}

fn take(passed: &mut ListenFd, number: usize) -> Result<Option<Passed>, SocketErrorKind> {
    if let Ok(socket) = passed.take_tcp_listener(number) {
        return Ok(socket.map(Passed::tcp).transpose()?);
    }
    let socket = passed.take_unix_listener(number);
    let socket = socket.map_err(SocketErrorKind::Kind)?;
    Ok(socket.map(Passed::unix).transpose()?)
}

/// Notifies systemd in the background.
#[derive(Debug)]
pub(in crate::cli) struct Notifier {
    /// The task that notifies of credentials, and the watchdog. They end when this is dropped.
    _alive: JoinSet<()>,
    stopping: JoinSet<()>,
}

impl Notifier {
    /// Notifies systemd that all listeners are bound. Later notifies it that `credentials` has resolved,
    /// that the process is alive (the watchdog), and that `stopping` is cancelled.
    pub(in crate::cli) fn ready(
        credentials: impl Future<Output = ()> + Send + 'static,
        stopping: CancellationToken,
    ) -> Self {
        let waits = NotifyState::Status("listening; waiting for AWS credentials");
        notify(&[NotifyState::Ready, waits]);
        let (mut alive, mut stopped) = (JoinSet::new(), JoinSet::new());
        let stops = stopping.clone();
        let notification = caught(Task::Systemd, async move {
            if stops.run_until_cancelled(credentials).await.is_some() {
                notify(&[NotifyState::Status("listening, with AWS credentials")]);
            }
        });
        alive.spawn(async { notification.await.unwrap_or_default() });
        if let Some(limit) = sd_notify::watchdog_enabled() {
            alive.spawn(supervised(Task::Systemd, move || watch(limit / 2)));
        }
        let notification = caught(Task::Systemd, async move {
            stopping.cancelled().await;
            notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        });
        stopped.spawn(async { notification.await.unwrap_or_default() });
        Self {
            _alive: alive,
            stopping: stopped,
        }
    }

    /// Resolves when systemd has been notified that the process is stopping.
    pub(in crate::cli) async fn stopping_sent(mut self) {
        self.stopping.join_next().await;
    }
}

/// Runs on a thread of the runtime, so that missing notifications mean that the runtime hangs.
async fn watch(period: Duration) {
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(
            exception.message = error.to_string(),
            "systemd could not be notified (NOTIFY_SOCKET)"
        );
    }
}
