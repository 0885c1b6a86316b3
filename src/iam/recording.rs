//! The file of recorded operations. It is read at startup, and written soon after a new operation and at
//! shutdown.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::recorder::RecordedRoute;
use super::{ApiResource, RecordedOperations, Recorder};
use crate::platform::create_private;
use crate::telemetry::tasks::{Task, caught_blocking, supervised};

/// The recorded operations of all routes.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    /// The entries in the file for routes that do not exist, or have another target. They are kept.
    others: Vec<RecordingEntry>,
    routes: Vec<Arc<RecordedRoute>>,
    changed: Arc<Notify>,
}

/// The operations that one route sent to one API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingEntry {
    pub route: String,
    #[serde(flatten)]
    pub api: ApiResource,
    #[serde(rename = "asked")]
    pub operations: RecordedOperations,
}

/// Why a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the recording {path:?} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path:?} is not a recording of countersign: {reason}. Move the file, or choose another path"
    )]
    Parse {
        path: PathBuf,
        // Not its source: the message contains it.
        reason: serde_json::Error,
    },
    #[error("the recording {path:?} cannot be written")]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingFile {
    version: u32,
    routes: Vec<RecordingEntry>,
}

const VERSION: u32 = 1;
/// The delay before writing, so that new operations in quick succession are written together.
const WRITE_DELAY: Duration = Duration::from_millis(250);

/// The delay before a failed write is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Reads a recording.
///
/// # Errors
/// When the file cannot be read, or is not a recording of this version.
pub fn read(path: &Path) -> Result<Vec<RecordingEntry>, RecordError> {
    let text = fs::read(path).map_err(|source| RecordError::Read {
        path: path.to_owned(),
        source,
    })?;
    let failed = |reason| RecordError::Parse {
        path: path.to_owned(),
        reason,
    };
    let file: RecordingFile = serde_json::from_slice(&text).map_err(failed)?;
    if file.version != VERSION {
        let message = format!("its version is {}, not {VERSION}", file.version);
        return Err(failed(serde::de::Error::custom(message)));
    }
    Ok(file.routes)
}

impl Recording {
    /// Opens or creates the recording at `path`, and writes it once to check that it can be written.
    ///
    /// # Errors
    /// When the file is not a recording, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let others = match read(path) {
            Ok(entries) => entries,
            Err(RecordError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let recording = Self {
            path: path.to_owned(),
            others,
            routes: Vec::new(),
            changed: Arc::default(),
        };
        recording.write()?;
        Ok(recording)
    }

    /// Returns the recorder of a route.
    pub fn recorder(&mut self, name: &str, api: ApiResource) -> Recorder {
        let known = self
            .others
            .iter()
            .position(|entry| entry.route == name && entry.api == api);
        let known = known.map(|at| self.others.remove(at).operations);
        let changed = Arc::clone(&self.changed);
        let route = Arc::new(RecordedRoute::new(
            name,
            api,
            known.unwrap_or_default(),
            changed,
        ));
        self.routes.push(Arc::clone(&route));
        Recorder::new(route)
    }

    /// Writes new operations until `stop` is cancelled, and then once more.
    pub async fn keep(self, stop: CancellationToken) {
        let recording = Arc::new(self);
        supervised(Task::Recorder, || recording.watch(&stop)).await;
        recording.store(false).await;
    }

    /// Writes new operations until `stop` is cancelled. A write that fails is tried again.
    async fn watch(self: &Arc<Self>, stop: &CancellationToken) {
        let mut is_stored = true;
        loop {
            let due = async {
                if is_stored {
                    self.changed.notified().await;
                    tokio::time::sleep(WRITE_DELAY).await;
                } else {
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            };
            if stop.run_until_cancelled(due).await.is_none() {
                return;
            }
            is_stored = Arc::clone(self).store(!is_stored).await;
        }
    }

    /// Returns whether the file was written. Only the first of several failures is a warning.
    async fn store(self: Arc<Self>, has_failed: bool) -> bool {
        let store = move || match self.write() {
            Ok(()) => {
                debug!("recording written");
                true
            }
            Err(error) => {
                let error = crate::telemetry::error_chain(&error);
                if has_failed {
                    debug!("{error}");
                } else {
                    warn!("{error}");
                }
                false
            }
        };
        let stored = tokio::task::spawn_blocking(|| caught_blocking(Task::Recorder, store));
        match stored.await {
            Ok(Ok(is_stored)) => is_stored,
            Ok(Err(_)) | Err(_) => {
                warn!("the recording could not be written");
                false
            }
        }
    }

    /// Replaces the file atomically.
    fn write(&self) -> Result<(), RecordError> {
        let of_routes = self.routes.iter().map(|route| RecordingEntry {
            route: route.name.clone(),
            api: route.api.clone(),
            operations: route.operations(),
        });
        let mut routes: Vec<RecordingEntry> =
            self.others.iter().cloned().chain(of_routes).collect();
        routes.retain(|entry| !entry.operations.is_empty());
        routes.sort_by(|one, other| one.route.cmp(&other.route));
        let file = RecordingFile {
            version: VERSION,
            routes,
        };
        let written = serde_json::to_vec_pretty(&file)
            .map_err(io::Error::from)
            .and_then(|json| replace(&self.path, &json));
        written.map_err(|source| RecordError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// Replaces a file atomically. Only the owner can read it, because paths and fields reveal what a
/// program does.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let replaced = create(&new, content).and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        // On a full disk, it would occupy the rest of the space.
        let _ = fs::remove_file(&new);
    }
    replaced
}

fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(content)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::platform::access;

    fn api(host: &str) -> ApiResource {
        ApiResource {
            host: host.to_owned(),
            ..ApiResource::appsync(Some("us-east-1"))
        }
    }

    #[tokio::test]
    async fn existing_recording_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("record.json");
        for (field, host) in [("rooms", "a"), ("room", "a"), ("other", "b")] {
            let mut recording = Recording::open(&file).unwrap();
            let recorder = recording.recorder("graphql", api(host));
            let body = format!(r#"{{"query":"{{ {field} }}"}}"#);
            recorder.operation(body.as_bytes());
            let stop = CancellationToken::new();
            stop.cancel();
            recording.keep(stop).await;
        }
        let entries = read(&file).unwrap();
        let found: Vec<(&str, Vec<String>)> = entries
            .iter()
            .map(|entry| {
                let operations = entry.operations.entries();
                (
                    entry.api.host.as_str(),
                    operations.into_iter().map(|(_, name)| name).collect(),
                )
            })
            .collect();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            found,
            [("a", owned(&["room", "rooms"])), ("b", owned(&["other"]))]
        );
        #[cfg(unix)]
        assert_eq!(access(&fs::metadata(&file).unwrap()).unwrap().mode, 0o600);
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            1,
            "a temporary file remains"
        );
    }

    #[test]
    fn other_files_are_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("record.json");
        for text in [
            "",
            "{}",
            "[]",
            r#"{"version":2,"routes":[]}"#,
            r#"{"version":1,"routes":[],"x":1}"#,
        ] {
            fs::write(&file, text).unwrap();
            let error = Recording::open(&file).unwrap_err();
            assert!(
                matches!(error, RecordError::Parse { .. }),
                "{text}: {error}"
            );
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let nowhere = directory.path().join("nowhere/record.json");
        let error = Recording::open(&nowhere).unwrap_err();
        assert!(matches!(error, RecordError::Write { .. }), "{error}");
    }
}
