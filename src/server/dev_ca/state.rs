//! The directory of the local authority, and its files.
//!
//! The directory is opened once and never through a symbolic link. Its files are opened through its
//! descriptor, so that no other directory can take its place in between.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::{DevCaError, Unusable};
use crate::trusted_file::{FileError, Rules, read_open};

/// An open directory of our user, with mode 0700.
pub(super) struct StateDirectory {
    path: PathBuf,
    directory: File,
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
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(failed("created", path))?;
        let state = Self::open(path)?;
        // The directory may have existed with another mode.
        let mode = Permissions::from_mode(0o700);
        let restricted = state.directory.set_permissions(mode);
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
        let flags = i32::try_from((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits());
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.unwrap_or_default())
            .open(path);
        let directory = opened.map_err(|error| {
            let raw = error.raw_os_error();
            let is_link = [Errno::LOOP, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
            if is_link.contains(&raw) {
                DevCaError::Link(path.to_owned())
            } else {
                failed("opened", path)(error)
            }
        })?;
        let found = directory.metadata().map_err(failed("opened", path))?.uid();
        let ours = rustix::process::geteuid().as_raw();
        if found != ours {
            let path = path.to_owned();
            return Err(DevCaError::Owner { path, found, ours });
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
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = self
            .open_file(LOCK_FILE, flags)
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
        let file = match self.open_file(name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A symbolic link.
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Ok(Some(Err(unusable(FileError::NotRegular))));
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let found = file.metadata().map_err(failed("read", &path))?;
        if found.is_dir() {
            let error = io::Error::from_raw_os_error(Errno::ISDIR.raw_os_error());
            return Err(failed("read", &path)(error));
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
        let new_name = new.file_name().unwrap_or_else(|| OsStr::new(name));
        match rustix::fs::unlinkat(&self.directory, new_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("removed", &new)(error.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self
            .open_file(new_name, flags)
            .map_err(failed("created", &new))?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(failed("written", &new))?;
        let renamed = rustix::fs::renameat(&self.directory, new_name, &self.directory, name);
        renamed.map_err(|error| failed("written", &path)(error.into()))
    }

    /// Opens a file in the directory. Does not follow a symbolic link, and does not wait for a FIFO.
    fn open_file(&self, name: impl AsRef<Path>, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = rustix::fs::openat(&self.directory, name.as_ref(), flags, mode)?;
        Ok(opened.into())
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevCaError {
    let path = path.to_owned();
    move |source| DevCaError::File { step, path, source }
}
