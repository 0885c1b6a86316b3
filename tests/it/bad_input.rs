//! Bad input: every mistake has a clear message, and nothing is signed or lost.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::support::{Answer, JSON, Scratch, World, command, demo_key, get, post, raw, within};

const TARGET: &str =
    "https://abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com/graphql";

/// Runs the program to its end and returns its exit code and standard error.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = command(arguments, environment).output();
    let output = within("the end", output).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

async fn check_refused(
    arguments: &[&str],
    environment: &[(&str, &str)],
    code: i32,
    expected: &[&str],
) {
    let (found, text) = run(arguments, environment).await;
    assert_eq!(found, code, "{text}");
    for part in expected {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[tokio::test]
async fn every_mistake_is_reported_at_once() {
    let scratch = Scratch::new("mistakes");
    let file = scratch.file(
        "countersign.toml",
        "listen = [\"127.0.0.1:0\"]\nlisen = 1\n\n[route.a]\ntarget = \"http://x\"\n\n[limits]\nrequest_body = \"lots\"\n",
    );
    let at = |line: u32| format!("{file}:{line}: ");
    check_refused(
        &["--config", &file, "--allow-origin", "example.com"],
        &[("COUNTERSIGN_TIMEOUTS__CONECT", "1s")],
        2,
        &[
            &format!("{}`lisen`: unknown key; did you mean `listen`?", at(2)),
            &format!(
                "{}`route.a.target`: \"http://x\" must begin with https://",
                at(5)
            ),
            &format!("{}`limits.request_body`: invalid size \"lots\"", at(8)),
            "COUNTERSIGN_TIMEOUTS__CONECT: unknown setting; did you mean COUNTERSIGN_TIMEOUTS__CONNECT?",
            "--allow-origin: invalid origin \"example.com\"",
        ],
    )
    .await;
}

#[tokio::test]
async fn usage_mistakes_exit_with_2() {
    check_refused(
        &[],
        &[],
        2,
        &["countersign: no API is given. Pass its URL, or start a demo: countersign demo"],
    )
    .await;
    check_refused(&["--lisen", "x", TARGET], &[], 2, &["--listen"]).await;
    check_refused(
        &["https://api.example.com/graphql"],
        &[],
        2,
        &["add the region of the API, such as --region eu-central-1"],
    )
    .await;
    check_refused(
        &["--listen", "0.0.0.0:1", TARGET],
        &[],
        2,
        &["is not a loopback address"],
    )
    .await;
    check_refused(
        &["--config", "/nowhere.toml"],
        &[],
        2,
        &["--config: /nowhere.toml does not exist: correct the path"],
    )
    .await;
    check_refused(
        &["--region", "eu-west-1", TARGET],
        &[],
        2,
        &["\"eu-west-1\" is not the region of the URL"],
    )
    .await;
}

#[tokio::test]
async fn a_port_in_use_exits_with_3_and_names_the_port_and_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (port, address) = (address.port(), address.to_string());
    let listen = ["--listen", &address, "--admin", "127.0.0.1:0", TARGET];
    let expected = format!("countersign: port {port} is in use. Choose another with --port PORT");
    let admin = " (and for the admin listener with --admin 127.0.0.1:PORT)";
    check_refused(&listen, &demo_key(), 3, &[&format!("{expected}{admin}\n")]).await;
    let without_admin = ["--listen", &address, "--admin", "off", TARGET];
    check_refused(&without_admin, &demo_key(), 3, &[&format!("{expected}\n")]).await;
    let admin = ["--listen", "127.0.0.1:0", "--admin", &address, TARGET];
    let expected = format!(
        "countersign: port {port} is in use (the admin listener). Choose another with \
         --admin 127.0.0.1:PORT, or turn it off with --admin off\n"
    );
    check_refused(&admin, &demo_key(), 3, &[&expected]).await;
}

#[tokio::test]
async fn config_prints_every_setting_and_its_source() {
    let arguments = ["config", "--listen", "127.0.0.1:1", TARGET];
    let environment = [("COUNTERSIGN_LIMITS__REQUEST_BODY", "2MiB")];
    let output = command(&arguments, &environment).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        (
            "limits.request_body = \"2MiB\"",
            "# COUNTERSIGN_LIMITS__REQUEST_BODY",
        ),
        ("listen = [\"127.0.0.1:1\"]", "# --listen"),
        ("timeouts.connect = \"5s\"", "# default"),
        (
            "# route graphql: /graphql -> AppSync GraphQL",
            "region us-east-1, service appsync",
        ),
    ] {
        let found = text
            .lines()
            .any(|text| text.contains(line.0) && text.contains(line.1));
        assert!(found, "{line:?} not in:\n{text}");
    }
    let check = ["config", "--check", TARGET];
    let output = command(&check, &[]).output().await.unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

/// Garbage in these files passed the check and failed at the start.
#[tokio::test]
async fn config_check_reads_every_file_that_a_start_reads() {
    let scratch = Scratch::new("config-check");
    let private = |name: &str, text: &str| {
        let file = scratch.file(name, text);
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    };
    let garbage = private("garbage", "garbage\n");
    let pair = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((cert_pem, key_pem), (_, other_key_pem)) = (pair(), pair());
    let cert = private("cert.pem", &cert_pem);
    let key = private("key.pem", &key_pem);
    let other_key = private("other.pem", &other_key_pem);
    let headers = private("headers", "api-key: secret\n");
    let recording = private("recording", "{\"version\":1,\"routes\":[]}");
    let new_recording = scratch.0.join("new").display().to_string();
    let config = |ca: &str, cert: &str, key: &str, client_ca: &str, record: &str, headers: &str| {
        let text = format!(
            "[route.a]\ntarget = \"{TARGET}\"\nca_file = \"{ca}\"\n\
             [tls]\ncert = \"{cert}\"\nkey = \"{key}\"\nclient_ca = \"{client_ca}\"\n\
             [iam]\nrecord = \"{record}\"\n\
             [traces]\nendpoint = \"http://127.0.0.1:1\"\nheaders_file = \"{headers}\"\n"
        );
        scratch.file("countersign.toml", &text)
    };
    for record in [&recording, &new_recording] {
        let file = config(&cert, &cert, &key, &cert, record, &headers);
        let (code, text) = run(&["config", "--check", "--config", &file], &[]).await;
        assert_eq!((code, text.as_str()), (0, ""));
    }
    assert!(
        !Path::new(&new_recording).exists(),
        "a check writes nothing"
    );

    let g = garbage.as_str();
    let file = config(g, g, g, g, g, g);
    let (code, text) = run(&["config", "--check", "--config", &file], &[]).await;
    assert_eq!(code, 2, "{text}");
    for (line, part) in [
        (3, "route a: the certificate authorities of"),
        (5, "tls.cert:"),
        (6, "tls.key:"),
        (7, "tls.client_ca:"),
        (9, "is not a recording of countersign"),
        (12, "traces.headers_file:"),
    ] {
        let begin = format!("countersign: {file}:{line}: ");
        let mut lines = text.lines();
        let found = lines.any(|text| text.starts_with(&begin) && text.contains(part));
        assert!(found, "no {begin}{part} in:\n{text}");
    }
    assert_eq!(text.lines().count(), 6, "{text}");

    let file = config(&cert, &cert, &other_key, &cert, &recording, &headers);
    let (code, text) = run(&["config", "--check", "--config", &file], &[]).await;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("is not the key of the first certificate"),
        "{text}"
    );
}

