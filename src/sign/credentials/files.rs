//! Notices when the AWS profile files change.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

/// The shared config and credentials files, with the state they were last seen in.
#[derive(Debug)]
pub(super) struct ProfileFiles {
    paths: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
}

impl ProfileFiles {
    pub(super) fn new() -> Self {
        let mut files = Self {
            paths: paths(),
            seen: Vec::new(),
        };
        files.seen = files.look();
        files
    }

    /// Returns at `until`, or within `interval` of a change of one of the files.
    pub(super) async fn wait_for_change(&mut self, interval: Duration, until: Option<Instant>) {
        loop {
            tokio::select! {
                () = sleep(interval) => {}
                () = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                } => return,
            }
            let found = self.look();
            if found != self.seen {
                self.seen = found;
                return;
            }
        }
    }

    fn look(&self) -> Vec<Option<(SystemTime, u64)>> {
        let state = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.paths.iter().map(state).collect()
    }
}

/// Where the SDKs look ("Location of the shared config and credentials files").
#[expect(
    clippy::disallowed_methods,
    reason = "these variables belong to the AWS SDK, which reads them itself"
)]
fn paths() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    [
        ("AWS_CONFIG_FILE", ".aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ]
    .into_iter()
    .filter_map(|(variable, default)| match std::env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None => home.as_ref().map(|home| home.join(default)),
    })
    .collect()
}
