//! Payloads that several dialects share.

use serde_json::value::RawValue;

use super::EventFrame;
use crate::error_code::{Code, Sent};
use crate::graphql::{
    DocumentError, GraphqlError, InvalidEscape, Json, Operation, invalid_escape, push_json_string,
};

/// Why a payload is not an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("payload: {0}")]
    Escape(InvalidEscape),
    #[error("{0}")]
    Malformed(String),
}

/// The result in place of an empty one.
const EMPTY_RESULT: &str = r#"{"data":null}"#;

/// `{"query": string, "variables"?: object, "operationName"?: string, "extensions"?: object}`
pub(super) fn operation(payload: Option<&RawValue>) -> Result<Operation, PayloadError> {
    let malformed = |text: &str| PayloadError::Malformed(text.to_owned());
    let raw = payload.ok_or_else(|| malformed("the operation needs a payload"))?;
    if !raw.get().starts_with('{') {
        return Err(malformed("payload must be an object"));
    }
    let operation: Operation = serde_json::from_str(raw.get()).map_err(|error| {
        let types = "payload needs a query, and its other members must have the right types";
        invalid_escape(&error).map_or_else(|| malformed(types), PayloadError::Escape)
    })?;
    for (name, raw) in [
        ("variables", &operation.variables),
        ("extensions", &operation.extensions),
    ] {
        if raw.as_ref().is_some_and(|raw| !raw.get().starts_with('{')) {
            return Err(malformed(&format!("payload.{name} must be an object")));
        }
    }
    Ok(operation)
}

/// Returns the error for the client whose message cannot be read.
pub(super) fn bad_message(reason: impl ToString) -> GraphqlError {
    GraphqlError::coded(reason.to_string(), Code::BadMessage, Sent::No)
}

/// Returns the error for the client whose document selects no operation.
pub fn bad_document(error: &DocumentError) -> GraphqlError {
    let graphql = GraphqlError::coded(error.to_string(), Code::BadDocument, Sent::No);
    let locations = error
        .place()
        .map(|(line, column)| serde_json::json!([{ "line": line, "column": column }]));
    GraphqlError {
        locations,
        ..graphql
    }
}

/// Returns an execution result that is not empty, because some clients require `data` or `errors`.
pub(super) fn result(text: &str) -> &str {
    if is_result(text.as_bytes()) {
        text
    } else {
        EMPTY_RESULT
    }
}

/// Does the same without copying the result.
pub(super) fn shared_result(json: &Json) -> Json {
    if is_result(json.as_bytes()) {
        json.clone()
    } else {
        Json::from_static(EMPTY_RESULT)
    }
}

fn is_result(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    rest.is_some_and(|rest| !rest.starts_with(b"}"))
}

pub(super) fn is_object_or_none(payload: Option<&RawValue>) -> bool {
    payload.is_none_or(|raw| raw.get() == "null" || raw.get().starts_with('{'))
}

/// Returns the errors as a JSON array.
pub(super) fn errors(errors: &[GraphqlError]) -> String {
    serde_json::to_string(errors).unwrap_or_else(|_| "[]".to_owned())
}

/// Returns `{"id":…,"type":…,"payload":…}`
pub(super) fn frame(id: &str, message_type: &str, payload: Option<&str>) -> String {
    let mut frame = frame_start(id, message_type, payload.map_or(0, str::len));
    if let Some(payload) = payload {
        frame.push_str(",\"payload\":");
        frame.push_str(payload);
    }
    frame.push('}');
    frame
}

/// Returns the same for the payload of an event.
pub(super) fn event_frame(id: &str, message_type: &str, payload: Json) -> EventFrame {
    let mut head = frame_start(id, message_type, 0);
    head.push_str(",\"payload\":");
    EventFrame {
        head,
        payload,
        tail: "}",
    }
}

/// Returns `{"id":…,"type":…`, with room for a payload of this length.
fn frame_start(id: &str, message_type: &str, payload: usize) -> String {
    let mut frame = String::with_capacity(id.len() + payload + 48);
    frame.push_str("{\"id\":");
    push_json_string(&mut frame, id);
    frame.push_str(",\"type\":\"");
    frame.push_str(message_type);
    frame.push('"');
    frame
}
