//! Which requests the guard accepts and refuses.

use super::*;
use crate::platform::set_mode;

#[track_caller]
fn check(headers: &[(&str, &str)], expected: Result<Cors, &str>) {
    check_on(Scheme::Http, headers, expected);
}

#[track_caller]
fn check_on(scheme: Scheme, headers: &[(&str, &str)], expected: Result<Cors, &str>) {
    check_with(GuardConfig::default(), TCP, scheme, headers, expected);
}

const TCP: LocalAddress = LocalAddress::Tcp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

#[track_caller]
fn check_with(
    config: GuardConfig,
    local: LocalAddress,
    scheme: Scheme,
    headers: &[(&str, &str)],
    expected: Result<Cors, &str>,
) {
    let guard = Guard::new(GuardConfig {
        allow_hosts: vec![HostName::parse("proxy.local").unwrap()],
        allow_origins: vec![AllowedOrigin::parse("https://app.example.com").unwrap()],
        ..config
    });
    let guard = guard.unwrap();
    let mut request = Request::new(());
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let verdict = guard.check(&request, local, scheme, Navigations::Refuse);
    assert_eq!(
        verdict.map_err(|refusal| refusal.code().as_str()),
        expected,
        "{headers:?}"
    );
}

#[test]
fn only_loopback_and_allowed_hosts_are_accepted() {
    for host in [
        "localhost",
        "LocalHost:4100",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:9",
        "proxy.local:80",
    ] {
        check(&[("host", host)], Ok(Cors::NoOrigin));
    }
    for host in [
        "evil.com",
        "127.0.0.2",
        "0.0.0.0",
        "localhost.evil.com",
        "localhost.",
        "xlocalhost",
        "2130706433",
        "app.localhost.com",
    ] {
        check(&[("host", host)], Err("HOST_NOT_ALLOWED"));
    }
    for host in [
        "",
        "a b",
        "u@localhost",
        "localhost/",
        "localhost,evil.com",
        "localhost:x",
        "[::1",
        "localhost:99999",
    ] {
        check(&[("host", host)], Err("HOST_MALFORMED"));
    }
    check(&[], Err("HOST_MALFORMED"));
    check(
        &[("host", "localhost"), ("host", "localhost")],
        Err("HOST_MALFORMED"),
    );
}

#[test]
fn hosts_with_a_user_are_malformed() {
    for host in ["aaaaaaaaa:x@localhost:4100", "localhost:1@localhost:4100"] {
        check(&[("host", host)], Err("HOST_MALFORMED"));
    }
}

#[test]
fn ports_with_a_sign_are_malformed() {
    for host in ["localhost:+80", "[::1]:+9"] {
        check(&[("host", host)], Err("HOST_MALFORMED"));
    }
    let headers = [("host", "localhost:80"), ("origin", "http://localhost:+80")];
    check(&headers, Err("ORIGIN_NOT_ALLOWED"));
}

#[test]
fn only_own_and_allowed_origins_are_accepted() {
    let local = ("host", "localhost:4100");
    check(
        &[local, ("origin", "https://app.example.com")],
        Ok(Cors::Allowed("https://app.example.com".parse().unwrap())),
    );
    check(
        &[local, ("origin", "http://localhost:4100")],
        Ok(Cors::SameOrigin),
    );
    for origin in [
        "null",
        "",
        "*",
        "http://localhost:3000",
        "https://app.example.com.evil.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://evil.com",
        "localhost:4100",
    ] {
        check(&[local, ("origin", origin)], Err("ORIGIN_NOT_ALLOWED"));
    }
    let twice = ("origin", "https://app.example.com");
    check(&[local, twice, twice], Err("ORIGIN_NOT_ALLOWED"));
}

#[test]
fn own_origin_is_recognized_by_host_and_port() {
    use Scheme::{Http, Https};
    for (scheme, host, origin) in [
        (Http, "localhost:4100", "http://LocalHost:4100"),
        (Http, "localhost:80", "http://localhost"),
        (Http, "localhost", "http://localhost:80"),
        (Https, "localhost:4100", "https://localhost:4100"),
        (Https, "localhost", "https://localhost"),
        (Https, "localhost:443", "https://localhost"),
        (Https, "[::1]", "https://[::1]:443"),
        // Both schemes share our port.
        (Https, "localhost:4100", "http://localhost:4100"),
    ] {
        let headers = [("host", host), ("origin", origin)];
        check_on(scheme, &headers, Ok(Cors::SameOrigin));
    }
}

