//! Inherited sockets, which systemd or a similar program has bound and passed to this process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use socket2::{SockRef, Socket};

use super::address::Listen;
use super::unix_socket::PassedUnix;

/// An inherited listening socket with its address.
#[derive(Debug)]
pub enum Passed {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
    },
    Unix {
        socket: PassedUnix,
        path: PathBuf,
    },
}

/// Why an inherited socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    #[error("it cannot be inspected: {0}")]
    Unknown(#[source] io::Error),
    #[error("it does not listen: set Accept=no in its socket unit")]
    NotListening,
    #[error(
        "it is an abstract unix socket, which has no mode that restricts who may connect: give it a path"
    )]
    NoPath,
}

impl Passed {
    /// Checks an inherited TCP socket.
    ///
    /// # Errors
    /// When the socket does not listen.
    pub fn tcp(socket: TcpListener) -> Result<Self, PassedError> {
        check(&SockRef::from(&socket))?;
        let address = socket.local_addr().map_err(PassedError::Unknown)?;
        Ok(Self::Tcp { socket, address })
    }

    /// Checks an inherited unix socket.
    ///
    /// # Errors
    /// When the socket does not listen or has no path.
    #[cfg(unix)]
    pub fn unix(socket: std::os::unix::net::UnixListener) -> Result<Self, PassedError> {
        check(&SockRef::from(&socket))?;
        let address = socket.local_addr().map_err(PassedError::Unknown)?;
        let path = address.as_pathname().map(std::path::Path::to_owned);
        let path = path.ok_or(PassedError::NoPath)?;
        Ok(Self::Unix { socket, path })
    }

    /// Returns the TCP socket.
    ///
    /// # Errors
    /// When it is a unix socket or cannot be used.
    pub fn into_tcp(self) -> io::Result<tokio::net::TcpListener> {
        match self {
            Self::Tcp { socket, .. } => {
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket)
            }
            Self::Unix { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Returns the address that the socket listens on.
    pub fn address(&self) -> Listen {
        match self {
            Self::Tcp { address, .. } => Listen::Tcp(*address),
            Self::Unix { path, .. } => Listen::Unix(path.clone()),
        }
    }
}

#[cfg(target_os = "linux")]
fn check(socket: &Socket) -> Result<(), PassedError> {
    match socket.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err(PassedError::NotListening),
        Err(error) => Err(PassedError::Unknown(error)),
    }
}

/// Not every system can report whether a socket listens.
#[cfg(not(target_os = "linux"))]
fn check(_: &Socket) -> Result<(), PassedError> {
    Ok(())
}
