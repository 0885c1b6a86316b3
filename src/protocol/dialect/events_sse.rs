//! Events of a channel over plain SSE: each event is one `message` whose data is the event's JSON.
//!
//! For `EventSource` and `curl -N` (WHATWG HTML, "Server-sent events").

use std::collections::VecDeque;

use serde_json::json;
use serde_json::value::RawValue;

use super::native::errors;
use super::sse::{HEARTBEAT, SSE_CONTENT_TYPE, event, push_line};
use super::{Close, Output, StreamDialect};
use crate::graphql::{Event, GraphqlError, OperationKey};

/// The framing of one channel's events.
#[derive(Debug, Default)]
pub struct EventsSse {
    out: VecDeque<Output>,
}

impl StreamDialect for EventsSse {
    fn content_type(&self) -> &'static str {
        SSE_CONTENT_TYPE
    }

    fn open(&mut self) {
        self.heartbeat();
    }

    fn handle_event(&mut self, _key: OperationKey, event: &Event) {
        match event {
            Event::Next(json) => {
                for event in event_texts(json.as_str()) {
                    let mut text = String::from("data: ");
                    push_line(&mut text, &event);
                    text.push_str("\n\n");
                    self.out.push_back(Output::Send(text));
                }
            }
            Event::Missed(list) => self.send_errors("broadcast_error", list),
            Event::Error(list) => {
                self.send_errors("subscribe_error", list);
                self.end();
            }
            Event::Complete => self.end(),
            Event::Started | Event::Lost => {}
        }
    }

    fn heartbeat(&mut self) {
        self.out.push_back(Output::Send(HEARTBEAT.to_owned()));
    }

    fn lose(&mut self, reason: &'static str) {
        let close = Close::new(Close::RESTART, reason);
        self.out.push_back(Output::Close(close));
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

impl EventsSse {
    /// Sends errors under a custom event name. Clients without a listener for it ignore them.
    fn send_errors(&mut self, name: &str, list: &[GraphqlError]) {
        let text = event(name, &json!({ "errors": errors(list) }).to_string());
        self.out.push_back(Output::Send(text));
    }

    fn end(&mut self) {
        let close = Close::new(Close::NORMAL, "");
        self.out.push_back(Output::Close(close));
    }
}

/// Returns the texts of events. AppSync sends an event as a JSON string, or several in an array.
fn event_texts(json: &str) -> Vec<String> {
    let one = |raw: &RawValue| {
        let text: Result<String, _> = serde_json::from_str(raw.get());
        text.unwrap_or_else(|_| raw.get().to_owned())
    };
    let several: Result<Vec<&RawValue>, _> = serde_json::from_str(json);
    match several {
        Ok(events) => events.into_iter().map(one).collect(),
        Err(_) => serde_json::from_str(json).map(one).into_iter().collect(),
    }
}
