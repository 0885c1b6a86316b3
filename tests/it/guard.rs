//! Hostile requests as raw bytes: each is refused with its code, nothing of it is signed,
//! and nothing reaches upstream.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::{
    Answer, Daemon, GATEWAY, JSON, Running, Socket, World, post, raw, raw_on, within,
};

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;
const J: &str = "content-type: application/json";
const H: &str = "host: localhost";
const APP: &str = "https://app.example.com";
const OLD: &str = "0123456789abcdef0123456789abcdef-old";
const NEW: &str = "0123456789abcdef0123456789abcdef-new";

/// A request and the expected response: the status, and the code if the response is ours.
struct Row {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn row(status: u16, code: &'static str, line: &str, headers: &[&str], body: &str) -> Row {
    Row {
        line: line.to_owned(),
        headers: headers.iter().map(|&header| header.to_owned()).collect(),
        body: body.as_bytes().to_vec(),
        status,
        code,
    }
}

/// countersign before the emulator's GraphQL, Events, REST and WebSocket APIs, with the tokens [`OLD`]
/// and [`NEW`] in the file `token` and another one in `ci`.
async fn start(settings: &str, arguments: &[&str]) -> Running<Daemon> {
    let log = ["--log", "info,countersign::sign=trace"];
    World::builder()
        .routes(&["event", "rest", "ws"])
        .file("token", &format!("{OLD}\n{NEW}\n"))
        .file("ci", &"c".repeat(40))
        .config(settings)
        .arguments(&[&log, arguments].concat())
        .daemon()
        .await
}

/// Checks that every row is refused as expected. Then one good request shows that the counters work.
async fn check_refused(world: Running<Daemon>, rows: Vec<Row>, good: &[&str]) {
    let mut wrong = Vec::new();
    for row in &rows {
        let (status, code) = send(world.addr, row).await;
        if (status, code.as_str()) != (row.status, row.code) {
            wrong.push(format!(
                "{} {:?}: {status} {code:?} in place of {} {:?}",
                row.line, row.headers, row.status, row.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = world.emulator.stats();
    assert_eq!(seen.requests.http, 0, "{seen:?}");
    let headers: Vec<&str> = [&[H, J], good].concat();
    let good = row(200, "", "POST /graphql", &headers, QUERY);
    assert_eq!(send(world.addr, &good).await, (200, String::new()));
    assert_eq!(world.emulator.stats().requests.http, 1);
    let log = world.stop().await;
    let lines = log.lines();
    let signatures = lines.filter(|line| line.contains(" signing ")).count();
    assert_eq!(signatures, 1, "{log}");
    println!(
        "{} requests refused, 0 signed, 0 seen by the emulator",
        rows.len()
    );
}

async fn send(addr: SocketAddr, row: &Row) -> (u16, String) {
    verdict(&answer(addr, row).await)
}

fn verdict(answer: &Answer) -> (u16, String) {
    let code = answer.headers.get("x-countersign-error");
    (answer.status, code.cloned().unwrap_or_default())
}

async fn answer(addr: SocketAddr, row: &Row) -> Answer {
    let version = if row.line.contains(" HTTP/") {
        ""
    } else {
        " HTTP/1.1"
    };
    let mut head = format!("{}{version}\r\n", row.line);
    let is_framed = row.headers.iter().any(|header| {
        let header = header.to_ascii_lowercase();
        header.starts_with("content-length") || header.starts_with("transfer-encoding")
    });
    for header in &row.headers {
        head.push_str(&format!("{header}\r\n"));
    }
    if !is_framed && !row.body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", row.body.len()));
    }
    head.push_str("connection: close\r\n\r\n");
    let bytes = [head.as_bytes(), &row.body].concat();
    raw(addr, &bytes).await
}

fn hosts() -> Vec<Row> {
    let malformed = [
        "host:",
        "host: a b",
        "host: localhost, evil.com",
        "host: u@localhost",
        "host: u:p@localhost",
        "host: localhost/",
        "host: localhost/graphql",
        "host: http://localhost",
        "host: localhost:x",
        "host: localhost:99999",
        "host: localhost:-1",
        "host: localhost:+80",
        "host: [::1",
        "host: ::1",
        "host: local\\host",
        "host: localhost#",
        "host: localhost?",
        "host: localh\u{f6}st",
        "host: localhost%00",
        "host: [::1%25lo]",
    ];
    let foreign = [
        "host: evil.com",
        "host: EVIL.com:4100",
        "host: localhost.evil.com",
        "host: evil.localhost",
        "host: localhost.",
        "host: xlocalhost",
        "host: 0.0.0.0",
        "host: [::]",
        "host: 127.0.0.2",
        "host: 127.1",
        "host: 2130706433",
        "host: 0x7f000001",
        "host: 0177.0.0.1",
        "host: 017700000001",
        "host: 127.0.0.01",
        "host: 127.000.000.001",
        "host: 127.0.0.1.",
        "host: [::ffff:127.0.0.1]",
        "host: [::ffff:127.0.0.1]:4100",
        "host: [::ffff:7f00:1]",
        "host: [::FFFF:7F00:1]:4100",
        "host: [0:0:0:0:0:ffff:7f00:1]",
        "host: [::127.0.0.1]",
        "host: [64:ff9b::7f00:1]",
        "host: [0:0:0:0:0:0:0:1]",
        "host: [::01]",
        "host: 10.0.0.1",
        "host: 169.254.169.254",
        "host: [fe80::1]",
        "host: 127.0.0.1.nip.io",
        "host: countersign",
        "host: example.appsync-api.us-east-1.amazonaws.com",
    ];
    let mut rows: Vec<Row> = malformed
        .iter()
        .map(|host| row(400, "HOST_MALFORMED", "POST /graphql", &[host, J], QUERY))
        .collect();
    let foreign = foreign
        .iter()
        .map(|host| row(403, "HOST_NOT_ALLOWED", "POST /graphql", &[host, J], QUERY));
    rows.extend(foreign);
    for headers in [
        vec![J],
        vec![H, H, J],
        vec![H, "host: evil.com", J],
        vec!["x-forwarded-host: localhost", J],
    ] {
        rows.push(row(400, "HOST_MALFORMED", "POST /graphql", &headers, QUERY));
    }
    rows
}

fn origins() -> Vec<Row> {
    let origins = [
        "origin: null",
        "origin:",
        "origin: *",
        "origin: https://evil.com",
        "origin: https://app.example.com.evil.com",
        "origin: http://app.example.com",
        "origin: https://app.example.com:8443",
        "origin: https://sub.app.example.com",
        "origin: https://app.example.com/",
        "origin: https://u@app.example.com",
        "origin: https://app.example.com https://evil.com",
        "origin: file://",
        "origin: http://localhost:3000",
        "origin: https://localhost",
        "origin: http://127.0.0.1",
        "origin: chrome-extension://abcdef",
        "origin: moz-extension://abcdef",
    ];
    let mut rows = Vec::new();
    for origin in origins {
        for line in ["POST /graphql", "POST /rest/orders"] {
            rows.push(row(403, "ORIGIN_NOT_ALLOWED", line, &[H, J, origin], QUERY));
        }
    }
    let twice = format!("origin: {APP}");
    let twice = [H, J, &twice, &twice];
    rows.push(row(
        403,
        "ORIGIN_NOT_ALLOWED",
        "POST /graphql",
        &twice,
        QUERY,
    ));
    let by_get = "GET /graphql?query=%7Brooms%7Bid%7D%7D";
    for site in ["cross-site", "same-site", "other", "None", ""] {
        let site = format!("sec-fetch-site: {site}");
        rows.push(row(403, "CROSS_SITE", by_get, &[H, &site], ""));
        rows.push(row(403, "CROSS_SITE", "GET /rest/orders", &[H, &site], ""));
    }
    let both = [H, "sec-fetch-site: none", "sec-fetch-site: cross-site"];
    rows.push(row(403, "CROSS_SITE", by_get, &both, ""));
    for origin in ["origin: null", "origin: https://evil.com"] {
        let ask = "access-control-request-method: POST";
        let line = "OPTIONS /graphql";
        rows.push(row(403, "ORIGIN_NOT_ALLOWED", line, &[H, origin, ask], ""));
    }
    rows
}

/// Requests that load a page, a part of one or a prefetch, and requests that a page causes where
/// browsers send no fetch metadata. `GET`s, because everything else has an `Origin`.
fn navigations() -> Vec<Row> {
    const NONE: &str = "sec-fetch-site: none";
    const SAME: &str = "sec-fetch-site: same-origin";
    const NAVIGATE: &str = "sec-fetch-mode: navigate";
    const DOCUMENT: &str = "sec-fetch-dest: document";
    let own = "origin: http://localhost";
    let app = format!("origin: {APP}");
    let lines = [
        "GET /graphql?query=%7Brooms%7Bid%7D%7D",
        "GET /rest/orders",
        "HEAD /rest/orders",
        "GET /event?channel=/default/a",
    ];
    let mut all: Vec<Vec<&str>> = vec![
        // Speculation rules, with and without a referrer; an old prefetch; a preview.
        vec![NONE, NAVIGATE, DOCUMENT, "sec-purpose: prefetch"],
        vec![NONE, NAVIGATE, DOCUMENT, "sec-purpose: prefetch;prerender"],
        vec![
            NONE,
            "sec-fetch-mode: no-cors",
            "sec-fetch-dest: empty",
            "sec-purpose: prefetch",
        ],
        vec!["purpose: prefetch"],
        vec!["X-Purpose: preview"],
        vec!["X-Moz: prefetch"],
        vec!["sec-speculation-tags: null"],
        // A link in another program, directly or by a redirect; a typed URL.
        vec![NONE, NAVIGATE, DOCUMENT],
        vec![
            NONE,
            NAVIGATE,
            DOCUMENT,
            "sec-fetch-user: ?1",
            "upgrade-insecure-requests: 1",
        ],
        vec![NONE, NAVIGATE],
        vec![NAVIGATE],
        vec!["sec-fetch-mode: NAVIGATE"],
        vec!["sec-fetch-mode: nested-navigate"],
        vec![DOCUMENT],
        // An old browser, or one at plain HTTP at a name that is not loopback.
        vec!["upgrade-insecure-requests: 1"],
        vec!["sec-fetch-user: ?1"],
        // Requests of the browser itself: the issuer of a foreign certificate, a link saved to a file.
        vec![NONE, "sec-fetch-mode: no-cors"],
        vec![NONE, "sec-fetch-mode: no-cors", "sec-fetch-dest: empty"],
        // Our own pages.
        vec![SAME, NAVIGATE, DOCUMENT],
        vec![own, NAVIGATE, DOCUMENT],
        // Pages of an allowed origin.
        vec![&app, "sec-fetch-site: cross-site", NAVIGATE, DOCUMENT],
        vec![
            &app,
            "sec-fetch-site: cross-site",
            "sec-fetch-mode: cors",
            "sec-fetch-dest: image",
        ],
        vec![&app, "sec-purpose: prefetch"],
    ];
    let destinations = [
        "audio",
        "audioworklet",
        "embed",
        "fencedframe",
        "font",
        "frame",
        "iframe",
        "image",
        "json",
        "manifest",
        "object",
        "paintworklet",
        "report",
        "script",
        "serviceworker",
        "sharedworker",
        "style",
        "track",
        "video",
        "webidentity",
        "worker",
        "xslt",
        "EMPTY",
        "other",
    ];
    let destinations = destinations.map(|name| format!("sec-fetch-dest: {name}"));
    for destination in &destinations {
        all.push(vec![NONE, destination]);
        all.push(vec![SAME, "sec-fetch-mode: no-cors", destination]);
    }
    let mut rows = Vec::new();
    for marks in all {
        for line in lines {
            let headers = [&[H], marks.as_slice()].concat();
            rows.push(row(403, "NAVIGATION", line, &headers, ""));
        }
    }
    for line in ["POST /graphql", "POST /rest/orders", "POST /event"] {
        for origin in [own, &app] {
            let headers = [H, J, origin, NAVIGATE, DOCUMENT];
            rows.push(row(403, "NAVIGATION", line, &headers, QUERY));
        }
    }
    // Malformed fetch metadata, and foreign pages that only the Referer reveals.
    for marks in [
        vec!["sec-fetch-mode:"],
        vec!["sec-fetch-mode: CORS"],
        vec!["sec-fetch-mode: cors", "sec-fetch-mode: navigate"],
        vec!["sec-fetch-dest:"],
        vec!["sec-fetch-dest: empty", "sec-fetch-dest: document"],
        vec![&app, "sec-fetch-site: none, none"],
        vec!["referer: https://evil.com/"],
        vec!["referer: https://evil.com/?https://app.example.com/"],
        vec!["referer: https://app.example.com@evil.com/"],
        vec!["referer: https://app.example.com.evil.com/"],
        vec!["referer: http://localhost:3000/"],
        vec!["referer: http://127.0.0.1/"],
        vec!["referer: https://localhost/"],
        vec!["referer: about:blank"],
        vec!["referer: /"],
        vec!["referer:"],
        vec!["referer: http://localhost/", "referer: http://localhost/"],
        vec![NONE, "referer: https://evil.com/"],
    ] {
        for line in lines {
            let headers = [&[H], marks.as_slice()].concat();
            rows.push(row(403, "CROSS_SITE", line, &headers, ""));
        }
    }
    rows
}

fn content_types() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [
        "text/plain",
        "text/plain;application/json",
        "text/plain; charset=application/json",
        "application/x-www-form-urlencoded",
        "application/graphql",
        "application/jsonx",
        "application/json-patch+json",
        "application/vnd.api+json",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "applicationjson",
        "json",
        "*/*",
        "",
    ] {
        let kind = format!("content-type: {kind}");
        let line = "POST /graphql";
        rows.push(row(415, "UNSUPPORTED_MEDIA_TYPE", line, &[H, &kind], QUERY));
    }
    let line = "POST /graphql";
    rows.push(row(415, "UNSUPPORTED_MEDIA_TYPE", line, &[H], QUERY));
    let twice = [H, J, "content-type: text/plain"];
    rows.push(row(415, "UNSUPPORTED_MEDIA_TYPE", line, &twice, QUERY));
    let form = "content-type: multipart/form-data; boundary=x";
    rows.push(row(415, "UPLOAD_NOT_SUPPORTED", line, &[H, form], QUERY));
    let plain = "content-type: text/plain";
    rows.push(row(
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "POST /event",
        &[H, plain],
        QUERY,
    ));
    // A form on a page that was loaded through countersign.
    for browser in ["origin: http://localhost", "sec-fetch-site: same-origin"] {
        for kind in [
            plain,
            form,
            "content-type: application/x-www-form-urlencoded",
            "content-type: text/plain; x=application/json",
            "x-none: 1",
        ] {
            let headers = [H, browser, kind];
            rows.push(row(
                415,
                "SIMPLE_CONTENT_TYPE",
                "POST /rest/orders",
                &headers,
                "a=b",
            ));
        }
    }
    rows
}

fn methods() -> Vec<Row> {
    let mut rows = Vec::new();
    for method in [
        "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "post", "QUERY",
    ] {
        let line = format!("{method} /graphql");
        rows.push(row(405, "METHOD_NOT_ALLOWED", &line, &[H, J], QUERY));
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        let line = format!("{method} /event");
        rows.push(row(405, "METHOD_NOT_ALLOWED", &line, &[H, J], QUERY));
    }
    for mutation in [
        "mutation%7BcreateRoom(name:%22x%22)%7Bid%7D%7D",
        "mutation+M%7BcreateRoom(name:%22x%22)%7Bid%7D%7D",
        "%23%0Amutation%7BcreateRoom(name:%22x%22)%7Bid%7D%7D",
        "query+Q%7Brooms%7Bid%7D%7Dmutation+M%7BcreateRoom(name:%22x%22)%7Bid%7D%7D&operationName=M",
    ] {
        let line = format!("GET /graphql?query={mutation}");
        rows.push(row(405, "MUTATION_BY_GET", &line, &[H], ""));
    }
    for (query, code) in [
        ("query=%7B", "BAD_DOCUMENT"),
        ("query=query+A%7Ba%7Dmutation+B%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%E2%80%A8mutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%E2%80%A9mutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%C2%85mutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%0Bmutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%0Cmutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%00mutation%7Bb%7D", "BAD_DOCUMENT"),
        ("query=%7Ba%7D%23%EF%BB%BFmutation%7Bb%7D", "BAD_DOCUMENT"),
        (
            "query=query+A%7Ba%7Dmutation+A%7Bb%7D&operationName=A",
            "BAD_DOCUMENT",
        ),
        ("", "BAD_PARAMETER"),
        ("query=%FF", "TARGET_NOT_SIGNABLE"),
        ("query=%7Ba%7D&variables=%5B%5D", "BAD_PARAMETER"),
    ] {
        let line = format!("GET /graphql?{query}");
        rows.push(row(400, code, &line, &[H], ""));
    }
    rows
}

fn targets() -> Vec<Row> {
    let mut rows = Vec::new();
    for target in [
        "http://localhost/graphql",
        "https://localhost/graphql",
        "http://evil.com/graphql",
        "http://evil.appsync-api.us-east-1.amazonaws.com/graphql",
        "*",
        "localhost:80",
        "graphql",
    ] {
        let line = format!("POST {target}");
        rows.push(row(400, "TARGET_FORM", &line, &[H, J], QUERY));
    }
    rows.push(row(
        405,
        "METHOD_NOT_ALLOWED",
        "CONNECT localhost:443",
        &[H],
        "",
    ));
    rows.push(row(
        405,
        "METHOD_NOT_ALLOWED",
        "CONNECT evil.com:443",
        &[H],
        "",
    ));
    rows.push(row(400, "TARGET_FORM", "OPTIONS *", &[H], ""));
    for path in [
        "/",
        "/GraphQL",
        "/graphql/x",
        "/graphql/../rest",
        "//graphql",
        "/%67raphql",
        "/graphql;x",
        "/graphql%00",
        "/x?/graphql",
        "/restorders",
        "/metrics",
        "/livez",
        "/quitquitquit",
    ] {
        let line = format!("POST {path}");
        rows.push(row(404, "NO_ROUTE", &line, &[H, J], QUERY));
    }
    for path in [
        "/rest/../graphql",
        "/rest/a/../b",
        "/rest/./a",
        "/rest/a//b",
        "/rest/%2e%2e/a",
        "/rest/a/%2E",
        "/rest/a?x=%FF",
        "/rest/..",
    ] {
        let line = format!("GET {path}");
        rows.push(row(400, "TARGET_NOT_SIGNABLE", &line, &[H], ""));
    }
    for target in ["/graphql a", "/gra\tphql", "", "/graphql\u{0}"] {
        let line = format!("POST {target}");
        rows.push(row(400, "BAD_HEAD", &line, &[H, J], QUERY));
    }
    rows
}

/// Requests that hyper itself rejects, and headers that could smuggle.
fn injections() -> Vec<Row> {
    let mut rows = Vec::new();
    for header in [
        "x: a\rb",
        "x: a\r b",
        "x: a\u{0}b",
        "x : a",
        " x: a",
        "x: a\r\n folded",
        "x",
        ": a",
        "x\u{0}: a",
        "x y: a",
        "x(y): a",
        "\u{f6}: a",
        "content-length: +40",
        "content-length: -1",
        "content-length: 0x10",
        "content-length: 1 1",
        "content-length: 3, 4",
        "content-length: 99999999999999999999",
        "content-length: 3\r\ncontent-length: 4",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
    ] {
        rows.push(row(
            400,
            "BAD_HEAD",
            "POST /graphql",
            &[H, J, header],
            QUERY,
        ));
    }
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "2_\r\n{}\r\n0\r\n\r\n",
    ] {
        let headers = [H, J, "transfer-encoding: chunked"];
        rows.push(row(400, "BODY_BROKEN", "POST /graphql", &headers, chunks));
    }
    for (status, code, header) in [
        (
            400,
            "BAD_FRAMING",
            "content-length: 28\r\ncontent-length: 28",
        ),
        (
            400,
            "BAD_FRAMING",
            "content-length: 28\r\ntransfer-encoding: chunked",
        ),
        (
            400,
            "BAD_FRAMING",
            "transfer-encoding: chunked\r\ncontent-length: 28",
        ),
        (
            400,
            "BAD_FRAMING",
            "content-length: 28\r\ntransfer_encoding: chunked",
        ),
        (
            417,
            "BAD_EXPECTATION",
            "content-length: 28\r\nexpect: everything",
        ),
    ] {
        rows.push(row(status, code, "POST /graphql", &[H, J, header], QUERY));
    }
    for (status, code, version) in [
        (505, "HTTP_VERSION", "HTTP/1.0"),
        (400, "BAD_HEAD", "HTTP/0.9"),
        (400, "BAD_HEAD", "HTTP/1.2"),
        (400, "BAD_HEAD", "HTTP/2.0"),
        (400, "BAD_HEAD", "HTTPS/1.1"),
    ] {
        let line = format!("POST /graphql {version}");
        rows.push(row(status, code, &line, &[H, J], QUERY));
    }
    let large = format!("x: {}", "a".repeat(40_000));
    rows.push(row(
        431,
        "HEAD_TOO_LARGE",
        "POST /graphql",
        &[H, J, &large],
        QUERY,
    ));
    let long = format!("GET /rest/{}", "a".repeat(33_000));
    rows.push(row(431, "HEAD_TOO_LARGE", &long, &[H], ""));
    let huge = format!("x: {}", "a".repeat(500_000));
    rows.push(row(
        431,
        "HEAD_TOO_LARGE",
        "POST /graphql",
        &[H, J, &huge],
        QUERY,
    ));
    let many: Vec<String> = (0..2_049).map(|at| format!("x{at}: 1")).collect();
    let mut headers = vec![H, J];
    headers.extend(many.iter().map(String::as_str));
    rows.push(row(431, "HEAD_TOO_LARGE", "POST /graphql", &headers, QUERY));
    rows
}

const UPGRADE: [&str; 5] = [
    H,
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];

fn websockets() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in [
        "GET /graphql",
        "GET /graphql/realtime",
        "GET /event/realtime",
        "GET /ws",
    ] {
        for (header, code) in [
            ("origin: https://evil.com", "ORIGIN_NOT_ALLOWED"),
            ("origin: null", "ORIGIN_NOT_ALLOWED"),
            ("sec-fetch-site: cross-site", "CROSS_SITE"),
            ("referer: https://evil.com/", "CROSS_SITE"),
            ("sec-fetch-mode: navigate", "NAVIGATION"),
            ("sec-fetch-dest: image", "NAVIGATION"),
        ] {
            let mut headers = UPGRADE.to_vec();
            headers.push(header);
            rows.push(row(403, code, line, &headers, ""));
        }
        let mut headers = UPGRADE.to_vec();
        headers[0] = "host: rebound.example.com";
        rows.push(row(403, "HOST_NOT_ALLOWED", line, &headers, ""));
        headers[0] = "x: y";
        rows.push(row(400, "HOST_MALFORMED", line, &headers, ""));
        let post = line.replace("GET", "POST");
        rows.push(row(400, "BAD_UPGRADE", &post, &UPGRADE, ""));
    }
    for (at, other) in [(3, "sec-websocket-version: 12"), (3, "x: y"), (4, "x: y")] {
        let mut headers = UPGRADE.to_vec();
        headers[at] = other;
        rows.push(row(400, "BAD_UPGRADE", "GET /graphql", &headers, ""));
    }
    rows
}

fn tokens() -> Vec<Row> {
    let mut rows = Vec::new();
    let line = "POST /graphql";
    let missing = [
        vec![H, J],
        vec![H, J, "cookie: token=x"],
        vec![H, J, "x-api-key: x"],
        vec![H, J, "sec-websocket-protocol: graphql-ws"],
    ];
    for headers in &missing {
        rows.push(row(401, "TOKEN_MISSING", line, headers, QUERY));
    }
    let by_query = format!("POST /graphql?token={OLD}");
    rows.push(row(401, "TOKEN_MISSING", &by_query, &[H, J], QUERY));
    for line in [
        "GET /rest/orders",
        "GET /event?channel=/default/a",
        "DELETE /rest/a",
    ] {
        rows.push(row(401, "TOKEN_MISSING", line, &[H], ""));
    }
    rows.push(row(401, "TOKEN_MISSING", "GET /ws", &UPGRADE, ""));
    for empty in ["x-countersign-token:", "authorization:", "authorization: "] {
        rows.push(row(401, "TOKEN_MISSING", line, &[H, J, empty], QUERY));
    }
    let wrong = [
        "authorization: Bearer wrong".to_owned(),
        "authorization: Bearer".to_owned(),
        "authorization: Bearer ".to_owned(),
        format!("authorization: Basic {OLD}"),
        format!("authorization: {OLD}"),
        format!("authorization: Bearer {OLD}x"),
        format!("authorization: Bearer {}", &OLD[1..]),
        format!("authorization: Bearer {}", OLD.to_uppercase()),
        format!("authorization: Bearer {OLD}, Bearer {OLD}"),
        format!("authorization: Bearer {OLD}\r\nauthorization: Bearer {OLD}"),
        format!("authorization: Bearer {OLD} {NEW}"),
        "authorization: AWS4-HMAC-SHA256 Credential=x".to_owned(),
        "x-countersign-token: wrong".to_owned(),
        format!("x-countersign-token: Bearer {OLD}"),
        format!("x-countersign-token: wrong\r\nauthorization: Bearer {OLD}"),
        format!("x-countersign-token: {OLD}\r\nx-countersign-token: {OLD}"),
    ];
    for header in &wrong {
        rows.push(row(401, "TOKEN_WRONG", line, &[H, J, header], QUERY));
    }
    for line in ["GET /graphql", "GET /event/realtime", "GET /ws"] {
        let mut headers = UPGRADE.to_vec();
        headers.push("sec-websocket-protocol: graphql-transport-ws, countersign-token.wrong");
        rows.push(row(401, "TOKEN_WRONG", line, &headers, ""));
    }
    let good = format!("authorization: Bearer {OLD}");
    let foreign = ["host: evil.com", J, &good];
    rows.push(row(403, "HOST_NOT_ALLOWED", line, &foreign, QUERY));
    let page = [H, J, &good, "origin: https://evil.com"];
    rows.push(row(403, "ORIGIN_NOT_ALLOWED", line, &page, QUERY));
    rows
}

#[tokio::test]
async fn hostile_requests_are_neither_signed_nor_sent() {
    let mut rows = hosts();
    rows.extend(origins());
    rows.extend(navigations());
    rows.extend(content_types());
    rows.extend(methods());
    rows.extend(targets());
    rows.extend(injections());
    rows.extend(websockets());
    assert!(rows.len() >= 150, "{}", rows.len());
    let world = start("", &["--allow-origin", APP]).await;
    check_refused(world, rows, &[]).await;
}

/// A route that allows navigations forwards what the user typed, and nothing else.
#[tokio::test]
async fn a_route_can_allow_navigations() {
    const TYPED: [&str; 4] = [
        H,
        "sec-fetch-site: none",
        "sec-fetch-mode: navigate",
        "sec-fetch-dest: document",
    ];
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[("route.rest.navigations", "allow")])
        .in_process()
        .await;
    let get = "GET /rest/orders";
    let with = |header| [TYPED.as_slice(), &[header]].concat();
    for (line, headers, status, code) in [
        (get, with("sec-fetch-user: ?1"), 200, ""),
        (get, with("upgrade-insecure-requests: 1"), 200, ""),
        (get, with("sec-purpose: prefetch"), 403, "NAVIGATION"),
        (get, with("referer: https://evil.com/"), 403, "CROSS_SITE"),
        (get, TYPED[..3].to_vec(), 403, "NAVIGATION"),
        ("DELETE /rest/orders", TYPED.to_vec(), 403, "NAVIGATION"),
        // Another route, and a path without a route.
        ("GET /http/orders", TYPED.to_vec(), 403, "NAVIGATION"),
        ("GET /", TYPED.to_vec(), 404, "NO_ROUTE"),
        ("GET /restorders", TYPED.to_vec(), 404, "NO_ROUTE"),
    ] {
        let found = answer(world.addr, &row(0, "", line, &headers, "")).await;
        assert_eq!(
            verdict(&found),
            (status, code.to_owned()),
            "{line} {headers:?}"
        );
    }
    assert_eq!(world.emulator.stats().gateway.verified, 2);
    world.drained().await;
}

