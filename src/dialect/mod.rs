//! Client-facing protocols, one file each, without I/O and without a clock.
//!
//! A dialect takes frames and neutral events in and gives [`Output`]s out. It knows nothing of
//! AppSync, of HTTP or of the other dialects. To add one, write its machine in a file of its own
//! over these types and let `session` choose it by its wire token.

mod close;
mod transport_ws;

pub use close::Close;
pub use transport_ws::TransportWs;

use crate::graphql::outbox::OperationKey;
use crate::graphql::{Operation, Selected};

/// What the session has to do for a dialect, in order.
#[derive(Debug)]
pub enum Output {
    /// The client asks to begin; the session accepts or closes.
    Init,
    /// Write this text frame.
    Send(String),
    /// Run an operation; its events come back under this key.
    Start(OperationKey, Selected, Operation),
    /// The client wants no more of an operation.
    Stop(OperationKey),
    /// Write a close frame; nothing comes after it.
    Close(Close),
}

/// How much one socket may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub subscriptions: usize,
    /// Queries and mutations.
    pub operations: usize,
}
