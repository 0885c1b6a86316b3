//! AppSync's realtime protocols: messages, errors, the machine of one connection, and the machine
//! that places subscriptions on connections.
//!
//! Source: AppSync dev guide, "Building a real-time WebSocket client".

pub mod connection;
mod failure;
pub mod placement;
mod throttle;
pub mod wire;

pub use failure::{Failure, Redaction};

/// The request of a subscription, as it is sent upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The JSON that is signed and sent as a string: `{"query","variables","operationName"}`.
    pub data: String,
    /// The client's headers that are forwarded: sent beside the signature, and not signed.
    pub headers: Vec<(String, String)>,
}
