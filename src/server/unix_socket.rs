//! Unix sockets: bound with a mode, or inherited.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::UnixListener;
use tracing::warn;

use super::bind_error::BindError;
use super::peer::{Peer, is_reset};

/// An inherited socket.
pub(super) type PassedUnix = std::os::unix::net::UnixListener;
/// An accepted connection.
pub(super) type UnixStream = tokio::net::UnixStream;

/// A bound unix socket. When it is dropped, it removes the file that it has bound.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The inode of the file, so that a file that has replaced it is not removed. `None` for an
    /// inherited socket, whose file belongs to the process that bound it.
    inode: Option<u64>,
    /// The UIDs that may connect in addition to our own. Empty if only the mode of the file decides.
    peers: Vec<u32>,
    owner: u32,
}

impl UnixSocket {
    /// Binds a path. Replaces a socket on which no process listens any more.
    ///
    /// # Errors
    /// See [`BindError`].
    pub(super) fn bind(path: &Path, peers: &[u32]) -> Result<Self, BindError> {
        check_path(path)?;
        let failed = |step| move |source| BindError::Unix { step, source };
        // The socket is bound in a private directory, so that others cannot reach it before its mode is
        // set.
        let directory =
            private_directory(path).map_err(failed("cannot create a directory next to it"))?;
        let temporary = directory.join("s");
        let bound = UnixListener::bind(&temporary).map_err(failed("it cannot be bound"));
        let mode = if peers.is_empty() { 0o600 } else { 0o666 };
        let moved = bound.and_then(|listener| {
            fs::set_permissions(&temporary, Permissions::from_mode(mode))
                .map_err(failed("its mode cannot be set"))?;
            fs::rename(&temporary, path).map_err(failed("it cannot be moved to its path"))?;
            Ok(listener)
        });
        if moved.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let _ = fs::remove_dir(&directory);
        let listener = moved?;
        let metadata = fs::symlink_metadata(path).map_err(failed("it cannot be inspected"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode: Some(metadata.ino()),
            peers: peers.to_vec(),
            owner: metadata.uid(),
        })
    }

    /// Adopts an inherited socket. The socket unit has set its mode.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(super) fn adopt(
        socket: PassedUnix,
        path: PathBuf,
        peers: &[u32],
    ) -> Result<Self, BindError> {
        socket.set_nonblocking(true).map_err(BindError::Passed)?;
        let mode = fs::metadata(&path).map_or(0, |found| found.permissions().mode());
        if peers.is_empty() && mode & 0o007 != 0 {
            warn!(
                "unix:{} is open to every user of this machine: set SocketMode=0600 in its unit, or \
                 guard.peer_uids",
                path.display()
            );
        }
        Ok(Self {
            listener: UnixListener::from_std(socket).map_err(BindError::Passed)?,
            path,
            inode: None,
            peers: peers.to_vec(),
            owner: rustix::process::geteuid().as_raw(),
        })
    }

    /// Accepts a connection. Returns `None` if its user is not allowed.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        Ok(self.admits(&stream)?.then_some(stream))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the peer's UID, checked with `SO_PEERCRED`, may connect.
    fn admits(&self, stream: &UnixStream) -> io::Result<bool> {
        if self.peers.is_empty() {
            return Ok(true);
        }
        let peer = stream.peer_cred()?.uid();
        let is_admitted = peer == self.owner || self.peers.contains(&peer);
        if !is_admitted {
            warn!(
                uid = peer,
                "connection to the unix socket closed: allow the user with guard.peer_uids"
            );
        }
        Ok(is_admitted)
    }
}

impl Peer for UnixStream {
    fn is_gone(&self) -> bool {
        is_reset(&SockRef::from(self))
    }

    fn probe(&self) {}
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| found.ino());
        if found.is_ok_and(|found| Some(found) == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Checks that the path does not exist or is a socket on which no process listens.
fn check_path(path: &Path) -> Result<(), BindError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let step = "it cannot be inspected";
            return Err(BindError::Unix { step, source });
        }
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket);
    }
    match BlockingUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) | Err(_) => Err(BindError::InUse),
    }
}

/// Creates a private directory beside `path`. Its name is short, because a socket's path has at most
/// 107 bytes.
fn private_directory(path: &Path) -> io::Result<PathBuf> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let directory = parent.join(format!(".{:08x}", fastrand::u32(..)));
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder.create(&directory)?;
    Ok(directory)
}
