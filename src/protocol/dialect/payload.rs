//! Payloads that several dialects share.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error_code::{Code, Sent};
use crate::graphql::{DocumentError, GraphqlError, Operation, push_json_string};

/// A client's message: `{"type", "id"?, "payload"?}`; other members are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    pub(super) message_type: String,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
}

/// `{"query": string, "variables"?: object, "operationName"?: string, "extensions"?: object}`
pub(super) fn operation(payload: Option<&RawValue>) -> Result<Operation, String> {
    let raw = payload.ok_or("the operation needs a payload")?;
    if !raw.get().starts_with('{') {
        return Err("payload must be an object".to_owned());
    }
    let operation: Operation = serde_json::from_str(raw.get())
        .map_err(|_| "payload needs a query, and its other members must have the right types")?;
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
    let rest = text.strip_prefix('{').map(str::trim_start);
    match rest {
        Some(rest) if !rest.starts_with('}') => text,
        Some(_) | None => r#"{"data":null}"#,
    }
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
    let mut frame = String::with_capacity(id.len() + payload.map_or(0, str::len) + 48);
    frame.push_str("{\"id\":");
    push_json_string(&mut frame, id);
    frame.push_str(",\"type\":\"");
    frame.push_str(message_type);
    frame.push('"');
    if let Some(payload) = payload {
        frame.push_str(",\"payload\":");
        frame.push_str(payload);
    }
    frame.push('}');
    frame
}
