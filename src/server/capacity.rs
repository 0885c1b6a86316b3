//! How many connections the process can hold, and listeners that hold many who wait.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tracing::{debug, warn};

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4_096;
/// What the system may hold for a client that does not read. Its own choice is megabytes, beyond
/// the reach of any limit of ours. Linux doubles it, and tells of room when a third is free: a client
/// that takes less than that within timeouts.write seems to take nothing.
const SEND_BUFFER: u32 = 64 * 1024;
/// Files that are not connections of clients or for them.
const OTHER_FILES: u64 = 1_024;

/// Binds an address.
///
/// # Errors
/// When it cannot be listened on.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait for the connections of the last run.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener that was bound by others, as [`listen`] would have made it.
///
/// # Errors
/// When it cannot be prepared.
pub(super) fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    set_socket_send_buffer_size(&socket, SEND_BUFFER as usize)?;
    TcpListener::from_std(socket)
}

/// Raises the limit of open files, if `wanted` connections need it, and tells how many of them it
/// has room for: each may need another file for its upstream.
pub(super) fn connections(wanted: usize) -> usize {
    let needed = (wanted as u64)
        .saturating_mul(2)
        .saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut files = current.unwrap_or(u64::MAX);
    if files < needed {
        let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
        let limit = Rlimit {
            current: Some(raised),
            maximum,
        };
        match setrlimit(Resource::Nofile, limit) {
            Ok(()) => files = raised,
            Err(error) => debug!(%error, "the limit of open files was not raised"),
        }
    }
    let room = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
    if room < wanted {
        warn!(
            "limits.connections is {wanted}, but {files} open files are allowed: {room} connections \
             are taken at a time. Raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
    }
    wanted.min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_for_clients() {
        assert_eq!(connections(1), 1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let room = connections(usize::MAX);
        let files = getrlimit(Resource::Nofile).current;
        assert!(files >= current && (maximum.is_none() || files == maximum));
        assert_eq!(room, files.map_or(usize::MAX, |files| files as usize / 2));
    }
}