#[tokio::test]
async fn requests_of_scripts_and_programs_are_not_navigations() {
    let world = start("", &["--allow-origin", APP]).await;
    let app = format!("origin: {APP}");
    let page = format!("referer: {APP}/page?a=b");
    let by_get = "GET /graphql?query=%7Brooms%7Bid%7D%7D";
    let (cors, empty) = ("sec-fetch-mode: cors", "sec-fetch-dest: empty");
    let cross = "sec-fetch-site: cross-site";
    let json = "accept: application/json";
    for (line, headers, status) in [
        // Node's fetch; curl and Postman; a page of an allowed origin, in browsers old and new.
        (by_get, vec![H, json, cors], 200),
        (by_get, vec![H, json], 200),
        (
            by_get,
            vec![H, json, "user-agent: PostmanRuntime/7.43.0"],
            200,
        ),
        (by_get, vec![H, json, &app, cross, cors, empty, &page], 200),
        (by_get, vec![H, json, &app, &page], 200),
        (by_get, vec![H, json, &page], 200),
        (by_get, vec![H, json, "referer: http://localhost/x"], 200),
        ("GET /rest/orders", vec![H, &app, cross, cors, empty], 200),
        ("GET /rest/orders", vec![H, "purpose: billing"], 200),
        (
            "OPTIONS /graphql",
            vec![
                H,
                &app,
                cross,
                cors,
                empty,
                "access-control-request-method: POST",
            ],
            204,
        ),
    ] {
        let (found, code) = send(world.addr, &row(0, "", line, &headers, "")).await;
        assert_eq!((found, code.as_str()), (status, ""), "{line} {headers:?}");
    }
}

