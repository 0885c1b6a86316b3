//! The frames of AppSync's Events protocol (`aws-appsync-event-ws`).
//!
//! Unlike GraphQL's frames, they have their members at the top level instead of in a payload.
//!
//! <https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html>

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::outcome::PublishOutcome;

/// A message of a client. An id may be any string here; ids are validated later.
#[derive(Debug, PartialEq)]
pub(super) enum ClientMessage {
    ConnectionInit,
    Subscribe(Subscribe),
    Publish(Publish),
    Unsubscribe {
        id: String,
    },
    /// A message of another type, or text that is not a message. AppSync is assumed to treat a message
    /// without an id, a channel or a list of strings as events in the same way.
    Unsupported,
}

#[derive(Debug, PartialEq)]
pub(super) struct Subscribe {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) authorization: Option<Map<String, Value>>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) events: Vec<String>,
    pub(super) authorization: Option<Map<String, Value>>,
}

/// How AppSync writes `<`, `>`, `&` and the two line separators when it rebuilds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// As `\u003c` and so on, like Go's `encoding/json`.
    Html,
    /// Unchanged.
    None,
}

pub(super) fn parse(text: &str) -> ClientMessage {
    let Ok(Value::Object(message)) = serde_json::from_str(text) else {
        return ClientMessage::Unsupported;
    };
    let text = |name: &str| Some(message.get(name)?.as_str()?.to_owned());
    let authorization = || message.get("authorization")?.as_object().cloned();
    let parsed = match message.get("type").and_then(Value::as_str) {
        Some("connection_init") => Some(ClientMessage::ConnectionInit),
        Some("subscribe") => text("id").zip(text("channel")).map(|(id, channel)| {
            ClientMessage::Subscribe(Subscribe {
                id,
                channel,
                authorization: authorization(),
            })
        }),
        Some("publish") => text("id")
            .zip(text("channel"))
            .zip(message.get("events").and_then(strings))
            .map(|((id, channel), events)| {
                ClientMessage::Publish(Publish {
                    id,
                    channel,
                    events,
                    authorization: authorization(),
                })
            }),
        Some("unsubscribe") => text("id").map(|id| ClientMessage::Unsubscribe { id }),
        Some(_) | None => None,
    };
    parsed.unwrap_or(ClientMessage::Unsupported)
}

pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    let strings = value.as_array()?.iter();
    strings
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

// === impl Subscribe ===

impl Subscribe {
    /// Returns the body that a client signs for this message.
    pub(super) fn signed_body(&self) -> String {
        json!({"channel": self.channel}).to_string()
    }
}

// === impl Publish ===

impl Publish {
    /// Returns the body that a client signs for this message.
    ///
    /// The frame does not contain this body, so AppSync must rebuild it from the frame's members. With
    /// `<` or `>` in an event, the result differs from what clients sign:
    /// [aws-appsync-community#400](https://github.com/aws/aws-appsync-community/issues/400).
    pub(super) fn signed_body(&self, escape: Escape) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            channel: &'a str,
            events: &'a [String],
        }
        let body = serde_json::to_string(&Body {
            channel: &self.channel,
            events: &self.events,
        });
        let body = body.unwrap_or_default();
        match escape {
            Escape::Html => ESCAPES
                .iter()
                .fold(body, |body, (from, to)| body.replace(*from, to)),
            Escape::None => body,
        }
    }
}

// === messages of the server ===

pub(super) fn connection_ack(timeout_ms: u64) -> String {
    json!({"type": "connection_ack", "connectionTimeoutMs": timeout_ms}).to_string()
}

/// Returns the frame for a rejected connect. It has no payload and no `errorCode`.
pub(crate) fn connection_error(error_type: Option<&str>, message: Option<&str>) -> String {
    let errors = errors(error_type, message);
    json!({"type": "connection_error", "errors": errors}).to_string()
}

pub(crate) fn subscribe_success(id: &str) -> String {
    json!({"type": "subscribe_success", "id": id}).to_string()
}

pub(super) fn publish_success(id: &str, outcome: &PublishOutcome) -> String {
    let PublishOutcome { successful, failed } = outcome;
    json!({"type": "publish_success", "id": id, "successful": successful, "failed": failed})
        .to_string()
}

pub(super) fn unsubscribe_success(id: &str) -> String {
    json!({"type": "unsubscribe_success", "id": id}).to_string()
}

pub(crate) fn data(id: &str, event: &str) -> String {
    json!({"type": "data", "id": id, "event": event}).to_string()
}

/// Returns a `subscribe_error`, `publish_error`, `unsubscribe_error` or `broadcast_error`.
pub(crate) fn error(
    message_type: &str,
    id: &str,
    error_type: &str,
    message: Option<&str>,
) -> String {
    let errors = errors(Some(error_type), message);
    json!({"type": message_type, "id": id, "errors": errors}).to_string()
}

pub(super) fn unsupported() -> String {
    let message = "Operation not supported through the realtime channel";
    let errors = errors(Some("UnsupportedOperation"), Some(message));
    json!({"type": "error", "errors": errors}).to_string()
}

