//! GraphQL over SSE, "single connection": one stream, whose operations are started by other requests.
//!
//! `PUT` reserves a stream, `GET` opens it, `POST` starts an operation on it, `DELETE` stops one.
//! Events that arrive before the stream is open are queued. Source: enisdenjo/graphql-sse,
//! PROTOCOL.md.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::active_operations::{ActiveOperations, MAX_ID};
use super::message::{StringError, read_string};
use super::payload::{errors, result};
use super::sse::{HEARTBEAT, SSE_CONTENT_TYPE, push_line};
use super::{Close, Limits, Output, StreamDialect};
use crate::error_code::{Code, Sent};
use crate::graphql::{
    Documents, Event, GraphqlError, Operation, OperationKey, invalid_escape, push_json_string,
    read_object,
};

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
    /// 400: `extensions.operationId` is missing.
    NoOperationId,
    /// 400: `extensions.operationId` cannot be used; the text says why.
    BadOperationId(&'static str),
    /// 409: an active operation has this id.
    DuplicateId,
    /// 429: too many events wait for the stream to be opened.
    TooManyQueued,
}

const LONG_ID: &str = "is longer than 1024 bytes";

/// The body of a `POST`.
#[derive(Debug)]
pub enum StreamRequest {
    Operation(Operation),
    /// A request whose extensions can be read, and another member cannot.
    Unreadable {
        extensions: Box<RawValue>,
        error: GraphqlError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions<'a> {
    #[serde(borrow, default)]
    operation_id: Option<&'a RawValue>,
}

impl StreamRequest {
    /// Parses a body, which must be an object.
    ///
    /// # Errors
    /// If the body is not a request. If only the escapes in one of its strings are invalid, that is the
    /// error of its operation.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Members {
            #[serde(default)]
            extensions: Option<Box<RawValue>>,
        }
        let error = match serde_json::from_slice(body) {
            Ok(operation) => return Ok(Self::Operation(operation)),
            Err(error) => error,
        };
        let members: Option<Members> = serde_json::from_slice(body).ok();
        match (invalid_escape(&error), members) {
            (
                Some(escape),
                Some(Members {
                    extensions: Some(extensions),
                }),
            ) => {
                let message = format!("the body: {escape}");
                let error = GraphqlError::coded(message, Code::BadJson, Sent::No);
                Ok(Self::Unreadable { extensions, error })
            }
            _ => Err(error),
        }
    }
}

impl SseSingle {
    pub fn new(limits: Limits, documents: Documents) -> Self {
        Self {
            active: ActiveOperations::new(limits, documents),
            limits,
            out: VecDeque::new(),
        }
    }

    /// Handles a `POST`. A request that cannot be read, or whose document is invalid, is reported in the
    /// stream, because clients retry after any other status.
    pub fn handle(&mut self, request: StreamRequest) -> StreamResponse {
        match request {
            StreamRequest::Operation(operation) => self.start(operation),
            StreamRequest::Unreadable { extensions, error } => match operation_id(&extensions) {
                Ok(id) if self.active.key(&id).is_some() => StreamResponse::DuplicateId,
                Ok(_) if self.is_full() => StreamResponse::TooManyQueued,
                Ok(id) => {
                    self.fail(&id, &[error]);
                    StreamResponse::Started
                }
                Err(response) => response,
            },
        }
    }

    /// Starts an operation.
    pub fn start(&mut self, operation: Operation) -> StreamResponse {
        let Some(extensions) = operation.extensions.as_ref() else {
            return StreamResponse::NoOperationId;
        };
        let id = match operation_id(extensions) {
            Ok(id) => id,
            Err(response) => return response,
        };
        if self.active.key(&id).is_some() {
            return StreamResponse::DuplicateId;
        }
        if self.is_full() {
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

    /// Returns whether too many outputs wait for the stream to be opened.
    fn is_full(&self) -> bool {
        self.out.len() > self.limits.operations.saturating_mul(2)
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

/// Returns `operationId`, or the response to a request that does not have one.
fn operation_id(extensions: &RawValue) -> Result<String, StreamResponse> {
    let extensions: Option<Extensions<'_>> = read_object(extensions.get());
    let raw = extensions.and_then(|extensions| extensions.operation_id);
    let raw = raw.ok_or(StreamResponse::NoOperationId)?;
    match read_string(raw) {
        Ok(id) if id.is_empty() => Err(StreamResponse::NoOperationId),
        Ok(id) if id.len() > MAX_ID => Err(StreamResponse::BadOperationId(LONG_ID)),
        Ok(id) => Ok(id),
        Err(StringError::Type) => Err(StreamResponse::BadOperationId("must be a string")),
        Err(StringError::Escape) => Err(StreamResponse::BadOperationId(
            "has an invalid Unicode escape, half of a surrogate pair",
        )),
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
