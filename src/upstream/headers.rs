//! Filters the headers of requests and responses.
//!
//! Requests are filtered before they are signed. The headers that `Connection` lists are removed first, so
//! that a client cannot use it to remove a header that countersign adds. Names are compared by their letters
//! and digits alone, as the most lenient servers do.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, USER_AGENT,
};

use http::Method;

use super::{Error, UpstreamKind};
use crate::guard::{
    HeaderNames, forwarded_header, has_header_prefix, is_method_override, is_odd_header,
    is_same_header,
};
use crate::telemetry::{TRACEPARENT, UpstreamSpan};

/// Decides which headers of a request a route forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPolicy {
    drop: HeaderNames,
    /// The headers of [`USUAL`] that are forwarded, which need no comparison of spellings.
    usual: Vec<HeaderName>,
    /// Whether to drop `traceparent`.
    drops_trace: bool,
    /// Headers that the configuration lists. They are forwarded even if their name is odd.
    forward: Vec<HeaderName>,
    /// Whether to forward `X-Forwarded-*`, `Forwarded` and `Via`.
    keeps_forwarded: bool,
    /// Whether to forward headers with an odd name (`odd_headers`).
    keeps_odd: bool,
}

/// Headers that describe the request that opened a session, and not the session's operations.
const REQUEST_SPECIFIC: [&str; 6] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "content-encoding",
    "content-type",
    "pragma",
];

/// Headers that most clients send.
const USUAL: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CONTENT_TYPE,
    USER_AGENT,
];

/// RFC 9110, section 7.6.1.
static HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Never forwarded, regardless of the configuration: countersign sets these headers itself, or they
/// contain credentials.
static NEVER_FORWARDED: [&str; 16] = [
    "authorization",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-region-set",
    "x-amz-security-token",
    "x-amz-algorithm",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-countersign-token",
    "x-graphql-event-stream-token",
];

/// Never relayed to a client: countersign sets these headers itself, or they change how a browser treats
/// the whole origin, or make it send reports.
static NEVER_RELAYED: [&str; 19] = [
    "x-countersign-error",
    "alt-svc",
    "strict-transport-security",
    "nel",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "timing-allow-origin",
    "public-key-pins",
    "expect-ct",
    // These set state that a browser keeps for the origin, which all routes share.
    "accept-ch",
    "critical-ch",
    "use-as-dictionary",
    "set-login",
    "origin-agent-cluster",
    "sec-session-registration",
    "secure-session-registration",
    "sec-session-challenge",
    "secure-session-challenge",
];

/// Headers from which some upstreams take the URL to serve, instead of from the request line. Only the
/// request line was checked.
static URL_OVERRIDES: [&str; 11] = [
    "x-envoy-original-path",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-original-host",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-path",
    "x-rewrite-uri",
    "x-rewrite-url",
];

