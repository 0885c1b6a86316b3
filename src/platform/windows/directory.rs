//! A directory whose files are opened by their paths.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::platform::Purpose;

/// A directory.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

/// Opens a symbolic link itself (`CreateFileW`).
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

impl Directory {
    /// Creates the directory and its parents, unless it exists.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn create(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    /// Opens the directory, but not through a symbolic link.
    ///
    /// # Errors
    /// When it cannot be opened; see [`is_link`].
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path)?.is_dir() {
            Ok(Self(path.to_owned()))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Does nothing: its access control list is that of its parent.
    ///
    /// # Errors
    /// None. Other systems may refuse to change the mode.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "other systems have modes"
    )]
    pub(crate) fn restrict(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns its metadata.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        fs::metadata(&self.0)
    }

    /// Opens a file in the directory. Does not follow a symbolic link.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_file(&self, name: &Path, purpose: Purpose) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match purpose {
            Purpose::Read => options.read(true),
            Purpose::Lock => options.write(true).create(true).truncate(false),
            Purpose::Create => options.write(true).create_new(true),
        };
        options
            .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
            .open(self.0.join(name))
    }

    /// Removes a file from the directory.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn remove(&self, name: &Path) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// Renames a file of the directory, and replaces the one with the new name.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }
}

/// Returns whether something was not opened because it is a symbolic link, or not a directory.
pub(crate) fn is_link(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotADirectory
}
