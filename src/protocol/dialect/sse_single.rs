//! GraphQL over SSE, "single connection": one stream, whose operations are started by other requests.
//!
//! `PUT` reserves a stream, `GET` opens it, `POST` starts an operation on it, `DELETE` stops one.
//! Events that arrive before the stream is open are queued. Source: enisdenjo/graphql-sse,
//! PROTOCOL.md.

use std::collections::VecDeque;

use serde::Deserialize;

use super::active_operations::{ActiveOperations, MAX_ID};
use super::payload::{errors, result};
use super::sse::{HEARTBEAT, SSE_CONTENT_TYPE, push_line};
use super::{Close, Limits, Output, StreamDialect};
use crate::graphql::{Documents, Event, GraphqlError, Operation, OperationKey, push_json_string};

/// The operations of one stream.
#[derive(Debug)]
pub struct SseSingle {
    active: ActiveOperations,
    limits: Limits,
    out: VecDeque<Output>,
}

/// The response to a request about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamResponse {
    /// 202, without a body.
    Started,
    /// 200, without a body.
    Stopped,
    /// 400: `extensions.operationId` is missing, or too long.
    NoOperationId,
    /// 409: an active operation has this id.
    DuplicateId,
    /// 429: too many events wait for the stream to be opened.
    TooManyQueued,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    operation_id: String,
}

impl SseSingle {
    pub fn new(limits: Limits, documents: Documents) -> Self {
        Self {
            active: ActiveOperations::new(limits, documents),
            limits,
            out: VecDeque::new(),
        }
    }

    /// Handles a `POST`. An invalid document is reported in the stream, because clients retry after
    /// any other status.
    pub fn start(&mut self, operation: Operation) -> StreamResponse {
        let extensions = operation.extensions.as_ref();
        let extensions: Option<Extensions> =
            extensions.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Some(Extensions { operation_id: id }) =
            extensions.filter(|e| (1..=MAX_ID).contains(&e.operation_id.len()))
        else {
            return StreamResponse::NoOperationId;
        };
        if self.active.key(&id).is_some() {
            return StreamResponse::DuplicateId;
        }
        if self.out.len() > self.limits.operations.saturating_mul(2) {
            return StreamResponse::TooManyQueued;
        }
        match self.active.start(&id, operation) {
            Ok((key, selected, mut inspected)) => {
                // Many operations may wait for the stream, and syntax trees take much memory.
                if !self.out.is_empty() {
                    inspected.drop_tree();
                }
                self.out.push_back(Output::Start(key, selected, inspected));
            }
            Err(error) => self.fail(&id, &[error]),
        }
        StreamResponse::Started
    }

    /// Returns how many operations were rejected with
    /// `TOO_MANY_OPERATIONS` since the last call.
    pub fn take_refusals(&mut self) -> u64 {
        self.active.take_refusals()
    }

    /// Handles a `DELETE`; an operation with an unknown id has already ended.
    pub fn stop(&mut self, id: &str) -> StreamResponse {
        if let Some(key) = self.active.key(id) {
            self.active.remove(key);
            self.out.push_back(Output::Stop(key));
        }
        StreamResponse::Stopped
    }

    fn next(&mut self, id: &str, payload: &str) {
        let mut text = String::with_capacity(payload.len() + id.len() + 48);
        text.push_str("event: next\ndata: {\"id\":");
        push_json_string(&mut text, id);
        text.push_str(",\"payload\":");
        push_line(&mut text, payload);
        text.push_str("}\n\n");
        self.out.push_back(Output::Send(text));
    }

    fn complete(&mut self, id: &str) {
        let mut text = String::from("event: complete\ndata: {\"id\":");
        push_json_string(&mut text, id);
        text.push_str("}\n\n");
        self.out.push_back(Output::Send(text));
    }

    fn fail(&mut self, id: &str, list: &[GraphqlError]) {
        self.next(id, &format!(r#"{{"errors":{}}}"#, errors(list)));
        self.complete(id);
    }
}

impl StreamDialect for SseSingle {
    fn content_type(&self) -> &'static str {
        SSE_CONTENT_TYPE
    }

    /// Writes a comment before the queued events.
    fn open(&mut self) {
        self.out.push_front(Output::Send(HEARTBEAT.to_owned()));
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(id) = self.active.id(key).map(str::to_owned) else {
            return;
        };
        match event {
            Event::Next(json) => self.next(&id, result(json.as_str())),
            Event::Error(list) => self.fail(&id, list),
            Event::Complete => self.complete(&id),
            Event::Started | Event::Missed(_) | Event::Lost => {}
        }
        if event.is_ending() {
            self.active.remove(key);
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

#[cfg(test)]
mod tests;