/// Otherwise the pages of another local server on the other scheme's default port would count as our
/// own.
#[test]
fn default_port_of_the_other_scheme_is_another_origin() {
    for (scheme, host, origin) in [
        (Scheme::Https, "localhost", "http://localhost"),
        (Scheme::Https, "localhost:443", "http://localhost"),
        (Scheme::Http, "localhost", "https://localhost"),
        (Scheme::Http, "localhost:4100", "http://localhost"),
        (Scheme::Https, "localhost:4100", "https://localhost"),
        (Scheme::Https, "localhost", "https://127.0.0.1"),
    ] {
        let headers = [("host", host), ("origin", origin)];
        check_on(scheme, &headers, Err("ORIGIN_NOT_ALLOWED"));
    }
}

#[test]
fn requests_without_an_origin_must_be_same_site() {
    let local = ("host", "localhost");
    check(&[local, ("sec-fetch-site", "none")], Ok(Cors::NoOrigin));
    check(
        &[local, ("sec-fetch-site", "same-origin")],
        Ok(Cors::NoOrigin),
    );
    for site in ["cross-site", "same-site", "", "other"] {
        check(&[local, ("sec-fetch-site", site)], Err("CROSS_SITE"));
    }
}

/// Browsers send no fetch metadata to some of these, and each would bypass a list of names.
#[test]
fn only_the_canonical_spelling_of_an_address_is_accepted() {
    let check = |own: &str, host: &str, is_accepted: bool| {
        let expected = if is_accepted {
            Ok(Cors::NoOrigin)
        } else {
            Err("HOST_NOT_ALLOWED")
        };
        let local = LocalAddress::Tcp(own.parse().unwrap());
        let config = GuardConfig::default();
        check_with(config, local, Scheme::Http, &[("host", host)], expected);
    };
    for own in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "::1",
        "127.0.0.2",
        "10.0.0.7",
    ] {
        for host in [
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000::0001]",
            "[::01]",
            "[::ffff:10.0.0.7]",
            "[127.0.0.1]",
            "[10.0.0.7]",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "127.000.000.001",
            "127.0.0.01",
            "127.0.0.1.",
            "127.255.255.254",
            "127.0.0.3",
            "0.0.0.0",
            "0",
            "[::]",
            "localhost.",
            "localhost.localdomain",
            "ip6-localhost",
            "loopback",
        ] {
            check(own, host, false);
            check(own, &format!("{host}:4100"), false);
        }
    }
    for (own, host, is_accepted) in [
        ("127.0.0.2", "127.0.0.2", true),
        ("127.0.0.2", "127.0.0.2:80", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("10.0.0.7", "10.0.0.7", true),
        ("10.0.0.7", "10.0.0.8", false),
        // A dual-stack socket.
        ("::ffff:10.0.0.7", "10.0.0.7", true),
        ("::ffff:127.0.0.2", "127.0.0.2", true),
        ("fd00::7", "[fd00::7]", true),
        ("fd00::7", "[FD00::7]:4100", true),
        ("fd00::7", "[fd00:0::7]", false),
        ("fd00::7", "[fd00::0007]", false),
        ("10.0.0.7", "localhost", true),
        ("fd00::7", "127.0.0.1", true),
        ("10.0.0.7", "[::1]", true),
    ] {
        check(own, host, is_accepted);
    }
}

#[test]
fn foreign_pages_are_recognized_by_their_referer() {
    let local = ("host", "localhost:4100");
    for referer in [
        "http://localhost:4100",
        "http://localhost:4100/",
        "HTTP://LocalHost:4100/a?b#c",
        "https://app.example.com/page?query=https://evil.com/",
        "https://app.example.com:443/",
    ] {
        check(&[local, ("referer", referer)], Ok(Cors::NoOrigin));
    }
    for referer in [
        "https://evil.com/",
        "https://evil.com/https://app.example.com/",
        "https://app.example.com.evil.com/",
        "https://app.example.com@evil.com/",
        "https://u:p@app.example.com/",
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "http://localhost:3000/",
        "http://localhost/",
        "http://127.0.0.1:4100/",
        "https://localhost/",
        "https://app.example.com\\evil.com/",
        "",
        "/",
        "page",
        "://",
        "https://",
        "https:///",
        "about:blank",
        "null",
        "data:text/html,x",
        "file:///tmp/x.html",
        "android-app://com.example/",
        "https://ex\u{e4}mple.com/",
    ] {
        check(&[local, ("referer", referer)], Err("CROSS_SITE"));
        // A prefetch has `none` and still names its page.
        let none = ("sec-fetch-site", "none");
        check(&[local, none, ("referer", referer)], Err("CROSS_SITE"));
    }
    let ours = ("referer", "http://localhost:4100/");
    check(&[local, ours, ours], Err("CROSS_SITE"));
    // An `Origin` takes precedence over `Referer`.
    let origin = ("origin", "https://app.example.com");
    let allowed = || Ok(Cors::Allowed("https://app.example.com".parse().unwrap()));
    check(
        &[local, origin, ("referer", "https://evil.com/")],
        allowed(),
    );
}

