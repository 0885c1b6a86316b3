//! Which headers pass, in both directions.
//!
//! Everything here happens before signing: hop-by-hop headers and those that `Connection` names
//! go first, so that a client cannot name a header of ours and have it removed afterwards. Names
//! are compared by their letters and digits, as the most lenient servers do.

use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::{Error, UpstreamKind};
use crate::guard::{
    forwarded_header, has_header_prefix, is_method_override, is_odd_header, is_same_header,
};
use crate::telemetry::{Exchange, TRACEPARENT};

/// What a route forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPolicy {
    drop: Vec<HeaderName>,
    /// Named by the configuration, so that even an odd name passes.
    forward: Vec<HeaderName>,
    keeps_forwarded: bool,
    keeps_odd: bool,
}

/// They describe the request that began a session.
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
const HOP_BY_HOP: [HeaderName; 9] = [
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

/// Never forwarded, whatever the configuration says: ours to set, or authentication material.
const NEVER_FORWARDED: [HeaderName; 13] = [
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
    HeaderName::from_static("x-countersign-token"),
    HeaderName::from_static("x-graphql-event-stream-token"),
];

/// Never relayed in an answer, whatever the configuration says.
const NEVER_RELAYED: [HeaderName; 19] = [
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
    // State that a browser keeps for the origin of all routes.
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

/// Some upstreams serve the URL that these name in place of the request's own, which is the one
/// that was checked and signed.
const URL_OVERRIDES: [HeaderName; 11] = [
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

impl HeaderPolicy {
    /// `forward` lifts a default drop; `drop` adds one.
    pub fn new(kind: UpstreamKind, forward: &[HeaderName], drop: Vec<HeaderName>) -> Self {
        let default: &[HeaderName] = match kind {
            // With an API key beside the signature AppSync may choose the key.
            UpstreamKind::Graphql | UpstreamKind::Events => &[COOKIE, X_API_KEY],
            // It chooses among private APIs behind one endpoint.
            UpstreamKind::Http => &[COOKIE, X_APIGW_API_ID],
        };
        let overrides = URL_OVERRIDES;
        let default = default.iter().chain(&overrides);
        let kept = default.filter(|name| !forward.iter().any(|lifted| is_same(lifted, name)));
        let drop = kept.cloned().chain(drop).collect();
        Self {
            drop,
            forward: forward.to_vec(),
            keeps_forwarded: false,
            keeps_odd: false,
        }
    }

    /// Leaves headers whose names have other characters than letters, digits and `-`, unless they
    /// spell one that is dropped, or a method override.
    #[must_use]
    pub fn keep_odd_headers(mut self) -> Self {
        self.keeps_odd = true;
        self
    }

    /// Leaves what other proxies say of themselves: `X-Forwarded-*`, `Forwarded`, `Via`.
    #[must_use]
    pub fn keep_forwarded_headers(mut self) -> Self {
        self.keeps_forwarded = true;
        self
    }

    /// Leaves only what may go upstream, unsigned.
    pub fn filter_request(&self, headers: &mut HeaderMap) {
        self.filter_handshake(headers);
        // Of a handshake that is none; the token may be among the subprotocols.
        remove_if(headers, |name| {
            has_header_prefix(name.as_str(), "sec-websocket")
        });
    }

    /// The same for a WebSocket's handshake.
    pub fn filter_handshake(&self, headers: &mut HeaderMap) {
        remove_hop_by_hop(headers);
        remove_if(headers, |name| self.drops(name));
    }

    fn drops(&self, name: &HeaderName) -> bool {
        let is_among = |dropped: &[HeaderName]| dropped.iter().any(|other| is_same(name, other));
        if is_among(&HOP_BY_HOP) || is_among(&NEVER_FORWARDED) || is_among(&self.drop) {
            return true;
        }
        let text = name.as_str();
        if !self.keeps_forwarded && forwarded_header(text).is_some() {
            return true;
        }
        let is_kept = self.keeps_odd || self.forward.contains(name);
        is_odd_header(text) && (!is_kept || is_method_override(text))
    }

    /// Lets upstream continue the trace of `exchange`, unless the route drops `traceparent`.
    pub fn continue_trace(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        if !self.drop.iter().any(|name| is_same(name, &TRACEPARENT)) {
            exchange.pass_on(headers);
        }
    }

    /// Leaves only what may go with the operations of a session, whose first request brought these
    /// headers: nothing that described that request itself.
    pub fn filter_session(&self, headers: &mut HeaderMap) {
        self.filter_request(headers);
        remove_if(headers, |name| {
            let name = name.as_str();
            let mut own = REQUEST_SPECIFIC.iter();
            let is_of_browsers = name
                .strip_prefix("sec")
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
            is_of_browsers || own.any(|own| is_same_header(name, own))
        });
    }
}

/// Leaves only what may go to the client: nothing that is ours to set, and nothing that changes how
/// a browser treats all of this host, or measures and reports what it does.
pub fn filter_response_headers(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in &NEVER_RELAYED {
        headers.remove(name);
    }
    remove_if(headers, |name| name.as_str().starts_with("access-control-"));
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        named.extend(names.filter_map(|name| name.trim().parse().ok()));
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
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

/// Leaves at most one content type, and answers whether it is to be signed: with a body only,
/// because API Gateway adds one to an empty body; and without a tab, which signers trim
/// differently.
pub(super) fn single_content_type(headers: &mut HeaderMap, has_body: bool) -> bool {
    let Some(first) = headers.get(CONTENT_TYPE).cloned() else {
        return false;
    };
    let is_plain = is_signable(&first);
    headers.insert(CONTENT_TYPE, first);
    has_body && is_plain
}

/// The headers to sign, in their order.
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

/// Whether every signer makes the same canonical value of it.
fn is_signable(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    bytes.iter().all(is_plain) && !bytes.windows(2).any(|pair| pair == b"  ")
}

#[cfg(test)]
mod tests;
