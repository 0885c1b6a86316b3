//! What tells that a file has changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// Changes when a file's content or mode does, and when another takes its place, as Kubernetes has
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    /// Seconds and nanoseconds of its last change.
    changed: (i64, i64),
    length: u64,
}

impl Stamp {
    pub fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            changed: (found.ctime(), found.ctime_nsec()),
            length: found.len(),
        }
    }
}
