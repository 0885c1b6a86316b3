//! The messages of a realtime connection, whatever its protocol.

/// Handles the messages of one connection.
pub(super) trait Dialogue {
    fn handle(&mut self, text: &str) -> impl Future<Output = Keepalive> + Send;

    /// Handles a frame that is not text.
    fn unsupported(&self);

    /// Returns whether the connection is sent keepalive frames.
    fn is_kept_alive(&self) -> bool;
}

/// What the keepalive timer does after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keepalive {
    /// It restarts.
    Begins,
    Unchanged,
}
