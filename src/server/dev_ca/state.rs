//! The directory that keeps the local authority, and its files.
//!
//! The directory is opened once and never through a symbolic link; all else goes by its
//! descriptor, so that nobody can put another directory or file in between.

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

/// A directory of ours, with mode 0700.
pub(super) struct State {
    path: PathBuf,
    directory: File,
}

const LOCK_FILE: &str = "ca.lock";
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// More than any certificate or key of ours.
const LONGEST: u64 = 64 * 1024;

impl State {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, DevCaError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(failed("created", path))?;
        let state = Self::existing(path)?;
        // It may have been there before.
        let mode = Permissions::from_mode(0o700);
        let restricted = state.directory.set_permissions(mode);
        restricted.map_err(failed("restricted to mode 0700", path))?;
        Ok(state)
    }

    /// Opens the directory, if it is there, and changes nothing.
    pub(super) fn found(path: &Path) -> Result<Option<Self>, DevCaError> {
        match Self::existing(path) {
            Ok(state) => Ok(Some(state)),
            Err(DevCaError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn existing(path: &Path) -> Result<Self, DevCaError> {
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

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The lock is given up when the file is dropped.
    pub(super) async fn lock(&self) -> Result<File, DevCaError> {
        let path = self.file(LOCK_FILE);
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = self.at(LOCK_FILE, flags).map_err(failed("opened", &path))?;
        let locked = tokio::time::timeout(LOCK_PATIENCE, async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        });
        match locked.await {
            Ok(Ok(())) => Ok(file),
            Ok(Err(error)) => Err(failed("locked", &path)(error)),
            Err(_) => Err(DevCaError::Held(path, LOCK_PATIENCE)),
        }
    }

    /// Reads a file whose mode has none of the `forbidden` bits; `None` if there is none. The
    /// inner error is of a file that can be replaced.
    pub(super) fn read(
        &self,
        name: &str,
        forbidden: u32,
    ) -> Result<Option<Result<Vec<u8>, Unusable>>, DevCaError> {
        let path = self.file(name);
        let unusable = |source| Unusable::File(path.clone(), source);
        let file = match self.at(name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A link.
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
        let limit = LONGEST;
        match read_open(&file, Rules { forbidden, limit }) {
            Ok((_, bytes)) => Ok(Some(Ok(bytes))),
            Err(FileError::Io(error)) => Err(failed("read", &path)(error)),
            Err(error) => Ok(Some(Err(unusable(error)))),
        }
    }

    /// Replaces the file atomically: a concurrent reader sees either the old text or the new one.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), DevCaError> {
        let path = self.file(name);
        let new = path.with_extension("new");
        let new_name = new.file_name().unwrap_or_else(|| OsStr::new(name));
        match rustix::fs::unlinkat(&self.directory, new_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("removed", &new)(error.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.at(new_name, flags).map_err(failed("created", &new))?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(failed("written", &new))?;
        let renamed = rustix::fs::renameat(&self.directory, new_name, &self.directory, name);
        renamed.map_err(|error| failed("written", &path)(error.into()))
    }

    /// Opens a file in the directory: no link is followed, and no FIFO waited for.
    fn at(&self, name: impl AsRef<Path>, flags: OFlags) -> io::Result<File> {
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
