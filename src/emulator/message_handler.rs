//! The interface between a realtime connection's socket and its protocol.

/// Handles the messages of one connection.
pub(super) trait MessageHandler {
    fn handle(&mut self, text: &str) -> impl Future<Output = Keepalive> + Send;

    /// Handles a frame that is not text.
    fn unsupported(&self);

    /// Returns whether keepalive frames are sent on the connection.
    fn sends_keepalives(&self) -> bool;
}

/// The effect of a message on the keepalive timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keepalive {
    /// The timer restarts.
    Restart,
    Unchanged,
}
