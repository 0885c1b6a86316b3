//! The client of a request.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::slot::Slot;
use crate::guard::{LocalAddress, Scheme};
use crate::memory::Share;
use crate::session::ClientConnection;

/// The client of a request: its connection, and the request's slot.
#[derive(Clone, Debug)]
pub struct Client {
    pub local: LocalAddress,
    pub scheme: Scheme,
    /// Counts the connection; a WebSocket takes it over.
    pub permit: Arc<OwnedSemaphorePermit>,
    pub connection: ClientConnection,
    /// The slot of the request; HTTP/1.1 has one request at a time on a connection.
    pub slot: Slot,
    /// The connection's share of the budget for buffered responses.
    pub share: Share,
}
