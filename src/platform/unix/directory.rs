//! A directory that is opened once, and whose files are opened through its descriptor.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::platform::Purpose;

/// An open directory. No other directory can take its place.
#[derive(Debug)]
pub(crate) struct Directory(File);

impl Directory {
    /// Creates the directory and its parents with mode 0700, unless it exists.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn create(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Opens the directory, but not through a symbolic link.
    ///
    /// # Errors
    /// When it cannot be opened; see [`is_link`].
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = i32::try_from((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits());
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.unwrap_or_default())
            .open(path);
        opened.map(Self)
    }

    /// Sets its mode to 0700.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn restrict(&self) -> io::Result<()> {
        self.0.set_permissions(Permissions::from_mode(0o700))
    }

    /// Returns its metadata.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Opens a file in the directory. Does not follow a symbolic link, and does not wait for a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened; see [`is_link`].
    pub(crate) fn open_file(&self, name: &Path, purpose: Purpose) -> io::Result<File> {
        let flags = match purpose {
            Purpose::Read => OFlags::RDONLY,
            Purpose::Lock => OFlags::WRONLY | OFlags::CREATE,
            Purpose::Create => OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        };
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = rustix::fs::openat(&self.0, name, flags, mode)?;
        Ok(opened.into())
    }

    /// Removes a file from the directory.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn remove(&self, name: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Renames a file of the directory, and replaces the one with the new name.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }
}

/// Returns whether something was not opened because it is a symbolic link, or not a directory.
pub(crate) fn is_link(error: &io::Error) -> bool {
    let raw = error.raw_os_error();
    [Errno::LOOP, Errno::NOTDIR]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&raw)
}
