//! Which headers pass, in both directions.
//!
//! Everything here happens before signing: hop-by-hop headers and those that `Connection` names
//! go first, so that a client cannot name a header of ours and have it removed afterwards.

use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED,
    HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

use super::{Error, Kind};
use crate::telemetry::{Exchange, TRACEPARENT};

/// What a route forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPolicy {
    drop: Vec<HeaderName>,
    passes_forwarded: bool,
}

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
const OWN: [HeaderName; 13] = [
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
const OURS_OR_HOST_WIDE: [HeaderName; 10] = [
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
];

impl HeaderPolicy {
    /// `forward` lifts a default drop; `drop` adds one.
    pub fn new(kind: Kind, forward: &[HeaderName], drop: Vec<HeaderName>) -> Self {
        let default: &[HeaderName] = match kind {
            // With an API key beside the signature AppSync may choose the key.
            Kind::Graphql | Kind::Events => &[COOKIE, X_API_KEY],
            // It chooses among private APIs behind one endpoint.
            Kind::Http => &[COOKIE, X_APIGW_API_ID],
        };
        let kept = default.iter().filter(|name| !forward.contains(name));
        let drop = kept.cloned().chain(drop).collect();
        Self {
            drop,
            passes_forwarded: false,
        }
    }

    /// Leaves what other proxies say of themselves: `X-Forwarded-*`, `Forwarded`, `Via`.
    #[must_use]
    pub fn passing_forwarded(mut self) -> Self {
        self.passes_forwarded = true;
        self
    }

    /// Leaves only what may go upstream, unsigned.
    pub fn request(&self, headers: &mut HeaderMap) {
        self.handshake(headers);
        // Of a handshake that is none; the token may be among the subprotocols.
        remove_by_prefix(headers, "sec-websocket-");
    }

    /// The same for a WebSocket's handshake.
    pub fn handshake(&self, headers: &mut HeaderMap) {
        remove_hop_by_hop(headers);
        for name in OWN.iter().chain(&self.drop) {
            headers.remove(name);
        }
        if !self.passes_forwarded {
            headers.remove(FORWARDED);
            headers.remove(VIA);
            remove_by_prefix(headers, "x-forwarded-");
        }
    }

    /// Lets upstream continue the trace of `exchange`, unless the route drops `traceparent`.
    pub fn continue_trace(&self, headers: &mut HeaderMap, exchange: &Exchange) {
        if !self.drop.contains(&TRACEPARENT) {
            exchange.pass_on(headers);
        }
    }

    /// Leaves only what may go with the operations of a session, whose first request brought these
    /// headers: nothing that described that request itself.
    pub fn session(&self, headers: &mut HeaderMap) {
        self.request(headers);
        for name in [
            "accept",
            "accept-encoding",
            "cache-control",
            "content-encoding",
            "content-type",
            "pragma",
        ] {
            headers.remove(name);
        }
        remove_by_prefix(headers, "sec-");
    }
}

/// Leaves only what may go to the client: nothing that is ours to set, and nothing that changes how
/// a browser treats all of this host, or measures and reports what it does.
pub fn response_headers(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in &OURS_OR_HOST_WIDE {
        headers.remove(name);
    }
    remove_by_prefix(headers, "access-control-");
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

fn remove_by_prefix(headers: &mut HeaderMap, prefix: &str) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(prefix))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
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
mod tests {
    use super::*;

    fn map(names: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in names {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn check(policy: &HeaderPolicy, sent: &[(&str, &str)], expected: &[&str]) {
        let mut headers = map(sent);
        policy.request(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, expected, "{sent:?}");
    }

    #[test]
    fn requests() {
        let policy = HeaderPolicy::new(Kind::Graphql, &[], vec![]);
        check(
            &policy,
            &[
                ("accept", "*/*"),
                ("x-team", "a"),
                ("x-team", "b"),
                ("user-agent", "x"),
            ],
            &["accept", "user-agent", "x-team"],
        );
        check(
            &policy,
            &[
                ("connection", "close, X-Hop"),
                ("connection", "host"),
                ("x-hop", "1"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("keep-alive", "5"),
            ],
            &[],
        );
        check(
            &policy,
            &[
                ("authorization", "Bearer x"),
                ("x-amz-date", "1"),
                ("x-amz-security-token", "t"),
                ("x-api-key", "k"),
                ("cookie", "c"),
                ("x-forwarded-for", "1"),
                ("forwarded", "f"),
                ("x-amz-user-agent", "kept"),
            ],
            &["x-amz-user-agent"],
        );
        let forwarded = [("x-forwarded-for", "1"), ("forwarded", "f"), ("via", "v")];
        check(&policy, &forwarded, &[]);
        let passing = policy.passing_forwarded();
        check(
            &passing,
            &forwarded,
            &["forwarded", "via", "x-forwarded-for"],
        );
        check(&passing, &[("x-countersign-token", "t")], &[]);
        let lenient = HeaderPolicy::new(Kind::Graphql, &[COOKIE], vec!["x-team".parse().unwrap()]);
        check(
            &lenient,
            &[("cookie", "c"), ("x-team", "a"), ("x-api-key", "k")],
            &["cookie"],
        );
        let token = ("sec-websocket-protocol", "countersign-token.t");
        check(&lenient, &[token, ("accept", "a")], &["accept"]);
        let gateway = HeaderPolicy::new(Kind::Http, &[AUTHORIZATION], vec![]);
        check(
            &gateway,
            &[("x-api-key", "k"), ("authorization", "a")],
            &["x-api-key"],
        );
    }

    #[test]
    fn answers_lose_what_is_ours_and_what_acts_on_the_whole_host() {
        let kept = [("set-cookie", "a=b"), ("x-kept", "1"), ("etag", "e")];
        let lost = [
            "Access-Control-Allow-Origin",
            "access-control-allow-private-network",
            "access-control-of-tomorrow",
            "X-Countersign-Error",
            "Strict-Transport-Security",
            "Alt-Svc",
            "NEL",
            "Report-To",
            "Reporting-Endpoints",
            "Service-Worker-Allowed",
            "Timing-Allow-Origin",
            "Public-Key-Pins",
            "Expect-CT",
            "Connection",
        ];
        let mut headers = map(&kept);
        for name in lost {
            let name: HeaderName = name.parse().unwrap();
            headers.append(&name, HeaderValue::from_static("x"));
            headers.append(&name, HeaderValue::from_static("y"));
        }
        response_headers(&mut headers);
        assert_eq!(headers, map(&kept));
    }

    #[test]
    fn upgrades_leave_no_trace_of_themselves() {
        let mut headers = map(&[
            ("sec-websocket-key", "k"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("accept-encoding", "gzip"),
            ("x-team", "a"),
        ]);
        HeaderPolicy::new(Kind::Graphql, &[], vec![]).session(&mut headers);
        assert_eq!(headers, map(&[("x-team", "a")]));
    }
}
