//! Detects changes of the AWS profile files, of the tokens that `aws sso login` writes, and of web
//! identity tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::locations::{self, FileLocation};
use crate::home::home;

/// Watches the shared config and credentials files, the SSO tokens, and files that are added.
#[derive(Debug)]
pub(super) struct ProfileFileWatcher {
    paths: Vec<PathBuf>,
    sso_cache: Option<PathBuf>,
    seen: BTreeMap<PathBuf, (SystemTime, u64)>,
}

impl ProfileFileWatcher {
    pub(super) fn new() -> Self {
        let mut files = Self {
            paths: paths(),
            sso_cache: home().map(|home| home.join(".aws/sso/cache")),
            seen: BTreeMap::new(),
        };
        files.seen = files.fingerprints();
        files
    }

    /// Also watches this file from now on.
    pub(super) fn add(&mut self, path: PathBuf) {
        if self.paths.contains(&path) {
            return;
        }
        self.seen.extend(fingerprint(path.clone()));
        self.paths.push(path);
    }

    /// Waits until a file has changed, or until `until`. Files are checked every `interval`.
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
            let found = self.fingerprints();
            if found != self.seen {
                self.seen = found;
                return;
            }
        }
    }

    /// Returns the modification time and size of each file. The metadata of the directory is not enough,
    /// because `aws sso login` rewrites its token in place.
    fn fingerprints(&self) -> BTreeMap<PathBuf, (SystemTime, u64)> {
        let cache = self.sso_cache.iter().flat_map(std::fs::read_dir).flatten();
        let tokens = cache.flatten().map(|entry| entry.path());
        let paths = self.paths.iter().cloned();
        paths.chain(tokens).filter_map(fingerprint).collect()
    }
}

fn fingerprint(path: PathBuf) -> Option<(PathBuf, (SystemTime, u64))> {
    let metadata = std::fs::metadata(&path).ok()?;
    Some((path, (metadata.modified().ok()?, metadata.len())))
}

fn paths() -> Vec<PathBuf> {
    let locations = [&locations::CONFIG, &locations::CREDENTIALS];
    let paths = locations.into_iter().filter_map(FileLocation::path);
    paths.map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `aws sso login` overwrites the old token in place, which leaves the directory unchanged.
    #[tokio::test(start_paused = true)]
    async fn renewed_sso_login_is_detected() {
        let cache = tempfile::tempdir().unwrap();
        let token = cache.path().join("token.json");
        std::fs::write(&token, "old").unwrap();
        let mut files = ProfileFileWatcher {
            paths: Vec::new(),
            sso_cache: Some(cache.path().to_owned()),
            seen: BTreeMap::new(),
        };
        files.seen = files.fingerprints();
        let second = Duration::from_secs(1);
        let started = Instant::now();
        files
            .wait_for_change(second, Some(started + 5 * second))
            .await;
        assert_eq!(started.elapsed(), 5 * second);

        std::fs::write(&token, "renewed").unwrap();
        files.wait_for_change(second, None).await;
        assert_eq!(started.elapsed(), 6 * second);
    }
}
