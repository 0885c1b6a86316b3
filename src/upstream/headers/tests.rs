//! Tests which headers of requests and responses remain after filtering.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};

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
    policy.filter_request(&mut headers);
    let mut remaining: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, expected, "{sent:?}");
}

#[test]
fn usual_headers_can_be_dropped() {
    let policy = HeaderPolicy::new(UpstreamKind::Http, &[], vec!["user_agent".parse().unwrap()]);
    let sent = [
        ("accept", "*/*"),
        ("accept-language", "en"),
        ("connection", "accept"),
        ("content-type", "text/plain"),
        ("user-agent", "x"),
    ];
    check(&policy, &sent, &["accept-language", "content-type"]);
}

#[test]
fn request_headers_are_filtered_by_kind_and_configuration() {
    let policy = HeaderPolicy::new(UpstreamKind::Graphql, &[], vec![]);
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
            ("x-amz-algorithm", "a"),
            ("x-amz-credential", "c"),
            ("X-Amz-SignedHeaders", "h"),
            ("x-amz-signed-headers", "h"),
            ("x-amz-expires", "9"),
            ("x-amz-signature", "s"),
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
    let passing = policy.keep_forwarded_headers();
    check(
        &passing,
        &forwarded,
        &["forwarded", "via", "x-forwarded-for"],
    );
    check(&passing, &[("x-countersign-token", "t")], &[]);
    let lenient = HeaderPolicy::new(
        UpstreamKind::Graphql,
        &[COOKIE],
        vec!["x-team".parse().unwrap()],
    );
    check(
        &lenient,
        &[("cookie", "c"), ("x-team", "a"), ("x-api-key", "k")],
        &["cookie"],
    );
    let token = ("sec-websocket-protocol", "countersign-token.t");
    check(&lenient, &[token, ("accept", "a")], &["accept"]);
    let gateway = HeaderPolicy::new(UpstreamKind::Http, &[AUTHORIZATION], vec![]);
    check(
        &gateway,
        &[("x-api-key", "k"), ("authorization", "a")],
        &["x-api-key"],
    );
}

/// Tests three policies: the default, `odd_headers = "keep"`, and that with `guard.forwarded = "pass"`.
#[test]
fn every_spelling_of_a_dropped_header_is_dropped() {
    let default = HeaderPolicy::new(UpstreamKind::Http, &[], vec!["x-secret".parse().unwrap()]);
    let keeping = default.clone().keep_odd_headers();
    let passing = keeping.clone().keep_forwarded_headers();
    const DROPPED: [bool; 3] = [false; 3];
    for (name, passes) in [
        ("x-team", [true; 3]),
        ("x_team", [false, true, true]),
        ("x.team", [false, true, true]),
        ("x~team!", [false, true, true]),
        ("x_api_key", [false, true, true]),
        ("x-api-key", [true; 3]),
        ("X_Amz_Date", DROPPED),
        ("x.amz.security.token", DROPPED),
        ("x-amzdate", DROPPED),
        ("X_Countersign_Token", DROPPED),
        ("x-countersigntoken", DROPPED),
        ("Transfer_Encoding", DROPPED),
        ("Content_Length", DROPPED),
        ("content-length-", DROPPED),
        ("H_o_s_t", DROPPED),
        ("Proxy_Authorization", DROPPED),
        ("Authorization_", DROPPED),
        ("x_secret", DROPPED),
        ("xsecret", DROPPED),
        ("Cookie_", DROPPED),
        ("x_apigw_api_id", DROPPED),
        ("sec_websocket_protocol", DROPPED),
        ("X_HTTP_METHOD_OVERRIDE", DROPPED),
        ("X.HTTP.Method.Override", DROPPED),
        ("X_Original_Method", DROPPED),
        ("x-http-method-override", [true; 3]),
        ("x-original-url", DROPPED),
        ("X_Original_URL", DROPPED),
        ("X-Rewrite-URL", DROPPED),
        ("x-original-uri", DROPPED),
        ("X-Override-URL", DROPPED),
        ("X-Original-Host", DROPPED),
        ("x-http-host-override", DROPPED),
        ("X-Forwarded-For", [false, false, true]),
        ("X_Forwarded_For", [false, false, true]),
        ("x.forwarded.host", [false, false, true]),
        ("v.i.a", [false, false, true]),
    ] {
        for (policy, passes) in [&default, &keeping, &passing].into_iter().zip(passes) {
            let mut headers = map(&[(name, "1")]);
            policy.filter_request(&mut headers);
            assert_eq!(!headers.is_empty(), passes, "{name} {policy:?}");
            // The headers of a session, and of each of its operations.
            let mut headers = map(&[(name, "1")]);
            policy.filter_session(&mut headers);
            assert_eq!(!headers.is_empty(), passes, "{name} {policy:?}");
        }
    }
}

