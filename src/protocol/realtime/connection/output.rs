//! The outputs of a connection's machine.

use std::sync::Arc;
use std::time::Duration;

use serde_json::error::Category;

use crate::graphql::Event;
use crate::realtime::Start;
use crate::realtime::failure::Failure;

/// Names a subscription of ours on every connection it is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What the driver has to do, in order; frames to write come from [`Connection::poll_frame`].
#[derive(Debug)]
pub enum Output {
    /// Sign this start and give the result to [`Connection::handle_signed`].
    Sign(Key, Arc<Start>),
    /// AppSync has acknowledged the subscription, so long after its start was signed.
    Started(Key, Duration),
    /// Hand an event that does not end the subscription to its session.
    Event(Key, Event),
    /// Hand the ending to the session; the machine has forgotten the subscription.
    Ended(Key, Event),
    /// A stopped subscription is gone upstream too.
    Released(Key),
    /// This connection takes no more; the subscription may start on another.
    Full(Key),
    /// AppSync has acknowledged the connection.
    Ready,
    /// AppSync has refused the connection. Nothing more comes.
    Refused(Vec<Failure>),
    /// The connection is of no more use. Nothing more comes.
    Lost(&'static str),
}

/// A frame that the machine has ignored, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is not a frame of the protocol. The error's own text would quote it.
    Malformed(Category),
    UnknownType(String),
}
