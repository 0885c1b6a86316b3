//! AppSync's realtime protocol: few connections, many subscriptions on each.
//!
//! In: a `Start` and the outbox of the session that wants it. Out: neutral events. The protocol
//! itself is a machine of `countersign_protocol::realtime`; [`driver`] owns a socket and feeds it;
//! [`Pool`] decides which connection carries what, and what follows from a loss. Nothing here
//! knows a dialect: a session is an outbox and a number.
//!
//! Source: AppSync dev guide, "Building a real-time WebSocket client".

mod driver;
mod pool;

use std::time::Duration;

use countersign_protocol::realtime::Redaction;
use countersign_protocol::realtime::connection::Ignored;
use tracing::debug;

use crate::sign::redact;

pub use pool::{Availability, Owner, Pool, Subscription};

/// `on_upstream_loss` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// The sessions that had subscriptions on the lost connection are closed with a retryable
    /// code, so that their clients know of the gap.
    Close,
    /// The subscriptions are started again on a new connection; the gap is logged.
    Resume,
}

/// `[pool]` as far as it concerns realtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealtimeConfig {
    pub on_loss: OnLoss,
    /// Subscriptions on one connection.
    pub subscriptions: usize,
    /// How long a connection without subscriptions is kept.
    pub linger: Duration,
    /// From dialling to `connection_ack`.
    pub handshake: Duration,
    /// From `start` to `start_ack`.
    pub start_ack: Duration,
    /// Silence after which a connection counts as lost.
    pub keepalive: Duration,
}

/// Masks the session tokens that AWS echoes.
pub const REDACTION: Redaction = Redaction {
    payload: redact::known_text,
    message: redact::tokens,
};

/// The largest message taken from AppSync; its payloads are at most 240 KB.
const MAX_MESSAGE: usize = 1 << 20;

fn log_ignored(ignored: &Ignored) {
    match ignored {
        Ignored::Malformed(class) => debug!(?class, "realtime sent something that is no frame"),
        Ignored::UnknownType(kind) => debug!(?kind, "realtime sent a message of an unknown type"),
    }
}

#[cfg(test)]
mod tests {
    use countersign_protocol::realtime::Failure;

    use super::*;

    #[test]
    fn an_echoed_token_is_redacted() {
        let payload = r#"{"errors":[{"message":"should have been\n'POST\nx-amz-security-token:AQoD==\n\n'"}]}"#;
        let failures = Failure::parse(serde_json::from_str(payload).ok(), REDACTION);
        let messages: Vec<String> = failures
            .iter()
            .map(|failure| failure.to_graphql().message)
            .collect();
        assert_eq!(
            messages,
            ["should have been\n'POST\nx-amz-security-token:[redacted]\n\n'"]
        );
    }
}
