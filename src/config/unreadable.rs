//! Explains why a file cannot be read.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// Returns why a file cannot be read, and what to do. The path is absolute, so that a relative one that
/// was meant for another working directory is recognized.
pub fn unreadable(path: &Path, error: &Error) -> String {
    let absolute = std::path::absolute(path);
    let path = absolute.as_deref().unwrap_or(path).display();
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        format!("{path} does not exist: correct the path")
    } else if kind == ErrorKind::IsADirectory {
        format!("{path} is a directory: name a file")
    } else if kind == ErrorKind::PermissionDenied {
        format!("{path} cannot be read (permission denied): change its owner or its mode")
    } else {
        format!("{path} cannot be read ({error}): name another file")
    }
}
