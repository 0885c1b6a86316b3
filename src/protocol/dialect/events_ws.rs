//! `aws-appsync-event-ws`, the protocol of AppSync Events, for AppSync clients.
//!
//! The client's credentials are removed, at the handshake and from each message. A publish is sent
//! over signed HTTP, in order, and its response is converted to a message of the socket.
//!
//! Source: AppSync Events guide, "Understanding the Event API WebSocket protocol".

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::active_operations::ActiveOperations;
use super::connection_state::{ConnectionState, MessageFormat};
use super::message::{Message, MessageError};
use super::native::{appsync_error, errors, headers};
use super::{Close, Dialect, EventFrame, Limits, Output, Times};
use crate::events::{Channel, Publish, Subscribe};
use crate::graphql::{
    Documents, Event, GraphqlError, OperationKey, OperationKind, invalid_escape, push_json_string,
};

/// The server side of one socket.
#[derive(Debug)]
pub struct EventsWs {
    connection: ConnectionState,
    /// Subscriptions, and publishes (which count as mutations).
    active: ActiveOperations,
}

/// The contents of a message: `{"channel"?, "events"?, "authorization"?}`; other members are ignored.
#[derive(Default, Deserialize)]
struct Contents {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    authorization: Option<Map<String, Value>>,
}

const MAX_ID: usize = 128;

impl EventsWs {
    /// The subprotocol's name.
    pub const NAME: &str = "aws-appsync-event-ws";

    pub fn new(now: Instant, times: Times, limits: Limits) -> Self {
        Self {
            connection: ConnectionState::new(times.keepalive, MessageFormat::Members)
                .with_init_deadline(now + times.init),
            active: ActiveOperations::new(limits, Documents::default()),
        }
    }

    /// Handles a message that concerns the operation `id`.
    fn handle_operation(&mut self, id: &str, message: &Message<'_>, text: &str) {
        let message_type = message.message_type.as_str();
        if !is_id(id) {
            let error = appsync_error("BadRequestException", "the id is malformed");
            return self.send_errors(Some(id), "error", &[error]);
        }
        if message_type == "unsubscribe" {
            return self.unsubscribe(id);
        }
        let kind = match message_type {
            "subscribe" => OperationKind::Subscription,
            _ => OperationKind::Mutation,
        };
        if !self.connection.is_open() {
            return;
        }
        let contents = match serde_json::from_str(text) {
            Ok(contents) => contents,
            Err(error) => return self.refuse(id, kind, bad_contents(&error)),
        };
        match kind {
            OperationKind::Subscription => self.subscribe(id, contents),
            OperationKind::Query | OperationKind::Mutation => self.publish(id, contents),
        }
    }

    fn subscribe(&mut self, id: &str, message: Contents) {
        let channel = message.channel.unwrap_or_default();
        let channel = match Channel::pattern(&channel) {
            Ok(channel) => channel,
            Err(error) => return self.refuse(id, OperationKind::Subscription, bad_request(&error)),
        };
        match self.begin(id, OperationKind::Subscription) {
            Ok(key) => self.connection.push(Output::Subscribe(
                key,
                Subscribe {
                    channel,
                    headers: headers(message.authorization.unwrap_or_default()),
                },
            )),
            Err(error) => self.refuse(id, OperationKind::Subscription, error),
        }
    }

    fn publish(&mut self, id: &str, message: Contents) {
        let channel = message.channel.unwrap_or_default();
        let channel = match Channel::exact(&channel) {
            Ok(channel) => channel,
            Err(error) => return self.refuse(id, OperationKind::Mutation, bad_request(&error)),
        };
        match self.begin(id, OperationKind::Mutation) {
            Ok(key) => self.connection.push(Output::Publish(
                key,
                Publish {
                    channel,
                    events: message.events.unwrap_or_default(),
                    headers: headers(message.authorization.unwrap_or_default()),
                },
            )),
            Err(error) => self.refuse(id, OperationKind::Mutation, error),
        }
    }

    fn begin(&mut self, id: &str, kind: OperationKind) -> Result<OperationKey, GraphqlError> {
        if self.active.key(id).is_some() {
            let message = format!("Duplicated operation with id {id}");
            return Err(appsync_error("DuplicatedOperationError", &message));
        }
        self.active.insert(id, kind)
    }

    fn unsubscribe(&mut self, id: &str) {
        match self.active.key(id) {
            Some(key) if self.active.kind(key) == Some(OperationKind::Subscription) => {
                self.active.remove(key);
                self.connection.push(Output::Stop(key));
                self.send(id, "unsubscribe_success", None);
            }
            Some(_) | None => {
                let message = format!("Unknown operation id {id}");
                let error = appsync_error("UnknownOperationError", &message);
                self.send_errors(Some(id), "unsubscribe_error", &[error]);
            }
        }
    }

    fn refuse(&mut self, id: &str, kind: OperationKind, error: GraphqlError) {
        self.send_errors(Some(id), error_type(kind), &[error]);
    }

    fn unsupported(&mut self, id: Option<&str>) {
        let message = "Operation not supported through the realtime channel";
        let error = appsync_error("UnsupportedOperation", message);
        self.send_errors(id, "error", &[error]);
    }

