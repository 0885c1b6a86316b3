//! Reads files that decide whom to trust, and detects their changes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::OFlags;

/// Differs when a file's content or mode has changed, or when another file has replaced it, as
/// Kubernetes does with mounted secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    file: (u64, u64),
    /// Seconds and nanoseconds of its last change.
    changed: (i64, i64),
    length: u64,
}

impl Fingerprint {
    pub fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            changed: (found.ctime(), found.ctime_nsec()),
            length: found.len(),
        }
    }
}

/// A value from files, which is loaded again when one of them has changed.
#[derive(Debug)]
pub struct Reloaded<T> {
    paths: Vec<PathBuf>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    checked: Instant,
    /// The fingerprints of the files when the value was loaded; `None` for a file that could not be
    /// inspected.
    fingerprints: Vec<Option<Fingerprint>>,
}

/// Whether a changed file is loaded again only after its next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    Done,
    /// It could not be read, for example because too many files are open. It is loaded again at the
    /// next check, unless it does not exist.
    Retry,
}

/// How often files are checked at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The requirements for a file before its content is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bits of the mode that may not be set.
    pub forbidden: u32,
    /// Bytes that it may have.
    pub limit: u64,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    Irregular,
    #[error("it is longer than {0} bytes")]
    Long(u64),
    #[error("it may be read or written by others (mode {0:03o})")]
    Mode(u32),
    #[error(
        "it belongs to the user {found}, and must belong to the user {ours} who runs countersign, or to root"
    )]
    Owner { found: u32, ours: u32 },
}

impl<T> Reloaded<T> {
    /// Loads the value for the first time.
    ///
    /// # Errors
    /// Returns the errors of `load`.
    pub fn load<E>(paths: Vec<PathBuf>, load: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        // Before the files are read, so that a change meanwhile is noticed at the next check.
        let fingerprints = fingerprints(&paths);
        let state = State {
            value: load()?,
            checked: Instant::now(),
            fingerprints,
        };
        Ok(Self {
            paths,
            state: Mutex::new(state),
        })
    }

    /// Returns a value that depends on no file.
    pub fn fixed(value: T) -> Self {
        Self {
            paths: Vec::new(),
            state: Mutex::new(State {
                value,
                checked: Instant::now(),
                fingerprints: Vec::new(),
            }),
        }
    }

    /// Reads the value, after `reload` if a file has changed. Files are checked at most once a
    /// second.
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

    /// Checks the files at the next read.
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

/// Reads a file that must be a regular one of ours or of root's. It is opened once, and checked and
/// read by that descriptor, so that no other file can take its place in between. Links are
/// followed, because Kubernetes mounts secrets behind them; what they lead to is checked. A FIFO or
/// a device is never waited for.
///
/// # Errors
/// When it cannot be read, or breaks `rules`.
pub fn read(path: &Path, rules: Rules) -> Result<(Fingerprint, Vec<u8>), FileError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    read_open(&file, rules)
}

/// The same of a file that is open.
///
/// # Errors
/// When it cannot be read, or breaks `rules`.
pub fn read_open(file: &File, rules: Rules) -> Result<(Fingerprint, Vec<u8>), FileError> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(FileError::Irregular);
    }
    let ours = rustix::process::geteuid().as_raw();
    if found.uid() != ours && found.uid() != 0 {
        let found = found.uid();
        return Err(FileError::Owner { found, ours });
    }
    let mode = found.mode() & 0o777;
    if mode & rules.forbidden != 0 {
        return Err(FileError::Mode(mode));
    }
    // It may grow while it is read.
    let mut bytes = Vec::new();
    file.take(rules.limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > rules.limit {
        return Err(FileError::Long(rules.limit));
    }
    Ok((Fingerprint::of(&found), bytes))
}

#[cfg(test)]
mod tests;
