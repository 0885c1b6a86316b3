use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port that refuses connections. No other program gets it while this exists, as it would get the port of a
/// listener that was dropped.
pub struct ClosedPort {
    socket: TcpSocket,
    pub addr: SocketAddr,
}

impl ClosedPort {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// Closes a port whose listener was dropped.
    ///
    /// # Errors
    /// While something listens there.
    pub fn at(addr: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections of the earlier listener may still be open.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    /// Listens from now on.
    pub fn open(self) -> TcpListener {
        self.socket.listen(1024).unwrap()
    }
}
