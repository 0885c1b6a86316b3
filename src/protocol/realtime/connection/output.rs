//! The outputs of a connection's machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::error::Category;

use crate::graphql::Event;
use crate::realtime::Start;
use crate::realtime::failure::Failure;

/// Identifies a subscription, also after it has moved to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// The actions that the driver must perform, in order. Frames to write are returned separately.
#[derive(Debug)]
pub enum Output {
    /// Sign this start, and pass the result to `handle_signed`.
    Sign(Key, Arc<Start>),
    /// AppSync has rejected the signature of a start, which was made at `signed_at`. Renew the credentials
    /// or correct the clock, sign the start again, and pass the result to `handle_signed`.
    Renew {
        key: Key,
        start: Arc<Start>,
        signed_at: Instant,
        failures: Vec<Failure>,
    },
    /// AppSync has acknowledged the subscription. Its start was signed at `signed_at`, and acknowledged
    /// this long afterwards.
    Started {
        key: Key,
        signed_at: Instant,
        took: Duration,
    },
    /// Deliver an event, which does not end the subscription.
    Event(Key, Event),
    /// The upstream has ended the subscription, which the machine has removed.
    Ended(Key, Event),
    /// The subscription could not be started, for a reason that may pass. The machine has removed it.
    /// The event ends it, unless it is started again.
    Interrupted(Key, Event),
    /// The same, because AppSync did not answer. Another connection may be answered.
    Unanswered(Key, Event),
    /// AppSync has confirmed a stop, or has failed to do so in time. The machine has removed the
    /// subscription.
    Released(Key),
    /// AppSync takes no more subscriptions on this connection. This one may start on another.
    Full(Key),
    /// AppSync has acknowledged the connection.
    Ready,
    /// AppSync has refused the connection. No output follows.
    Refused(Vec<Failure>),
    /// The connection has failed, for this reason. No output follows.
    Lost(&'static str),
}

/// Why a frame was ignored, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is not a message of the protocol. The parser's error is left out: it quotes the frame.
    Malformed(Category),
    /// Its `type` is unknown.
    UnknownType(String),
}