/// Each file is wrong alone, and the start fails, too, so that the check has no opinion of its own.
#[tokio::test]
async fn config_check_fails_where_a_start_fails() {
    let scratch = Scratch::new("config-check-start");
    let garbage = scratch.file("garbage", "garbage\n");
    fs::set_permissions(&garbage, Permissions::from_mode(0o600)).unwrap();
    let state = scratch.0.join("state");
    fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink("/nowhere", state.join("countersign")).unwrap();
    let state = state.display().to_string();
    let endpoint = ("COUNTERSIGN_TRACES__ENDPOINT", "http://127.0.0.1:1");
    let cases: [&[(&str, &str)]; 5] = [
        &[("COUNTERSIGN_ROUTE__GRAPHQL__CA_FILE", &garbage)],
        &[
            ("COUNTERSIGN_TLS__CERT", &garbage),
            ("COUNTERSIGN_TLS__KEY", &garbage),
        ],
        &[("COUNTERSIGN_TLS__DEV", "true"), ("XDG_STATE_HOME", &state)],
        &[("COUNTERSIGN_IAM__RECORD", &garbage)],
        &[endpoint, ("COUNTERSIGN_TRACES__HEADERS_FILE", &garbage)],
    ];
    for environment in cases {
        let (code, text) = run(&["config", "--check", TARGET], environment).await;
        assert_eq!(code, 2, "{environment:?}: {text}");
        let start = ["--listen", "127.0.0.1:0", "--admin", "off", TARGET];
        let (code, text) = run(&start, environment).await;
        assert_eq!(code, 3, "{environment:?}: {text}");
    }
}

