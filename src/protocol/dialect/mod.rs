//! Client-facing protocols, one file each, without I/O and without a clock.
//!
//! A dialect takes frames and neutral events in and gives [`Output`]s out. It knows nothing of
//! AppSync's connections, of HTTP or of the other dialects. Those of a WebSocket are machines
//! behind [`Dialect`]: to add one, write its machine in a file of its own and choose it by its
//! wire token in [`websocket`]. Those of an HTTP response only frame what an operation yields.

mod close;
mod events_sse;
mod events_ws;
mod graphql_ws;
mod greeting;
mod legacy;
mod live;
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
pub use live::TOO_MANY_OPERATIONS;
pub use multipart::Multipart;
pub use payload::bad_document;
pub use sse::{SSE_CONTENT_TYPE, Sse};
pub use sse_single::{Answer, SseSingle};
pub use transport_ws::TransportWs;

use crate::events::{Publish, Subscribe};
use crate::graphql::{Event, Operation, OperationKey, Selected};

/// What the session has to do for a dialect, in order.
#[derive(Debug)]
pub enum Output {
    /// The client asks to begin, with this payload as JSON; the session accepts or closes before
    /// it hands over another frame.
    Init(Option<String>),
    /// Write this text: a frame, or bytes of a stream.
    Send(String),
    /// Run a GraphQL operation; its events come back under this key.
    Start(OperationKey, Selected, Operation),
    /// Subscribe to an Events channel; its events come back under this key.
    Subscribe(OperationKey, Subscribe),
    /// Publish to an Events channel, after what was published before on this socket.
    Publish(OperationKey, Publish),
    /// The client wants no more of an operation.
    Stop(OperationKey),
    /// End the socket or stream; nothing comes after it.
    Close(Close),
}

/// How much one socket may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub subscriptions: usize,
    /// Queries, mutations and publishes.
    pub operations: usize,
}

/// Times of a WebSocket dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the socket's opening to its `connection_init`.
    pub init: Duration,
    /// Between two messages that keep a client content.
    pub keepalive: Duration,
}

/// The server's side of one client WebSocket.
pub trait Dialect: std::fmt::Debug + Send {
    /// A text message of the client.
    fn handle_text(&mut self, now: Instant, text: &str);

    /// Returns how many operations were refused with [`TOO_MANY_OPERATIONS`] since the last call.
    fn take_refusals(&mut self) -> u64;

    /// A binary message.
    fn handle_binary(&mut self);

    /// Accepts the client; the answer to [`Output::Init`].
    fn accept(&mut self, now: Instant);

    /// An event of a running operation. Whatever comes for another is dropped, and so is the end
    /// of one whose client has stopped it.
    fn handle_event(&mut self, key: OperationKey, event: &Event);

    /// From now on no operation is started; the client will send it again after the close.
    fn begin_closing(&mut self);

    /// Ends the socket. The code says whether the client shall come back.
    fn close(&mut self, close: Close);

    fn poll_timeout(&self) -> Option<Instant>;

    fn handle_timeout(&mut self, now: Instant);

    fn poll_output(&mut self) -> Option<Output>;
}

/// The server's side of one HTTP response that lasts.
pub trait Streamed: std::fmt::Debug + Send {
    /// The response's `Content-Type`.
    fn content_type(&self) -> &'static str;

    /// The response has begun.
    fn open(&mut self);

    /// An event of an operation that runs on this stream.
    fn handle_event(&mut self, key: OperationKey, event: &Event);

    /// Something that means nothing, so that client and proxies between keep the stream.
    fn heartbeat(&mut self);

    /// Ends the stream because what it carried is gone.
    fn lose(&mut self, reason: &'static str);

    /// Output after [`Output::Close`] is lost; a close other than [`Close::NORMAL`] cuts the
    /// response off.
    fn poll_output(&mut self) -> Option<Output>;
}

/// The wire tokens of GraphQL sockets, the preferred one first.
pub const GRAPHQL_PROTOCOLS: [&str; 2] = [TransportWs::NAME, GraphqlWs::NAME];

/// The wire token of AppSync Events.
pub const EVENTS_PROTOCOLS: [&str; 1] = [EventsWs::NAME];

/// The machine for a wire token, or one that closes with the code for unknown tokens.
pub fn websocket(
    protocol: Option<&str>,
    now: Instant,
    times: Times,
    limits: Limits,
) -> Box<dyn Dialect> {
    match protocol {
        Some(GraphqlWs::NAME) => Box::new(GraphqlWs::new(now, times, limits)),
        Some(EventsWs::NAME) => Box::new(EventsWs::new(now, times, limits)),
        Some(_) | None => {
            let mut machine = TransportWs::new(now, times, limits);
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
