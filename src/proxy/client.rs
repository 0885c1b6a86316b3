//! The client of a request, as the server knows it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::slot::Slot;
use crate::guard::{LocalAddress, Scheme};
use crate::memory::Share;
use crate::session::ClientConnection;

/// The client's connection, and the slot of its request.
#[derive(Debug)]
pub struct Client {
    /// The address of the client; `None` on a unix socket.
    pub peer: Option<SocketAddr>,
    pub local: LocalAddress,
    pub scheme: Scheme,
    /// Counts the connection against the limit. A WebSocket keeps it.
    pub permit: Arc<OwnedSemaphorePermit>,
    pub connection: ClientConnection,
    /// The slot of the connection's present request.
    pub slot: Slot,
    /// The connection's share of the budget for buffered responses.
    pub share: Share,
}