/// Foreign pages can cause requests with `Sec-Fetch-Site: none`.
#[test]
fn navigations_and_prefetches_are_refused_from_any_site() {
    let local = ("host", "localhost:4100");
    let own = ("origin", "http://localhost:4100");
    let allowed = ("origin", "https://app.example.com");
    let none = ("sec-fetch-site", "none");
    let same = ("sec-fetch-site", "same-origin");
    let navigations: [&[(&str, &str)]; 28] = [
        &[("sec-fetch-mode", "navigate")],
        &[("sec-fetch-mode", "Navigate")],
        &[("sec-fetch-mode", "nested-navigate")],
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty")],
        &[("sec-fetch-dest", "document")],
        &[("sec-fetch-dest", "iframe")],
        &[("sec-fetch-dest", "image")],
        &[("sec-fetch-dest", "script")],
        &[("sec-fetch-dest", "style")],
        &[("sec-fetch-dest", "serviceworker")],
        &[("sec-fetch-dest", "webidentity")],
        &[("sec-fetch-dest", "Empty")],
        &[("sec-fetch-dest", "tomorrow")],
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
        &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "font")],
        &[("sec-fetch-user", "?1")],
        &[("upgrade-insecure-requests", "1")],
        &[("sec-speculation-tags", "null")],
        &[("sec-purpose", "prefetch")],
        &[("sec-purpose", "prefetch;prerender")],
        &[("sec-purpose", "prefetch;anonymous-client-ip")],
        &[("sec-purpose", "")],
        &[("sec-purpose", "x")],
        &[("purpose", "prefetch")],
        &[("purpose", "Prerender")],
        &[("x-purpose", ": preview")],
        &[("x-moz", "prefetch")],
    ];
    for marks in navigations {
        for relation in [&[][..], &[none], &[same], &[own], &[allowed], &[same, own]] {
            let headers = [&[local], relation, marks].concat();
            check(&headers, Err("NAVIGATION"));
        }
        let cross = [&[local, ("sec-fetch-site", "cross-site")], marks].concat();
        check(&cross, Err("CROSS_SITE"));
        let foreign = [&[local, ("origin", "https://evil.com")], marks].concat();
        check(&foreign, Err("ORIGIN_NOT_ALLOWED"));
    }
    let two = [local, none, ("purpose", "x"), ("purpose", "prefetch")];
    check(&two, Err("NAVIGATION"));
    // Requests of the browser itself, on behalf of no page.
    for destination in [&[][..], &[("sec-fetch-dest", "empty")]] {
        let no_cors = [local, none, ("sec-fetch-mode", "no-cors")];
        check(&[&no_cors, destination].concat(), Err("NAVIGATION"));
        let cors = [local, none, ("sec-fetch-mode", "cors")];
        check(&[&cors, destination].concat(), Ok(Cors::NoOrigin));
    }
    // Requests of scripts and programs.
    let scripts: [&[(&str, &str)]; 8] = [
        &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")],
        &[
            ("sec-fetch-mode", "same-origin"),
            ("sec-fetch-dest", "empty"),
        ],
        &[
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "websocket"),
        ],
        &[("sec-fetch-mode", "websocket"), ("sec-fetch-dest", "empty")],
        &[("sec-fetch-mode", "cors")],
        &[("purpose", "billing")],
        &[("purpose", "prefetched, un-preview")],
    ];
    for marks in scripts {
        check(&[&[local], marks].concat(), Ok(Cors::NoOrigin));
        check(&[&[local, same], marks].concat(), Ok(Cors::NoOrigin));
        let page = [&[local, allowed, ("sec-fetch-site", "cross-site")], marks].concat();
        check(
            &page,
            Ok(Cors::Allowed("https://app.example.com".parse().unwrap())),
        );
    }
}