#[test]
fn headers_that_connection_lists_are_removed_in_any_spelling() {
    for (listed, name, is_removed) in [
        ("X_A", "x-a", true),
        ("x-a", "X_A", true),
        ("close, x.a", "x-a", true),
        ("XA", "x-a", true),
        ("x-a-b", "x-a", false),
        ("_", "x-a", false),
        (",", "x-a", false),
        ("x a", "x-a", false),
    ] {
        let sent = [("connection", listed), (name, "1"), ("x-kept", "1")];
        let policy = HeaderPolicy::new(UpstreamKind::Http, &[], vec![]).keep_odd_headers();
        let mut request = map(&sent);
        policy.filter_request(&mut request);
        let mut response = map(&sent);
        filter_response_headers(&mut response);
        for headers in [request, response] {
            assert_eq!(!headers.contains_key(name), is_removed, "{listed} {name}");
            assert!(headers.contains_key("x-kept") && !headers.contains_key("connection"));
        }
    }
}

#[test]
fn configured_header_names_match_in_any_spelling() {
    let names = |names: &[&str]| -> Vec<HeaderName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    let forward = names(&["X_Api_Key", "x_team", "x-original-url"]);
    let policy = HeaderPolicy::new(UpstreamKind::Graphql, &forward, names(&["x_drop"]));
    check(
        &policy,
        &[
            ("x-api-key", "k"),
            ("x_api_key", "k"),
            ("x_team", "t"),
            ("x.team", "t"),
            ("x-original-url", "/"),
            ("x_original_url", "/"),
            ("x-drop", "d"),
            ("x-rewrite-url", "/"),
        ],
        &["x-api-key", "x-original-url", "x_api_key", "x_team"],
    );
    check(
        &policy.keep_odd_headers(),
        &[("x.team", "t"), ("x_original_url", "/"), ("x.drop", "d")],
        &["x.team", "x_original_url"],
    );
    let entries = [
        ("sec_fetch_site", "a"),
        ("secret", "b"),
        ("content_type", "c"),
    ];
    let keeping = HeaderPolicy::new(UpstreamKind::Graphql, &[], vec![]).keep_odd_headers();
    let mut headers = map(&entries);
    keeping.filter_session(&mut headers);
    assert_eq!(headers, map(&entries[1..2]));
}

#[test]
fn response_headers_that_must_not_be_relayed_are_removed() {
    let kept = [("set-cookie", "a=b"), ("x-kept", "1"), ("etag", "e")];
    let removed = [
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
    for name in removed {
        let name: HeaderName = name.parse().unwrap();
        headers.append(&name, HeaderValue::from_static("x"));
        headers.append(&name, HeaderValue::from_static("y"));
    }
    filter_response_headers(&mut headers);
    assert_eq!(headers, map(&kept));
}

#[test]
fn session_headers_exclude_those_of_the_handshake() {
    let mut headers = map(&[
        ("sec-websocket-key", "k"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("accept-encoding", "gzip"),
        ("x-team", "a"),
    ]);
    HeaderPolicy::new(UpstreamKind::Graphql, &[], vec![]).filter_session(&mut headers);
    assert_eq!(headers, map(&[("x-team", "a")]));
}

#[test]
fn session_headers_do_not_keep_the_buffer_of_the_request() {
    let buffer = Bytes::from(vec![b'a'; 8 * 1024]);
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_maybe_shared(buffer.slice(..1)).unwrap();
    headers.append("x-team", value.clone());
    headers.append("x-team", value);
    headers.append(COOKIE, HeaderValue::from_static("c"));
    assert!(!buffer.is_unique());
    HeaderPolicy::new(UpstreamKind::Graphql, &[], vec![]).filter_session(&mut headers);
    assert_eq!(headers, map(&[("x-team", "a"), ("x-team", "a")]));
    assert!(buffer.is_unique());
}
