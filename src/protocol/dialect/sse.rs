//! GraphQL over SSE, "distinct connections": one operation, one response.
//!
//! The framing is one that every known parser accepts: only LF, `event:` and then one line of
//! `data:`, an empty `data:` with `complete`. Source: enisdenjo/graphql-sse, PROTOCOL.md.

use std::collections::VecDeque;

use super::payload::{errors, result};
use super::{Close, Output, StreamDialect};
use crate::graphql::{Event, OperationKey};

/// The framing of one operation's events.
#[derive(Debug, Default)]
pub struct Sse {
    out: VecDeque<Output>,
}

/// The content type of an event stream.
pub const SSE_CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";
/// A comment, which also makes clients process the response's head at once.
pub(super) const HEARTBEAT: &str = ":\n\n";

impl StreamDialect for Sse {
    fn content_type(&self) -> &'static str {
        SSE_CONTENT_TYPE
    }

    fn open(&mut self) {
        self.heartbeat();
    }

    fn handle_event(&mut self, _key: OperationKey, event: &Event) {
        match event {
            Event::Next(json) => self.next(result(json.as_str())),
            Event::Error(list) => {
                self.next(&format!(r#"{{"errors":{}}}"#, errors(list)));
                self.complete();
            }
            Event::Complete => self.complete(),
            Event::Started | Event::Missed(_) | Event::Lost => {}
        }
    }

    fn heartbeat(&mut self) {
        self.out.push_back(Output::Send(HEARTBEAT.to_owned()));
    }

    /// Interrupts the stream, which makes clients reconnect.
    fn lose(&mut self, reason: &'static str) {
        let close = Close::new(Close::RESTART, reason);
        self.out.push_back(Output::Close(close));
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

impl Sse {
    fn next(&mut self, payload: &str) {
        self.out.push_back(Output::Send(event("next", payload)));
    }

    fn complete(&mut self) {
        let text = "event: complete\ndata:\n\n".to_owned();
        self.out.push_back(Output::Send(text));
        let close = Close::new(Close::NORMAL, "");
        self.out.push_back(Output::Close(close));
    }
}

/// Returns one event. Line breaks, which JSON may contain between its tokens, become spaces: they
/// would end the line.
pub(super) fn event(name: &str, json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 32);
    text.push_str("event: ");
    text.push_str(name);
    text.push_str("\ndata: ");
    push_line(&mut text, json);
    text.push_str("\n\n");
    text
}

/// Appends JSON as one line.
pub(super) fn push_line(text: &mut String, json: &str) {
    for (at, piece) in json.split(['\r', '\n']).enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(piece);
    }
}