/// Adds the length of an empty body if a body has a meaning for the method (RFC 9110, section 8.6). Without
/// it, some servers answer 411. hyper adds the length of other bodies.
pub fn set_length_of_empty_body(method: &Method, headers: &mut HeaderMap) {
    if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

impl HeaderPolicy {
    /// Returns the policy for `kind`: drops the headers that are dropped by default, except those in
    /// `forward`, and the headers in `drop`.
    pub fn new(kind: UpstreamKind, forward: &[HeaderName], drop: Vec<HeaderName>) -> Self {
        let default = match kind {
            // AppSync may prefer an API key to the signature.
            UpstreamKind::Graphql | UpstreamKind::Events => ["cookie", "x-api-key"],
            // `x-apigw-api-id` selects one of the private APIs behind a VPC endpoint.
            UpstreamKind::Http => ["cookie", "x-apigw-api-id"],
        };
        let default = default.into_iter().chain(URL_OVERRIDES);
        let is_forwarded = |name: &str| {
            let mut forward = forward.iter();
            forward.any(|other| is_same_header(other.as_str(), name))
        };
        let dropped = default.filter(|name| !is_forwarded(name));
        let chosen = dropped.chain(drop.iter().map(HeaderName::as_str));
        let is_trace = |name| is_same_header(name, TRACEPARENT.as_str());
        let drops_trace = chosen.clone().any(is_trace);
        let all = HOP_BY_HOP.into_iter().chain(NEVER_FORWARDED).chain(chosen);
        let mut policy = Self {
            drop: HeaderNames::new(all),
            usual: Vec::new(),
            drops_trace,
            forward: forward.to_vec(),
            keeps_forwarded: false,
            keeps_odd: false,
        };
        let usual = USUAL.into_iter();
        policy.usual = usual.filter(|name| !policy.drops(name)).collect();
        policy
    }

    /// Forwards headers whose names contain characters other than letters, digits and `-`, except for
    /// spellings of a dropped header or of a method override.
    #[must_use]
    pub fn keep_odd_headers(mut self) -> Self {
        self.keeps_odd = true;
        self
    }

    /// Forwards the headers that other proxies add: `X-Forwarded-*`, `Forwarded` and `Via`.
    #[must_use]
    pub fn keep_forwarded_headers(mut self) -> Self {
        self.keeps_forwarded = true;
        self
    }

    /// Removes the headers that must not be forwarded. [`Upstream::send`](super::Upstream::send) selects
    /// the remaining headers to sign, and sends the others unsigned.
    pub fn filter_request(&self, headers: &mut HeaderMap) {
        let listed = listed_by_connection(headers);
        remove_if(headers, |name| {
            // This is not a WebSocket handshake, and `Sec-WebSocket-Protocol` may contain a token.
            let is_handshake = has_header_prefix(name.as_str(), "sec-websocket");
            is_handshake || self.drops(name) || is_one_of(&listed, name)
        });
    }

    /// Filters the headers of a WebSocket handshake: does the same, but keeps `Sec-WebSocket-*`.
    pub fn filter_handshake(&self, headers: &mut HeaderMap) {
        let listed = listed_by_connection(headers);
        remove_if(headers, |name| self.drops(name) || is_one_of(&listed, name));
    }

    fn drops(&self, name: &HeaderName) -> bool {
        if self.usual.contains(name) {
            return false;
        }
        let name = name.as_str();
        if self.drop.contains(name) || (!self.keeps_forwarded && forwarded_header(name).is_some()) {
            return true;
        }
        let is_kept = || self.keeps_odd || self.forward.iter().any(|other| other == name);
        is_odd_header(name) && (!is_kept() || is_method_override(name))
    }

    /// Adds the trace context of `span`, unless the route drops `traceparent`.
    pub fn continue_trace(&self, headers: &mut HeaderMap, span: &UpstreamSpan) {
        if !self.drops_trace {
            span.pass_on(headers);
        }
    }

    /// Filters the headers of the request that opened a session, to send them with each of its operations.
    /// Also removes the headers that describe only that request. Copies what remains, because the values of
    /// a request refer to the buffer that it was read into, and would keep all of it.
    pub fn filter_session(&self, headers: &mut HeaderMap) {
        self.filter_request(headers);
        remove_if(headers, |name| {
            let name = name.as_str();
            let mut specific = REQUEST_SPECIFIC.iter();
            let is_from_browser = name
                .strip_prefix("sec")
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
            is_from_browser || specific.any(|other| is_same_header(name, other))
        });
        *headers = copied(headers);
    }
}

/// Returns a map with room for these headers only, which shares no memory with them.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let mut copies = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            copies.append(name, copy);
        }
    }
    copies
}

/// Removes the response headers that must not be relayed to the client.
pub fn filter_response_headers(headers: &mut HeaderMap) {
    let listed = listed_by_connection(headers);
    remove_if(headers, |name| {
        let text = name.as_str();
        let is_cors = text.starts_with("access-control-");
        is_cors
            || HOP_BY_HOP.contains(&text)
            || NEVER_RELAYED.contains(&text)
            || is_one_of(&listed, name)
    });
}

/// Returns the names that `Connection` lists, beside those that are removed anyway.
fn listed_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_usual =
        |name: &str| name.eq_ignore_ascii_case("keep-alive") || name.eq_ignore_ascii_case("close");
    let names = names.filter(|name| !is_usual(name));
    names.filter_map(|name| name.parse().ok()).collect()
}

fn is_one_of(names: &[HeaderName], name: &HeaderName) -> bool {
    let mut names = names.iter();
    names.any(|other| is_same_header(other.as_str(), name.as_str()))
}

fn remove_if(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let names = headers.keys().filter(|name| is_removed(name));
    let found: Vec<HeaderName> = names.cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes all but the first `Content-Type`, and returns whether to sign it. It is signed only if there is
/// a body, because API Gateway adds a content type to a request without one, and only if all implementations
/// of SigV4 canonicalize the value in the same way.
pub(super) fn single_content_type(headers: &mut HeaderMap, has_body: bool) -> bool {
    let Some(first) = headers.get(CONTENT_TYPE).cloned() else {
        return false;
    };
    let is_plain = is_signable(&first);
    headers.insert(CONTENT_TYPE, first);
    has_body && is_plain
}

/// Returns the names and values of the headers to sign, in the order of `headers`.
///
/// # Errors
/// [`Error::Header`] for a value that implementations of SigV4 canonicalize differently.
pub(super) fn signed_values(
    headers: &HeaderMap,
    is_signed: impl Fn(&HeaderName) -> bool,
) -> Result<Vec<(&str, &str)>, Error> {
    let signed = headers.iter().filter(|(name, _)| is_signed(name));
    signed
        .map(|(name, value)| match value.to_str() {
            Ok(text) if is_signable(value) => Ok((name.as_str(), text)),
            Ok(_) | Err(_) => Err(Error::Header(name.clone())),
        })
        .collect()
}

/// Returns whether all implementations of SigV4 canonicalize a value in the same way: it consists of
/// printable ASCII, without two consecutive spaces.
fn is_signable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    bytes.iter().all(is_plain) && !bytes.windows(2).any(|pair| pair == b"  ")
}

#[cfg(test)]
mod tests;