    fn send_errors(&mut self, id: Option<&str>, message_type: &str, list: &[GraphqlError]) {
        let members = format!(r#""errors":{}"#, errors(list));
        self.connection
            .send(message(id, message_type, Some(&members)));
    }

    fn send(&mut self, id: &str, message_type: &str, members: Option<&str>) {
        self.connection
            .send(message(Some(id), message_type, members));
    }
}

impl Dialect for EventsWs {
    fn handle_text(&mut self, _now: Instant, text: &str) {
        if self.connection.is_closed() {
            return;
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(MessageError::NotObject) => return self.unsupported(None),
            Err(error @ MessageError::Type(_)) => {
                return self.send_errors(None, "error", &[bad_request(&error)]);
            }
        };
        match (message.message_type.as_str(), message.string_id()) {
            // The members of a message are at its top level.
            ("connection_init", _) => {
                let members = serde_json::from_str(text).ok();
                self.connection.init(message.payload.or(members));
            }
            ("ping" | "pong" | "ka", _) => {}
            ("subscribe" | "publish" | "unsubscribe", Ok(Some(id))) => {
                self.handle_operation(&id, &message, text);
            }
            (_, Ok(id)) => self.unsupported(id.as_deref()),
            (_, Err(error)) => {
                let error = appsync_error("BadRequestException", &format!("id {error}"));
                let members = format!(r#""errors":{}"#, errors(&[error]));
                // The client recognizes its id by the same text.
                let frame = message_with(message.id(), "error", Some(&members));
                self.connection.send(frame);
            }
        }
    }

    fn take_refusals(&mut self) -> u64 {
        self.active.take_refusals()
    }

    fn handle_binary(&mut self) {
        self.unsupported(None);
    }

    fn accept(&mut self, now: Instant) {
        self.connection.accept(now);
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let (Some(id), Some(kind)) = (
            self.active.id(key).map(str::to_owned),
            self.active.kind(key),
        ) else {
            return;
        };
        let is_publish = kind != OperationKind::Subscription;
        match event {
            Event::Started => self.send(&id, "subscribe_success", None),
            Event::Next(json) if is_publish => {
                let members = response_members(json.as_str());
                self.send(&id, "publish_success", Some(&members));
            }
            Event::Next(json) => {
                let tail = "}";
                let mut head = message(Some(&id), "data", Some(r#""event":"#));
                head.truncate(head.len() - tail.len());
                let payload = json.clone();
                let frame = EventFrame {
                    head,
                    payload,
                    tail,
                };
                self.connection.push(Output::SendEvent(frame));
            }
            Event::Missed(list) => self.send_errors(Some(&id), "broadcast_error", list),
            Event::Error(list) => self.send_errors(Some(&id), error_type(kind), list),
            Event::Complete if is_publish => {}
            Event::Complete => self.send(&id, "unsubscribe_success", None),
            Event::Lost => {}
        }
        if event.is_ending() {
            self.active.remove(key);
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

fn error_type(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Subscription => "subscribe_error",
        OperationKind::Query | OperationKind::Mutation => "publish_error",
    }
}

/// Returns the error for a message with a member that cannot be read.
fn bad_contents(error: &serde_json::Error) -> GraphqlError {
    let message = match invalid_escape(error) {
        Some(escape) => format!("the message: {escape}"),
        None => "channel must be a string, events an array of strings, and authorization an object"
            .to_owned(),
    };
    appsync_error("BadRequestException", &message)
}

fn bad_request(error: &dyn std::error::Error) -> GraphqlError {
    appsync_error("BadRequestException", &error.to_string())
}

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

/// Returns the members of an API's response, except `id` and `type`, which the message has itself.
fn response_members(json: &str) -> String {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
    let mut text = String::with_capacity(json.len());
    for (name, value) in members {
        if matches!(name.as_str(), "id" | "type") {
            continue;
        }
        if !text.is_empty() {
            text.push(',');
        }
        push_json_string(&mut text, &name);
        text.push(':');
        text.push_str(value.get());
    }
    text
}

/// Returns `{"id":…,"type":…,` and further members, as JSON text.
fn message(id: Option<&str>, message_type: &str, members: Option<&str>) -> String {
    let id = id.map(|id| {
        let mut json = String::with_capacity(id.len() + 2);
        push_json_string(&mut json, id);
        json
    });
    message_with(id.as_deref(), message_type, members)
}

/// Does the same with an id that is JSON text.
fn message_with(id: Option<&str>, message_type: &str, members: Option<&str>) -> String {
    let mut frame = String::from("{");
    if let Some(id) = id {
        frame.push_str("\"id\":");
        frame.push_str(id);
        frame.push(',');
    }
    frame.push_str("\"type\":\"");
    frame.push_str(message_type);
    frame.push('"');
    if let Some(members) = members.map(str::trim).filter(|members| !members.is_empty()) {
        frame.push(',');
        frame.push_str(members);
    }
    frame.push('}');
    frame
}

#[cfg(test)]
mod tests;
