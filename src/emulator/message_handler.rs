//! The messages of a realtime connection, whatever its protocol.

/// Handles the messages of one connection.
pub(super) trait MessageHandler {
    fn handle(&mut self, text: &str) -> impl Future<Output = Keepalive> + Send;

    /// Handles a frame that is not text.
    fn unsupported(&self);

    /// Returns whether the connection is sent keepalive frames.
    fn sends_keepalives(&self) -> bool;
}

/// What the keepalive timer does after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keepalive {
    /// It restarts.
    Restart,
    Unchanged,
}
