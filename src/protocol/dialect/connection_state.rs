//! Handshake, keepalive and close of a socket. The two protocols named `graphql-ws` and AppSync Events
//! share them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use super::{Close, EventFrame, Output};
use crate::graphql::Json;

/// The state of a socket, apart from its operations.
#[derive(Debug)]
pub(super) struct ConnectionState {
    phase: Phase,
    format: MessageFormat,
    /// The time by which the client must have started.
    init_at: Option<Instant>,
    keepalive: Duration,
    /// When the next `ka` is due.
    ka_at: Option<Instant>,
    out: VecDeque<Output>,
}

/// The position of the contents in messages about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageFormat {
    Payload,
    /// At the top level, next to `type`.
    Members,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opened,
    /// The session decides whether to accept the client.
    Initialising,
    Ready,
    /// A close will follow: new operations are not accepted, running ones may finish.
    Closing,
    Closed,
}

/// AppSync-aware clients need the timeout; the others ignore it.
const PAYLOAD_ACK: &str = r#"{"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}"#;
const MEMBERS_ACK: &str = r#"{"type":"connection_ack","connectionTimeoutMs":300000}"#;
const KA: &str = r#"{"type":"ka"}"#;

impl ConnectionState {
    pub(super) fn new(keepalive: Duration, format: MessageFormat) -> Self {
        Self {
            phase: Phase::Opened,
            format,
            init_at: None,
            keepalive,
            ka_at: None,
            out: VecDeque::new(),
        }
    }

    /// Closes at `deadline`, unless the client has started by then: with a `connection_init`, or
    /// with an operation that is accepted.
    pub(super) fn with_init_deadline(mut self, deadline: Instant) -> Self {
        self.init_at = Some(deadline);
        self
    }

    /// Handles `connection_init`; a second one is acknowledged again.
    pub(super) fn init(&mut self, payload: Option<&RawValue>) {
        self.init_at = None;
        match self.phase {
            Phase::Opened => {
                self.phase = Phase::Initialising;
                let payload = payload.map(|raw| raw.get().to_owned());
                self.out.push_back(Output::Init(payload));
            }
            Phase::Ready => self.acknowledge(),
            Phase::Initialising | Phase::Closing | Phase::Closed => {}
        }
    }

    pub(super) fn accept(&mut self, now: Instant) {
        if self.phase == Phase::Initialising {
            self.phase = Phase::Ready;
            self.acknowledge();
            self.send(KA.to_owned());
            self.ka_at = Some(now + self.keepalive);
        }
    }

    /// Returns whether an operation may start: clients do not wait for the acknowledgement.
    pub(super) fn is_open(&self) -> bool {
        match self.phase {
            Phase::Opened | Phase::Initialising | Phase::Ready => true,
            Phase::Closing | Phase::Closed => false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    pub(super) fn begin_closing(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closing;
        }
    }

    /// Closes the session. Before the acknowledgement, a `connection_error` gives the reason first,
    /// in both protocols, because clients report a `connection_error` to their user, but not a
    /// close code.
    pub(super) fn close(&mut self, close: Close) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.phase == Phase::Initialising {
            let message = close.reason.as_ref();
            let (kind, code) = match close.code {
                Close::FORBIDDEN => ("UnauthorizedException", 401),
                _ => ("ServiceUnavailable", 503),
            };
            let error = json!({"errorType": kind, "message": message, "errorCode": code});
            let payload = json!({"message": message, "errors": [error]});
            let frame = match self.format {
                MessageFormat::Payload => json!({"type": "connection_error", "payload": payload}),
                MessageFormat::Members => json!({"type": "connection_error", "errors": [error]}),
            };
            self.send(frame.to_string());
        }
        self.phase = Phase::Closed;
        self.init_at = None;
        self.ka_at = None;
        self.out.push_back(Output::Close(close));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.init_at, self.ka_at].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.init_at.is_some_and(|at| at <= now) {
            let reason = "Connection initialisation timeout";
            self.close(Close::new(Close::INIT_TIMEOUT, reason));
        }
        if self.ka_at.is_some_and(|at| at <= now) {
            self.send(KA.to_owned());
            self.ka_at = Some(now + self.keepalive);
        }
    }

    fn acknowledge(&mut self) {
        let ack = match self.format {
            MessageFormat::Payload => PAYLOAD_ACK,
            MessageFormat::Members => MEMBERS_ACK,
        };
        self.send(ack.to_owned());
    }

    pub(super) fn send(&mut self, frame: String) {
        self.push(Output::Send(frame));
    }

    pub(super) fn push(&mut self, output: Output) {
        if matches!(output, Output::Start(..)) {
            self.init_at = None;
        }
        if self.phase != Phase::Closed {
            self.out.push_back(output);
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

/// Returns `{"id":…,"type":…,"payload":…}`, with the id as JSON text.
pub(super) fn message(id: Option<&str>, message_type: &str, payload: Option<&str>) -> String {
    let mut frame = message_start(id, message_type);
    if let Some(payload) = payload {
        frame.push_str(",\"payload\":");
        frame.push_str(payload);
    }
    frame.push('}');
    frame
}

/// Returns the same for the payload of an event.
pub(super) fn event_message(id: &str, message_type: &str, payload: Json) -> EventFrame {
    let mut head = message_start(Some(id), message_type);
    head.push_str(",\"payload\":");
    EventFrame {
        head,
        payload,
        tail: "}",
    }
}

/// Returns `{"id":…,"type":…`.
fn message_start(id: Option<&str>, message_type: &str) -> String {
    let mut frame = String::from("{");
    if let Some(id) = id {
        frame.push_str("\"id\":");
        frame.push_str(id);
        frame.push(',');
    }
    frame.push_str("\"type\":\"");
    frame.push_str(message_type);
    frame.push('"');
    frame
}
