//! Masks credentials and tokens before anything is stored.

use countersign_protocol::dialect::{EVENTS_PROTOCOLS, GRAPHQL_PROTOCOLS};
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use serde_json::Value;

use crate::diagnose::display::is_secret_name;
use crate::sign::redact;

/// A header as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    /// `None` if it is masked.
    pub(super) value: Option<String>,
}

/// What is stored instead of a secret within a text.
pub(super) const MASK: &str = "***";

/// Returns the headers, with the values of secrets left out.
pub(super) fn headers(headers: &HeaderMap) -> Vec<Header> {
    let pairs = headers.iter();
    let masked = pairs.map(|(name, value)| {
        let is_secret = value.is_sensitive()
            || is_secret_name(name.as_str())
            || *name == SEC_WEBSOCKET_PROTOCOL && !names_protocols_only(value);
        let text = String::from_utf8_lossy(value.as_bytes());
        Header {
            name: name.as_str().to_owned(),
            value: (!is_secret).then(|| redact::mask_tokens(&text).into_owned()),
        }
    });
    masked.collect()
}

/// Returns whether a list of subprotocols has only names of client protocols. Any other item may contain headers
/// or a token, however short.
fn names_protocols_only(value: &HeaderValue) -> bool {
    let known = || GRAPHQL_PROTOCOLS.iter().chain(&EVENTS_PROTOCOLS);
    let is_known = |item: &str| known().any(|protocol| *protocol == item.trim());
    value
        .to_str()
        .is_ok_and(|text| text.split(',').all(is_known))
}

/// Returns a query with the values of secret parameters masked.
pub(super) fn query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret_parameter(name) => format!("{name}={MASK}"),
        Some(_) | None => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// `header` contains the headers of AppSync's handshake.
fn is_secret_parameter(name: &str) -> bool {
    is_secret_name(name) || name.eq_ignore_ascii_case("x-amz-credential") || name == "header"
}

/// Returns a canonical request with the values of secret headers and parameters masked.
pub(super) fn canonical(text: &str) -> String {
    let lines = text.split('\n').enumerate();
    let masked = lines.map(|(at, line)| match line.split_once(':') {
        _ if at == 2 => query(line),
        Some((name, _)) if at > 2 && is_secret_name(name) => format!("{name}:{MASK}"),
        Some(_) | None => line.to_owned(),
    });
    masked.collect::<Vec<_>>().join("\n")
}

/// Masks the headers that a message of a realtime protocol contains. Variables and data stay.
pub(super) fn message(text: &str) -> String {
    let masked = redact::mask_tokens(text);
    if let Ok(mut json) = serde_json::from_str::<Value>(&masked)
        && mask_headers(&mut json, 0)
    {
        return json.to_string();
    }
    // Without a secret, the text is shown as it was sent.
    masked.into_owned()
}

/// The deepest level at which messages contain headers: `payload.extensions.authorization`.
const DEEPEST: usize = 3;

/// Returns whether something was masked.
fn mask_headers(json: &mut Value, level: usize) -> bool {
    let Value::Object(members) = json else {
        return false;
    };
    let mut is_changed = false;
    for (name, value) in members {
        let is_headers = matches!(
            name.to_ascii_lowercase().as_str(),
            "authorization" | "headers"
        );
        if is_headers && let Value::Object(entries) = value {
            for (name, value) in entries {
                if is_secret_name(name) {
                    *value = Value::from(MASK);
                    is_changed = true;
                }
            }
        } else if value.is_string() && is_secret_name(name) {
            *value = Value::from(MASK);
            is_changed = true;
        } else if level < DEEPEST && name != "variables" && name != "data" {
            // Variables and data may have members of these names.
            is_changed |= mask_headers(value, level + 1);
        }
    }
    is_changed
}

/// Returns an access key id with its middle masked.
pub(super) fn access_key(id: &str) -> String {
    let chars: Vec<char> = id.chars().collect();
    let (Some(first), Some(last)) = (chars.first_chunk::<4>(), chars.last_chunk::<4>()) else {
        return MASK.to_owned();
    };
    if chars.len() < 12 {
        return MASK.to_owned();
    }
    let (first, last): (String, String) = (first.iter().collect(), last.iter().collect());
    format!("{first}****{last}")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn headers_of_credentials_are_stored_without_their_values() {
        let mut map = HeaderMap::new();
        let names = [
            "authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-amz-security-token",
            "x-countersign-token",
            "proxy-authorization",
        ];
        for name in names {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        map.insert("content-type", HeaderValue::from_static("text/plain"));
        for secret in ["graphql-ws, countersign-token.t", "header-e30", "x"] {
            map.append(SEC_WEBSOCKET_PROTOCOL, secret.parse().unwrap());
        }
        let shown: Vec<_> = headers(&map)
            .into_iter()
            .filter(|header| header.value.is_some())
            .map(|header| header.name)
            .collect();
        assert_eq!(shown, ["content-type"]);
        let mut map = HeaderMap::new();
        let plain = HeaderValue::from_static("graphql-transport-ws, graphql-ws");
        map.insert(SEC_WEBSOCKET_PROTOCOL, plain);
        assert!(headers(&map).iter().all(|header| header.value.is_some()));
    }

    #[test]
    fn secrets_in_queries_and_canonical_requests_are_masked() {
        let masked = query("a=1&X-Amz-Signature=f00&X-Amz-Credential=AKIA%2Fx&token=t&b");
        assert_eq!(
            masked,
            "a=1&X-Amz-Signature=***&X-Amz-Credential=***&token=***&b"
        );
        let text = "POST\n/graphql\n\nhost:h\nx-amz-security-token:t\n\nhost\nhash";
        assert_eq!(
            canonical(text),
            "POST\n/graphql\n\nhost:h\nx-amz-security-token:***\n\nhost\nhash"
        );
    }

    #[test]
    fn headers_in_messages_are_masked_and_variables_are_not() {
        let start = r#"{"id":"1","payload":{"data":"{\"authorization\":1}","extensions":{"authorization":{"Authorization":"AWS4","host":"h","x-amz-security-token":"t"}}},"type":"start"}"#;
        let expected = r#"{"id":"1","payload":{"data":"{\"authorization\":1}","extensions":{"authorization":{"Authorization":"***","host":"h","x-amz-security-token":"***"}}},"type":"start"}"#;
        assert_eq!(message(start), expected);
        let subscribe =
            r#"{"payload":{"headers":{"x-token":"t"},"variables":{"authorization":"kept"}}}"#;
        let expected =
            r#"{"payload":{"headers":{"x-token":"***"},"variables":{"authorization":"kept"}}}"#;
        assert_eq!(message(subscribe), expected);
        // Names of headers have no case, and need no word that others have.
        for (sent, expected) in [
            (
                r#"{"payload":{"AUTHORIZATION":"s"}}"#,
                r#"{"payload":{"AUTHORIZATION":"***"}}"#,
            ),
            (
                r#"{"payload":{"x-api-key":"s"}}"#,
                r#"{"payload":{"x-api-key":"***"}}"#,
            ),
            (r#"{"type": "ka", "a": 1}"#, r#"{"type": "ka", "a": 1}"#),
        ] {
            assert_eq!(message(sent), expected);
        }
    }

    #[test]
    fn access_keys_are_masked_in_the_middle() {
        assert_eq!(access_key("AKIAIOSFODNN7EXAMPLE"), "AKIA****MPLE");
        assert_eq!(access_key("short"), "***");
    }
}
