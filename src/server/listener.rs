//! Bound listeners: TCP and unix sockets.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as BlockingUnixListener, UnixStream as BlockingUnixStream};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::{info, warn};

use super::address::Listen;
use super::capacity::{adopt, listen};
use super::passed::Passed;

/// A bound listener. When it is dropped, it removes the file of a unix socket that it has bound.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The inode of the file, so that a file that has replaced it is not removed. `None` for an
    /// inherited socket, whose file belongs to the process that bound it.
    inode: Option<u64>,
    /// The UIDs that may connect in addition to our own. Empty if only the mode of the file decides.
    peers: Vec<u32>,
    owner: u32,
}

/// An accepted connection.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0}")]
    Tcp(#[source] io::Error),
    #[error("another process listens on it")]
    InUse,
    #[error("the path exists and is not a socket")]
    NotASocket,
    #[error("the inherited socket cannot be used: {0}")]
    Passed(#[source] io::Error),
    #[error("{step}: {source}")]
    Unix {
        step: &'static str,
        source: io::Error,
    },
}

impl Listener {
    /// Binds an address. Returns `None` for an IPv6 address on a machine without IPv6. Replaces a unix
    /// socket on which no process listens any more. The mode of the socket is 0600, unless `peers` lists
    /// other UIDs that may connect.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(address: &Listen, peers: &[u32]) -> Result<Option<Self>, BindError> {
        match address {
            Listen::Tcp(address) => match listen(*address) {
                Ok(listener) => Ok(Some(Self(Kind::Tcp(listener)))),
                Err(error) if address.is_ipv6() && is_missing(&error) => {
                    info!("skipping {address}: this machine has no IPv6 loopback");
                    Ok(None)
                }
                Err(source) => Err(BindError::Tcp(source)),
            },
            Listen::Unix(path) => {
                let socket = UnixSocket::bind(path, peers)?;
                Ok(Some(Self(Kind::Unix(socket))))
            }
        }
    }

    /// Returns the bound address, if it is known.
    pub fn address(&self) -> Option<Listen> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok().map(Listen::Tcp),
            Kind::Unix(socket) => Some(Listen::Unix(socket.path.clone())),
        }
    }

    /// Adopts an inherited socket. `peers` has the same meaning as in [`Self::bind`].
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn adopt(passed: Passed, peers: &[u32]) -> Result<Self, BindError> {
        match passed {
            Passed::Tcp { socket, .. } => {
                let listener = adopt(socket).map_err(BindError::Passed)?;
                Ok(Self(Kind::Tcp(listener)))
            }
            Passed::Unix { socket, path } => {
                let socket = UnixSocket::adopt(socket, path, peers)?;
                Ok(Self(Kind::Unix(socket)))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Option<Accepted>> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let is_misrouted =
                    |local: SocketAddr| local.ip().is_loopback() && !is_loopback(peer);
                if stream.local_addr().is_ok_and(is_misrouted) {
                    // With unusual routes, packets from other machines reach loopback addresses.
                    warn!(client_address = %peer, "connection closed: it came from another machine to a loopback address");
                    return Ok(None);
                }
                Ok(Some(Accepted::Tcp(stream)))
            }
            Kind::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok(socket.admits(&stream)?.then_some(Accepted::Unix(stream)))
            }
        }
    }
}

impl Accepted {
    /// Returns the address of the client; `None` on a unix socket.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl UnixSocket {
    fn bind(path: &Path, peers: &[u32]) -> Result<Self, BindError> {
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
    fn adopt(
        socket: BlockingUnixListener,
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
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&directory)?;
    Ok(directory)
}

fn is_loopback(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// Returns whether the machine lacks the address or its address family.
fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}
