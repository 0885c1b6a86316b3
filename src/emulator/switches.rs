//! Switches for faults, which tests turn on.
//!
//! [`Settings`] hold until they are changed; the actions of a [`Change`] are performed once. The control
//! listener accepts a [`Change`] as JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::appsync_error::SignatureStatus;
use super::clock::Clock;
use super::fixed_response::FixedResponse;
use super::iam::Policy;
use super::options::Key;

/// The settings of all switches. Initially, all switches are off except `escape_events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// No keepalive frames are sent.
    pub stop_ka: bool,
    /// The delay of every HTTP response, at most two minutes.
    pub delay_ms: u64,
    /// The delay of every response to a realtime upgrade, at most two minutes.
    pub connect_delay_ms: u64,
    /// Throttling: every `start` gets a `LimitExceededError` without an id, every signed message of
    /// Events one with its id, and every HTTP request 429 `ThrottlingException`.
    pub throttle: bool,
    /// Every key has expired.
    pub expire_keys: bool,
    /// The ids of keys that were revoked.
    pub revoked_keys: Vec<String>,
    /// [`revoked_keys`](Self::revoked_keys) are rejected as expired instead of unknown.
    pub revoked_as_expired: bool,
    /// The number of seconds by which the emulator's clock is ahead.
    pub clock_skew_s: i64,
    /// TCP connections are accepted and dropped immediately.
    pub refuse_connections: bool,
    /// Realtime upgrades are answered with 503.
    pub refuse_realtime: bool,
    /// An accepted `start` or `subscribe` is not acknowledged, but its data is sent.
    pub no_start_ack: bool,
    /// A wrong signature over HTTP is answered with 400 and `BadRequestException` instead of 403 and
    /// `InvalidSignatureException`.
    pub bad_signature_as_400: bool,
    /// The limit of subscriptions on one connection.
    pub max_subscriptions: usize,
    /// `slowPost` and `slow` wait until this is off, for at most thirty seconds.
    pub gate: bool,
    /// Error types of `connection_error` have AppSync's older prefix,
    /// `com.amazonaws.deepdish.graphql.auth#`.
    pub error_type_prefix: bool,
    /// A realtime `publish` is verified over a rebuilt body in which `<`, `>`, `&`, U+2028 and U+2029
    /// are escaped as `\u003c` and so on, so a signature over the unescaped characters does not match.
    /// Initially on, because this is the stricter assumption.
    pub escape_events: bool,
    /// JSON, or empty to turn it off. Every realtime connect is answered with 101, a
    /// `connection_error` with exactly this payload, and a close with 1000. On Events, the members of
    /// the object replace the payload.
    pub refuse_connect: String,
    /// JSON, or empty to turn it off. Every `start` that would be accepted is answered with an `error`
    /// that has its id and exactly this payload; every such `subscribe` with a `subscribe_error`, in
    /// which the members of the object replace the payload.
    pub refuse_start: String,
    /// [`refuse_start`](Self::refuse_start) omits the id.
    pub refuse_start_without_id: bool,
    /// JSON, or empty to turn it off and allow everything. The IAM policy of every key. GraphQL
    /// operations are checked by their root fields.
    pub policy: String,
    /// API Gateway and the other services verify signatures over paths without empty and dot segments.
    /// AWS documents this for all services but S3; it is not known whether `execute-api` does so.
    pub normalize_paths: bool,
    /// Every HTTP request with a valid signature receives this response, and is not executed.
    pub answer_http: Option<FixedResponse>,
}

/// A change of the [`Settings`], and actions to perform once. An absent setting is unchanged.
///
/// As JSON, unknown keys are rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    pub stop_ka: Option<bool>,
    pub delay_ms: Option<u64>,
    pub connect_delay_ms: Option<u64>,
    pub throttle: Option<bool>,
    pub expire_keys: Option<bool>,
    pub revoked_keys: Option<Vec<String>>,
    pub revoked_as_expired: Option<bool>,
    pub clock_skew_s: Option<i64>,
    pub refuse_connections: Option<bool>,
    pub refuse_realtime: Option<bool>,
    pub no_start_ack: Option<bool>,
    pub bad_signature_as_400: Option<bool>,
    pub max_subscriptions: Option<usize>,
    pub gate: Option<bool>,
    pub error_type_prefix: Option<bool>,
    pub escape_events: Option<bool>,
    /// JSON, or empty to turn it off.
    pub refuse_connect: Option<String>,
    /// JSON, or empty to turn it off.
    pub refuse_start: Option<String>,
    pub refuse_start_without_id: Option<bool>,
    /// JSON, or empty to turn it off.
    pub policy: Option<String>,
    pub normalize_paths: Option<bool>,
    /// `Some(None)`, or `null` in JSON, turns it off.
    #[serde(deserialize_with = "deserialize_present")]
    pub answer_http: Option<Option<FixedResponse>>,
    /// Ends every live subscription with an `error`. On Events, which has no such message, sends a
    /// `broadcast_error`, which does not end it.
    pub error_all: bool,
    /// Ends every live subscription with a `complete`. Does nothing on Events.
    pub complete_all: bool,
    /// Sends exactly this text as a frame on every realtime connection. If it contains `$ID`, sends one
    /// frame for each live subscription instead, in which the subscription's id replaces `$ID`.
    pub send_all: Option<String>,
    /// Closes every realtime connection, including those of the WebSocket API, with this code.
    pub close_clean: Option<u16>,
    /// Drops every realtime connection, including those of the WebSocket API, without a close frame.
    pub close_all: bool,
}

