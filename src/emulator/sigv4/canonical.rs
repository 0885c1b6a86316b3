//! The canonical request, rebuilt from the bytes that were received.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>

use std::fmt::Write as _;

use http::HeaderMap;
use sha2::{Digest, Sha256};

/// A request as it was received, or the request that a realtime message was signed as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) method: &'a str,
    /// The path, still encoded, without the query.
    pub(crate) path: &'a str,
    /// The query, still encoded, without the question mark.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a Headers,
    pub(crate) body: &'a [u8],
}

/// Header names in lower case with their values, in the order of arrival.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

pub(super) fn request(received: &Received<'_>, signed_headers: &[String]) -> String {
    let mut names: Vec<String> = signed_headers
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    names.dedup();

    let mut canonical = format!(
        "{}\n{}\n{}\n",
        received.method,
        path(received.path),
        query(received.query)
    );
    for name in &names {
        let value = received.headers.joined(name).unwrap_or_default();
        canonical.push_str(name);
        canonical.push(':');
        canonical.push_str(&value);
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(&names.join(";"));
    canonical.push('\n');
    canonical.push_str(&sha256_hex(received.body));
    canonical
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Decodes `%XX`. Leaves other `%` characters unchanged.
pub(crate) fn percent_decode(text: &str, plus: PlusSign) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let escaped = hex(bytes.get(at)).zip(hex(bytes.get(at + 1)));
        decoded.push(match (byte, escaped) {
            (b'%', Some((high, low))) => {
                at += 2;
                // Two hexadecimal digits fit in one byte.
                (high << 4 | low).to_le_bytes()[0]
            }
            (b'+', _) if plus == PlusSign::Space => b' ',
            (byte, _) => byte,
        });
    }
    decoded
}

/// The meaning of `+` in encoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlusSign {
    /// As in a form, and in the query that AWS rebuilds.
    Space,
    /// As in base64.
    Literal,
}

/// Encodes the received path again, as for every service but S3.
fn path(raw: &str) -> String {
    if raw.is_empty() {
        return "/".to_owned();
    }
    let segments: Vec<String> = raw
        .split('/')
        .map(|segment| encode(segment.as_bytes()))
        .collect();
    segments.join("/")
}

fn query(raw: &str) -> String {
    let strict = |text: &str| encode(&percent_decode(text, PlusSign::Space));
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (strict(name), strict(value))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut encoded, &byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

// === impl Headers ===

impl Headers {
    /// Returns the headers of a request. `host` is the `:authority` of HTTP/2, which has no `Host`
    /// header, or the `Host` header.
    pub(crate) fn from_request(map: &HeaderMap, host: &str) -> Self {
        let received = map
            .iter()
            .filter(|(name, _)| *name != http::header::HOST)
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            });
        Self(
            std::iter::once(("host".to_owned(), host.to_owned()))
                .chain(received)
                .collect(),
        )
    }

    /// Returns the headers in the authorization object of a realtime message. Entries that are not
    /// strings are ignored.
    pub(crate) fn from_json(object: &serde_json::Map<String, serde_json::Value>) -> Self {
        Self(
            object
                .iter()
                .filter_map(|(name, value)| {
                    let value = value.as_str()?.to_owned();
                    Some((name.to_ascii_lowercase(), value))
                })
                .collect(),
        )
    }

    /// Returns all values of a name, trimmed, with white space collapsed, joined with commas.
    pub(crate) fn joined(&self, name: &str) -> Option<String> {
        let values: Vec<String> = self
            .0
            .iter()
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| {
                let words: Vec<&str> = value.split_ascii_whitespace().collect();
                words.join(" ")
            })
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// Returns each name once, with its values joined.
    pub(crate) fn all(&self) -> std::collections::BTreeMap<String, String> {
        self.0
            .iter()
            .map(|(name, _)| {
                let value = self.joined(name).unwrap_or_default();
                (name.clone(), value)
            })
            .collect()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(candidate, _)| candidate != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

/// Shows only names, because values contain signatures and tokens.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}
