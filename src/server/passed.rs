//! Inherited sockets, which systemd or a similar program has bound and passed to the process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::address::Listen;

/// An inherited socket that listens, and its address.
#[derive(Debug)]
pub enum Passed {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
    },
    Unix {
        socket: UnixListener,
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
        "it is a unix socket without a path (an abstract one), which has no mode that says who may \
         connect: give it a path"
    )]
    NoPath,
}

impl Passed {
    /// # Errors
    /// When it does not listen.
    pub fn tcp(socket: TcpListener) -> Result<Self, PassedError> {
        check(&socket)?;
        let address = socket.local_addr().map_err(PassedError::Unknown)?;
        Ok(Self::Tcp { socket, address })
    }

    /// # Errors
    /// When it does not listen, or has no path.
    pub fn unix(socket: UnixListener) -> Result<Self, PassedError> {
        check(&socket)?;
        let address = socket.local_addr().map_err(PassedError::Unknown)?;
        let path = address.as_pathname().map(Path::to_owned);
        let path = path.ok_or(PassedError::NoPath)?;
        Ok(Self::Unix { socket, path })
    }

    /// Returns the socket, if it is a TCP socket.
    ///
    /// # Errors
    /// When it is a unix socket, or cannot be used.
    pub fn into_tcp(self) -> io::Result<tokio::net::TcpListener> {
        match self {
            Self::Tcp { socket, .. } => {
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket)
            }
            Self::Unix { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub fn place(&self) -> Listen {
        match self {
            Self::Tcp { address, .. } => Listen::Tcp(*address),
            Self::Unix { path, .. } => Listen::Unix(path.clone()),
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn check(socket: impl AsFd) -> Result<(), PassedError> {
    match rustix::net::sockopt::socket_acceptconn(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err(PassedError::NotListening),
        Err(error) => Err(PassedError::Unknown(error.into())),
    }
}

/// These systems cannot report whether a socket listens.
#[cfg(target_vendor = "apple")]
fn check(_: impl AsFd) -> Result<(), PassedError> {
    Ok(())
}
