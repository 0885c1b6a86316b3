//! Reads files that determine whom to trust, and detects their changes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::platform::{self, Access, Fingerprint};

/// A value from files, which is loaded again when one of them has changed.
#[derive(Debug)]
pub struct Reloaded<T> {
    paths: Vec<PathBuf>,
    state: Mutex<LoadedValue<T>>,
}

#[derive(Debug)]
struct LoadedValue<T> {
    value: T,
    checked: Instant,
    /// The fingerprints of the files when the value was loaded; `None` for a file without metadata,
    /// such as one that does not exist.
    fingerprints: Vec<Option<Fingerprint>>,
}

/// When to load a changed file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// After its next change.
    Done,
    /// At the next check, because it could not be read, for example because too many files are open. A file
    /// that does not exist is loaded again after its next change.
    Retry,
}

/// The minimum interval between two checks for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The requirements for a file, besides those of [`read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bits of the mode that must not be set.
    pub forbidden: u32,
    /// The maximum size in bytes.
    pub limit: u64,
}

/// Why a file must not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error("other users may read or write it (mode {0:03o})")]
    Mode(u32),
    #[error(
        "it belongs to the user {found}, but must belong to root or to the user {ours}, who runs countersign"
    )]
    Owner { found: u32, ours: u32 },
}

// === impl Reloaded ===

impl<T> Reloaded<T> {
    /// Loads the value for the first time.
    ///
    /// # Errors
    /// The error of `load`.
    pub fn load<E>(paths: Vec<PathBuf>, load: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        // Taken before the files are read, so that the next check detects a change in between.
        let fingerprints = fingerprints(&paths);
        let state = LoadedValue {
            value: load()?,
            checked: Instant::now(),
            fingerprints,
        };
        Ok(Self {
            paths,
            state: Mutex::new(state),
        })
    }

    /// Returns a value that does not depend on files.
    pub fn fixed(value: T) -> Self {
        Self {
            paths: Vec::new(),
            state: Mutex::new(LoadedValue {
                value,
                checked: Instant::now(),
                fingerprints: Vec::new(),
            }),
        }
    }

    /// Calls `read` with the value. If a file has changed, calls `reload` first. Files are checked at
    /// most once per second.
    pub fn with<R>(&self, reload: impl FnOnce(&mut T) -> Reload, read: impl FnOnce(&T) -> R) -> R {
        let mut state = self.state.lock();
        if state.checked.elapsed() >= CHECK_INTERVAL {
            state.checked = Instant::now();
            let found = fingerprints(&self.paths);
            if found != state.fingerprints {
                state.fingerprints = found;
                if reload(&mut state.value) == Reload::Retry {
                    state.fingerprints.fill(None);
                }
            }
        }
        read(&state.value)
    }

    /// Makes the next read check the files.
    #[cfg(test)]
    pub fn expire(&self) {
        let long_ago = Instant::now().checked_sub(CHECK_INTERVAL);
        self.state.lock().checked = long_ago.unwrap();
    }
}

fn fingerprints(paths: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    let found = paths.iter().map(|path| fs::metadata(path).ok());
    found
        .map(|found| found.as_ref().map(Fingerprint::of))
        .collect()
}

/// Reads a regular file that belongs to the user of the process or to root. On Windows, only its access
/// control list decides who else may read or write it.
///
/// The file is opened once, and checked and read through that descriptor, so that it cannot be replaced
/// in between. Symbolic links are followed, because Kubernetes mounts secrets as links; the checks apply
/// to the file that they lead to. Opening a FIFO or a device does not block.
///
/// # Errors
/// When the file cannot be read, or does not meet these requirements and `rules`.
pub fn read(path: &Path, rules: Rules) -> Result<Vec<u8>, FileError> {
    read_open(&platform::open(path)?, rules)
}

/// Reads an open file, with the checks of [`read`].
///
/// # Errors
/// When the file cannot be read, or does not meet the requirements.
pub fn read_open(file: &File, rules: Rules) -> Result<Vec<u8>, FileError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    if let Some(Access { owner, ours, mode }) = platform::access(&metadata) {
        if owner != ours && owner != 0 {
            let found = owner;
            return Err(FileError::Owner { found, ours });
        }
        if mode & rules.forbidden != 0 {
            return Err(FileError::Mode(mode));
        }
    }
    // The size is checked after reading, because the file may grow in the meantime.
    let mut bytes = Vec::new();
    file.take(rules.limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > rules.limit {
        return Err(FileError::TooLong(rules.limit));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
