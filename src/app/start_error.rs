//! Why the program could not start.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::guard::TokenError;
use crate::iam::RecordError;
use crate::server::{BindError, Listen, TlsError};

/// Why the program could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    // The text contains the cause, so the cause is not a source, too.
    #[error("{}", admin_not_bound(*address, error))]
    Admin {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("{}", not_bound(listen, error, *has_admin))]
    Bind {
        listen: Listen,
        error: BindError,
        /// Whether there is an admin listener, too.
        has_admin: bool,
    },
    #[error(
        "route {route}: the certificate authorities of {path:?} cannot be used: {error}. Name a PEM file, which begins with -----BEGIN CERTIFICATE-----: --ca-file FILE (in a file: `ca_file`)"
    )]
    CaFile {
        route: String,
        path: PathBuf,
        error: io::Error,
    },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("route {route}: {source}")]
    Route { route: String, source: io::Error },
    #[error("{0}")]
    SystemRoots(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("guard: {0}")]
    Token(#[from] TokenError),
}

/// Explains why the admin listener cannot be bound.
fn admin_not_bound(address: SocketAddr, error: &io::Error) -> String {
    let remedy = format!(
        "Choose another with --admin {}, or turn it off with --admin off",
        any_port_of(address)
    );
    if error.kind() == io::ErrorKind::AddrInUse {
        let port = address.port();
        format!("port {port} is in use (the admin listener). {remedy}")
    } else {
        format!("cannot listen on {address} (the admin listener): {error}. {remedy}")
    }
}

/// Explains why an address of `listen` cannot be bound.
fn not_bound(listen: &Listen, error: &BindError, has_admin: bool) -> String {
    match (listen, error) {
        (Listen::Tcp(address), BindError::Tcp(error))
            if error.kind() == io::ErrorKind::AddrInUse =>
        {
            let (port, any) = (address.port(), any_port_of(*address));
            let flag = if address.ip().is_loopback() {
                "--port PORT".to_owned()
            } else {
                format!("--listen {any}")
            };
            let admin = if has_admin {
                format!(" (and for the admin listener with --admin {any})")
            } else {
                String::new()
            };
            format!("port {port} is in use. Choose another with {flag}{admin}")
        }
        (Listen::Tcp(_) | Listen::Unix(_), error) => {
            format!("cannot listen on {listen}: {error}. Choose another with --listen ADDR")
        }
    }
}

/// `127.0.0.1:PORT`
fn any_port_of(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:PORT"),
        IpAddr::V6(ip) => format!("[{ip}]:PORT"),
    }
}
