//! What systemd and its kin pass to us, and what they are told: sockets
//! (sd_listen_fds(3)), readiness (sd_notify(3)) and the watchdog (sd_watchdog_enabled(3)).
//!
//! Without its variables in the environment, nothing of this does anything.

use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::{Passed, PassedError};
use crate::config::Flag;
use crate::telemetry::tasks::{Task, caught, supervised};

/// A socket that was passed, and that we cannot use.
#[derive(Debug, thiserror::Error)]
#[error("socket {number} of those passed by LISTEN_FDS cannot be listened on")]
pub(super) struct SocketError {
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

/// What was passed, and what that means for the configuration.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) passed: Vec<Passed>,
    /// They replace what is configured, and are judged like it.
    pub(super) flags: Vec<Flag>,
}

/// Takes the sockets, and LISTEN_FDS and LISTEN_PID out of the environment, so that no child process
/// takes them, too. Only while there is no other thread.
///
/// # Errors
/// When one of them is of no use.
pub(super) fn sockets() -> Result<Sockets, SocketError> {
    let names = names();
    let mut fds = ListenFd::from_env();
    let mut passed = Vec::new();
    let (mut listen, mut admin) = (Vec::new(), Vec::new());
    for number in 0..fds.len() {
        let taken = take(&mut fds, number).map_err(|source| SocketError { number, source })?;
        let Some(socket) = taken else {
            continue;
        };
        let place = socket.place().to_string();
        match names.get(number).map(String::as_str) {
            Some("admin") => admin.push(place),
            Some(_) | None => listen.push(place),
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

/// `FileDescriptorName=` of each socket.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn names() -> Vec<String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    names.split(':').map(str::to_owned).collect()
}

impl Sockets {
    /// Whether `listen` of the configuration says nothing.
    pub(super) fn replace_listen(&self) -> bool {
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

/// What is told in the background.
#[derive(Debug)]
pub(super) struct Telling {
    /// Until this is dropped.
    _alive: JoinSet<()>,
    end: JoinSet<()>,
}

impl Telling {
    /// Tells that all listeners are bound; then that there are `credentials`, that we are alive, and
    /// that we are `stopping`.
    pub(super) fn ready(
        credentials: impl Future<Output = ()> + Send + 'static,
        stopping: CancellationToken,
    ) -> Self {
        let waits = NotifyState::Status("listening; there are no AWS credentials yet");
        tell(&[NotifyState::Ready, waits]);
        let (mut alive, mut end) = (JoinSet::new(), JoinSet::new());
        let told = stopping.clone();
        let telling = caught(Task::Systemd, async move {
            if told.run_until_cancelled(credentials).await.is_some() {
                tell(&[NotifyState::Status("listening, with AWS credentials")]);
            }
        });
        alive.spawn(async { telling.await.unwrap_or_default() });
        if let Some(limit) = sd_notify::watchdog_enabled() {
            alive.spawn(supervised(Task::Systemd, move || watch(limit / 2)));
        }
        let telling = caught(Task::Systemd, async move {
            stopping.cancelled().await;
            tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        });
        end.spawn(async { telling.await.unwrap_or_default() });
        Self { _alive: alive, end }
    }

    /// Resolves when the end has been told, too.
    pub(super) async fn end(mut self) {
        self.end.join_next().await;
    }
}

/// On a thread of the runtime, so that its silence means that the runtime stands still.
async fn watch(period: Duration) {
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd could not be told (NOTIFY_SOCKET)");
    }
}