#[tokio::test]
async fn refused_requests_do_not_reach_upstream() {
    let world = World::builder()
        .settings(&[("limits.request_body", "1KiB")])
        .in_process()
        .await;
    let addr = world.addr;
    let query = json!({ "query": "{ rooms { id } }" }).to_string();
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"b\") { id } }";
    let big = "x".repeat(2_000);
    let chunked = format!(
        "POST /graphql HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n7d0\r\n{big}\r\n0\r\n\r\n"
    );
    let no_host = "POST /graphql HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let absolute = format!(
        "GET http://evil.com/graphql?query=x HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"
    );
    let escaped = "mutation%20%7B%20postMessage(room%3A%22lobby%22%2C%20body%3A%22b%22)%20%7B%20id%20%7D%20%7D";
    let subscription = json!({ "query": "subscription { onMessage { id } }" }).to_string();
    let cases: Vec<(&str, Answer, u16, &str)> = vec![
        ("a body over the limit", post(addr, "/graphql", &[JSON], &big).await, 413, "BODY_TOO_LARGE"),
        ("a chunked body over the limit", raw(addr, chunked.as_bytes()).await, 413, "BODY_TOO_LARGE"),
        ("malformed JSON", post(addr, "/graphql", &[JSON], "{\"query\": ").await, 400, "BAD_JSON"),
        ("no content type", post(addr, "/graphql", &[], &query).await, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("text/plain", post(addr, "/graphql", &[("content-type", "text/plain")], &query).await, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("a foreign Origin", post(addr, "/graphql", &[JSON, ("origin", "https://evil.com")], &query).await, 403, "ORIGIN_NOT_ALLOWED"),
        ("Sec-Fetch-Site", get(addr, "/graphql?query=%7Ba%7D", &[("sec-fetch-site", "cross-site")]).await, 403, "CROSS_SITE"),
        ("a foreign Host", raw(addr, b"GET /graphql?query=%7Ba%7D HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n").await, 403, "HOST_NOT_ALLOWED"),
        ("no Host", raw(addr, no_host.as_bytes()).await, 400, "HOST_MALFORMED"),
        ("an absolute target", raw(addr, absolute.as_bytes()).await, 400, "TARGET_FORM"),
        ("a mutation by GET", get(addr, &format!("/graphql?query={escaped}"), &[]).await, 405, "MUTATION_BY_GET"),
        ("a document by GET that cannot be parsed", get(addr, "/graphql?query=%7B", &[]).await, 400, "BAD_DOCUMENT"),
        ("GET without a query", get(addr, "/graphql", &[]).await, 400, "BAD_PARAMETER"),
        ("another method", raw(addr, format!("DELETE /graphql HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes()).await, 405, "METHOD_NOT_ALLOWED"),
        ("another path", post(addr, "/graphqlx", &[JSON], &query).await, 404, "NO_ROUTE"),
        ("a subscription by POST", post(addr, "/graphql", &[JSON], &subscription).await, 406, "SUBSCRIPTION_OVER_HTTP"),
    ];
    for (name, answer, status, code) in cases {
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.code(), code, "{name}");
        assert_eq!(answer.headers["x-countersign-error"], code, "{name}");
        assert_eq!(
            answer.json()["errors"][0]["extensions"]["sent"],
            "no",
            "{name}"
        );
    }
    let stats = world.emulator.stats();
    assert_eq!(stats.requests.http, 0, "{stats:?}");
    // Nothing else is affected.
    assert_eq!(world.query(mutation).await.status, 200);
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.drained().await;
}

#[tokio::test]
async fn foreign_origins_get_no_websocket() {
    let world = World::builder().in_process().await;
    let upgrade = format!(
        "GET /graphql HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\norigin: https://evil.com\r\n\r\n",
        world.addr
    );
    let answer = raw(
        world.addr,
        upgrade
            .replace("connection: Upgrade", "connection: Upgrade, close")
            .as_bytes(),
    )
    .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "ORIGIN_NOT_ALLOWED")
    );
    assert_eq!(world.emulator.stats().requests.http, 0);
    world.drained().await;
}

#[tokio::test]
async fn an_allowed_origin_gets_our_cors_headers_and_never_upstreams() {
    let world = World::builder()
        .settings(&[("guard.allow_origins", "https://app.example.com")])
        .in_process()
        .await;
    let origin = ("origin", "https://app.example.com");
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let answer = post(world.addr, "/graphql", &[JSON, origin], &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example.com"
    );
    let preflight = format!(
        "OPTIONS /graphql HTTP/1.1\r\nhost: {}\r\nconnection: close\r\norigin: https://app.example.com\r\naccess-control-request-method: POST\r\naccess-control-request-headers: content-type, x-team\r\n\r\n",
        world.addr
    );
    let answer = raw(world.addr, preflight.as_bytes()).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "content-type, x-team"
    );
    assert!(answer.headers["access-control-allow-methods"].contains("POST"));
    let foreign = raw(
        world.addr,
        preflight.replace("app.example", "evil").as_bytes(),
    )
    .await;
    assert_eq!(foreign.status, 403);
    let plain = post(world.addr, "/graphql", &[JSON], &body).await;
    assert!(
        !plain.headers.contains_key("access-control-allow-origin"),
        "{plain:?}"
    );
    world.drained().await;
}

