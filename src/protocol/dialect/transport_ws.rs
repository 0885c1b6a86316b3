//! `graphql-transport-ws`, the protocol of npm's graphql-ws and of most current clients.
//!
//! Source: enisdenjo/graphql-ws, PROTOCOL.md. Where it is not specific, the machine meets the
//! requirements of the strictest known client: exactly one acknowledgement, no message after an operation's end, no `complete`
//! after `error`, no message for an unknown id.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::value::RawValue;

use super::active_operations::{ActiveOperations, MAX_ID};
use super::connection_state::message;
use super::message::{Message, StringError};
use super::payload::{
    PayloadError, bad_message, errors, event_frame, frame, is_object_or_none, operation,
    shared_result,
};
use super::{Close, Dialect, Limits, Output, Times};
use crate::graphql::{Documents, Event, GraphqlError, OperationKey};

/// The server side of one socket.
#[derive(Debug)]
pub struct TransportWs {
    phase: Phase,
    active: ActiveOperations,
    out: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for `connection_init`.
    Opened {
        deadline: Instant,
    },
    /// The session decides whether to accept the client.
    Initialising,
    Ready,
    /// A close will follow: new operations are not accepted, running ones may finish.
    Closing,
    Closed,
}

impl TransportWs {
    /// The subprotocol's name.
    pub const NAME: &str = "graphql-transport-ws";

    pub fn new(now: Instant, times: Times, limits: Limits, documents: Documents) -> Self {
        Self {
            phase: Phase::Opened {
                deadline: now + times.init,
            },
            active: ActiveOperations::new(limits, documents),
            out: VecDeque::new(),
        }
    }

    fn init(&mut self, payload: Option<&RawValue>) {
        match self.phase {
            Phase::Opened { .. } => {
                self.phase = Phase::Initialising;
                let payload = payload.map(|raw| raw.get().to_owned());
                self.out.push_back(Output::Init(payload));
            }
            Phase::Initialising | Phase::Ready => {
                let reason = "Too many initialisation requests";
                self.close(Close::new(Close::SECOND_INIT, reason));
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    fn pong(&mut self, payload: Option<&RawValue>) {
        let frame = match payload.filter(|raw| raw.get() != "null") {
            Some(raw) => format!(r#"{{"type":"pong","payload":{}}}"#, raw.get()),
            None => r#"{"type":"pong"}"#.to_owned(),
        };
        self.send(frame);
    }

    fn subscribe(&mut self, frame: &Message<'_>) {
        let id = match frame.string_id() {
            Ok(Some(id)) => Some(id),
            Ok(None) => return self.invalid("subscribe needs an id, a non-empty string"),
            Err(StringError::Type) => return self.invalid("id must be a string"),
            Err(StringError::Escape) => None,
        };
        let is_long = id.as_ref().map(|id| id.len() > MAX_ID);
        if is_long.unwrap_or_else(|| frame.has_long_id()) {
            return self.invalid(&format!("the id is longer than {MAX_ID} bytes"));
        }
        let operation = match operation(frame.payload) {
            Err(PayloadError::Malformed(reason)) => return self.invalid(&reason),
            operation => operation,
        };
        match self.phase {
            Phase::Ready => {}
            Phase::Closing | Phase::Closed => return,
            Phase::Opened { .. } | Phase::Initialising => {
                return self.close(Close::new(Close::UNAUTHORIZED, "Unauthorized"));
            }
        }
        let Some(id) = id else {
            let error = bad_message(format!("id {}", StringError::Escape));
            let payload = errors(&[error]);
            return self.send(message(frame.id(), "error", Some(&payload)));
        };
        if self.active.key(&id).is_some() {
            let reason = format!("Subscriber for {id} already exists");
            return self.close(Close::new(Close::DUPLICATE_ID, reason));
        }
        let started = match operation {
            Ok(operation) => self.active.start(&id, operation),
            Err(error) => Err(bad_message(error)),
        };
        match started {
            Ok((key, selected, inspected)) => {
                self.out.push_back(Output::Start(key, selected, inspected));
            }
            Err(error) => self.refuse(&id, error),
        }
    }

    fn complete(&mut self, frame: &Message<'_>) {
        let id = match frame.string_id() {
            Ok(Some(id)) => id,
            Ok(None) => return self.invalid("complete needs an id, a non-empty string"),
            Err(StringError::Type) => return self.invalid("id must be a string"),
            // No operation has this id.
            Err(StringError::Escape) => return,
        };
        if let Some(key) = self.active.key(&id) {
            self.active.remove(key);
            self.out.push_back(Output::Stop(key));
        }
    }

    fn refuse(&mut self, id: &str, error: GraphqlError) {
        self.send(frame(id, "error", Some(&errors(&[error]))));
    }

    fn invalid(&mut self, reason: &str) {
        let reason = format!("Invalid message received: {reason}");
        self.close(Close::new(Close::INVALID_MESSAGE, reason));
    }

    fn send(&mut self, frame: String) {
        self.out.push_back(Output::Send(frame));
    }
}

impl Dialect for TransportWs {
    fn handle_text(&mut self, _now: Instant, text: &str) {
        if self.phase == Phase::Closed {
            return;
        }
        let frame = match Message::parse(text) {
            Ok(frame) => frame,
            Err(error) => return self.invalid(&error.to_string()),
        };
        match frame.message_type.as_str() {
            "connection_init" if is_object_or_none(frame.payload) => self.init(frame.payload),
            "ping" if is_object_or_none(frame.payload) => self.pong(frame.payload),
            "pong" if is_object_or_none(frame.payload) => {}
            "connection_init" | "ping" | "pong" => self.invalid("payload must be an object"),
            "subscribe" => self.subscribe(&frame),
            "complete" => self.complete(&frame),
            _ => self.invalid("unknown type"),
        }
    }

    fn take_refusals(&mut self) -> u64 {
        self.active.take_refusals()
    }

    fn handle_binary(&mut self) {
        self.invalid("binary message");
    }

    fn accept(&mut self, _now: Instant) {
        if self.phase == Phase::Initialising {
            self.phase = Phase::Ready;
            self.send(r#"{"type":"connection_ack"}"#.to_owned());
        }
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(id) = self.active.id(key).filter(|_| self.phase != Phase::Closed) else {
            return;
        };
        match event {
            Event::Next(json) => {
                let frame = event_frame(id, "next", shared_result(json));
                self.out.push_back(Output::SendEvent(frame));
            }
            Event::Error(list) => {
                let frame = frame(id, "error", Some(&errors(list)));
                self.active.remove(key);
                self.send(frame);
            }
            Event::Complete => {
                let frame = frame(id, "complete", None);
                self.active.remove(key);
                self.send(frame);
            }
            // The protocol has no messages for these events; a loss is reported by the session's
            // close.
            Event::Started | Event::Missed(_) | Event::Lost => {}
        }
    }

    fn begin_closing(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closing;
        }
    }

    fn close(&mut self, close: Close) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.out.push_back(Output::Close(close));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opened { deadline } => Some(deadline),
            Phase::Initialising | Phase::Ready | Phase::Closing | Phase::Closed => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let reason = "Connection initialisation timeout";
            self.close(Close::new(Close::INIT_TIMEOUT, reason));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

#[cfg(test)]
mod tests;