#[test]
fn malformed_fetch_metadata_is_refused() {
    let local = ("host", "localhost");
    let allowed = ("origin", "https://app.example.com");
    for (name, values) in [
        ("sec-fetch-site", vec!["None"]),
        ("sec-fetch-site", vec!["none, none"]),
        ("sec-fetch-site", vec!["none", "none"]),
        ("sec-fetch-site", vec!["same-origin", "cross-site"]),
        ("sec-fetch-site", vec!["\"none\""]),
        ("sec-fetch-mode", vec![""]),
        ("sec-fetch-mode", vec!["CORS"]),
        ("sec-fetch-mode", vec!["webtransport"]),
        ("sec-fetch-mode", vec!["cors", "cors"]),
        ("sec-fetch-mode", vec!["cors", "navigate"]),
        ("sec-fetch-dest", vec![""]),
        ("sec-fetch-dest", vec!["empty", "empty"]),
        ("sec-fetch-dest", vec!["empty", "document"]),
    ] {
        let marks: Vec<(&str, &str)> = values.iter().map(|value| (name, *value)).collect();
        check(&[&[local], marks.as_slice()].concat(), Err("CROSS_SITE"));
        check(
            &[&[local, allowed], marks.as_slice()].concat(),
            Err("CROSS_SITE"),
        );
    }
}

#[test]
fn routes_can_allow_navigations_that_a_user_typed() {
    let guard = Guard::new(GuardConfig {
        allow_origins: vec![AllowedOrigin::parse("https://app.example.com").unwrap()],
        ..GuardConfig::default()
    });
    let guard = guard.unwrap();
    let check = |method: &str, headers: &[(&str, &str)], expected: Result<Cors, &str>| {
        let mut request = Request::builder().method(method);
        for (name, value) in [&[("host", "localhost")], headers].concat() {
            request = request.header(name, value);
        }
        let request = request.body(()).unwrap();
        let verdict = guard.check(&request, TCP, Scheme::Http, Navigations::Allow);
        let verdict = verdict.map_err(|refusal| refusal.code().as_str());
        assert_eq!(verdict, expected, "{method} {headers:?}");
    };
    let navigate = ("sec-fetch-mode", "navigate");
    let document = ("sec-fetch-dest", "document");
    let typed = [("sec-fetch-site", "none"), navigate, document];
    let more = [("sec-fetch-user", "?1"), ("upgrade-insecure-requests", "1")];
    for method in ["GET", "HEAD"] {
        check(method, &typed, Ok(Cors::NoOrigin));
        check(
            method,
            &[typed.as_slice(), &more].concat(),
            Ok(Cors::NoOrigin),
        );
        let link = [("sec-fetch-site", "same-origin"), navigate, document];
        check(method, &link, Ok(Cors::NoOrigin));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        check(method, &typed, Err("NAVIGATION"));
    }
    let none = ("sec-fetch-site", "none");
    let frame = ("sec-fetch-dest", "iframe");
    let nested = ("sec-fetch-mode", "nested-navigate");
    let purposes = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
    let mut refused = vec![
        vec![navigate, document],
        vec![none, navigate],
        vec![none, document],
        vec![none, navigate, frame],
        vec![none, nested, document],
        vec![none, ("sec-fetch-mode", "Navigate"), document],
        vec![none, navigate, ("sec-fetch-dest", "image")],
        vec![("upgrade-insecure-requests", "1")],
        vec![
            none,
            navigate,
            document,
            ("origin", "https://app.example.com"),
        ],
    ];
    for purpose in purposes {
        refused.push([typed.as_slice(), &[(purpose, "prefetch")]].concat());
    }
    for headers in refused {
        check("GET", &headers, Err("NAVIGATION"));
    }
    for site in ["cross-site", "same-site"] {
        let headers = [("sec-fetch-site", site), navigate, document];
        check("GET", &headers, Err("CROSS_SITE"));
    }
    let referred = [typed.as_slice(), &[("referer", "https://evil.com/")]].concat();
    check("GET", &referred, Err("CROSS_SITE"));
}

#[test]
fn unix_sockets_accept_any_host_and_no_foreign_origin() {
    for host in ["localhost", "docker", "evil.com", "%2Frun%2Fx.sock", ""] {
        let config = GuardConfig::default();
        let headers = [("host", host)];
        check_with(
            config,
            LocalAddress::Unix,
            Scheme::Http,
            &headers,
            Ok(Cors::NoOrigin),
        );
    }
    let page = [("host", "localhost"), ("origin", "https://evil.com")];
    let refused = Err("ORIGIN_NOT_ALLOWED");
    check_with(
        GuardConfig::default(),
        LocalAddress::Unix,
        Scheme::Http,
        &page,
        refused,
    );
}

#[test]
fn forwarded_requests_are_refused_if_configured() {
    for name in [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-anything",
    ] {
        let headers = [("host", "localhost"), (name, "1")];
        check(&headers, Ok(Cors::NoOrigin));
        let config = GuardConfig {
            rejects_forwarded: true,
            ..GuardConfig::default()
        };
        check_with(
            config.clone(),
            TCP,
            Scheme::Http,
            &headers,
            Err("FORWARDED"),
        );
        let plain = [("host", "localhost"), ("x-forward", "1")];
        check_with(config, TCP, Scheme::Http, &plain, Ok(Cors::NoOrigin));
    }
}

