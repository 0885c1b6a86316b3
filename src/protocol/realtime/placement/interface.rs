//! The inputs and outputs of the placement machine.

use std::time::Duration;

use crate::graphql::{Event, GraphqlError};
use crate::realtime::connection::Key;

/// Identifies the client socket or stream whose subscriptions belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// Identifies a connection of the pool; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What happens to the subscriptions of a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// They end, and their sessions close with a retryable code, so that clients know of the gap.
    Close,
    /// They start again on a new connection, and the gap is reported.
    Resume,
}

/// Whether a new client can expect a subscription to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Up,
    /// The latest attempt to connect failed.
    Down,
}

/// Whether AppSync may accept a connection that it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A retry would fail, too.
    Permanent,
    /// The reason may pass: the credentials have expired, or none are available.
    Transient,
    /// The credentials or the correction of the clock were replaced because of it, so a retry at once
    /// may succeed.
    Renewed,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionEnd {
    /// It had no subscriptions for the linger time.
    Idle,
    /// It was open and failed, for this reason.
    Lost(&'static str),
    /// It was open, and a panic ended its driver.
    Panicked,
    /// AppSync refused it, or it could not be signed.
    Refused(Refusal, Vec<GraphqlError>),
    /// It could not be opened. A retry may succeed.
    Unreachable(GraphqlError),
}

/// Why a subscription ended.
#[derive(Clone, Debug)]
pub enum SubscriptionEnd {
    /// The upstream ended this subscription.
    Upstream(Event),
    /// Its client reads too slowly.
    Overflow,
    /// Its connection was lost.
    Lost,
    /// Its connection was refused.
    Refused(Vec<GraphqlError>),
    /// No connection could be opened for it.
    Unreachable(GraphqlError),
    /// Its connection was lost, and it was not live again within its patience. The cause is the latest
    /// error, if one is known.
    NotResumed {
        patience: Duration,
        cause: Option<GraphqlError>,
    },
    /// AppSync rejected it on each connection that it was moved to.
    Full,
    /// All connections are full, and no more connections may be opened.
    TooManyConnections,
}

/// The actions that the pool must perform, in order.
#[derive(Clone, Debug)]
pub enum Output<T> {
    /// Open a connection.
    Connect(ConnectionId),
    /// Start a subscription on a connection. If the driver accepts no command, call
    /// `handle_rejected`.
    Subscribe(ConnectionId, Key, T),
    /// Stop a subscription that its session has released.
    Stop(ConnectionId, Key),
    /// This many live subscriptions of a lost connection wait for another one and may miss events.
    Gap(usize),
    /// Report the end to the subscription's session.
    End(T, SubscriptionEnd),
}

/// The phase of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionPhase {
    /// It waits for a connection.
    Waiting,
    /// It is on a connection and not acknowledged yet.
    Starting,
    /// The upstream has acknowledged it.
    Live,
    /// Its session has released it, or its end was reported. It occupies a slot of its connection
    /// until the upstream confirms the stop.
    Stopping,
}