#[tokio::test]
async fn forwarded_requests_can_be_refused() {
    let mut rows = Vec::new();
    for header in [
        "forwarded: for=1.2.3.4",
        "via: 1.1 ingress",
        "x-forwarded-for: 1.2.3.4",
        "X-Forwarded-Host: evil.com",
        "x-forwarded-proto: https",
        "x-forwarded-anything:",
    ] {
        for line in ["POST /graphql", "POST /rest/orders"] {
            rows.push(row(403, "FORWARDED", line, &[H, J, header], QUERY));
        }
        let mut headers = UPGRADE.to_vec();
        headers.push(header);
        rows.push(row(403, "FORWARDED", "GET /graphql", &headers, ""));
    }
    let settings = "[guard]\nforwarded = \"refuse\"\n";
    let world = start(settings, &[]).await;
    check_refused(world, rows, &[]).await;
}

const WITH_TOKENS: &str =
    "[guard]\ntoken_file = \"$DIR/token\"\n[guard.tokens.ci]\nfile = \"$DIR/ci\"\n";

#[tokio::test]
async fn without_a_valid_token_no_request_is_sent() {
    let good = format!("Authorization: bearer {NEW}");
    let world = start(WITH_TOKENS, &[]).await;
    check_refused(world, tokens(), &[&good]).await;
}

