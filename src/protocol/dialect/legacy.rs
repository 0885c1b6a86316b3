//! The protocol of subscriptions-transport-ws, whose wire token is `graphql-ws`.
//!
//! Source: apollographql/subscriptions-transport-ws, PROTOCOL.md, and the behaviour of its server
//! where the text leaves it open: operations may start before the acknowledgement, reusing an active id
//! restarts the operation, and errors are reported in messages while the socket stays open.

use serde_json::{Value, json};

use super::active_operations::{ActiveOperations, MAX_ID};
use super::connection_state::{ConnectionState, event_message, message};
use super::message::{Message, MessageError, StringError};
use super::payload::{bad_message, operation, shared_result};
use super::{Close, Output};
use crate::graphql::{Event, GraphqlError, OperationKey};

/// The operations of one socket in this protocol.
pub(super) struct Legacy<'a> {
    pub(super) connection: &'a mut ConnectionState,
    pub(super) active: &'a mut ActiveOperations,
}

impl Legacy<'_> {
    /// Handles a message, or the error of a malformed one.
    pub(super) fn handle(&mut self, frame: Result<&Message<'_>, MessageError>) {
        let Ok(frame) = frame else {
            return reject_message(self.connection, frame);
        };
        match frame.message_type.as_str() {
            "connection_init" => self.connection.init(frame.payload),
            "start" => self.start(frame),
            "stop" => {
                let id = frame.id().unwrap_or_default();
                if let Some(key) = self.active.key(id) {
                    self.stop(key, id);
                }
            }
            "connection_terminate" => self.connection.close(Close::new(Close::NORMAL, "")),
            _ => reject_message(self.connection, Ok(frame)),
        }
    }

    /// Handles an event of an operation.
    pub(super) fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(id) = self.active.id(key) else {
            return;
        };
        let frame = match event {
            Event::Next(json) => {
                let frame = event_message(id, "data", shared_result(json));
                return self.connection.push(Output::SendEvent(frame));
            }
            Event::Error(errors) => message(Some(id), "error", Some(&error_payload(errors))),
            Event::Complete => message(Some(id), "complete", None),
            Event::Started | Event::Missed(_) | Event::Lost => return,
        };
        if event.is_ending() {
            self.active.remove(key);
        }
        self.connection.send(frame);
    }

    fn start(&mut self, frame: &Message<'_>) {
        let Some(id) = frame.id().map(str::to_owned) else {
            let message = if frame.has_bad_id() {
                format!("id {}", StringError::Type)
            } else {
                "start needs an id".to_owned()
            };
            return self.refuse(None, &GraphqlError::new(message));
        };
        let id = id.as_str();
        if frame.has_long_id() {
            let error = bad_message(format!("the id is longer than {MAX_ID} bytes"));
            return self.refuse(Some(id), &error);
        }
        let operation = match operation(frame.payload) {
            Ok(operation) => operation,
            Err(error) => return self.refuse(Some(id), &bad_message(error)),
        };
        if !self.connection.is_open() {
            return;
        }
        if let Some(key) = self.active.key(id) {
            self.stop(key, id);
        }
        match self.active.start(id, operation) {
            Ok((key, selected, inspected)) => {
                self.connection
                    .push(Output::Start(key, selected, inspected));
            }
            Err(error) => self.refuse(Some(id), &error),
        }
    }

    /// Stops an operation. Sends a `complete`, because clients wait for it.
    fn stop(&mut self, key: OperationKey, id: &str) {
        self.active.remove(key);
        self.connection.push(Output::Stop(key));
        self.connection.send(message(Some(id), "complete", None));
    }

    fn refuse(&mut self, id: Option<&str>, error: &GraphqlError) {
        let payload = error_payload(std::slice::from_ref(error));
        self.connection.send(message(id, "error", Some(&payload)));
    }
}

/// Responds to a malformed message, or to one of an unknown type.
pub(super) fn reject_message(
    connection: &mut ConnectionState,
    frame: Result<&Message<'_>, MessageError>,
) {
    connection.send(match frame {
        Ok(frame) => {
            let payload = error_payload(&[GraphqlError::new("Invalid message type!")]);
            message(frame.id(), "error", Some(&payload))
        }
        Err(error) => {
            let payload = json!({ "message": error.to_string() });
            message(None, "connection_error", Some(&payload.to_string()))
        }
    });
}

/// Returns one object, because clients fail on a list: the first error, and all errors if there are
/// several.
fn error_payload(errors: &[GraphqlError]) -> String {
    let first = errors.first();
    let mut object = first.and_then(|error| serde_json::to_value(error).ok());
    if let Some(Value::Object(members)) = object.as_mut().filter(|_| errors.len() > 1) {
        members.insert("errors".to_owned(), json!(errors));
    }
    let unknown = || json!({"message": "unknown error"});
    object.unwrap_or_else(unknown).to_string()
}

#[cfg(test)]
mod tests;
