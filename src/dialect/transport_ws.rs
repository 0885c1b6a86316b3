//! `graphql-transport-ws`, the protocol of npm graphql-ws and nearly everything modern.
//!
//! Source: enisdenjo/graphql-ws, PROTOCOL.md. Where it leaves room, the strictest reader of the
//! known clients decides: exactly one acknowledgement, nothing after an operation's end, no
//! `complete` after `error`, nothing for an unknown id.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Close, Limits, Output};
use crate::graphql::outbox::OperationKey;
use crate::graphql::{
    DocumentError, Event, GraphqlError, Kind, Operation, push_json_string, select,
};

/// The server's side of one socket.
#[derive(Debug)]
pub struct TransportWs {
    phase: Phase,
    limits: Limits,
    live: HashMap<OperationKey, Live>,
    ids: HashMap<String, OperationKey>,
    last_key: u64,
    out: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for `connection_init`.
    Opened {
        deadline: Instant,
    },
    /// The session decides.
    Initialising,
    Ready,
    /// A close is coming: no new operation, those that run may finish.
    Closing,
    Closed,
}

#[derive(Debug)]
struct Live {
    id: String,
    kind: Kind,
}

/// `{"type", "id"?, "payload"?}`; other members are ignored.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl TransportWs {
    /// The subprotocol's name.
    pub const NAME: &str = "graphql-transport-ws";

    pub fn new(now: Instant, init: Duration, limits: Limits) -> Self {
        Self {
            phase: Phase::Opened {
                deadline: now + init,
            },
            limits,
            live: HashMap::new(),
            ids: HashMap::new(),
            last_key: 0,
            out: VecDeque::new(),
        }
    }

    /// A text message of the client.
    pub fn handle_text(&mut self, text: &str) {
        if self.phase == Phase::Closed {
            return;
        }
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            return self.invalid("not a JSON object with a type");
        };
        match frame.kind.as_str() {
            "connection_init" if is_object_or_none(frame.payload) => self.init(),
            "ping" if is_object_or_none(frame.payload) => self.pong(frame.payload),
            "pong" if is_object_or_none(frame.payload) => {}
            "connection_init" | "ping" | "pong" => self.invalid("payload must be an object"),
            "subscribe" => self.subscribe(frame),
            "complete" => self.complete(frame.id.as_deref()),
            _ => self.invalid("unknown type"),
        }
    }

    /// A binary message: the protocol has none.
    pub fn handle_binary(&mut self) {
        self.invalid("binary message");
    }

    /// Accepts the client; the answer to [`Output::Init`].
    pub fn accept(&mut self) {
        if self.phase == Phase::Initialising {
            self.phase = Phase::Ready;
            self.send(r#"{"type":"connection_ack"}"#.to_owned());
        }
    }

    /// An event of a running operation. Whatever comes for another is dropped, and so is the
    /// end of one whose client has completed it.
    pub fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(live) = self.live.get(&key).filter(|_| self.phase != Phase::Closed) else {
            return;
        };
        match event {
            Event::Next(json) => {
                let payload = match json.as_str() {
                    // Some clients demand one of the two members.
                    text if !has_members(text) => r#"{"data":null}"#,
                    text => text,
                };
                let frame = frame(&live.id, "next", Some(payload));
                self.send(frame);
            }
            Event::Error(errors) => {
                let payload = serde_json::to_string(errors).unwrap_or_else(|_| "[]".to_owned());
                let frame = frame(&live.id, "error", Some(&payload));
                self.forget(key);
                self.send(frame);
            }
            Event::Complete => {
                let frame = frame(&live.id, "complete", None);
                self.forget(key);
                self.send(frame);
            }
            // The protocol has no word for either; a loss is told by the session's close.
            Event::Started | Event::Lost => {}
        }
    }

    /// From now on no operation is started; the client will send it again after the close.
    pub fn begin_closing(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closing;
        }
    }

    pub fn close(&mut self, close: Close) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.out.push_back(Output::Close(close));
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opened { deadline } => Some(deadline),
            Phase::Initialising | Phase::Ready | Phase::Closing | Phase::Closed => None,
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let reason = "Connection initialisation timeout";
            self.close(Close::new(Close::INIT_TIMEOUT, reason));
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn init(&mut self) {
        match self.phase {
            Phase::Opened { .. } => {
                self.phase = Phase::Initialising;
                self.out.push_back(Output::Init);
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

    fn subscribe(&mut self, frame: Frame<'_>) {
        let Some(id) = frame.id.filter(|id| !id.is_empty()) else {
            return self.invalid("subscribe needs an id, a non-empty string");
        };
        let operation = match operation(frame.payload) {
            Ok(operation) => operation,
            Err(reason) => return self.invalid(&reason),
        };
        match self.phase {
            Phase::Ready => {}
            Phase::Closing | Phase::Closed => return,
            Phase::Opened { .. } | Phase::Initialising => {
                return self.close(Close::new(Close::UNAUTHORIZED, "Unauthorized"));
            }
        }
        if self.ids.contains_key(&id) {
            let reason = format!("Subscriber for {id} already exists");
            return self.close(Close::new(Close::DUPLICATE_ID, reason));
        }
        let selected = match select(&operation.query, operation.operation_name.as_deref()) {
            Ok(selected) => selected,
            Err(error) => return self.refuse(&id, bad_document(&error)),
        };
        if let Some(error) = self.too_many(selected.kind) {
            return self.refuse(&id, error);
        }
        self.last_key += 1;
        let key = OperationKey(self.last_key);
        self.ids.insert(id.clone(), key);
        let kind = selected.kind;
        self.live.insert(key, Live { id, kind });
        self.out.push_back(Output::Start(key, selected, operation));
    }

    fn complete(&mut self, id: Option<&str>) {
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return self.invalid("complete needs an id, a non-empty string");
        };
        if let Some(key) = self.ids.get(id).copied() {
            self.forget(key);
            self.out.push_back(Output::Stop(key));
        }
    }

    fn too_many(&self, kind: Kind) -> Option<GraphqlError> {
        let is_subscription = kind == Kind::Subscription;
        let alike = self
            .live
            .values()
            .filter(|live| (live.kind == Kind::Subscription) == is_subscription);
        let (limit, name) = match kind {
            Kind::Subscription => (self.limits.subscriptions, "limits.subscriptions"),
            Kind::Query | Kind::Mutation => (self.limits.operations, "limits.operations"),
        };
        (alike.count() >= limit).then(|| {
            let message = format!("this socket already has {limit} of them running ({name})");
            GraphqlError::coded(message, "TOO_MANY_OPERATIONS", "no")
        })
    }

    fn refuse(&mut self, id: &str, error: GraphqlError) {
        let payload = serde_json::to_string(&[error]).unwrap_or_else(|_| "[]".to_owned());
        self.send(frame(id, "error", Some(&payload)));
    }

    fn invalid(&mut self, reason: &str) {
        let reason = format!("Invalid message received: {reason}");
        self.close(Close::new(Close::INVALID_MESSAGE, reason));
    }

    fn send(&mut self, frame: String) {
        self.out.push_back(Output::Send(frame));
    }

    fn forget(&mut self, key: OperationKey) {
        if let Some(live) = self.live.remove(&key) {
            self.ids.remove(&live.id);
        }
    }
}

/// `{"query": string, "variables"?: object, "operationName"?: string, "extensions"?: object}`
fn operation(payload: Option<&RawValue>) -> Result<Operation, String> {
    let raw = payload.ok_or("subscribe needs a payload")?;
    if !raw.get().starts_with('{') {
        return Err("payload must be an object".to_owned());
    }
    let operation: Operation = serde_json::from_str(raw.get())
        .map_err(|_| "payload needs a query, and what else it has must be of the right type")?;
    for (name, raw) in [
        ("variables", &operation.variables),
        ("extensions", &operation.extensions),
    ] {
        if raw.as_ref().is_some_and(|raw| !raw.get().starts_with('{')) {
            return Err(format!("payload.{name} must be an object"));
        }
    }
    Ok(operation)
}

fn bad_document(error: &DocumentError) -> GraphqlError {
    let graphql = GraphqlError::coded(error.to_string(), "BAD_DOCUMENT", "no");
    match error {
        DocumentError::Syntax { line, column, .. } => GraphqlError {
            locations: Some(serde_json::json!([{ "line": line, "column": column }])),
            ..graphql
        },
        DocumentError::Ambiguous | DocumentError::Empty | DocumentError::Unknown(_) => graphql,
    }
}

/// Whether JSON text is an object that is not empty.
fn has_members(text: &str) -> bool {
    let rest = text.strip_prefix('{').map(str::trim_start);
    rest.is_some_and(|rest| !rest.starts_with('}'))
}

fn is_object_or_none(payload: Option<&RawValue>) -> bool {
    payload.is_none_or(|raw| raw.get() == "null" || raw.get().starts_with('{'))
}

fn frame(id: &str, kind: &str, payload: Option<&str>) -> String {
    let mut frame = String::with_capacity(id.len() + payload.map_or(0, str::len) + 48);
    frame.push_str("{\"id\":");
    push_json_string(&mut frame, id);
    frame.push_str(",\"type\":\"");
    frame.push_str(kind);
    frame.push('"');
    if let Some(payload) = payload {
        frame.push_str(",\"payload\":");
        frame.push_str(payload);
    }
    frame.push('}');
    frame
}

#[cfg(test)]
mod tests;
