//! The number of connections that the process can hold open, and TCP listeners with a long backlog.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tracing::{debug, warn};

use crate::platform::allow_open_files;

/// The number of connections that may wait to be accepted. The system may allow fewer.
const BACKLOG: u32 = 4_096;
/// The number of bytes that the system buffers for a client that does not read. The default is
/// megabytes, which none of our limits would count. Linux doubles the value, and reports the socket as
/// writable when a third of it is free, so a client that reads less than that within `timeouts.write`
/// seems to read nothing.
const SEND_BUFFER: u32 = 64 * 1024;
/// Open files other than client connections and their upstream connections.
const OTHER_FILES: u64 = 1_024;

/// Binds an address.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait until the system has forgotten the connections of the last run.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the size.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Gives an inherited listener the options of those that [`listen`] returns.
///
/// # Errors
/// When the options cannot be set.
pub(super) fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER as usize)?;
    TcpListener::from_std(socket)
}

/// Raises the limit of open files if `wanted` connections need it, and returns how many of them fit.
/// Each may need a second file for its upstream connection.
pub(super) fn connections(wanted: usize) -> usize {
    let needed = (wanted as u64)
        .saturating_mul(2)
        .saturating_add(OTHER_FILES);
    let files = allow_open_files(needed).unwrap_or_else(|(files, error)| {
        debug!(exception.message = %error, "limit of open files not raised");
        files
    });
    let capacity = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
    if capacity < wanted {
        warn!(
            "limits.connections is {wanted}, but {files} open files are allowed, so at most \
             {capacity} connections are accepted. Raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
    }
    wanted.min(capacity)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn half_of_the_open_files_are_reserved_for_clients() {
        use rustix::process::{Resource, Rlimit, getrlimit};

        assert_eq!(connections(1), 1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let capacity = connections(usize::MAX);
        let files = getrlimit(Resource::Nofile).current;
        assert!(files >= current && (maximum.is_none() || files == maximum));
        assert_eq!(
            capacity,
            files.map_or(usize::MAX, |files| files as usize / 2)
        );
    }
}
