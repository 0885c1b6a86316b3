//! Client-facing protocols, one file each, without I/O and without a clock.
//!
//! A dialect converts frames and neutral events to [`Output`]s. It is independent of AppSync's
//! connections, of HTTP and of the other dialects. Dialects of a WebSocket are machines behind
//! [`Dialect`]: to add one, write its machine in a separate file and select it by its wire token in
//! [`websocket`]. Dialects of an HTTP response only frame the events of an operation.

mod active_operations;
mod close;
mod connection_state;
mod events_sse;
mod events_ws;
mod graphql_ws;
mod legacy;
mod message;
mod multipart;
mod native;
mod payload;
mod sse;
mod sse_single;
mod transport_ws;

use std::time::{Duration, Instant};

pub use close::Close;
pub use events_sse::EventsSse;
pub use events_ws::EventsWs;
pub use graphql_ws::GraphqlWs;
pub use multipart::Multipart;
pub use payload::bad_document;
pub use sse::{SSE_CONTENT_TYPE, Sse};
pub use sse_single::{SseSingle, StreamRequest, StreamResponse};
pub use transport_ws::TransportWs;

use crate::events::{Publish, Subscribe};
use crate::graphql::{Documents, Event, Inspected, Json, OperationKey, SelectedOperation};

/// The actions that the session must perform for a dialect, in order.
#[derive(Debug)]
pub enum Output {
    /// The client sent its init message, with this payload as JSON; the session accepts or closes
    /// before it passes on another frame.
    Init(Option<String>),
    /// Write this text: a frame, or bytes of a stream.
    Send(String),
    /// Write this frame. Only sockets have such frames.
    SendEvent(EventFrame),
    /// Run a GraphQL operation; its events come back under this key.
    Start(OperationKey, SelectedOperation, Box<Inspected>),
    /// Subscribe to an Events channel; its events come back under this key.
    Subscribe(OperationKey, Subscribe),
    /// Publish to an Events channel, after earlier publishes of this socket.
    Publish(OperationKey, Publish),
    /// The client has stopped an operation.
    Stop(OperationKey),
    /// End the socket or stream; no output follows.
    Close(Close),
}

/// The text of a frame that contains the payload of an event, which it shares with the events of other
/// clients.
#[derive(Debug)]
pub struct EventFrame {
    pub head: String,
    pub payload: Json,
    pub tail: &'static str,
}

/// The limits of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub subscriptions: usize,
    /// Queries, mutations and publishes.
    pub operations: usize,
}

/// Times of a WebSocket dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the opening of the socket to its `connection_init`.
    pub init: Duration,
    /// Between two keepalive messages.
    pub keepalive: Duration,
}

/// The server side of one client WebSocket.
pub trait Dialect: std::fmt::Debug + Send {
    /// Handles a text message of the client.
    fn handle_text(&mut self, now: Instant, text: &str);

    /// Returns how many operations were rejected with `TOO_MANY_OPERATIONS` since the last call.
    fn take_refusals(&mut self) -> u64;

    /// Handles a binary message.
    fn handle_binary(&mut self);

    /// Accepts the client, in response to [`Output::Init`].
    fn accept(&mut self, now: Instant);

    /// Handles an event of a running operation. Events of other operations are dropped, and so is
    /// the end of an operation that its client has stopped.
    fn handle_event(&mut self, key: OperationKey, event: &Event);

    /// Ignores new operations from now on. The client sends them again after the close.
    fn begin_closing(&mut self);

    /// Ends the socket. The code determines whether the client reconnects.
    fn close(&mut self, close: Close);

    fn poll_timeout(&self) -> Option<Instant>;

    fn handle_timeout(&mut self, now: Instant);

    fn poll_output(&mut self) -> Option<Output>;
}

/// The server side of one long-lived HTTP response.
pub trait StreamDialect: std::fmt::Debug + Send {
    /// Returns the response's `Content-Type`.
    fn content_type(&self) -> &'static str;

    /// Handles the start of the response.
    fn open(&mut self);

    /// Handles an event of an operation on this stream.
    fn handle_event(&mut self, key: OperationKey, event: &Event);

    /// Writes data without a meaning, so that client and proxies keep the stream open.
    fn heartbeat(&mut self);

    /// Ends the stream because its subscription was lost.
    fn lose(&mut self, reason: &'static str);

    /// Output after [`Output::Close`] is discarded; a close other than [`Close::NORMAL`] interrupts
    /// the response.
    fn poll_output(&mut self) -> Option<Output>;
}

impl From<EventFrame> for String {
    /// Copies the payload.
    fn from(frame: EventFrame) -> Self {
        let EventFrame {
            mut head,
            payload,
            tail,
        } = frame;
        head.push_str(payload.as_str());
        head.push_str(tail);
        head
    }
}

/// The wire tokens of GraphQL sockets, the preferred one first.
pub const GRAPHQL_PROTOCOLS: [&str; 2] = [TransportWs::NAME, GraphqlWs::NAME];

/// The wire token of AppSync Events.
pub const EVENTS_PROTOCOLS: [&str; 1] = [EventsWs::NAME];

/// Returns the machine for a wire token, or one that closes with the code for unknown tokens.
pub fn websocket(
    protocol: Option<&str>,
    now: Instant,
    times: Times,
    limits: Limits,
    documents: Documents,
) -> Box<dyn Dialect> {
    match protocol {
        Some(GraphqlWs::NAME) => Box::new(GraphqlWs::new(now, times, limits, documents)),
        Some(EventsWs::NAME) => Box::new(EventsWs::new(now, times, limits)),
        Some(_) | None => {
            let mut machine = TransportWs::new(now, times, limits, documents);
            if protocol != Some(TransportWs::NAME) {
                let reason = "Subprotocol not acceptable: offer graphql-transport-ws or graphql-ws, \
                              or aws-appsync-event-ws on an Events route";
                machine.close(Close::new(Close::BAD_SUBPROTOCOL, reason));
            }
            Box::new(machine)
        }
    }
}

#[cfg(test)]
mod transcripts;