/// Returns a frame with the members of a JSON object, copied verbatim. A value that is not an object
/// adds no members.
pub(crate) fn with_members(message_type: &str, id: Option<&str>, object: &str) -> String {
    let object = object.trim();
    let members = object
        .strip_prefix('{')
        .and_then(|object| object.strip_suffix('}'))
        .filter(|members| !members.trim().is_empty());
    let id = id.map_or(Cow::Borrowed(""), |id| {
        Cow::Owned(format!(r#","id":{}"#, json!(id)))
    });
    let members = members.map_or(Cow::Borrowed(""), |members| {
        Cow::Owned(format!(",{members}"))
    });
    format!(r#"{{"type":"{message_type}"{id}{members}}}"#)
}

fn errors(error_type: Option<&str>, message: Option<&str>) -> [Map<String, Value>; 1] {
    let members = [("errorType", error_type), ("message", message)];
    let known = members
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    [known.collect()]
}

const ESCAPES: [(char, &str); 5] = [
    ('<', "\\u003c"),
    ('>', "\\u003e"),
    ('&', "\\u0026"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn publish(events: &[&str]) -> Publish {
        let events: Vec<_> = events.iter().map(|event| (*event).to_owned()).collect();
        Publish {
            id: "1".into(),
            channel: "/default/room-1".into(),
            events,
            authorization: None,
        }
    }

    #[test]
    fn client_messages_are_parsed() {
        assert_eq!(
            parse(r#"{"type":"connection_init"}"#),
            ClientMessage::ConnectionInit
        );
        let text =
            r#"{"type":"publish","id":"1","channel":"\/default/room-1","events":["\u003c\/"]}"#;
        assert_eq!(parse(text), ClientMessage::Publish(publish(&["</"])));
        let subscribe = Subscribe {
            id: "a b".into(),
            channel: "x".into(),
            authorization: Some(Map::new()),
        };
        let text = r#"{"type":"subscribe","id":"a b","channel":"x","authorization":{}}"#;
        assert_eq!(parse(text), ClientMessage::Subscribe(subscribe));
        for text in [
            "",
            "[]",
            r#"{"type":"ping"}"#,
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"unsubscribe"}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","channel":"default"}"#,
            r#"{"type":"publish","id":"1","channel":"default"}"#,
            r#"{"type":"publish","id":"1","channel":"default","events":[{"msg":"hi"}]}"#,
        ] {
            assert_eq!(parse(text), ClientMessage::Unsupported, "{text}");
        }
    }

    #[track_caller]
    fn check_body(events: &[&str], escape: Escape, expected: &str) {
        assert_eq!(publish(events).signed_body(escape), expected);
    }

    #[test]
    fn signed_bodies_are_compact_and_escaped_as_requested() {
        let subscribe = Subscribe {
            id: "1".into(),
            channel: "/default/room-1".into(),
            authorization: None,
        };
        assert_eq!(subscribe.signed_body(), r#"{"channel":"/default/room-1"}"#);
        check_body(
            &["{\"a\":\"é/\n\u{7f}\"}", "1"],
            Escape::Html,
            "{\"channel\":\"/default/room-1\",\"events\":[\"{\\\"a\\\":\\\"é/\\n\u{7f}\\\"}\",\"1\"]}",
        );
        let special = ["<>&\u{2028}\u{2029}='"];
        check_body(
            &special,
            Escape::Html,
            r#"{"channel":"/default/room-1","events":["\u003c\u003e\u0026\u2028\u2029='"]}"#,
        );
        check_body(
            &special,
            Escape::None,
            "{\"channel\":\"/default/room-1\",\"events\":[\"<>&\u{2028}\u{2029}='\"]}",
        );
    }

    /// Compares with the hashes of bodies that real clients signed.
    #[track_caller]
    fn check_hash(event: &str, escape: Escape, expected: &str) {
        let body = publish(&[event]).signed_body(escape);
        let hash = Sha256::digest(body.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{body}");
    }

    #[test]
    fn signed_bodies_have_the_hashes_of_real_clients() {
        let plain = "c6d96cfc08abab78ce298c1461669ddd5ce3cd3edf7446f4d9a9dc2a196545d4";
        let raw = "ba56e248881189b11b882ea0b64506b76383d7580aece418696d33558d587e85";
        let escaped = "639ef0e7f069eebab3b100ff126b5a64f340031d955bafbbb2f61cc6aca0c77c";
        check_hash(r#"{"msg":"hi"}"#, Escape::Html, plain);
        check_hash(r#"{"msg":"hi"}"#, Escape::None, plain);
        check_hash(r#"{"msg":"a<b"}"#, Escape::None, raw);
        check_hash(r#"{"msg":"a<b"}"#, Escape::Html, escaped);
    }

    #[test]
    fn members_are_copied_verbatim() {
        let errors = r#" {"errors" : [1.0], "x":"\u003c"} "#;
        assert_eq!(
            with_members("subscribe_error", Some("a\"b"), errors),
            r#"{"type":"subscribe_error","id":"a\"b","errors" : [1.0], "x":"\u003c"}"#
        );
        for empty in ["{ }", "null", "[]"] {
            assert_eq!(with_members("x", None, empty), r#"{"type":"x"}"#);
        }
    }

    #[test]
    fn errors_omit_absent_members() {
        let frame = error("subscribe_error", "1", "UnauthorizedException", None);
        let frame: Value = serde_json::from_str(&frame).unwrap();
        let errors = json!([{"errorType": "UnauthorizedException"}]);
        assert_eq!(
            frame,
            json!({"type": "subscribe_error", "id": "1", "errors": errors})
        );
    }
}
