//! What is said on a realtime connection, whatever its protocol.

/// What is said on a connection.
pub(super) trait Dialogue {
    fn handle(&mut self, text: &str) -> impl Future<Output = Keepalive> + Send;

    /// A frame that is no text came.
    fn unsupported(&self);

    /// Whether keepalive frames are due.
    fn is_kept_alive(&self) -> bool;
}

/// What a message does to the keepalive timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keepalive {
    /// The timer begins anew.
    Begins,
    Unchanged,
}