#[tokio::test]
async fn a_websocket_can_send_its_token_after_the_upgrade() {
    let arguments = ["--allow-origin", APP];
    let mut world = start(WITH_TOKENS, &arguments).await;
    let named = "c".repeat(40);
    let long = "x".repeat(40_000);
    let bearer = |token: &str| json!({ "authorization": format!("Bearer {token}") });
    for protocol in ["graphql-transport-ws", "graphql-ws"] {
        let is_new = protocol == "graphql-transport-ws";
        let subscribe = if is_new { "subscribe" } else { "start" };
        let query = json!({ "query": "{ rooms { id } }" });
        let ask = json!({ "id": "1", "type": subscribe, "payload": query });
        // An operation before a token, or with a wrong one, closes the socket.
        for (frame, code) in [
            (json!({ "type": "connection_init" }), 4403),
            (
                json!({ "type": "connection_init", "payload": bearer("wrong") }),
                4403,
            ),
            (
                json!({ "type": "connection_init", "payload": { "token": "" } }),
                4403,
            ),
            (ask.clone(), 4401),
            // Before it is parsed.
            (
                json!({ "type": "connection_init", "payload": { "token": NEW, "more": long } }),
                4401,
            ),
        ] {
            let mut socket = Socket::dial(world.addr, "/graphql", protocol, &[]).await;
            socket.send(frame).await;
            assert_eq!(u16::from(socket.closed().await.code), code, "{protocol}");
        }
        assert_eq!(world.emulator.stats().requests.http, 0);
    }
    for payload in [
        bearer(OLD),
        bearer(NEW),
        json!({ "Authorization": format!("Bearer {named}") }),
        json!({ "headers": { "authorization": format!("Bearer {OLD}") } }),
        json!({ "token": NEW }),
        json!({ "authorization": NEW }),
        json!({ "authorization": "", "token": NEW }),
    ] {
        let mut socket = Socket::dial(world.addr, "/graphql", "graphql-transport-ws", &[]).await;
        let init = json!({ "type": "connection_init", "payload": payload });
        socket.send(init).await;
        assert_eq!(socket.next().await["type"], "connection_ack", "{payload}");
        socket.subscribe("1", "{ rooms { id } }").await;
        assert_eq!(socket.next_of("1").await["type"], "next", "{payload}");
    }
    // A browser can send the token only as a subprotocol, and the response must not select it.
    for path in ["/graphql", "/ws"] {
        let mut request = format!("ws://{}{path}", world.addr)
            .into_client_request()
            .unwrap();
        let offered = format!("graphql-transport-ws, countersign-token.{NEW}");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", offered.parse().unwrap());
        headers.insert("origin", APP.parse().unwrap());
        let (_, answer) = connect_async(request).await.unwrap();
        let protocol = answer.headers().get("sec-websocket-protocol");
        assert_eq!(protocol.unwrap(), "graphql-transport-ws");
        assert!(!format!("{:?}", answer.headers()).contains(NEW));
    }
    let seen: Value = serde_json::to_value(world.emulator.stats()).unwrap();
    assert!(!seen.to_string().contains(NEW));
    world.countersign.signal("-TERM");
    assert_eq!(world.countersign.exited().await, 0);
    let log = &world.countersign.log;
    assert!(log.contains("token=\"ci\""), "{log}");
    for token in [OLD, NEW, named.as_str()] {
        assert!(!log.contains(token), "{log}");
    }
}

