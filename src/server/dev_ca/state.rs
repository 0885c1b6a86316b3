//! The directory of the local authority, and its files.
//!
//! The directory is opened once and never through a symbolic link. Its files are opened through its
//! descriptor, so that no other directory can take its place in between.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{DevCaError, Unusable};
use crate::platform::{Directory, Purpose, access, is_link};
use crate::trusted_file::{FileError, Rules, read_open};

/// An open directory of our user, with mode 0700.
pub(super) struct StateDirectory {
    path: PathBuf,
    directory: Directory,
}

const LOCK_FILE: &str = "ca.lock";
/// How long to wait for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between two attempts to lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
/// The maximum size of a file in bytes. Every certificate and key of ours is smaller.
const MAX_SIZE: u64 = 64 * 1024;

impl StateDirectory {
    /// Opens the directory, which is created if it does not exist, and sets its mode.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, DevCaError> {
        Directory::create(path).map_err(failed("created", path))?;
        let state = Self::open(path)?;
        // The directory may have existed with another mode.
        let restricted = state.directory.restrict();
        restricted.map_err(failed("restricted to mode 0700", path))?;
        Ok(state)
    }

    /// Opens the directory, if it exists, and changes nothing.
    pub(super) fn open_existing(path: &Path) -> Result<Option<Self>, DevCaError> {
        match Self::open(path) {
            Ok(state) => Ok(Some(state)),
            Err(DevCaError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn open(path: &Path) -> Result<Self, DevCaError> {
        let directory = Directory::open(path).map_err(|error| {
            if is_link(&error) {
                DevCaError::Link(path.to_owned())
            } else {
                failed("opened", path)(error)
            }
        })?;
        let metadata = directory.metadata().map_err(failed("opened", path))?;
        if let Some(access) = access(&metadata).filter(|access| access.owner != access.ours) {
            return Err(DevCaError::Owner {
                path: path.to_owned(),
                found: access.owner,
                ours: access.ours,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            directory,
        })
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Locks the directory until the returned file is dropped.
    pub(super) async fn lock(&self) -> Result<File, DevCaError> {
        let path = self.path_of(LOCK_FILE);
        let file = self
            .directory
            .open_file(Path::new(LOCK_FILE), Purpose::Lock)
            .map_err(failed("opened", &path))?;
        let locked = tokio::time::timeout(LOCK_TIMEOUT, async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        });
        match locked.await {
            Ok(Ok(())) => Ok(file),
            Ok(Err(error)) => Err(failed("locked", &path)(error)),
            Err(_) => Err(DevCaError::Locked(path, LOCK_TIMEOUT)),
        }
    }

    /// Reads a file. Returns `None` if it does not exist, and the inner error if it cannot be trusted but
    /// can be replaced: if its mode has one of the `forbidden` bits, for example.
    pub(super) fn read(
        &self,
        name: &str,
        forbidden: u32,
    ) -> Result<Option<Result<Vec<u8>, Unusable>>, DevCaError> {
        let path = self.path_of(name);
        let unusable = |source| Unusable::File(path.clone(), source);
        let file = match self.directory.open_file(Path::new(name), Purpose::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_link(&error) => {
                return Ok(Some(Err(unusable(FileError::NotRegular))));
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let found = file.metadata().map_err(failed("read", &path))?;
        if found.is_dir() {
            return Err(failed("read", &path)(io::ErrorKind::IsADirectory.into()));
        }
        let limit = MAX_SIZE;
        match read_open(&file, Rules { forbidden, limit }) {
            Ok(bytes) => Ok(Some(Ok(bytes))),
            Err(FileError::Io(error)) => Err(failed("read", &path)(error)),
            Err(error) => Ok(Some(Err(unusable(error)))),
        }
    }

    /// Replaces a file atomically, so that a concurrent reader sees either the old text or the new one.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), DevCaError> {
        let path = self.path_of(name);
        let new = path.with_extension("new");
        let new_name = Path::new(new.file_name().unwrap_or_else(|| OsStr::new(name)));
        match self.directory.remove(new_name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removed", &new)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut file = self
            .directory
            .open_file(new_name, Purpose::Create)
            .map_err(failed("created", &new))?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(failed("written", &new))?;
        // Windows does not rename a file that is open.
        drop(file);
        let renamed = self.directory.rename(new_name, Path::new(name));
        renamed.map_err(failed("written", &path))
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevCaError {
    let path = path.to_owned();
    move |source| DevCaError::File { step, path, source }
}
