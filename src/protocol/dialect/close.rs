//! Close codes by name. Their effect on real clients determines when each is used.

use std::borrow::Cow;

/// A WebSocket close: a code, and a reason of at most 123 bytes (RFC 6455, section 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

const MAX_REASON: usize = 123;

impl Close {
    /// The session has ended. Never sent while an operation is active.
    pub const NORMAL: u16 = 1000;
    /// Asks clients to reconnect. They resend the operations that were in flight.
    pub const RESTART: u16 = 1012;
    /// Asks clients to reconnect later. Sent only before the acknowledgement; otherwise clients retry
    /// forever.
    pub const TRY_AGAIN_LATER: u16 = 1013;
    /// "Protocol error" (RFC 6455, section 7.4.1).
    pub const PROTOCOL: u16 = 1002;
    /// "Invalid frame payload data" (RFC 6455, section 7.4.1).
    pub const INVALID_DATA: u16 = 1007;
    pub const TOO_BIG: u16 = 1009;
    /// "Internal Error" (RFC 6455, section 7.4.1).
    pub const INTERNAL: u16 = 1011;
    /// graphql-transport-ws protocol, "Communication".
    pub const INVALID_MESSAGE: u16 = 4400;
    pub const UNAUTHORIZED: u16 = 4401;
    /// The code that graphql-ws sends when its `onConnect` rejects a client.
    pub const FORBIDDEN: u16 = 4403;
    pub const BAD_SUBPROTOCOL: u16 = 4406;
    pub const INIT_TIMEOUT: u16 = 4408;
    pub const DUPLICATE_ID: u16 = 4409;
    pub const SECOND_INIT: u16 = 4429;

    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MAX_REASON {
            let end = reason.floor_char_boundary(MAX_REASON);
            reason.to_mut().truncate(end);
        }
        Self { code, reason }
    }
}
