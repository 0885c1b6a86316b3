//! Whether the client of a connection still has its socket.
//!
//! A client that closes its whole socket sends the same as one that closes only its sending side. Only
//! when something is sent to it does its system answer with a reset. But on unix sockets the kernel
//! shows the difference, and on Linux it can be asked for the client's socket if the client is on this
//! machine.

use std::io;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The connection of a client, as its listener accepted it.
pub(crate) trait Peer {
    /// Returns whether the client is known to have closed its socket, or to have reset the connection.
    fn is_gone(&self) -> bool;

    /// Lets the system send probes, so that it notices when the client is gone.
    fn probe(&self);
}

/// How long the client is silent before the first probe, and the interval of further ones.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// The number of probes without an answer after which the connection is reset.
const PROBES: u32 = 4;

impl Peer for TcpStream {
    fn is_gone(&self) -> bool {
        is_reset(&SockRef::from(self)) || is_closed(self)
    }

    fn probe(&self) {
        // Without probes, a client that is gone is noticed later.
        let keepalive = TcpKeepalive::new()
            .with_time(PROBE_INTERVAL)
            .with_interval(PROBE_INTERVAL)
            .with_retries(PROBES);
        let _ = SockRef::from(self).set_tcp_keepalive(&keepalive);
    }
}

impl<S: Peer> Peer for Box<TlsStream<S>> {
    fn is_gone(&self) -> bool {
        self.get_ref().0.is_gone()
    }

    fn probe(&self) {
        self.get_ref().0.probe();
    }
}

/// Returns whether nothing can be sent: the client has reset the connection, or has closed its unix
/// socket. Sends nothing, and does not wait, because the sockets of the runtime never do.
pub(super) fn is_reset(socket: &Socket) -> bool {
    // Rust ignores SIGPIPE, and not every system has a flag against it.
    let sent = socket.send(&[]);
    sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

#[cfg(target_os = "linux")]
fn is_closed(stream: &TcpStream) -> bool {
    use super::sock_diag::{self, Found};

    let (Ok(client), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return true;
    };
    match sock_diag::find(client, local) {
        Ok(Found::Closed) => true,
        Ok(Found::Open) => false,
        // Loopback connects only the sockets of one network namespace, so no socket means that it is
        // closed. Other addresses may belong to another namespace or machine.
        Ok(Found::Nothing) => client.ip().to_canonical().is_loopback(),
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_closed(_: &TcpStream) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Waits until the peer is gone.
    async fn gone(peer: &impl Peer) {
        while !peer.is_gone() {
            tokio::task::yield_now().await;
        }
    }

    #[cfg(unix)]
    async fn check<P: Peer + AsyncRead + Unpin, C: AsyncWrite + Unpin>(mut peer: P, mut client: C) {
        peer.probe();
        assert!(!peer.is_gone(), "open");
        client.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        assert!(!peer.is_gone(), "half closed");
        drop(client);
        gone(&peer).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn client_that_closes_its_tcp_socket_is_gone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // This machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(address).await else {
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await;
            let (peer, _) = listener.accept().await.unwrap();
            check(peer, client.unwrap()).await;
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn client_that_closes_its_unix_socket_is_gone() {
        let (peer, client) = tokio::net::UnixStream::pair().unwrap();
        check(peer, client).await;
    }

    #[tokio::test]
    async fn client_that_resets_the_connection_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (peer, _) = listener.accept().await.unwrap();
        let client = client.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        gone(&peer).await;
        assert!(is_reset(&SockRef::from(&peer)));
    }
}
