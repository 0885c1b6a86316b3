//! Locates and reads the profile files (AWS SDKs guide, "Location of the shared config and
//! credentials files").

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::CredentialsError;
use crate::home;

/// The location of one of the two profile files.
#[derive(Debug)]
pub(super) struct FileLocation {
    variable: &'static str,
    default: &'static str,
}

/// The contents of a profile file.
#[derive(Debug)]
pub(super) struct ProfileFile {
    path: PathBuf,
    variable: &'static str,
    pub(super) text: String,
}

pub(super) const CONFIG: FileLocation = FileLocation {
    variable: "AWS_CONFIG_FILE",
    default: ".aws/config",
};
pub(super) const CREDENTIALS: FileLocation = FileLocation {
    variable: "AWS_SHARED_CREDENTIALS_FILE",
    default: ".aws/credentials",
};

// === impl FileLocation ===

impl FileLocation {
    /// Returns the path, and whether it comes from the variable; `None` if neither the variable nor a home
    /// directory is set.
    pub(super) fn path(&self) -> Option<(PathBuf, bool)> {
        match variable(self.variable) {
            Some(path) => Some((home::expand(PathBuf::from(path)), true)),
            None => home::home().map(|home| (home.join(self.default), false)),
        }
    }
}

/// Reads a profile file. Returns an empty file if none exists at the default path, or if the variable is
/// empty or `/dev/null`.
///
/// # Errors
/// When the file exists, or the variable names it, and it cannot be read.
pub(super) fn read(location: &FileLocation) -> Result<ProfileFile, CredentialsError> {
    let (path, is_set) = location.path().unwrap_or_default();
    let mut file = ProfileFile {
        path,
        variable: location.variable,
        text: String::new(),
    };
    if file.path.as_os_str().is_empty() || file.path == Path::new("/dev/null") {
        return Ok(file);
    }
    let bytes = match contents(&file.path) {
        Ok(bytes) => bytes,
        Err(error) if !is_set && is_absent(&file.path, &error) => return Ok(file),
        Err(error) => return Err(file.error(&error.to_string())),
    };
    match String::from_utf8(bytes) {
        Ok(text) => file.text = text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            return Err(file.error(&format!("byte {at} is not UTF-8")));
        }
    }
    Ok(file)
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a named pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    fs::read(path)
}

/// Returns whether the file does not exist. A file in a directory that cannot be read counts as absent,
/// because the home directory is then another user's.
fn is_absent(path: &Path, error: &io::Error) -> bool {
    let is_missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    let is_inaccessible = || {
        path.parent()
            .is_none_or(|parent| fs::metadata(parent).is_err())
    };
    is_missing || (error.kind() == ErrorKind::PermissionDenied && is_inaccessible())
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables belong to the AWS SDK, which reads them itself"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

// === impl ProfileFile ===

impl ProfileFile {
    pub(super) fn quoted_path(&self) -> String {
        format!("{:?}", self.path)
    }

    pub(super) fn error(&self, flaw: &str) -> CredentialsError {
        CredentialsError {
            tried: format!(
                "the profile file {} cannot be used: {flaw}",
                self.quoted_path()
            ),
            remedy: format!("Correct it, or choose another with {}.", self.variable),
        }
    }
}