#[tokio::test]
async fn an_allowed_host_passes_and_its_origin_does_not_by_itself() {
    let world = World::builder()
        .settings(&[("guard.allow_hosts", "proxy.internal")])
        .in_process()
        .await;
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let request = |extra: &str| {
        format!(
            "POST /graphql HTTP/1.1\r\nhost: proxy.internal:9\r\nconnection: close\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(raw(world.addr, request("").as_bytes()).await.status, 200);
    let foreign = request("origin: https://proxy.internal.evil.com\r\n");
    assert_eq!(raw(world.addr, foreign.as_bytes()).await.status, 403);
    world.drained().await;
}

/// A body that cannot be parsed is forwarded unchanged, because AppSync's own error is the best one.
#[tokio::test]
async fn json_without_an_operation_is_left_to_upstream() {
    let world = World::builder().in_process().await;
    for body in ["{}", "[]", "{\"query\": 1}", "{\"query\":\"{ a\"}"] {
        let answer = post(world.addr, "/graphql", &[JSON], body).await;
        assert!(
            !answer.headers.contains_key("x-countersign-error"),
            "{body}: {answer:?}"
        );
        assert!(answer.json()["errors"][0]["message"].is_string());
    }
    assert_eq!(world.emulator.stats().requests.http, 4);
    world.drained().await;
}

#[tokio::test]
async fn malformed_frames_close_only_their_socket() {
    let world = World::builder().in_process().await;
    let mut good = world.acked().await;
    let mut bad = world.acked().await;
    bad.send(json!(["not", "a", "frame"])).await;
    let close = bad.closed().await;
    assert_eq!(u16::from(close.code), 4400);
    assert!(
        close.reason.starts_with("Invalid message received"),
        "{close:?}"
    );
    good.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(good.next().await["type"], "next");
    world.drained().await;
}

#[tokio::test]
async fn an_unreachable_upstream_reports_that_nothing_was_sent() {
    let world = World::builder().in_process().await;
    world.switch(json!({ "refuse_connections": true }));
    let answer = world.query("{ rooms { id } }").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json()["errors"][0]["extensions"]["sent"], "no");
    world.switch(json!({ "refuse_connections": false }));
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.drained().await;
}
