//! Faults that tests turn on: what AppSync does on a bad day.
//!
//! [`Settings`] is a state that lasts until it is changed; the actions of a [`Change`] happen once.
//! The control listener takes the same [`Change`] as JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::clock::Clock;
use super::hub::Hub;
use super::refusal::SignatureStatus;

/// The state of all lasting switches. Everything is off at the start, but for `escape_events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// No keepalive frames.
    pub stop_ka: bool,
    /// Every HTTP answer comes this much later. At most two minutes.
    pub delay_ms: u64,
    /// Every answer to a realtime upgrade comes this much later. At most two minutes.
    pub connect_delay_ms: u64,
    /// Every `start` is answered by an id-less `LimitExceededError`, every signed message of Events
    /// by one with its id, every HTTP request by 429 `ThrottlingException`.
    pub throttle: bool,
    /// Every key has expired.
    pub expire_keys: bool,
    /// The emulator's clock runs ahead by this.
    pub clock_skew_s: i64,
    /// TCP connections are accepted and dropped at once.
    pub refuse_connections: bool,
    /// Realtime upgrades are answered by 503.
    pub refuse_realtime: bool,
    /// An accepted `start` or `subscribe` is not acknowledged; its data comes nevertheless.
    pub no_start_ack: bool,
    /// Over HTTP, 400 and `BadRequestException` instead of 403 and `InvalidSignatureException`.
    pub bad_signature_as_400: bool,
    /// Subscriptions that one connection may hold.
    pub max_subscriptions: usize,
    /// `slowPost` and `slow` wait until this is off, at most thirty seconds.
    pub gate: bool,
    /// Error types of `connection_error` have the older prefix
    /// `com.amazonaws.deepdish.graphql.auth#`.
    pub error_type_prefix: bool,
    /// On at the start, since it is the strict reading. A realtime `publish` is judged by its channel
    /// and events written anew, with `<`, `>`, `&`, U+2028 and U+2029 as `\u003c` and so on: one that
    /// holds such a character and was signed as it is does not match.
    pub escape_events: bool,
}

/// What to change in the [`Settings`], and what to do once. Absent means unchanged.
///
/// As JSON, unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    pub stop_ka: Option<bool>,
    pub delay_ms: Option<u64>,
    pub connect_delay_ms: Option<u64>,
    pub throttle: Option<bool>,
    pub expire_keys: Option<bool>,
    pub clock_skew_s: Option<i64>,
    pub refuse_connections: Option<bool>,
    pub refuse_realtime: Option<bool>,
    pub no_start_ack: Option<bool>,
    pub bad_signature_as_400: Option<bool>,
    pub max_subscriptions: Option<usize>,
    pub gate: Option<bool>,
    pub error_type_prefix: Option<bool>,
    pub escape_events: Option<bool>,
    /// An `error` for every live subscription, which ends it. On Events, where there is none, a
    /// `broadcast_error`, which does not.
    pub error_all: bool,
    /// A `complete` for every live subscription, which ends it. Nothing on Events.
    pub complete_all: bool,
    /// A close frame with this code on every realtime connection.
    pub close_clean: Option<u16>,
    /// Every realtime connection is dropped without a close frame.
    pub close_all: bool,
}

/// A change that makes no sense; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0} is not a close code that may be sent")]
pub struct InvalidCloseCode(pub u16);

/// Reads and turns the switches of a running emulator.
pub struct Switches {
    settings: watch::Sender<Settings>,
    clock: Arc<Clock>,
    hub: Arc<Hub>,
}

// === impl Switches ===

impl Switches {
    pub(super) fn new(max_subscriptions: usize, clock: Arc<Clock>, hub: Arc<Hub>) -> Self {
        Self {
            settings: watch::Sender::new(Settings {
                max_subscriptions,
                escape_events: true,
                ..Settings::default()
            }),
            clock,
            hub,
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// Applies a change, first the settings and then the actions, and returns the settings that
    /// hold now.
    pub fn apply(&self, change: &Change) -> Result<Settings, InvalidCloseCode> {
        if let Some(code) = change.close_clean
            && (!(1000..5000).contains(&code) || [1004, 1005, 1006, 1015].contains(&code))
        {
            return Err(InvalidCloseCode(code));
        }
        self.settings.send_modify(|settings| settings.take(change));
        let settings = self.settings();
        self.clock.set_skew(settings.clock_skew_s);
        tracing::info!(?change, "switched");

        if change.error_all {
            self.hub.error_all();
        }
        if change.complete_all {
            self.hub.complete_all();
        }
        if let Some(code) = change.close_clean {
            self.hub.close_all(code);
        }
        if change.close_all {
            self.hub.drop_all();
        }
        Ok(settings)
    }

    /// Waits while the gate is shut, at most thirty seconds.
    pub(super) async fn gate(&self) {
        let mut settings = self.settings.subscribe();
        let open = settings.wait_for(|settings| !settings.gate);
        let _ = tokio::time::timeout(GATE, open).await;
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

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms).min(LONGEST_DELAY)
    }

    pub(super) fn connect_delay(&self) -> Duration {
        Duration::from_millis(self.connect_delay_ms).min(LONGEST_DELAY)
    }

    fn take(&mut self, change: &Change) {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut self.stop_ka, change.stop_ka);
        set(&mut self.delay_ms, change.delay_ms);
        set(&mut self.connect_delay_ms, change.connect_delay_ms);
        set(&mut self.throttle, change.throttle);
        set(&mut self.expire_keys, change.expire_keys);
        set(&mut self.clock_skew_s, change.clock_skew_s);
        set(&mut self.refuse_connections, change.refuse_connections);
        set(&mut self.refuse_realtime, change.refuse_realtime);
        set(&mut self.no_start_ack, change.no_start_ack);
        set(&mut self.bad_signature_as_400, change.bad_signature_as_400);
        set(&mut self.max_subscriptions, change.max_subscriptions);
        set(&mut self.gate, change.gate);
        set(&mut self.error_type_prefix, change.error_type_prefix);
        set(&mut self.escape_events, change.escape_events);
    }
}

const GATE: Duration = Duration::from_secs(30);
const LONGEST_DELAY: Duration = Duration::from_secs(120);
