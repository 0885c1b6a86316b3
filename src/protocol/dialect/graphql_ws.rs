//! `graphql-ws`, the name of two protocols: the one of subscriptions-transport-ws ([`Legacy`])
//! and AppSync's own ([`Native`]).
//!
//! The subprotocols that a client offers at the handshake do not always distinguish them; its first
//! `start` does: AppSync's contains a `data` string. Until then the machine does only what both
//! protocols share.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection_state::{ConnectionState, Message, MessageFormat};
use super::legacy::{Legacy, reject_message};
use super::native::Native;
use super::{Close, Dialect, Limits, Output, Times};
use crate::graphql::{Documents, Event, OperationKey, read_object};

/// The server side of one socket.
#[derive(Debug)]
pub struct GraphqlWs {
    stage: Stage,
    limits: Limits,
    documents: Documents,
}

#[derive(Debug)]
enum Stage {
    Undecided(ConnectionState),
    Decided(Box<dyn Dialect>),
}

impl GraphqlWs {
    /// The subprotocol's name.
    pub const NAME: &str = "graphql-ws";

    pub fn new(now: Instant, times: Times, limits: Limits, documents: Documents) -> Self {
        let connection = ConnectionState::new(times.keepalive, MessageFormat::Payload)
            .with_init_deadline(now + times.init);
        Self {
            stage: Stage::Undecided(connection),
            limits,
            documents,
        }
    }
}

impl Dialect for GraphqlWs {
    fn handle_text(&mut self, now: Instant, text: &str) {
        if let Stage::Undecided(connection) = &mut self.stage {
            let message: Option<Message<'_>> = read_object(text);
            if connection.is_closed() {
                return;
            }
            match message
                .as_ref()
                .map(|message| message.message_type.as_str())
            {
                Some("start") => {}
                Some("connection_init") => {
                    return connection.init(message.and_then(|message| message.payload));
                }
                Some("connection_terminate") => {
                    return connection.close(Close::new(Close::NORMAL, ""));
                }
                Some("ping" | "pong" | "stop") => return,
                Some(_) | None => return reject_message(connection, message.as_ref()),
            }
            let empty = ConnectionState::new(Duration::MAX, MessageFormat::Payload);
            let connection = std::mem::replace(connection, empty);
            let payload = message.and_then(|message| message.payload);
            let is_native = payload.is_some_and(has_data);
            let documents = self.documents.clone();
            self.stage = Stage::Decided(if is_native {
                Box::new(Native::new(connection, self.limits, documents))
            } else {
                Box::new(Legacy::new(connection, self.limits, documents))
            });
        }
        if let Stage::Decided(dialect) = &mut self.stage {
            dialect.handle_text(now, text);
        }
    }

    fn take_refusals(&mut self) -> u64 {
        match &mut self.stage {
            Stage::Undecided(_) => 0,
            Stage::Decided(dialect) => dialect.take_refusals(),
        }
    }

    fn handle_binary(&mut self) {
        let reason = "Invalid message received: binary message";
        self.close(Close::new(Close::INVALID_MESSAGE, reason));
    }

    fn accept(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Undecided(connection) => connection.accept(now),
            Stage::Decided(dialect) => dialect.accept(now),
        }
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        match &mut self.stage {
            Stage::Undecided(_) => {}
            Stage::Decided(dialect) => dialect.handle_event(key, event),
        }
    }

    fn begin_closing(&mut self) {
        match &mut self.stage {
            Stage::Undecided(connection) => connection.begin_closing(),
            Stage::Decided(dialect) => dialect.begin_closing(),
        }
    }

    fn close(&mut self, close: Close) {
        match &mut self.stage {
            Stage::Undecided(connection) => connection.close(close),
            Stage::Decided(dialect) => dialect.close(close),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Undecided(connection) => connection.poll_timeout(),
            Stage::Decided(dialect) => dialect.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Undecided(connection) => connection.handle_timeout(now),
            Stage::Decided(dialect) => dialect.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        match &mut self.stage {
            Stage::Undecided(connection) => connection.poll_output(),
            Stage::Decided(dialect) => dialect.poll_output(),
        }
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
