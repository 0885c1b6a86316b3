//! The settings of the server.

use std::time::Duration;

/// Bounds of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub connections: usize,
    /// Requests whose response has not begun.
    pub in_flight: usize,
    /// Bytes of responses that are buffered for clients, in total and for one connection.
    pub buffered: usize,
    pub buffered_connection: usize,
    /// Bytes of a request's head.
    pub request_head: usize,
    /// How long a request's head may take from its first byte, and how long a TLS handshake.
    pub request_head_timeout: Duration,
    /// How long a connection may wait for its first request, and between two requests.
    pub idle_client: Duration,
    /// How long a client may read too little of a response (see [`super::write_timeout`]).
    pub write: Duration,
}