#[tokio::test]
async fn a_token_is_rotated_without_a_restart() {
    let world = start(WITH_TOKENS, &[]).await;
    let fresh = "f".repeat(64);
    let ask = |token: &str| {
        let bearer = format!("authorization: Bearer {token}");
        row(0, "", "POST /graphql", &[H, J, &bearer], QUERY)
    };
    assert_eq!(send(world.addr, &ask(OLD)).await.0, 200);
    assert_eq!(send(world.addr, &ask(&fresh)).await.0, 401);
    world.home.file("token", &fresh);
    // The file is checked once a second; until then the old tokens are valid.
    let rotated = async {
        while send(world.addr, &ask(&fresh)).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within("the new token", rotated).await;
    assert_eq!(send(world.addr, &ask(OLD)).await.0, 401);
}

#[tokio::test]
async fn a_token_can_be_limited_to_routes_and_operations() {
    const REFUSED: (u16, &str) = (403, "OPERATION_NOT_ALLOWED");
    const PUBLISH: &str = r#"{"channel":"/default/a","events":["1"]}"#;
    let settings = "[guard]\ntoken_file = \"$DIR/token\"\n[guard.tokens.ci]\nfile = \"$DIR/ci\"\n\
                    routes = [\"graphql\", \"rest\", \"ws\", \"event\"]\n\
                    [guard.tokens.ci.operations]\nfields = [\"Query.rooms\"]\n";
    let world = start(settings, &[]).await;
    let (all, some) = (OLD.to_owned(), "c".repeat(40));
    let mutation = r#"{"query":"mutation { createRoom(name: \"x\") { id } }"}"#;
    let other = r#"{"query":"{ __schema { types { name } } }"}"#;
    let batch = format!("[{QUERY},{mutation}]");
    let ask = async |token: &str, line: &str, body: &str| {
        let bearer = format!("authorization: Bearer {token}");
        let accept = "accept: application/json, text/event-stream";
        let row = row(0, "", line, &[H, J, accept, &bearer], body);
        send(world.addr, &row).await
    };
    for (line, body, token, expected) in [
        ("POST /graphql", QUERY, &all, (200, "")),
        ("POST /graphql", QUERY, &some, (200, "")),
        ("POST /graphql", mutation, &some, REFUSED),
        ("POST /graphql", other, &some, REFUSED),
        // A list of operations allows nothing but GraphQL operations.
        ("GET /rest/orders", "", &some, REFUSED),
        ("DELETE /rest/orders/7", "", &some, REFUSED),
        ("GET /event?channel=/default/a", "", &some, REFUSED),
        ("POST /event", PUBLISH, &some, REFUSED),
        ("POST /nowhere", QUERY, &some, (401, "TOKEN_WRONG")),
    ] {
        let (status, code) = ask(token, line, body).await;
        assert_eq!((status, code.as_str()), expected, "{line} {body}");
    }
    let bearer = format!("Bearer {some}");
    let headers = [("authorization", bearer.as_str()), JSON];
    let refused = post(world.addr, "/graphql", &headers, &batch).await;
    assert!(
        refused.body.contains("OPERATION_NOT_ALLOWED"),
        "{refused:?}"
    );
    // On a socket, whether its token came with the upgrade or later.
    for early in [true, false] {
        let headers: &[(&str, &str)] = if early { &headers[..1] } else { &[] };
        let mut socket = Socket::open(world.addr, headers).await;
        let payload = if early {
            json!({})
        } else {
            json!({ "token": some })
        };
        socket
            .send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
            .subscribe("1", "mutation { createRoom(name: \"x\") { id } }")
            .await;
        let error = socket.next_of("1").await;
        let code = &error["payload"][0]["extensions"]["code"];
        assert_eq!(code, "OPERATION_NOT_ALLOWED", "{error}");
        socket.subscribe("2", "{ rooms { id } }").await;
        assert_eq!(socket.next_of("2").await["type"], "next");
    }
    // On a stream that a client of another token reserved.
    let bearer = format!("authorization: Bearer {all}");
    let reserve = row(0, "", "PUT /graphql", &[H, &bearer], "");
    let stream = answer(world.addr, &reserve).await.body;
    let stream = format!("x-graphql-event-stream-token: {stream}");
    let operation = mutation.replace("}\"}", "}\",\"extensions\":{\"operationId\":\"1\"}}");
    for (token, expected) in [(&some, 404), (&all, 202)] {
        let bearer = format!("authorization: Bearer {token}");
        let start = row(
            0,
            "",
            "POST /graphql",
            &[H, J, &bearer, &stream],
            &operation,
        );
        assert_eq!(send(world.addr, &start).await.0, expected, "{operation}");
        if expected == 404 {
            assert_eq!(world.emulator.stats().requests.mutations, 0);
        }
    }
    let run = world
        .emulator
        .wait_for(|stats| stats.requests.mutations == 1);
    within("the mutation on the stream", run).await;
    let (status, _) = ask(&all, "POST /graphql", mutation).await;
    assert_eq!(status, 200);
    assert_eq!(world.emulator.stats().requests.mutations, 2);
}

/// A page's console showed only a failed request.
#[tokio::test]
async fn pages_of_this_machine_can_read_why_they_are_refused() {
    let world = start("", &[]).await;
    let exchange = async |line: &str, origin: &str, more: &[(&str, &str)]| {
        let headers = [
            &[("origin", origin), ("content-type", "application/json")],
            more,
        ]
        .concat();
        let answer = match line.split_once(' ').unwrap() {
            ("POST", path) => post(world.addr, path, &headers, QUERY).await,
            (method, path) => {
                let mut request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
                    world.addr
                );
                for (name, value) in headers {
                    request.push_str(&format!("{name}: {value}\r\n"));
                }
                request.push_str("\r\n");
                raw(world.addr, request.as_bytes()).await
            }
        };
        let origin = answer.headers.get("access-control-allow-origin").cloned();
        (answer, origin)
    };
    let page = "http://localhost:3000";
    for path in ["/graphql", "/rest/orders", "/nowhere"] {
        for line in [format!("POST {path}"), format!("GET {path}")] {
            let (answer, origin) = exchange(&line, page, &[]).await;
            assert_eq!(
                (answer.status, origin.as_deref()),
                (403, Some(page)),
                "{line}"
            );
            let advice = format!("To allow it: --allow-origin {page} (");
            assert!(answer.body.contains(&advice), "{answer:?}");
            let (answer, origin) = exchange(&line, "https://evil.example", &[]).await;
            assert_eq!((answer.status, origin), (403, None), "{line}");
        }
        let ask = [
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let line = format!("OPTIONS {path}");
        let (answer, origin) = exchange(&line, page, &ask).await;
        assert_eq!(
            (answer.status, origin.as_deref()),
            (204, Some(page)),
            "{line}"
        );
        assert_eq!(
            answer.headers["access-control-allow-headers"],
            "content-type"
        );
        let (answer, origin) = exchange(&line, "https://evil.example", &ask).await;
        assert_eq!((answer.status, origin), (403, None), "{line}");
    }
    for (path, protocols) in [
        ("/graphql", "graphql-transport-ws"),
        ("/graphql", "graphql-ws"),
        ("/event", "aws-appsync-event-ws"),
        ("/event/realtime", "aws-appsync-event-ws, header-e30"),
    ] {
        for page in [page, "http://127.0.0.5:3000", "http://app.localhost:3000"] {
            let headers = [("origin", page)];
            let mut socket = Socket::dial(world.addr, path, protocols, &headers).await;
            let closed = socket.closed().await;
            assert_eq!(u16::from(closed.code), 4403, "{path} {page}");
            let reason =
                format!("Origin {page:?} is not allowed. To allow it: --allow-origin {page} ");
            assert!(closed.reason.starts_with(&reason), "{closed:?}");
        }
    }
    assert_eq!(world.emulator.stats().requests.http, 0);
}

#[tokio::test]
async fn the_log_line_of_a_refusal_has_the_address_of_the_client() {
    let world = World::new().await;
    let mut daemon = world.daemon(&["--listen", "127.0.0.1:0"], &[]);
    let addr = daemon.address().await;
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let client = stream.local_addr().unwrap();
    let request = "POST /graphql HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let answer = raw_on(stream, request.as_bytes()).await;
    assert_eq!(answer.status, 403);
    let line = daemon.line("HOST_NOT_ALLOWED").await;
    assert!(
        line.contains(&format!(
            "client.address={} client.port={} ",
            client.ip(),
            client.port()
        )),
        "{line}"
    );
}
