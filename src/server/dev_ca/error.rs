//! Errors of the local certificate authority.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use time::Date;

use crate::trusted_file::FileError;

/// Why the local CA cannot issue a certificate.
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
    #[error("another process has locked {0:?} for {1:?}")]
    Locked(PathBuf, Duration),
    #[error("the certificate cannot be created: {0}")]
    Create(#[from] rcgen::Error),
}

/// Why an existing authority is replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("one of its files is missing")]
    Incomplete,
    #[error("{0:?} cannot be trusted: {1}")]
    File(PathBuf, FileError),
    #[error(
        "the name constraints, path length or usages of its certificate are not those that \
         countersign sets"
    )]
    Foreign,
    #[error("its key cannot be parsed")]
    Key,
    #[error("its certificate is valid for longer than countersign allows")]
    ValidTooLong,
    #[error("its certificate cannot be parsed")]
    Certificate,
    #[error("its certificate is valid only from {0}; the clock may have been wrong")]
    NotYetValid(Date),
    #[error("its certificate expires on {0}")]
    Expires(Date),
    #[error("clients would reject the certificates that it issues: {0}")]
    Rejected(#[source] rustls::Error),
    #[error("it cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
}
