//! `graphql-ws`, the name of two protocols: the one of subscriptions-transport-ws ([`Legacy`])
//! and AppSync's own ([`Native`]).
//!
//! The subprotocols that a client offers at the handshake do not always distinguish them; its first
//! `start` does: AppSync's contains a `data` string. Until then the machine does only what both
//! protocols share.

use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::active_operations::ActiveOperations;
use super::connection_state::{ConnectionState, MessageFormat};
use super::legacy::{Legacy, reject_message};
use super::message::{Message, MessageError};
use super::native::Native;
use super::{Close, Dialect, Limits, Output, Times};
use crate::graphql::{Documents, Event, OperationKey};

/// The server side of one socket.
#[derive(Debug)]
pub struct GraphqlWs {
    connection: ConnectionState,
    active: ActiveOperations,
    /// `None` until the first `start`.
    protocol: Option<GraphqlWsProtocol>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GraphqlWsProtocol {
    Legacy,
    Native,
}

impl GraphqlWs {
    /// The subprotocol's name.
    pub const NAME: &str = "graphql-ws";

    pub fn new(now: Instant, times: Times, limits: Limits, documents: Documents) -> Self {
        let connection = ConnectionState::new(times.keepalive, MessageFormat::Payload)
            .with_init_deadline(now + times.init);
        Self {
            connection,
            active: ActiveOperations::new(limits, documents),
            protocol: None,
        }
    }

    /// Creates a machine that has selected its protocol, without a deadline for the init message.
    #[cfg(test)]
    pub(super) fn with_protocol(protocol: GraphqlWsProtocol, times: Times, limits: Limits) -> Self {
        Self {
            connection: ConnectionState::new(times.keepalive, MessageFormat::Payload),
            active: ActiveOperations::new(limits, Documents::default()),
            protocol: Some(protocol),
        }
    }

    fn legacy(&mut self) -> Legacy<'_> {
        Legacy {
            connection: &mut self.connection,
            active: &mut self.active,
        }
    }

    fn native(&mut self) -> Native<'_> {
        Native {
            connection: &mut self.connection,
            active: &mut self.active,
        }
    }

    /// Handles a message before the first `start`. Returns the protocol that a `start` selects.
    fn select(&mut self, message: Result<&Message<'_>, MessageError>) -> Option<GraphqlWsProtocol> {
        let payload = message.ok().and_then(|message| message.payload);
        match message.map(|message| message.message_type.as_str()) {
            Ok("start") => {
                return Some(if payload.is_some_and(has_data) {
                    GraphqlWsProtocol::Native
                } else {
                    GraphqlWsProtocol::Legacy
                });
            }
            Ok("connection_init") => self.connection.init(payload),
            Ok("connection_terminate") => self.connection.close(Close::new(Close::NORMAL, "")),
            Ok("ping" | "pong" | "stop") => {}
            Ok(_) | Err(_) => reject_message(&mut self.connection, message),
        }
        None
    }
}

impl Dialect for GraphqlWs {
    fn handle_text(&mut self, _now: Instant, text: &str) {
        if self.connection.is_closed() {
            return;
        }
        let parsed = Message::parse(text);
        let message = parsed.as_ref().map_err(|error| *error);
        if self.protocol.is_none() {
            self.protocol = self.select(message);
        }
        match self.protocol {
            Some(GraphqlWsProtocol::Legacy) => self.legacy().handle(message),
            Some(GraphqlWsProtocol::Native) => self.native().handle(message),
            None => {}
        }
    }

    fn take_refusals(&mut self) -> u64 {
        self.active.take_refusals()
    }

    fn handle_binary(&mut self) {
        let reason = "Invalid message received: binary message";
        self.close(Close::new(Close::INVALID_MESSAGE, reason));
    }

    fn accept(&mut self, now: Instant) {
        self.connection.accept(now);
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        match self.protocol {
            Some(GraphqlWsProtocol::Legacy) => self.legacy().handle_event(key, event),
            Some(GraphqlWsProtocol::Native) => self.native().handle_event(key, event),
            None => {}
        }
    }

    fn begin_closing(&mut self) {
        self.connection.begin_closing();
    }

    fn close(&mut self, close: Close) {
        self.connection.close(close);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.connection.poll_output()
    }
}

/// Returns whether the payload of a `start` has AppSync's form.
fn has_data(payload: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct StartPayload {
        #[serde(default)]
        data: Option<serde::de::IgnoredAny>,
    }
    let payload: Result<StartPayload, _> = serde_json::from_str(payload.get());
    payload.is_ok_and(|payload| payload.data.is_some())
}

#[cfg(test)]
mod tests;
