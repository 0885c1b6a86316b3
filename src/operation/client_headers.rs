//! The client's own headers of an operation, from and to the entries of an authorization object.
//!
//! AppSync's WebSocket protocols carry headers as JSON strings. A header that cannot be converted fails its
//! operation: a resolver must not see an operation without a header, or with a part of it.

use countersign_protocol::error_code::Code;
use countersign_protocol::graphql::shown;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::HeaderPolicy;

/// Why a client's header cannot be forwarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error(
        "cannot forward the header {0}: AppSync receives the headers of a subscription as JSON, and \
         its value is not UTF-8. Encode the value as UTF-8, or leave the header out"
    )]
    Encoding(HeaderName),
    #[error("cannot forward a header: {0:?} is not a valid header name")]
    Name(String),
    #[error("cannot forward the header {0}: its value contains a control character")]
    Value(HeaderName),
}

impl HeaderError {
    /// Returns the stable name of the error, for clients and logs.
    pub fn code(&self) -> Code {
        match self {
            Self::Encoding(_) | Self::Name(_) | Self::Value(_) => Code::HeaderNotForwardable,
        }
    }
}

/// Returns the headers that a message contains, without those that `policy` drops.
///
/// # Errors
/// If HTTP does not allow the name or value of a header that is not dropped.
pub fn from_entries(
    entries: &[(String, String)],
    policy: &HeaderPolicy,
) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    let mut invalid = Vec::new();
    for (name, value) in entries {
        let name: HeaderName = name.parse().map_err(|_| HeaderError::Name(shown(name)))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| {
            invalid.push(name.clone());
            HeaderValue::from_static("")
        });
        headers.append(name, value);
    }
    policy.filter_session(&mut headers);
    match invalid.into_iter().find(|name| headers.contains_key(name)) {
        Some(name) => Err(HeaderError::Value(name)),
        None => Ok(headers),
    }
}

/// Returns headers as entries of an authorization object. Several values of a name are joined.
///
/// # Errors
/// If a value is not UTF-8.
pub(super) fn to_entries(headers: &HeaderMap) -> Result<Vec<(String, String)>, HeaderError> {
    let mut entries = Vec::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values: Result<Vec<&str>, _> = values
            .map(|value| std::str::from_utf8(value.as_bytes()))
            .collect();
        let values = values.map_err(|_| HeaderError::Encoding(name.clone()))?;
        entries.push((name.as_str().to_owned(), values.join(", ")));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamKind;

    fn policy() -> HeaderPolicy {
        HeaderPolicy::new(UpstreamKind::Graphql, &[], Vec::new())
    }

    #[track_caller]
    fn check_from(entries: &[(&str, &str)], expected: Result<&[(&str, &str)], &str>) {
        let entries: Vec<(String, String)> = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = from_entries(&entries, &policy());
        match expected {
            Ok(expected) => {
                let found = found.unwrap();
                let found: Vec<(&str, &[u8])> = found
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_bytes()))
                    .collect();
                let expected: Vec<(&str, &[u8])> = expected
                    .iter()
                    .map(|(name, value)| (*name, value.as_bytes()))
                    .collect();
                assert_eq!(found, expected);
            }
            Err(part) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn entries_of_a_message_become_headers_or_an_error() {
        check_from(
            &[("x-city", "Zürich 🦀"), ("x-multi", "a"), ("X-Multi", "b")],
            Ok(&[("x-city", "Zürich 🦀"), ("x-multi", "a"), ("x-multi", "b")]),
        );
        check_from(&[("x city", "a")], Err("\"x city\" is not a valid header"));
        check_from(&[("", "a")], Err("\"\" is not a valid header name"));
        check_from(&[("x-city", "a\r\nhost: b")], Err("the header x-city"));
        // The value of a header that is dropped does not matter.
        check_from(&[("authorization", "a\n"), ("x-api-key", "\0")], Ok(&[]));
    }

    #[track_caller]
    fn check_to(values: &[&[u8]], expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        headers.insert("x-team", HeaderValue::from_static("blue"));
        for value in values {
            headers.append("x-multi", HeaderValue::from_bytes(value).unwrap());
        }
        let found = to_entries(&headers).map_err(|error| error.to_string());
        match expected {
            Ok(text) => {
                let team = ("x-team".to_owned(), "blue".to_owned());
                let multi = ("x-multi".to_owned(), text.to_owned());
                assert_eq!(found, Ok(vec![team, multi]));
            }
            Err(part) => {
                let error = found.unwrap_err();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn every_value_becomes_part_of_an_entry_or_an_error() {
        check_to(&[b"acme", "Zürich".as_bytes()], Ok("acme, Zürich"));
        check_to(&[b"a\tb", b""], Ok("a\tb, "));
        let error = "the header x-multi: AppSync receives";
        check_to(&[b"acme", b"Z\xfcrich"], Err(error));
        check_to(&[b"\xed\xa0\xbd"], Err(error));
    }
}
