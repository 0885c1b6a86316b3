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
use super::native::{appsync_error, errors, headers};
use super::{Close, Dialect, Limits, Output, Times};
use crate::events::{Channel, Publish, Subscribe};
use crate::graphql::{
    Documents, Event, GraphqlError, OperationKey, OperationKind, push_json_string, read_object,
};

/// The server side of one socket.
#[derive(Debug)]
pub struct EventsWs {
    connection: ConnectionState,
    /// Subscriptions, and publishes (which count as mutations).
    active: ActiveOperations,
}

/// `{"type", "id"?, "channel"?, "events"?, "authorization"?}`; other members are ignored.
#[derive(Deserialize)]
struct EventsMessage {
    #[serde(rename = "type")]
    message_type: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    authorization: Map<String, Value>,
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

    fn subscribe(&mut self, id: &str, message: EventsMessage) {
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
                    headers: headers(message.authorization),
                },
            )),
            Err(error) => self.refuse(id, OperationKind::Subscription, error),
        }
    }

    fn publish(&mut self, id: &str, message: EventsMessage) {
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
                    headers: headers(message.authorization),
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
        let Some(message) = read_object::<EventsMessage>(text) else {
            return self.unsupported(None);
        };
        let id = message.id.clone();
        match (message.message_type.as_str(), id.as_deref()) {
            ("connection_init", _) => self.connection.init(None),
            ("ping" | "pong" | "ka", _) => {}
            ("subscribe" | "publish" | "unsubscribe", Some(id)) if !is_id(id) => {
                let error = appsync_error("BadRequestException", "the id is malformed");
                self.send_errors(Some(id), "error", &[error]);
            }
            ("subscribe" | "publish", Some(_)) if !self.connection.is_open() => {}
            ("subscribe", Some(id)) => self.subscribe(id, message),
            ("publish", Some(id)) => self.publish(id, message),
            ("unsubscribe", Some(id)) => self.unsubscribe(id),
            (_, id) => self.unsupported(id),
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
                let members = format!(r#""event":{}"#, json.as_str());
                self.send(&id, "data", Some(&members));
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
    let mut frame = String::from("{");
    if let Some(id) = id {
        frame.push_str("\"id\":");
        push_json_string(&mut frame, id);
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
