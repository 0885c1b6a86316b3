//! Token files, which may change at run time.
//!
//! A file contains one token per line, so that the old and the new token are both valid during a
//! rotation. Empty lines and lines that begin with `#` are ignored. Only digests are kept in memory,
//! and they are compared in constant time.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tracing::{info, warn};

use crate::telemetry::error_chain;
use crate::trusted_file::{self, FileError, Reload, Reloaded, Rules};

/// The tokens of a file, which is read again when it has changed.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    digests: Reloaded<Vec<Digest>>,
}

/// The SHA-256 hash of a token.
type Digest = [u8; 32];

/// Why a token file cannot be used. The message never quotes its contents.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] FileError),
    #[error("{0} is accessible to other users (mode {1:03o}). Run: chmod 600 {0}")]
    Mode(PathBuf, u32),
    #[error("{0} contains no token. To create one, run: openssl rand -hex 32")]
    Empty(PathBuf),
    #[error(
        "line {line} of {path} is not a valid token: a token consists of at least {MIN_LENGTH} letters, digits, `-`, `.`, `_` and `~`. To create one, run: openssl rand -hex 32"
    )]
    Malformed { path: PathBuf, line: usize },
    #[error("{0} contains more than {MAX_TOKENS} tokens")]
    TooMany(PathBuf),
}

const MIN_LENGTH: usize = 32;
pub(super) const MAX_TOKENS: usize = 8;
/// The group may read the file, because Kubernetes gives processes that are not root access to secrets
/// in this way.
const RULES: Rules = Rules {
    forbidden: 0o037,
    limit: 64 * 1024,
};

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn load(path: PathBuf) -> Result<Self, TokenError> {
        let digests = Reloaded::load(vec![path.clone()], || read(&path))?;
        Ok(Self { path, digests })
    }

    /// Returns whether the file contains the token with this digest. Takes the same time for every
    /// digest.
    pub(super) fn contains(&self, expected: &Digest) -> bool {
        let contains = |digests: &Vec<Digest>| {
            let none = Choice::from(0);
            let digests = digests.iter();
            digests.fold(none, |found, digest| found | digest.ct_eq(expected))
        };
        let found = self.digests.with(|digests| self.reload(digests), contains);
        found.into()
    }

    /// Checks the file at the next use.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        self.digests.expire();
    }

    /// Reads a changed file. A file that cannot be used contains no valid tokens.
    fn reload(&self, digests: &mut Vec<Digest>) -> Reload {
        match read(&self.path) {
            Ok(found) => {
                *digests = found;
                info!(path = %self.path.display(), "token file reloaded");
                Reload::Done
            }
            Err(error) => {
                digests.clear();
                warn!("{}: its tokens are no longer valid", error_chain(&error));
                if matches!(error, TokenError::Read(..)) {
                    Reload::Retry
                } else {
                    Reload::Done
                }
            }
        }
    }
}

/// Returns the digest of a token.
pub(super) fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

fn read(path: &Path) -> Result<Vec<Digest>, TokenError> {
    let unreadable = |error| TokenError::Read(path.to_owned(), error);
    let bytes = trusted_file::read(path, RULES).map_err(|error| match error {
        FileError::Mode(mode) => TokenError::Mode(path.to_owned(), mode),
        FileError::Io(_)
        | FileError::NotRegular
        | FileError::TooLong(_)
        | FileError::Owner { .. } => unreadable(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        // Do not quote the contents.
        unreadable(io::Error::other("it is not valid UTF-8").into())
    })?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut digests = Vec::new();
    for (at, line) in lines {
        if !is_token(line) {
            return Err(TokenError::Malformed {
                path: path.to_owned(),
                line: at + 1,
            });
        }
        digests.push(digest(line));
    }
    match digests.len() {
        0 => Err(TokenError::Empty(path.to_owned())),
        1..=MAX_TOKENS => Ok(digests),
        _ => Err(TokenError::TooMany(path.to_owned())),
    }
}

/// Returns whether `text` consists of characters that are valid in a header and in the name of a
/// subprotocol.
fn is_token(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.len() >= MIN_LENGTH && text.bytes().all(is_plain)
}
