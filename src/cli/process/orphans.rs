//! Reaps orphans if they become children of this process, which is so for PID 1 of a container and
//! for a child subreaper. A child of a `credential_process` that outlives its parent is such an orphan.
//!
//! The system does not distinguish an orphan from a child that this process started, whose exit status
//! belongs to the code that waits for it. But that code reaps a child as soon as it ends, so a process
//! that stays a zombie is an orphan.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::telemetry::tasks::{Task, supervised};

/// Reaps orphans until it is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Reaper {
    _task: JoinSet<()>,
}

/// Time between two scans for zombies. During this time the runtime reaps its own children.
const PAUSE: Duration = Duration::from_secs(1);
/// A zombie that is found in this many scans is an orphan. Even if the process was stopped during the
/// first pause, the runtime has run for the whole of the second, which begins after a scan.
const SCANS: u32 = 3;

impl Reaper {
    /// Starts to reap, if orphans become children of this process. Must be called within a runtime.
    pub(in crate::cli) fn start() -> Self {
        let mut task = JoinSet::new();
        if adopts() {
            task.spawn(supervised(Task::Orphans, reap));
        }
        Self { _task: task }
    }
}

/// Whether the system makes this process the parent of orphans.
fn adopts() -> bool {
    #[cfg(target_os = "linux")]
    let is_subreaper = matches!(rustix::process::child_subreaper(), Ok(Some(_)));
    #[cfg(not(target_os = "linux"))]
    let is_subreaper = false;
    is_subreaper || getpid().is_init()
}

async fn reap() {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            return warn!(
                exception.message = error.to_string(),
                "orphans cannot be reaped"
            );
        }
    };
    // The first scan also finds the processes that ended before.
    let mut scans: HashMap<Pid, u32> = HashMap::new();
    loop {
        let found = zombies();
        scans.retain(|pid, _| found.contains(pid));
        for pid in found {
            let count = scans.entry(pid).or_default();
            *count += 1;
            if *count >= SCANS {
                let exited = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                match waitid(WaitId::Pid(pid), exited) {
                    Ok(_) => debug!(pid = pid.as_raw_nonzero(), "orphan reaped"),
                    Err(error) => debug!(exception.message = %error, "orphan not reaped"),
                }
                scans.remove(&pid);
            }
        }
        if scans.is_empty() {
            ended.recv().await;
        } else {
            sleep(PAUSE).await;
        }
    }
}

/// Returns the children of this process that have ended and have not been reaped.
fn zombies() -> Vec<Pid> {
    // Reading /proc may take long, and is not needed if no child has ended.
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, peek), Ok(Some(_))) {
        return Vec::new();
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = getpid();
    let zombies = processes.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let pid = Pid::from_raw(name.to_str()?.parse().ok()?)?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        is_zombie_of(&stat, own).then_some(pid)
    });
    zombies.collect()
}

/// Parses `/proc/PID/stat`: `7 (name) Z 1 …`. The name is chosen by the process and may contain any
/// character.
fn is_zombie_of(stat: &str, parent: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = rest.split_ascii_whitespace();
    let (state, of) = (fields.next(), fields.next());
    state == Some("Z") && of.and_then(|of| of.parse().ok()) == Some(parent.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_are_found_by_state_and_parent_whatever_their_name() {
        let parent = Pid::from_raw(12).unwrap();
        for (stat, expected) in [
            ("7 (sh) Z 12 7 7 0 -1", true),
            ("7 (a) S 12 (b) Z 12 7", true),
            ("7 (a) Z 12) S 12 7", false),
            ("7 (sh) S 12 7", false),
            ("7 (sh) Z 1 7", false),
            ("7 (sh) Z 122 7", false),
            ("7 (sh)", false),
            ("7 sh Z 12", false),
            ("", false),
        ] {
            assert_eq!(is_zombie_of(stat, parent), expected, "{stat}");
        }
    }
}