/// The reason why a change is invalid. An invalid change has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidChange {
    #[error("invalid close code {0}: use 1000 to 4999, except 1004, 1005, 1006 and 1015")]
    CloseCode(u16),
    #[error("invalid JSON in {switch}: {reason}")]
    NotJson {
        switch: &'static str,
        reason: String,
    },
    #[error("unsupported IAM policy: {0}")]
    Policy(String),
    #[error("invalid status {0}: use 200 to 599")]
    Status(u16),
    #[error("invalid header value {0:?}: remove control characters")]
    HeaderValue(String),
}

/// An action of a [`Change`] on all connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Error,
    Complete,
    Send(String),
    /// Closes them with this code.
    Close(u16),
    /// Drops them without a close frame.
    Drop,
}

/// The switches of a running emulator.
pub(super) struct Switches {
    settings: watch::Sender<Settings>,
    clock: Arc<Clock>,
}

// === impl Switches ===

impl Switches {
    pub(super) fn new(max_subscriptions: usize, clock: Arc<Clock>) -> Self {
        Self {
            settings: watch::Sender::new(Settings {
                max_subscriptions,
                escape_events: true,
                ..Settings::default()
            }),
            clock,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// Changes the settings. Returns the new settings, and the actions that the caller must perform.
    pub(super) fn apply(&self, change: &Change) -> Result<(Settings, Vec<Action>), InvalidChange> {
        change.check()?;
        self.settings.send_modify(|settings| settings.apply(change));
        let settings = self.settings();
        self.clock.set_skew(settings.clock_skew_s);
        tracing::info!(?change, "switches changed");

        Ok((settings, change.actions()))
    }

    /// Waits while the gate is closed, for at most thirty seconds.
    pub(super) async fn gate(&self) {
        let mut settings = self.settings.subscribe();
        let open = settings.wait_for(|settings| !settings.gate);
        let _ = tokio::time::timeout(GATE_TIMEOUT, open).await;
    }
}

impl fmt::Debug for Switches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Switches").field(&self.settings()).finish()
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn signature_status(&self) -> SignatureStatus {
        if self.bad_signature_as_400 {
            SignatureStatus::BadRequest
        } else {
            SignatureStatus::Forbidden
        }
    }

    /// Returns the keys that are not revoked.
    pub(super) fn accepted_keys(&self, keys: &[Key]) -> Vec<Key> {
        let is_accepted = |key: &&Key| !self.revoked_keys.contains(&key.access_key_id);
        keys.iter().filter(is_accepted).cloned().collect()
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms).min(MAX_DELAY)
    }

    pub(super) fn connect_delay(&self) -> Duration {
        Duration::from_millis(self.connect_delay_ms).min(MAX_DELAY)
    }

    fn apply(&mut self, change: &Change) {
        fn set<T>(setting: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *setting = value;
            }
        }
        set(&mut self.stop_ka, change.stop_ka);
        set(&mut self.delay_ms, change.delay_ms);
        set(&mut self.connect_delay_ms, change.connect_delay_ms);
        set(&mut self.throttle, change.throttle);
        set(&mut self.expire_keys, change.expire_keys);
        set(&mut self.revoked_keys, change.revoked_keys.clone());
        set(&mut self.revoked_as_expired, change.revoked_as_expired);
        set(&mut self.clock_skew_s, change.clock_skew_s);
        set(&mut self.refuse_connections, change.refuse_connections);
        set(&mut self.refuse_realtime, change.refuse_realtime);
        set(&mut self.no_start_ack, change.no_start_ack);
        set(&mut self.bad_signature_as_400, change.bad_signature_as_400);
        set(&mut self.max_subscriptions, change.max_subscriptions);
        set(&mut self.gate, change.gate);
        set(&mut self.error_type_prefix, change.error_type_prefix);
        set(&mut self.escape_events, change.escape_events);
        set(&mut self.refuse_connect, change.refuse_connect.clone());
        set(&mut self.refuse_start, change.refuse_start.clone());
        set(
            &mut self.refuse_start_without_id,
            change.refuse_start_without_id,
        );
        set(&mut self.policy, change.policy.clone());
        set(&mut self.normalize_paths, change.normalize_paths);
        set(&mut self.answer_http, change.answer_http.clone());
    }
}