#[test]
fn tcp_connections_require_a_certificate_if_configured() {
    let local = [("host", "localhost")];
    for (listener, scheme, expected) in [
        (TCP, Scheme::Http, Err("CERTIFICATE_MISSING")),
        (TCP, Scheme::Https, Ok(Cors::NoOrigin)),
        (LocalAddress::Unix, Scheme::Http, Ok(Cors::NoOrigin)),
    ] {
        let config = GuardConfig {
            requires_certificate: true,
            ..GuardConfig::default()
        };
        check_with(config, listener, scheme, &local, expected);
    }
}

#[test]
fn tokens_are_found_in_headers_and_subprotocols() {
    let entries = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    let header = entries(r#"{"host":"x","Authorization":"Bearer t"}"#);
    let bare = entries(r#"{"authorization":"t"}"#);
    let signed = entries(r#"{"Authorization":"AWS4-HMAC-SHA256 Credential=x"}"#);
    let key = entries(r#"{"x-api-key":"t"}"#);
    let protocol = |item: &str| ("sec-websocket-protocol", format!("graphql-ws, {item}"));
    let plain = |name, value: &str| (name, value.to_owned());
    let bearer = plain("authorization", "Bearer t");
    let own = plain("x-countersign-token", "t");
    for (headers, expected) in [
        (vec![], None),
        (vec![bearer.clone()], Some("t")),
        (vec![plain("authorization", "bearer   t")], Some("t")),
        (vec![plain("authorization", "Basic t")], Some("")),
        (vec![plain("authorization", "t")], Some("")),
        (vec![bearer.clone(), bearer.clone()], Some("")),
        (vec![own.clone()], Some("t")),
        (vec![own.clone(), own.clone()], Some("")),
        // Programs that sign for themselves can still present a token.
        (
            vec![plain("authorization", "AWS4-HMAC-SHA256 x"), own],
            Some("t"),
        ),
        (vec![protocol("countersign-token.t")], Some("t")),
        (vec![protocol(&format!("header-{header}"))], Some("t")),
        (vec![protocol(&format!("header-{bare}"))], Some("t")),
        (vec![protocol(&format!("header-{signed}"))], None),
        (vec![protocol(&format!("header-{key}"))], None),
        (vec![protocol("header-%")], None),
        (vec![protocol("xcountersign-token.t")], None),
    ] {
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.append(*name, value.parse().unwrap());
        }
        assert_eq!(find_token(&map, true).as_deref(), expected, "{headers:?}");
        let is_entry = headers.iter().any(|(_, value)| value.contains("header-"));
        let elsewhere = expected.filter(|_| !is_entry);
        assert_eq!(find_token(&map, false).as_deref(), elsewhere, "{headers:?}");
    }
}

#[test]
fn token_subprotocol_is_not_forwarded() {
    for (offered, forwarded) in [
        (vec!["a, b"], vec!["a, b"]),
        (vec!["a,countersign-token.t , b"], vec!["a, b"]),
        (vec!["countersign-token.t"], vec![]),
        (vec!["a", "countersign-token.t,b"], vec!["a, b"]),
    ] {
        let mut headers = HeaderMap::new();
        for line in &offered {
            headers.append(SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
        }
        strip_token_protocol(&mut headers);
        let found = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let found: Vec<&str> = found.map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found, forwarded, "{offered:?}");
    }
}

#[test]
fn target_form_and_head_size_are_checked() {
    let guard = |request_head| {
        Guard::new(GuardConfig {
            request_head,
            ..GuardConfig::default()
        })
    };
    let request = |target: &str| {
        let request = Request::builder().uri(target).header("host", "localhost");
        request.body(()).unwrap()
    };
    let check = |target: &str, request_head| {
        let verdict = guard(request_head).unwrap().check(
            &request(target),
            TCP,
            Scheme::Http,
            Navigations::Refuse,
        );
        verdict.map_err(|refusal| refusal.code().as_str())
    };
    for target in ["http://localhost/graphql", "localhost:80", "localhost", "*"] {
        assert_eq!(check(target, 1_000), Err("TARGET_FORM"), "{target}");
    }
    assert_eq!(check("/graphql?a=b", 1_000), Ok(Cors::NoOrigin));
    // `GET`, the target, and `host: localhost` with its line end.
    let size = 3 + "/graphql?a=b".len() + "host".len() + "localhost".len() + 4;
    assert_eq!(check("/graphql?a=b", size), Ok(Cors::NoOrigin));
    assert_eq!(check("/graphql?a=b", size - 1), Err("HEAD_TOO_LARGE"));
}

#[test]
fn refusals_quote_only_the_beginning_of_values() {
    let long = "x".repeat(5_000);
    let guard = Guard::new(GuardConfig::default()).unwrap();
    for (name, value) in [
        ("host", long.clone()),
        ("origin", format!("https://{long}")),
        ("sec-fetch-site", long.clone()),
        ("sec-fetch-mode", long.clone()),
        ("sec-fetch-dest", long.clone()),
        ("sec-purpose", long.clone()),
        ("referer", format!("https://{long}")),
    ] {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        headers.insert("host", "localhost".parse().unwrap());
        headers.insert(name, value.parse().unwrap());
        let verdict = guard.check(&request, TCP, Scheme::Http, Navigations::Refuse);
        let refusal = verdict.unwrap_err();
        assert!(refusal.to_string().len() < 300, "{refusal}");
    }
}

#[test]
fn clients_need_a_valid_token() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    set_mode(&file, 0o600);
    let with = |name: Option<&str>| {
        Guard::new(GuardConfig {
            tokens: vec![TokenConfig {
                name: name.map(str::to_owned),
                file: file.clone(),
                routes: None,
                policy: None,
            }],
            ..GuardConfig::default()
        })
        .unwrap()
    };
    let (with_token, named) = (with(None), with(Some("ci")));
    let without = Guard::new(GuardConfig::default()).unwrap();
    std::fs::remove_file(&file).unwrap();
    let entries = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"Authorization":"{TOKEN}"}}"#));
    let header = |name: &str, value: &str| {
        let mut headers = HeaderMap::new();
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let check = |headers: &HeaderMap, accepts_entries, may_come_later, expected: &str| {
        let admission = with_token.admit(headers, "a", accepts_entries, may_come_later);
        let found = match admission {
            Ok(Admission::Granted(_)) => "granted",
            Ok(Admission::Pending(_)) => "pending",
            Err(refusal) => refusal.code().as_str(),
        };
        assert_eq!(found, expected, "{headers:?}");
    };
    let none = HeaderMap::new();
    check(&none, true, false, "TOKEN_MISSING");
    check(&none, false, false, "TOKEN_MISSING");
    check(&none, false, true, "pending");
    let good = header("x-countersign-token", TOKEN);
    check(&good, false, false, "granted");
    check(&good, true, true, "granted");
    let wrong = header("x-countersign-token", "wrong");
    check(&wrong, true, true, "TOKEN_WRONG");
    assert!(named.admit(&good, "a", false, false).is_ok());
    assert!(
        !named.has_unrestricted_token(&good),
        "a named token may be restricted"
    );
    for (headers, expected) in [(&good, true), (&wrong, false), (&none, false)] {
        assert_eq!(
            with_token.has_unrestricted_token(headers),
            expected,
            "{headers:?}"
        );
        assert!(
            !without.has_unrestricted_token(headers),
            "without a token file: {headers:?}"
        );
    }
    let among = header("sec-websocket-protocol", &format!("header-{entries}"));
    check(&among, true, false, "granted");
    check(&among, false, false, "TOKEN_MISSING");
    check(&among, false, true, "pending");
    let admission = without.admit(&none, "a", false, false);
    assert!(matches!(admission, Ok(Admission::Granted(_))));
}

#[test]
fn each_refusal_has_a_code_and_status_of_its_own() {
    let refusals = [
        (Refusal::HostMalformed, 400),
        (Refusal::TargetForm, 400),
        (Refusal::HostNotAllowed(String::new()), 403),
        (Refusal::OriginNotAllowed(String::new()), 403),
        (Refusal::CrossSite(String::new()), 403),
        (Refusal::Navigation(String::new()), 403),
        (Refusal::Forwarded("Via"), 403),
        (Refusal::CertificateMissing, 403),
        (Refusal::TokenMissing, 401),
        (Refusal::TokenWrong, 401),
        (Refusal::SimpleType, 415),
        (Refusal::HeadTooLarge(1), 431),
    ];
    let codes: std::collections::BTreeSet<&str> = refusals
        .iter()
        .map(|(refusal, _)| refusal.code().as_str())
        .collect();
    assert_eq!(codes.len(), refusals.len());
    for (refusal, expected) in refusals {
        let (status, sent) = refusal.code().defaults();
        assert_eq!(
            (status.as_u16(), sent.as_str()),
            (expected, "no"),
            "{refusal}"
        );
    }
}

#[test]
fn configured_names_and_origins_are_parsed() {
    for (text, expected) in [
        ("Proxy.Local", Some("proxy.local")),
        ("10.0.0.7", Some("10.0.0.7")),
        ("[::1]", Some("[::1]")),
        ("proxy.local:80", None),
        ("proxy.local/", None),
        ("u@proxy.local", None),
        ("", None),
    ] {
        let name = HostName::parse(text);
        assert_eq!(name.as_ref().map(HostName::as_str), expected, "{text}");
    }
    for (text, expected) in [
        (
            "https://App.Example.com:443",
            Some("https://app.example.com"),
        ),
        ("http://localhost:3000", Some("http://localhost:3000")),
        ("http://localhost:80", Some("http://localhost")),
        ("ws://localhost:80", Some("ws://localhost")),
        ("wss://localhost:443", Some("wss://localhost")),
        ("chrome-extension://AbC", Some("chrome-extension://abc")),
        ("app://.", Some("app://.")),
        ("ftp://localhost", None),
        ("file://localhost", None),
        ("file://", None),
        ("1a://x", None),
        ("a_b://x", None),
        ("://x", None),
        ("null", None),
        ("localhost", None),
        ("https://a/", None),
        ("https://a/b", None),
    ] {
        let shown = Origin::parse(text).map(|origin| origin.to_string());
        assert_eq!(shown.as_deref(), expected, "{text}");
    }
}

#[test]
fn allowed_origins_are_parsed_from_the_configuration() {
    for (text, expected) in [
        ("https://app.example.com/", Some("https://app.example.com")),
        ("http://localhost:3000", Some("http://localhost:3000")),
        ("localhost", Some("localhost")),
        ("LocalHost/", Some("localhost")),
        ("electron://altair", Some("electron://altair")),
        ("capacitor://localhost", Some("capacitor://localhost")),
        ("https://app.example.com//", None),
        ("https://app.example.com/x", None),
        ("localhost:3000", None),
        ("127.0.0.1", None),
        ("null", None),
        ("*", None),
        ("https://*.example.com", None),
    ] {
        let shown = AllowedOrigin::parse(text).map(|origin| origin.to_string());
        assert_eq!(shown.as_deref(), expected, "{text}");
    }
}

/// Sockets of Apple's platforms send the URL of the socket.
#[test]
fn the_address_of_the_socket_is_its_own_origin() {
    for (scheme, host, origin) in [
        (Scheme::Http, "localhost:4100", "ws://localhost:4100"),
        (Scheme::Http, "127.0.0.1:4100", "ws://127.0.0.1:4100"),
        (Scheme::Http, "[::1]:4100", "WS://[::1]:4100"),
        (Scheme::Https, "localhost:4100", "wss://localhost:4100"),
        (Scheme::Https, "localhost", "wss://localhost"),
        (Scheme::Http, "localhost", "ws://localhost:80"),
        (Scheme::Http, "proxy.local:80", "ws://proxy.local"),
        (Scheme::Http, "localhost:4100", "ws://localhost:4100/"),
        (
            Scheme::Http,
            "localhost:4100",
            "ws://localhost:4100/graphql",
        ),
        (
            Scheme::Https,
            "localhost",
            "wss://LOCALHOST/event/realtime?a=b",
        ),
    ] {
        let headers = [("host", host), ("origin", origin)];
        check_on(scheme, &headers, Ok(Cors::SameOrigin));
    }
    for origin in [
        "ws://localhost:4101",
        "ws://localhost",
        "ws://127.0.0.1:4100",
        "wss://evil.example",
        "ws://localhost:4101/graphql",
        "ws://evil.example/localhost:4100",
        "ws://localhost:4100@evil.example/",
        "http://localhost:4100/graphql",
        "tcp://localhost:4100",
        "electron://localhost:4100",
    ] {
        let headers = [("host", "localhost:4100"), ("origin", origin)];
        check(&headers, Err("ORIGIN_NOT_ALLOWED"));
    }
}

#[test]
fn origins_of_other_schemes_and_of_loopback_are_allowed_only_by_name() {
    const APPS: [&str; 4] = [
        "electron://altair",
        "chrome-extension://flnheeellpciglgpaodhkhmapeljopja",
        "capacitor://localhost",
        "tauri://localhost",
    ];
    const PAGES: [&str; 7] = [
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:8080",
        "http://[::1]:5173",
        "HTTP://LOCALHOST:1",
        "http://127.0.0.5:3000",
        "https://127.255.255.254",
    ];
    // Some browsers ask DNS for it.
    const READABLE: &str = "http://sub.localhost:3000";
    const OTHERS: [&str; 11] = [
        "http://localhost.evil.example",
        "http://evil.example",
        READABLE,
        "http://128.0.0.1",
        "http://127.1:3000",
        "http://127.0.0.01",
        "http://2130706433",
        "http://127.0.0.1.evil.example",
        "http://evillocalhost",
        "chrome-extension://other",
        "null",
    ];
    let check = |allowed: &[&str], origin: &str, expected: bool| {
        let allowed = allowed
            .iter()
            .map(|text| AllowedOrigin::parse(text).unwrap());
        let guard = Guard::new(GuardConfig {
            allow_origins: allowed.collect(),
            ..GuardConfig::default()
        });
        let request = Request::builder()
            .header("host", "localhost:4100")
            .header("origin", origin)
            .body(())
            .unwrap();
        let verdict = guard
            .unwrap()
            .check(&request, TCP, Scheme::Http, Navigations::Refuse);
        let is_allowed = match verdict {
            Ok(Cors::Allowed(value)) => value == origin,
            Ok(Cors::NoOrigin | Cors::SameOrigin) => panic!("{origin}"),
            Err(refusal) => {
                let cors = Cors::of_refusal(&refusal, request.headers());
                let is_readable = PAGES.contains(&origin) || origin == READABLE;
                assert_eq!(cors != Cors::NoOrigin, is_readable, "{origin}");
                false
            }
        };
        assert_eq!(is_allowed, expected, "{origin}");
    };
    for origin in [&APPS[..], &PAGES, &OTHERS].concat() {
        check(&[], origin, false);
        check(&["localhost"], origin, PAGES.contains(&origin));
        check(&APPS, origin, APPS.contains(&origin));
    }
}

#[test]
fn refusals_of_origins_have_the_flag_that_allows_them() {
    let check = |origin: &str, expected: &str| {
        let text = Refusal::OriginNotAllowed(origin.to_owned()).to_string();
        assert!(text.contains(expected), "{text}");
    };
    for origin in ["http://localhost:3000", "electron://altair"] {
        check(origin, &format!("To allow it: --allow-origin {origin} ("));
    }
    check(
        "null",
        "so it cannot be allowed. Serve the page from a web server",
    );
    check(
        "file://",
        "so it cannot be allowed. Serve the page from a web",
    );
    for (url, origin) in [
        ("http://localhost:3000/", "http://localhost:3000"),
        ("HTTPS://App.Example.com:443/a?b", "https://app.example.com"),
        ("ws://localhost:4100/graphql", "ws://localhost:4100"),
    ] {
        let advice = format!("Send {origin}, and allow it: --allow-origin {origin} (");
        check(url, &advice);
    }
    let long = format!("http://localhost:3000/{}", "a".repeat(42));
    check(&long, "Send http://localhost:3000, and allow it");
    for malformed in [
        "several",
        "",
        "localhost:3000",
        "http://localhost:+80",
        "a b",
    ] {
        check(malformed, "is not an origin, such as http://localhost:3000");
    }
    let truncated = format!("https://{}", "a".repeat(56));
    check(&truncated, "add it to guard.allow_origins (--allow-origin)");
}

#[test]
fn guard_without_browsers_refuses_pages() {
    let guard = Guard::new(GuardConfig {
        allow_hosts: vec![HostName::parse("proxy.local").unwrap()],
        allow_origins: vec![AllowedOrigin::parse("https://app.example.com").unwrap()],
        rejects_forwarded: true,
        requires_certificate: true,
        ..GuardConfig::default()
    });
    let guard = guard.unwrap().without_browsers();
    let check = |headers: &[(&'static str, &'static str)], expected: Result<Cors, &str>| {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let verdict = guard.check(&request, TCP, Scheme::Http, Navigations::Allow);
        let verdict = verdict.map_err(|refusal| refusal.code().as_str());
        assert_eq!(verdict, expected, "{headers:?}");
    };
    let host = ("host", "proxy.local");
    check(&[host], Ok(Cors::NoOrigin));
    check(&[host, ("forwarded", "for=a")], Ok(Cors::NoOrigin));
    let typed = |site| {
        let mode = ("sec-fetch-mode", "navigate");
        [
            host,
            ("sec-fetch-site", site),
            mode,
            ("sec-fetch-dest", "document"),
        ]
    };
    check(&typed("none"), Ok(Cors::NoOrigin));
    check(&typed("same-origin"), Ok(Cors::NoOrigin));
    check(&typed("cross-site"), Err("CROSS_SITE"));
    let prefetched = [typed("none").as_slice(), &[("sec-purpose", "prefetch")]].concat();
    check(&prefetched, Err("NAVIGATION"));
    check(
        &[host, ("referer", "https://app.example.com/")],
        Err("CROSS_SITE"),
    );
    let page = ("origin", "https://app.example.com");
    check(&[host, page], Err("ORIGIN_NOT_ALLOWED"));
    check(&[("host", "evil.example")], Err("HOST_NOT_ALLOWED"));
}
