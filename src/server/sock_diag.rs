//! Asks the kernel for a TCP socket of this machine, by `sock_diag` (sock_diag(7)), as `ss` does.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// What the kernel knows of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A program has it, and may read from it.
    Open,
    /// Its program has closed it, or reads nothing more.
    Closed,
    /// This network namespace has no such socket.
    Nothing,
}

// Message types, flags and attributes of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const NLMSG_ERROR: u16 = 2;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const INET_DIAG_SHUTDOWN: u16 = 8;
const TCP_PROTOCOL: u8 = 6;
const ALL_STATES: u32 = u32::MAX;
/// A cookie that matches any socket.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// The bit of `INET_DIAG_SHUTDOWN` for the receiving side.
const RCV_SHUTDOWN: u8 = 1;
const ENOENT: i32 = -2;
/// The length of a message's header, and of an `inet_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
/// The position of the inode in an `inet_diag_msg`.
const INODE: usize = 68;

/// Finds the socket at `local` that is connected to `remote`.
///
/// # Errors
/// When the kernel cannot be asked: it lacks `sock_diag`, or the process may not use netlink.
pub(super) fn find(local: SocketAddr, remote: SocketAddr) -> io::Result<Found> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(
        &socket,
        &request(local, remote),
        SendFlags::empty(),
        &kernel,
    )?;
    let mut answer = [0; 1_024];
    // The kernel has answered before `sendto` returns.
    let (read, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let answer = answer.get(..read).unwrap_or_default();
    parse(answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns a message with an `inet_diag_req_v2`.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let family = match local_ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let mut body = vec![family, TCP_PROTOCOL, 0, 0];
    body.extend(ALL_STATES.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(remote.port().to_be_bytes());
    body.extend(octets(local_ip));
    body.extend(octets(remote_ip));
    // Any interface.
    body.extend([0; 4]);
    body.extend(NO_COOKIE);
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // A sequence number, and the kernel's address.
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Reads the answer: an `inet_diag_msg` with attributes, or an error.
fn parse(answer: &[u8]) -> Option<Found> {
    let length = usize::try_from(u32::from_ne_bytes(*answer.first_chunk()?)).ok()?;
    let answer = answer.get(..length)?;
    let message_type = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let body = answer.get(HEADER..)?;
    match message_type {
        SOCK_DIAG_BY_FAMILY => {}
        NLMSG_ERROR if i32::from_ne_bytes(*body.first_chunk()?) == ENOENT => {
            return Some(Found::Nothing);
        }
        _ => return None,
    }
    // Without an inode, no program has the socket.
    let inode = u32::from_ne_bytes(*body.get(INODE..)?.first_chunk()?);
    let mut attributes = body.get(MESSAGE..)?;
    let mut shutdown = 0;
    while let Some(head) = attributes.first_chunk::<4>() {
        let [low, high, kind @ ..] = *head;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(kind) == INET_DIAG_SHUTDOWN {
            shutdown = *value.first()?;
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    let is_closed = inode == 0 || shutdown & RCV_SHUTDOWN != 0;
    Some(if is_closed {
        Found::Closed
    } else {
        Found::Open
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_are_found_by_their_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let socket = TcpStream::connect(remote).unwrap();
        let local = socket.local_addr().unwrap();
        let _accepted = listener.accept().unwrap();
        let found = || find(local, remote).unwrap();
        assert_eq!(found(), Found::Open);
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(found(), Found::Open);
        socket.shutdown(Shutdown::Read).unwrap();
        assert_eq!(found(), Found::Closed);
        drop(socket);
        assert_eq!(found(), Found::Closed);
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        assert_eq!(find(unused.unwrap(), remote).unwrap(), Found::Nothing);
    }

    /// No answer of the kernel may panic.
    #[test]
    fn malformed_answers_are_rejected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let message = request(address, address);
        for end in 0..message.len() {
            assert_eq!(parse(&message[..end]), None, "{end}");
        }
        assert_eq!(parse(&[0; 200]), None);
        assert_eq!(parse(&[0xff; 200]), None);
    }
}