// === impl Change ===

impl Change {
    fn check(&self) -> Result<(), InvalidChange> {
        if let Some(code) = self.close_clean
            && (!(1000..5000).contains(&code) || [1004, 1005, 1006, 1015].contains(&code))
        {
            return Err(InvalidChange::CloseCode(code));
        }
        let payloads = [
            ("refuse_connect", &self.refuse_connect),
            ("refuse_start", &self.refuse_start),
        ];
        for (switch, payload) in payloads {
            let payload = payload.as_deref().unwrap_or_default();
            if !payload.is_empty()
                && let Err(reason) = serde_json::from_str::<IgnoredAny>(payload)
            {
                let reason = reason.to_string();
                return Err(InvalidChange::NotJson { switch, reason });
            }
        }
        let policy = self.policy.as_deref().unwrap_or_default();
        if !policy.is_empty()
            && let Err(reason) = Policy::parse(policy)
        {
            return Err(InvalidChange::Policy(reason.to_string()));
        }
        match &self.answer_http {
            Some(Some(response)) => check_fixed_response(response),
            Some(None) | None => Ok(()),
        }
    }

    /// Returns the actions in the order in which they are performed.
    fn actions(&self) -> Vec<Action> {
        let send = self.send_all.clone();
        [
            self.error_all.then_some(Action::Error),
            self.complete_all.then_some(Action::Complete),
            send.map(Action::Send),
            self.close_clean.map(Action::Close),
            self.close_all.then_some(Action::Drop),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn check_fixed_response(response: &FixedResponse) -> Result<(), InvalidChange> {
    if !(200..600).contains(&response.status) {
        return Err(InvalidChange::Status(response.status));
    }
    let values = [Some(&response.content_type), response.error_type.as_ref()];
    for value in values.into_iter().flatten() {
        HeaderValue::from_str(value).map_err(|_| InvalidChange::HeaderValue(value.clone()))?;
    }
    Ok(())
}

/// Distinguishes `null` from an absent member.
fn deserialize_present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

const GATE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_DELAY: Duration = Duration::from_secs(120);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn change(json: &str) -> Change {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check_invalid(json: &str, expected: &str) {
        assert_eq!(change(json).check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn null_differs_from_an_absent_member() {
        assert_eq!(change("{}").answer_http, None);
        assert_eq!(change(r#"{"answer_http":null}"#).answer_http, Some(None));
        let response = FixedResponse {
            status: 502,
            content_type: "text/html".to_owned(),
            body: "<p>".to_owned().into(),
            error_type: None,
            only: String::new(),
        };
        let json = r#"{"answer_http":{"status":502,"content_type":"text/html","body":"<p>"}}"#;
        let on = change(json);
        assert_eq!(on.answer_http, Some(Some(response)));

        let mut settings = Settings::default();
        settings.apply(&on);
        settings.apply(&change("{}"));
        assert!(settings.answer_http.is_some());
        settings.apply(&change(r#"{"answer_http":null}"#));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn actions_are_returned_in_order_once() {
        let switches = Switches::new(7, Arc::default());
        let on = r#"{"throttle":true,"close_all":true,"close_clean":1001,"send_all":"x",
            "complete_all":true,"error_all":true}"#;
        let (settings, actions) = switches.apply(&change(on)).unwrap();
        assert!(settings.throttle);
        let expected = [
            Action::Error,
            Action::Complete,
            Action::Send("x".to_owned()),
            Action::Close(1001),
            Action::Drop,
        ];
        assert_eq!(actions, expected);
        let (settings, actions) = switches.apply(&Change::default()).unwrap();
        assert!(settings.throttle && actions.is_empty());
    }

    #[test]
    fn invalid_changes_are_rejected() {
        check_invalid(
            r#"{"refuse_connect":"{"}"#,
            "invalid JSON in refuse_connect: EOF while parsing an object at line 1 column 1",
        );
        check_invalid(
            r#"{"policy":"{}"}"#,
            "unsupported IAM policy: missing field `Version` at line 1 column 2",
        );
        let fixed = |status: u16, content_type: &str| {
            let response = serde_json::json!({
                "status": status, "content_type": content_type, "body": "",
            });
            serde_json::json!({ "answer_http": response }).to_string()
        };
        let status = "invalid status 101: use 200 to 599";
        check_invalid(&fixed(101, ""), status);
        check_invalid(
            &fixed(200, "a\n"),
            "invalid header value \"a\\n\": remove control characters",
        );
        let off = change(r#"{"refuse_connect":"","refuse_start":"","answer_http":null}"#);
        assert_eq!(off.check(), Ok(()));
    }
}
