//! Unix: modes and owners of files, process groups, and limits of open files.

mod directory;
mod shell;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Access;

pub(crate) use directory::{Directory, is_link};
pub(crate) use shell::Shell;

/// Metadata that differs when the content or mode of a file has changed, or when another file has
/// replaced it, as in a secret that Kubernetes mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Device and inode.
    file: (u64, u64),
    /// The time of the last change (`ctime`), in seconds and nanoseconds.
    changed: (i64, i64),
    length: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of a file with this metadata.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
        }
    }
}

/// Opens a file to read it. Does not wait for the writer of a FIFO, or for a device.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Creates a file that only its owner can read.
///
/// # Errors
/// When the file exists or cannot be created.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Returns who may access a file; `None` where no mode shows it.
#[expect(
    clippy::unnecessary_wraps,
    reason = "files have no mode on other systems"
)]
pub(crate) fn access(metadata: &Metadata) -> Option<Access> {
    Some(Access {
        owner: metadata.uid(),
        ours: rustix::process::geteuid().as_raw(),
        mode: metadata.mode() & 0o777,
    })
}

/// Raises the limit of open files to `needed` if it is lower. Returns the limit.
///
/// # Errors
/// The limit, which is lower, and why it was not raised.
pub(crate) fn allow_open_files(needed: u64) -> Result<u64, (u64, io::Error)> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let files = current.unwrap_or(u64::MAX);
    if files >= needed {
        return Ok(files);
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let limit = Rlimit {
        current: Some(raised),
        maximum,
    };
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => Ok(raised),
        Err(error) => Err((files, error.into())),
    }
}

/// Returns the limit of open files; `None` where there is none.
pub(crate) fn open_file_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Returns the resident memory of the process in bytes; `None` where it cannot be determined.
#[cfg(target_os = "linux")]
pub(crate) fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_memory() -> Option<u64> {
    None
}

/// Returns the signal that terminated a process.
pub(crate) fn termination_signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Sets the permission bits of a file, where it has them.
#[cfg(test)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
