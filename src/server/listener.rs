//! Bound listeners: TCP and unix sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tracing::{info, warn};

use super::address::Listen;
use super::bind_error::BindError;
use super::capacity::{adopt, listen};
use super::passed::Passed;
use super::unix_socket::{UnixSocket, UnixStream};

/// A bound listener. When it is dropped, it removes the file of a unix socket that it has bound.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// An accepted connection.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
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
            Kind::Unix(socket) => Some(Listen::Unix(socket.path().to_owned())),
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
                    warn!(client.address = %peer.ip(), client.port = peer.port(), "connection closed: it came from another machine to a loopback address");
                    return Ok(None);
                }
                Ok(Some(Accepted::Tcp(stream)))
            }
            Kind::Unix(socket) => {
                let accepted = socket.accept().await?;
                Ok(accepted.map(Accepted::Unix))
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

fn is_loopback(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// Returns whether the machine lacks the address or its address family.
fn is_missing(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT`, and on Windows `WSAEAFNOSUPPORT`.
    const EAFNOSUPPORT: i32 = if cfg!(windows) { 10_047 } else { 97 };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}
