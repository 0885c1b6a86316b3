//! Filters the headers of requests and responses.
//!
//! Requests are filtered before they are signed. The headers that `Connection` lists are removed first, so
//! that a client cannot use it to remove a header that countersign adds. Names are compared by their letters
//! and digits alone, as the most lenient servers do.

use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
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
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_APIGW_API_ID: HeaderName = HeaderName::from_static("x-apigw-api-id");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// RFC 9110, section 7.6.1.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Never forwarded, regardless of the configuration: countersign sets these headers itself, or they
/// contain credentials.
static NEVER_FORWARDED: [HeaderName; 16] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("x-amz-content-sha256"),
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-region-set"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-algorithm"),
    HeaderName::from_static("x-amz-signature"),
    HeaderName::from_static("x-amz-credential"),
    HeaderName::from_static("x-amz-expires"),
    HeaderName::from_static("x-amz-signedheaders"),
    HeaderName::from_static("x-countersign-token"),
    HeaderName::from_static("x-graphql-event-stream-token"),
];

/// Never relayed to a client: countersign sets these headers itself, or they change how a browser treats
/// the whole origin, or make it send reports.
static NEVER_RELAYED: [HeaderName; 19] = [
    HeaderName::from_static("x-countersign-error"),
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("expect-ct"),
    // These set state that a browser keeps for the origin, which all routes share.
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("critical-ch"),
    HeaderName::from_static("use-as-dictionary"),
    HeaderName::from_static("set-login"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("sec-session-registration"),
    HeaderName::from_static("secure-session-registration"),
    HeaderName::from_static("sec-session-challenge"),
    HeaderName::from_static("secure-session-challenge"),
];

/// Headers from which some upstreams take the URL to serve, instead of from the request line. Only the
/// request line was checked.
static URL_OVERRIDES: [HeaderName; 11] = [
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-http-destinationurl"),
    HeaderName::from_static("x-http-host-override"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-path"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-override-url"),
    HeaderName::from_static("x-rewrite-path"),
    HeaderName::from_static("x-rewrite-uri"),
    HeaderName::from_static("x-rewrite-url"),
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
        let default: &[HeaderName] = match kind {
            // AppSync may prefer an API key to the signature.
            UpstreamKind::Graphql | UpstreamKind::Events => &[COOKIE, X_API_KEY],
            // `x-apigw-api-id` selects one of the private APIs behind a VPC endpoint.
            UpstreamKind::Http => &[COOKIE, X_APIGW_API_ID],
        };
        let default = default.iter().chain(&URL_OVERRIDES);
        let dropped = default.filter(|name| !forward.iter().any(|other| is_same(other, name)));
        let chosen = dropped.chain(&drop);
        let drops_trace = chosen.clone().any(|name| is_same(name, &TRACEPARENT));
        let all = HOP_BY_HOP.iter().chain(&NEVER_FORWARDED).chain(chosen);
        Self {
            drop: HeaderNames::new(all.map(HeaderName::as_str)),
            drops_trace,
            forward: forward.to_vec(),
            keeps_forwarded: false,
            keeps_odd: false,
        }
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
        self.filter_handshake(headers);
        // This is not a WebSocket handshake, and `Sec-WebSocket-Protocol` may contain a token.
        remove_if(headers, |name| {
            has_header_prefix(name.as_str(), "sec-websocket")
        });
    }

    /// Filters the headers of a WebSocket handshake: does the same, but keeps `Sec-WebSocket-*`.
    pub fn filter_handshake(&self, headers: &mut HeaderMap) {
        remove_hop_by_hop(headers);
        remove_if(headers, |name| self.drops(name));
    }

    fn drops(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        if self.drop.contains(text) {
            return true;
        }
        if !self.keeps_forwarded && forwarded_header(text).is_some() {
            return true;
        }
        let is_kept = self.keeps_odd || self.forward.contains(name);
        is_odd_header(text) && (!is_kept || is_method_override(text))
    }

    /// Adds the trace context of `span`, unless the route drops `traceparent`.
    pub fn continue_trace(&self, headers: &mut HeaderMap, span: &UpstreamSpan) {
        if !self.drops_trace {
            span.pass_on(headers);
        }
    }

    /// Filters the headers of the request that opened a session, to send them with each of its operations.
    /// Also removes the headers that describe only that request.
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
    }
}

/// Removes the response headers that must not be relayed to the client.
pub fn filter_response_headers(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    remove_if(headers, |name| {
        NEVER_RELAYED.contains(name) || name.as_str().starts_with("access-control-")
    });
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut listed: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        listed.extend(names.filter_map(|name| name.trim().parse().ok()));
    }
    remove_if(headers, |name| {
        HOP_BY_HOP.contains(name) || listed.iter().any(|other| is_same(name, other))
    });
}

fn remove_if(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let names = headers.keys().filter(|name| is_removed(name));
    let found: Vec<HeaderName> = names.cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

fn is_same(name: &HeaderName, other: &HeaderName) -> bool {
    is_same_header(name.as_str(), other.as_str())
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
