//! The messages of AppSync's two realtime protocols, and the authorization object they carry.
//!
//! The protocols of GraphQL and Events differ in the names and positions of members. An
//! [`UpstreamMessage`] is a message of either protocol.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::failure::{Failure, Redaction};
use crate::graphql::push_json_string;

pub(super) const CONNECTION_INIT: &str = r#"{"type":"connection_init"}"#;
/// The body of the request that a connect signature covers.
pub const CONNECT_BODY: &str = "{}";
/// Headers that each signature of a connect or start covers. The request they belong to is never
/// sent, so `content-encoding` does not mean a compression.
pub const FIXED_HEADERS: [(&str, &str); 3] = [
    ("accept", "application/json, text/javascript"),
    ("content-encoding", "amz-1.0"),
    ("content-type", "application/json; charset=UTF-8"),
];

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AppSync dev guide, "Building a real-time WebSocket client".
    Graphql,
    /// AppSync Events guide, "Understanding the Event API WebSocket protocol".
    Events,
}

/// A message of AppSync, independent of the protocol.
#[derive(Debug)]
pub(super) enum UpstreamMessage<'a> {
    /// The connection is acknowledged, with its timeout in milliseconds.
    Acknowledged(Option<u64>),
    Refused(Vec<Failure>),
    KeepAlive,
    Started(Id<'a>),
    /// An execution result; for Events one event as a JSON string, or several in an array.
    Data(Id<'a>, &'a RawValue),
    Completed(Id<'a>),
    Failed(Option<Id<'a>>, Vec<Failure>),
    /// An event could not be delivered; the subscription goes on.
    Missed(Id<'a>, Vec<Failure>),
    Unknown(Cow<'a, str>),
}

pub(super) type Id<'a> = Cow<'a, str>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ack {
    connection_timeout_ms: Option<u64>,
}

impl Protocol {
    /// Parses a text frame; `redaction` masks secrets in the errors that it carries.
    pub(super) fn parse(
        self,
        bytes: &[u8],
        redaction: Redaction,
    ) -> Result<UpstreamMessage<'_>, serde_json::Error> {
        let frame: Frame<'_> = serde_json::from_slice(bytes)?;
        // In Events, the members that GraphQL has in `payload` are beside `type`.
        let members = match self {
            Self::Graphql => frame.payload,
            Self::Events => Some(serde_json::from_slice(bytes)?),
        };
        let id = frame.id.filter(|id| !id.is_empty());
        let timeout_ms = || {
            let ack: Option<Ack> = members.and_then(|raw| serde_json::from_str(raw.get()).ok());
            ack.unwrap_or_default().connection_timeout_ms
        };
        Ok(match (self, frame.message_type.as_ref(), id) {
            (_, "connection_ack", _) => UpstreamMessage::Acknowledged(timeout_ms()),
            (_, "connection_error", _) => {
                UpstreamMessage::Refused(Failure::parse(members, redaction))
            }
            (_, "ka", _) => UpstreamMessage::KeepAlive,
            (Self::Graphql, "start_ack", Some(id)) => UpstreamMessage::Started(id),
            (Self::Events, "subscribe_success", Some(id)) => UpstreamMessage::Started(id),
            (Self::Graphql, "complete", Some(id)) => UpstreamMessage::Completed(id),
            (Self::Events, "unsubscribe_success" | "unsubscribe_error", Some(id)) => {
                UpstreamMessage::Completed(id)
            }
            (_, "data", Some(id)) => match self {
                Self::Graphql => frame.payload.map(|json| UpstreamMessage::Data(id, json)),
                Self::Events => frame.event.map(|json| UpstreamMessage::Data(id, json)),
            }
            .unwrap_or(UpstreamMessage::Unknown(frame.message_type)),
            (Self::Events, "broadcast_error", Some(id)) => {
                UpstreamMessage::Missed(id, Failure::parse(members, redaction))
            }
            (Self::Events, "subscribe_error", id) => {
                UpstreamMessage::Failed(id, Failure::parse(members, redaction))
            }
            (_, "error", id) => UpstreamMessage::Failed(id, Failure::parse(members, redaction)),
            _ => UpstreamMessage::Unknown(frame.message_type),
        })
    }

    /// Returns the path that a connect signature covers.
    pub fn connect_target(self, path: &str) -> String {
        match self {
            Self::Graphql => format!("{path}/connect"),
            Self::Events => path.to_owned(),
        }
    }

    /// Returns the `Sec-WebSocket-Protocol` of a connect: the protocol's name, and
    /// `header-<base64url of the authorization object>`.
    pub fn subprotocols(self, authorization: &str) -> String {
        let name = match self {
            Self::Graphql => "graphql-ws",
            Self::Events => "aws-appsync-event-ws",
        };
        format!("{name}, header-{}", URL_SAFE_NO_PAD.encode(authorization))
    }

    /// Returns the message that starts a subscription.
    ///
    /// GraphQL: `{"id","type":"start","payload":{"data":"…","extensions":{"authorization":{…}}}}`.
    /// Events: `{"id","type":"subscribe","channel":"…","authorization":{…}}`, where `data` is the
    /// object that was signed.
    pub(super) fn start(self, id: Uuid, data: &str, authorization: &str) -> String {
        let mut frame = String::with_capacity(data.len() + authorization.len() + 160);
        frame.push_str("{\"id\":\"");
        frame.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        match self {
            Self::Graphql => {
                frame.push_str("\",\"type\":\"start\",\"payload\":{\"data\":");
                push_json_string(&mut frame, data);
                frame.push_str(",\"extensions\":{\"authorization\":");
                frame.push_str(authorization);
                frame.push_str("}}}");
            }
            Self::Events => {
                frame.push_str("\",\"type\":\"subscribe\",");
                frame.push_str(data.trim_matches(['{', '}']));
                frame.push_str(",\"authorization\":");
                frame.push_str(authorization);
                frame.push('}');
            }
        }
        frame
    }

    /// Returns the message that stops a subscription.
    pub(super) fn stop(self, id: Uuid) -> String {
        let kind = match self {
            Self::Graphql => "stop",
            Self::Events => "unsubscribe",
        };
        format!(r#"{{"type":"{kind}","id":"{}"}}"#, id.hyphenated())
    }
}

/// Returns the authorization object: the signed headers and the client's own (`extra`), as JSON.
/// A client's header never replaces a signed one.
pub fn authorization(
    host: &str,
    signed: &[(HeaderName, HeaderValue)],
    extra: &[(String, String)],
) -> String {
    let mut entries = Map::new();
    for (name, value) in FIXED_HEADERS {
        entries.insert(name.to_owned(), Value::from(value));
    }
    entries.insert("host".to_owned(), Value::from(host));
    for (name, value) in signed {
        let value = value.to_str().unwrap_or_default();
        entries.insert(name.as_str().to_owned(), Value::from(value));
    }
    for (name, value) in extra {
        entries
            .entry(name.as_str())
            .or_insert_with(|| Value::from(value.as_str()));
    }
    Value::Object(entries).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_string_keeps_its_bytes() {
        let data = r#"{"query":"subscription { a(x: \"é\n\") }","variables":{ "n":1.0 }}"#;
        let frame = Protocol::Graphql.start(Uuid::nil(), data, r#"{"host":"h"}"#);
        let parsed: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(parsed["payload"]["data"], data);
        assert_eq!(
            parsed["payload"]["extensions"]["authorization"]["host"],
            "h"
        );
        assert_eq!(parsed["id"], "00000000-0000-0000-0000-000000000000");
    }

    #[test]
    fn a_client_header_never_replaces_a_signed_one() {
        let extra = [
            ("host".to_owned(), "evil".to_owned()),
            ("x-team".to_owned(), "a".to_owned()),
        ];
        let object = authorization("api", &[], &extra);
        let parsed: Value = serde_json::from_str(&object).unwrap();
        assert_eq!(parsed["host"], "api");
        assert_eq!(parsed["x-team"], "a");
    }
}
