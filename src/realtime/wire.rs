//! The messages of AppSync's realtime protocol, and the authorization object they carry.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::graphql::push_json_string;
use crate::sign::SignedHeaders;

pub(super) const CONNECTION_INIT: &str = r#"{"type":"connection_init"}"#;
/// The body that a connect signature is over.
pub(super) const CONNECT_BODY: &str = "{}";
/// Signed with every connect and start; a fake request, so this is no compression.
pub(super) const FIXED_HEADERS: [(&str, &str); 3] = [
    ("accept", "application/json, text/javascript"),
    ("content-encoding", "amz-1.0"),
    ("content-type", "application/json; charset=UTF-8"),
];

/// A message of AppSync: `{"type", "id"?, "payload"?}`.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ack {
    connection_timeout_ms: Option<u64>,
}

impl Frame<'_> {
    /// `connectionTimeoutMs` of a `connection_ack`.
    pub(super) fn connection_timeout_ms(&self) -> Option<u64> {
        let ack: Ack = serde_json::from_str(self.payload?.get()).ok()?;
        ack.connection_timeout_ms
    }
}

/// The authorization object: the signed headers, then the client's own, as a JSON object.
/// A client's header never replaces a signed one.
pub(super) fn authorization(
    host: &str,
    signed: &SignedHeaders,
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

/// `Sec-WebSocket-Protocol` of a connect: `graphql-ws, header-<base64url of the object>`.
pub(super) fn protocols(authorization: &str) -> String {
    format!(
        "graphql-ws, header-{}",
        URL_SAFE_NO_PAD.encode(authorization)
    )
}

/// `{"id","type":"start","payload":{"data":"…","extensions":{"authorization":{…}}}}`
pub(super) fn start(id: Uuid, data: &str, authorization: &str) -> String {
    let mut frame = String::with_capacity(data.len() + authorization.len() + 160);
    frame.push_str("{\"id\":\"");
    frame.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    frame.push_str("\",\"type\":\"start\",\"payload\":{\"data\":");
    push_json_string(&mut frame, data);
    frame.push_str(",\"extensions\":{\"authorization\":");
    frame.push_str(authorization);
    frame.push_str("}}}");
    frame
}

pub(super) fn stop(id: Uuid) -> String {
    format!(r#"{{"type":"stop","id":"{}"}}"#, id.hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_string_keeps_its_bytes() {
        let data = r#"{"query":"subscription { a(x: \"é\n\") }","variables":{ "n":1.0 }}"#;
        let frame = start(Uuid::nil(), data, r#"{"host":"h"}"#);
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
        let object = authorization("api", &SignedHeaders::new(), &extra);
        let parsed: Value = serde_json::from_str(&object).unwrap();
        assert_eq!(parsed["host"], "api");
        assert_eq!(parsed["x-team"], "a");
    }
}
