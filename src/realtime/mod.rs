//! Realtime: carries the subscriptions of many sessions on few connections to AppSync.
//!
//! A session passes a `Start` and its outbox to the [`Pool`], which queues events there. The events are
//! the same for all client protocols. AppSync's protocol and the placement of subscriptions are machines
//! of `countersign_protocol::realtime`. A `driver` owns the socket of one connection and reports to the
//! pool, which performs what the placement machine decides.
//!
//! Source: AppSync dev guide, "Building a real-time WebSocket client".

mod attempt;
mod connector;
mod driver;
mod pool;
mod subscriber;

use std::time::Duration;

use countersign_protocol::realtime::Redaction;
use countersign_protocol::realtime::placement::OnLoss;

use crate::sign::redact;

pub use attempt::{AttemptError, attempt};
pub use pool::{Pool, Subscription};

/// The settings of `[pool]` that concern realtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealtimeConfig {
    pub on_loss: OnLoss,
    /// With [`OnLoss::Resume`], the time limit from the loss of a connection until its subscriptions are
    /// live again.
    pub patience: Duration,
    /// The maximum number of subscriptions on one connection.
    pub subscriptions: usize,
    /// How long a connection without subscriptions is kept open.
    pub linger: Duration,
    /// The time limit for the WebSocket handshake, for `connection_ack`, and for writing a frame.
    pub handshake: Duration,
    /// The time limit from `start` to `start_ack`.
    pub start_ack: Duration,
    /// The time without a message after which a connection counts as lost.
    pub keepalive: Duration,
}

/// Masks the session tokens that AWS echoes in its errors.
pub const REDACTION: Redaction = Redaction {
    payload: redact::mask_known_text,
    message: redact::mask_tokens,
};

#[cfg(test)]
mod tests {
    use countersign_protocol::realtime::Failure;

    use super::*;

    #[test]
    fn echoed_token_is_redacted() {
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
