//! Windows: files have access control lists instead of modes, which a file inherits from its directory.
//! Those of a user's profile allow only the user, the system and administrators.

mod directory;
mod shell;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitStatus;

use super::Access;

pub(crate) use directory::{Directory, is_link};
pub(crate) use shell::Shell;

/// Metadata that differs when the content of a file has changed, or when another file has replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    created: u64,
    written: u64,
    length: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of a file with this metadata.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            created: metadata.creation_time(),
            written: metadata.last_write_time(),
            length: metadata.len(),
        }
    }
}

/// Opens a file to read it.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Creates a file with the access control list of its directory.
///
/// # Errors
/// When the file exists or cannot be created.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Returns who may access a file; `None` where no mode shows it.
pub(crate) fn access(_: &Metadata) -> Option<Access> {
    None
}

/// Returns how many files can be open: the system does not limit their number.
///
/// # Errors
/// None. Other systems may refuse to raise their limit.
#[expect(clippy::unnecessary_wraps, reason = "other systems have a limit")]
pub(crate) fn allow_open_files(_: u64) -> Result<u64, (u64, io::Error)> {
    Ok(u64::MAX)
}

/// Returns the limit of open files; `None` where there is none.
pub(crate) fn open_file_limit() -> Option<u64> {
    None
}

/// Returns the working set of the process in bytes; `None` where it cannot be determined.
pub(crate) fn resident_memory() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64)
}

/// Returns the signal that terminated a process: there are none.
pub(crate) fn termination_signal(_: ExitStatus) -> Option<i32> {
    None
}

/// Sets the permission bits of a file, where it has them.
#[cfg(test)]
pub(crate) fn set_mode(_: &Path, _: u32) {}
