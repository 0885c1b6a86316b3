//! The settings of the server.

use std::time::Duration;

/// The limits of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The maximum number of connections.
    pub connections: usize,
    /// The maximum number of requests whose response has not begun.
    pub in_flight: usize,
    /// The maximum number of bytes of responses that are buffered for all clients.
    pub buffered: usize,
    /// The same for one connection.
    pub buffered_connection: usize,
    /// The maximum size of a request's head in bytes.
    pub request_head: usize,
    /// How long a request's head may take from its first byte, and how long a TLS handshake may take.
    pub request_head_timeout: Duration,
    /// How long a connection may be idle before its first request and between two requests.
    pub idle_client: Duration,
    /// How long a client may read too little of a response (see [`super::write_timeout`]).
    pub write: Duration,
}
