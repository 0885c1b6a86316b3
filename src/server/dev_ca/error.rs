//! Errors of the local certificate authority.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use time::Date;

use crate::trusted_file::FileError;

/// Why the local CA could not issue a certificate.
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    #[error("{path:?} cannot be {step}: {source}")]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{0:?} is a symbolic link, not a directory: remove it, or set XDG_STATE_HOME")]
    Link(PathBuf),
    #[error(
        "{path:?} belongs to the user {found}, and must belong to the user {ours} who runs \
         countersign: set XDG_STATE_HOME to a directory of that user"
    )]
    Owner {
        path: PathBuf,
        found: u32,
        ours: u32,
    },
    #[error("another process has held {0:?} for {1:?}")]
    Held(PathBuf, Duration),
    #[error("the certificate could not be created: {0}")]
    Make(#[from] rcgen::Error),
}

/// Why a kept authority is replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("one of its files is missing")]
    Incomplete,
    #[error("{0:?} cannot be trusted: {1}")]
    File(PathBuf, FileError),
    #[error(
        "its certificate has other name constraints, another path length or other usages than \
         countersign gives"
    )]
    Foreign,
    #[error("its key is unreadable")]
    Key,
    #[error("its certificate lasts longer than countersign allows")]
    Lasting,
    #[error("its certificate is unreadable")]
    Certificate,
    #[error("its certificate is valid only from {0}; the clock may have been wrong")]
    NotYetValid(Date),
    #[error("it ends on {0}")]
    Ends(Date),
    #[error("certificates that it signs are rejected: {0}")]
    Refused(#[source] rustls::Error),
    #[error("it cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
}
