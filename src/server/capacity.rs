//! The number of connections that the process can hold, and TCP listeners with a long backlog.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tracing::{debug, warn};

/// How many connections may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4_096;
/// How many bytes the system buffers for a client that does not read. Its default is megabytes,
/// which no limit of ours would count. Linux doubles the value, and reports the socket as writable
/// when a third is free: a client that reads less than that within timeouts.write seems to read
/// nothing.
const SEND_BUFFER: u32 = 64 * 1024;
/// Open files that are no client connections, nor upstream connections for them.
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
    // So that a restart does not wait until the connections of the last run are forgotten.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Prepares an inherited listener, so that it is like one of [`listen`].
///
/// # Errors
/// When it cannot be prepared.
pub(super) fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    set_socket_send_buffer_size(&socket, SEND_BUFFER as usize)?;
    TcpListener::from_std(socket)
}

/// Raises the limit of open files if `wanted` connections need it, and returns how many of them fit:
/// each may need a second file for its upstream connection.
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
            Err(error) => debug!(%error, "limit of open files not raised"),
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
