//! Reads files that decide whom to trust, and detects their changes.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

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

/// What a file must be before what it holds is used.
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
