//! The frames of AppSync's realtime protocol (`graphql-ws`).
//!
//! <https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html>

use async_graphql::Value;
use serde::Serialize;
use serde_json::{Map, json};

use super::appsync_error::AppSyncError;
use super::selection::NullError;

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum ClientMessage {
    ConnectionInit,
    Start(Start),
    Stop {
        id: String,
    },
    /// Another type, a malformed `start`, or text that is not a message.
    Unsupported,
}

#[derive(Debug, PartialEq)]
pub(super) struct Start {
    pub(super) id: String,
    /// The decoded string with its exact bytes, because the signature covers their hash.
    pub(super) data: String,
    pub(super) authorization: Option<Map<String, serde_json::Value>>,
}

pub(super) fn parse(text: &str) -> ClientMessage {
    let Ok(serde_json::Value::Object(message)) = serde_json::from_str(text) else {
        return ClientMessage::Unsupported;
    };
    let id = || {
        let id = message.get("id")?.as_str()?;
        (id.len() <= MAX_ID_LENGTH).then(|| id.to_owned())
    };
    let parsed = match message.get("type").and_then(serde_json::Value::as_str) {
        Some("connection_init") => Some(ClientMessage::ConnectionInit),
        Some("start") => id()
            .and_then(|id| start(id, &message))
            .map(ClientMessage::Start),
        Some("stop") => id().map(|id| ClientMessage::Stop { id }),
        Some(_) | None => None,
    };
    parsed.unwrap_or(ClientMessage::Unsupported)
}

fn start(id: String, message: &Map<String, serde_json::Value>) -> Option<Start> {
    let payload = message.get("payload")?;
    Some(Start {
        id,
        data: payload.get("data")?.as_str()?.to_owned(),
        authorization: payload
            .get("extensions")
            .and_then(|extensions| extensions.get("authorization"))
            .and_then(serde_json::Value::as_object)
            .cloned(),
    })
}

pub(super) fn connection_ack(timeout_ms: u64) -> String {
    json!({"type": "connection_ack", "payload": {"connectionTimeoutMs": timeout_ms}}).to_string()
}

pub(super) fn ka() -> String {
    json!({"type": "ka"}).to_string()
}

/// Returns the frame for a rejected connect. AppSync omits one of the texts in some cases.
pub(super) fn connection_error(error_type: Option<&str>, message: Option<&str>) -> String {
    let mut error = Map::new();
    if let Some(error_type) = error_type {
        error.insert("errorType".into(), error_type.into());
    }
    if let Some(message) = message {
        error.insert("message".into(), message.into());
    }
    error.insert("errorCode".into(), 400.into());
    json!({"payload": {"errors": [error]}, "type": "connection_error"}).to_string()
}

/// Returns a `connection_error` with this JSON as its payload.
pub(super) fn connection_error_with(payload: &str) -> String {
    format!(r#"{{"payload":{payload},"type":"connection_error"}}"#)
}

pub(super) fn start_ack(id: &str) -> String {
    json!({"id": id, "type": "start_ack"}).to_string()
}

pub(super) fn complete(id: &str) -> String {
    json!({"id": id, "type": "complete"}).to_string()
}

/// Returns the payload alone, because AppSync limits its size.
pub(super) fn data_payload(
    data: &Value,
    errors: &[NullError],
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Payload<'a> {
        data: &'a Value,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        errors: &'a [NullError],
    }
    serde_json::to_string(&Payload { data, errors })
}

pub(super) fn data(id: &str, payload: &str) -> String {
    let id = json!(id);
    format!(r#"{{"id":{id},"type":"data","payload":{payload}}}"#)
}

/// Returns an `error` for one operation. The socket stays open.
pub(super) fn error(id: &str, error_type: &str, message: &str) -> String {
    let errors = json!([{"errorType": error_type, "message": message}]);
    json!({"id": id, "type": "error", "payload": {"errors": errors}}).to_string()
}

/// Returns an `error` with this JSON as its payload.
pub(super) fn error_with(id: Option<&str>, payload: &str) -> String {
    match id {
        Some(id) => format!(
            r#"{{"id":{},"type":"error","payload":{payload}}}"#,
            json!(id)
        ),
        None => format!(r#"{{"type":"error","payload":{payload}}}"#),
    }
}

pub(super) fn appsync_error(id: &str, appsync: &AppSyncError) -> String {
    error(id, appsync.realtime_type(), &appsync.to_string())
}

pub(super) fn validation_errors(id: &str, messages: &[String]) -> String {
    let errors: Vec<_> = messages
        .iter()
        .map(|message| json!({"message": message}))
        .collect();
    json!({"id": id, "type": "error", "payload": {"errors": errors}}).to_string()
}

/// Returns the error for a full connection. `errors` is an object here, not a list.
pub(super) fn too_many_subscriptions(id: &str, limit: usize) -> String {
    let errors = json!({
        "errorType": "MaxSubscriptionsReachedError",
        "message": format!("Max number of {limit} subscriptions reached"),
    });
    json!({"id": id, "type": "error", "payload": {"errors": errors}}).to_string()
}

/// Returns the error for throttling. `errors` is an object, and the frame does not have an id.
pub(super) fn limit_exceeded() -> String {
    let errors = json!({"errorType": "LimitExceededError", "message": "Rate limit exceeded"});
    json!({"type": "error", "payload": {"errors": errors}}).to_string()
}

pub(super) fn unsupported() -> String {
    let errors = json!([{
        "errorType": "UnsupportedOperation",
        "message": "unknown not supported through the realtime channel",
    }]);
    json!({"type": "error", "payload": {"errors": errors}}).to_string()
}

/// AppSync documents no limit. This one bounds the memory of a connection.
const MAX_ID_LENGTH: usize = 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: ClientMessage) {
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn client_messages_are_parsed() {
        check(
            r#"{"type":"connection_init"}"#,
            ClientMessage::ConnectionInit,
        );
        check(
            r#"{"type":"stop","id":"1"}"#,
            ClientMessage::Stop { id: "1".into() },
        );
        check(
            r#"{"id":"1","type":"start","payload":{"data":"a\/\u003c","extensions":{"authorization":{}}}}"#,
            ClientMessage::Start(Start {
                id: "1".into(),
                data: "a/<".into(),
                authorization: Some(Map::new()),
            }),
        );
        for text in [
            "",
            "[]",
            r#"{"type":"ping"}"#,
            r#"{"type":"stop"}"#,
            r#"{"id":"1","type":"start","payload":{"query":"subscription { x }"}}"#,
            r#"{"type":"start","payload":{"data":"{}"}}"#,
        ] {
            check(text, ClientMessage::Unsupported);
        }
    }

    #[test]
    fn connection_error_omits_absent_members() {
        let frame: serde_json::Value =
            serde_json::from_str(&connection_error(None, Some("NoProtocolError"))).unwrap();
        let error = json!({"message": "NoProtocolError", "errorCode": 400});
        assert_eq!(
            frame,
            json!({"payload": {"errors": [error]}, "type": "connection_error"})
        );
    }
}
