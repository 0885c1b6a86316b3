//! Rejections by AWS are explained: to the client in `extensions`, and in one line of the log.

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::fakes::{Heard, TlsPeer};
use crate::support::{Daemon, JSON, Running, World, demo_key, get, post};

const API: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const GATEWAY: &str = "abcdefghij.execute-api.us-east-1.amazonaws.com";
const ON_MESSAGE: &str = "subscription { onMessage { id } }";
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
const DENIED: &str = "appsync:GraphQL on types/Query/fields/rooms";

/// Returns the lines of requests that have a cause.
fn explained(log: &str) -> Vec<&str> {
    let lines = log.lines();
    lines
        .filter(|line| line.contains(" total_ms=") && line.contains(" cause="))
        .collect()
}

#[track_caller]
fn check_line(line: &str, parts: &[&str]) {
    for part in parts.iter().chain([&"WARN", &"fix="]) {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[track_caller]
fn check_extensions(error: &Value, cause: &str, denied: Option<&str>) {
    let extensions = &error["extensions"];
    assert_eq!(extensions["cause"], cause, "{error}");
    assert_eq!(extensions["denied"].as_str(), denied, "{error}");
    let hint = extensions["hint"].as_str();
    assert!(hint.is_some_and(|hint| hint.len() > 20), "{error}");
}

/// AppSync says only that it cannot parse the body.
#[tokio::test]
async fn half_a_surrogate_pair_in_the_variables_is_named() {
    let world = World::builder().daemon().await;
    let body = r#"{"query":"query($a:ID!){room(id:$a){id}}","variables":{"a":"\ud83d"}}"#;
    let answer = post(world.addr, "/graphql", &[JSON], body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let error = &answer.json()["errors"][0];
    check_extensions(error, "invalid-unicode", None);
    let hint = error["extensions"]["hint"].as_str().unwrap();
    let start = "The body has an invalid Unicode escape at line 1, column ";
    assert!(hint.starts_with(start), "{hint}");
    assert!(
        hint.contains("half of a surrogate pair. Clients send one"),
        "{hint}"
    );
    // Another body that AppSync cannot parse.
    let other = r#"{"query":"","variables":{}}"#;
    let answer = post(world.addr, "/graphql", &[JSON], other).await;
    assert!(!answer.body.contains("invalid-unicode"), "{answer:?}");
    let log = world.stop().await;
    check_line(
        explained(&log)[0],
        &["cause=\"invalid-unicode\"", "half of a surrogate pair"],
    );
}

#[tokio::test]
async fn denials_name_what_was_denied_and_the_command_that_allows_it() {
    let world = World::builder().routes(&["rest"]).daemon().await;
    world.switch(json!({ "policy": NOTHING }));
    let answer = world.query("{ rooms { id } }").await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let error = &answer.json()["errors"][0];
    assert_eq!(error["message"], "Permission denied");
    check_extensions(error, "not-authorized", Some(DENIED));

    let mut socket = world.acked().await;
    socket.subscribe("q", "{ rooms { id } }").await;
    let frame = socket.next_of("q").await;
    check_extensions(&frame["payload"][0], "not-authorized", Some(DENIED));
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next_of("s").await;
    let denied = "appsync:GraphQL on types/Subscription/fields/onMessage";
    check_extensions(&frame["payload"][0], "not-authorized", Some(denied));
    drop(socket);

    let answer = get(world.addr, "/rest/pets", &[]).await;
    assert_eq!(answer.status, 403, "{answer:?}");

    let log = world.stop().await;
    let lines = explained(&log);
    assert_eq!(lines.len(), 4, "{log}");
    let policy = "countersign policy --region us-east-1";
    for line in &lines[..2] {
        check_line(
            line,
            &[
                "cause=\"not-authorized\"",
                DENIED,
                policy,
                "UnauthorizedException",
            ],
        );
    }
    check_line(
        lines[2],
        &[
            "cause=\"not-authorized\"",
            denied,
            policy,
            "UnauthorizedException",
        ],
    );
    let identity = "identity=\"arn:aws:iam::";
    check_line(
        lines[3],
        &[
            "cause=\"not-authorized\"",
            identity,
            "execute-api:Invoke on arn:",
        ],
    );
}

#[tokio::test]
async fn signatures_with_a_wrong_secret_are_explained_on_every_path() {
    let mut variables = demo_key();
    for (name, value) in &mut variables {
        if *name == "AWS_SECRET_ACCESS_KEY" {
            *value = "canary/of+a/wrong/secret";
        }
    }
    let world = World::builder()
        .routes(&["rest"])
        .keyless()
        .variables(&variables)
        .daemon()
        .await;
    let answer = world.query("{ rooms { id } }").await;
    check_extensions(&answer.json()["errors"][0], "wrong-secret", None);
    let mut socket = world.acked().await;
    socket.subscribe("q", "{ rooms { id } }").await;
    let frame = socket.next_of("q").await;
    check_extensions(&frame["payload"][0], "wrong-secret", None);
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next_of("s").await;
    check_extensions(&frame["payload"][0], "wrong-secret", None);
    drop(socket);
    let answer = get(world.addr, "/rest/pets", &[]).await;
    assert_eq!(answer.status, 403, "{answer:?}");

    let log = world.stop().await;
    let warned = |line: &&&str| line.contains("WARN");
    let lines = explained(&log);
    let cause = "cause=\"wrong-secret\"";
    assert_eq!(lines.iter().filter(warned).count(), 3, "{log}");
    for line in lines.iter().filter(warned) {
        check_line(line, &[cause, "confidence=\"possible\""]);
    }
    // The connection logs once why its connect was refused.
    let connects = log.lines();
    let connects = connects.filter(|line| line.contains("realtime connection refused"));
    let connects: Vec<&str> = connects.collect();
    assert_eq!(connects.len(), 1, "{log}");
    check_line(connects[0], &[cause, "confidence=\"possible\""]);
    let subscription = lines.iter().find(|line| !warned(line)).unwrap();
    assert!(
        subscription.contains("error.type=\"UPSTREAM_REFUSED\""),
        "{log}"
    );
    assert!(subscription.contains(cause), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

/// Starts a server that answers every request with `answer`.
async fn peer(host: &str, answer: String) -> TlsPeer {
    TlsPeer::start(&[host], &["http/1.1"], move |_, stream| {
        let answer = answer.clone();
        async move {
            let mut stream = BufReader::new(stream);
            while Heard::read(&mut stream).await.is_some() {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
            }
        }
    })
    .await
}

/// Returns a daemon whose upstream answers every request with `answer`.
async fn answering(answer: String) -> Running<Daemon> {
    let peer = peer(API, answer).await;
    let target = format!("https://{API}/graphql");
    World::builder()
        .peer("graphql", &peer, &target, "")
        .daemon()
        .await
}

#[tokio::test]
async fn pages_of_firewalls_and_load_balancers_are_reported_as_what_they_are() {
    let page = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head></html>";
    let blocked = "<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>Request blocked.";
    let hostile = "<title>a\u{1b}[31mb</title>";
    for (status, page, shown, cause) in [
        (503, page, "503 Service Temporarily Unavailable", "not-aws"),
        (403, page, "503 Service Temporarily Unavailable", "not-aws"),
        (
            403,
            blocked,
            "ERROR: The request could not be satisfied",
            "waf",
        ),
        (403, hostile, r"a\u{1b}[31mb", "not-aws"),
    ] {
        let length = page.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{page}"
        );
        let message = format!("upstream responded {status} with text/html: \"{shown}\"");
        let world = answering(answer).await;
        let answer = post(world.addr, "/graphql", &[JSON], r#"{"query":"{ a }"}"#).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let error = &answer.json()["errors"][0];
        assert_eq!(error["message"], message);
        check_extensions(error, cause, None);
        let mut socket = world.acked().await;
        socket.subscribe("q", "{ a }").await;
        let frame = socket.next_of("q").await;
        assert_eq!(frame["payload"][0]["message"], message);
        check_extensions(&frame["payload"][0], cause, None);
        drop(socket);
        let log = world.stop().await;
        let lines = explained(&log);
        assert_eq!(lines.len(), 2, "{log}");
        let sent = if status == 403 { "no" } else { "maybe" };
        for line in lines {
            let cause = format!("cause=\"{cause}\"");
            let sent = format!("sent=\"{sent}\"");
            let text = format!("exception.message={message:?}");
            check_line(
                line,
                &[&cause, &sent, &text, "error.type=\"UPSTREAM_NOT_JSON\""],
            );
        }
    }
}

/// The page of a server of AWS in front of API Gateway, and a page of the application behind it.
#[tokio::test]
async fn pages_of_firewalls_in_front_of_api_gateway_are_logged_and_passed_on_unchanged() {
    for (server, cause) in [("CloudFront", Some("waf")), ("nginx", None)] {
        let page = "<HTML><TITLE>ERROR: The request could not be satisfied</TITLE></HTML>";
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nserver: {server}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        );
        let peer = peer(GATEWAY, answer).await;
        let target = format!("https://{GATEWAY}/prod");
        let world = World::builder().peer("rest", &peer, &target, "");
        let world = world.daemon().await;
        let answer = get(world.addr, "/rest/pets", &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, page));
        let log = world.stop().await;
        let lines = explained(&log);
        assert_eq!(lines.len(), usize::from(cause.is_some()), "{log}");
        for line in lines {
            check_line(line, &["cause=\"waf\"", "403 with text/html"]);
        }
    }
}

#[tokio::test]
async fn a_field_denied_in_a_response_with_results_is_logged_and_the_response_is_unchanged() {
    let body = r#"{"data":{"rooms":null,"b":1},"errors":[{"path":["rooms"],"data":null,"errorType":"Unauthorized","errorInfo":null,"locations":[{"line":1,"column":3,"sourceName":null}],"message":"Not Authorized to access rooms on type Query"}]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json;charset=UTF-8\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let world = answering(answer).await;
    let query = r#"{"query":"{ rooms { id } b }"}"#;
    let answer = post(world.addr, "/graphql", &[JSON], query).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, body));
    let batch = format!("[{query}]");
    let answer = post(world.addr, "/graphql", &[JSON], &batch).await;
    assert_eq!(answer.body, format!("[{body}]"));
    let mut socket = world.acked().await;
    socket.subscribe("q", "{ rooms { id } b }").await;
    let frame = socket.next_of("q").await;
    let expected: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&frame["type"], &frame["payload"]),
        (&json!("next"), &expected)
    );
    drop(socket);
    let log = world.stop().await;
    let lines = explained(&log);
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        let parts = [
            "cause=\"not-authorized\"",
            "http.response.status_code=200",
            "error.type=\"ACCESS_DENIED\"",
            DENIED,
            "countersign policy --region us-east-1",
        ];
        check_line(line, &parts);
    }
}

/// AWS names the identity in the text of a realtime message.
#[tokio::test]
async fn the_identity_that_realtime_rejects_is_logged_once() {
    let world = World::builder().daemon().await;
    let arn = "arn:aws:sts::123456789012:assumed-role/dev/me";
    let denied = |action: &str| {
        let message = format!("User: {arn} is not authorized to perform: {action}");
        let errors = json!([{ "errorType": "UnauthorizedException", "message": message }]);
        json!({ "errors": errors }).to_string()
    };
    world.switch(json!({ "refuse_start": denied("appsync:GraphQL on resource: arn:aws:appsync:us-east-1:123456789012:apis/a/types/Subscription/fields/onMessage") }));
    let mut socket = world.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next_of("s").await;
    let extensions = &frame["payload"][0]["extensions"];
    assert_eq!(extensions["cause"], "not-authorized", "{frame}");
    assert!(extensions.get("identity").is_none(), "{frame}");
    drop(socket);
    let log = world.stop().await;
    let identity = format!("identity=\"{arn}\"");
    assert_eq!(log.matches(&identity).count(), 1, "{log}");
    check_line(explained(&log)[0], &[&identity, "onMessage"]);

    let world = World::builder().daemon().await;
    world.switch(json!({ "refuse_connect": denied("appsync:GraphQL") }));
    let mut socket = world.acked().await;
    for id in ["1", "2"] {
        socket.subscribe(id, ON_MESSAGE).await;
    }
    for id in ["1", "2"] {
        let frame = socket.next_of(id).await;
        assert_eq!(frame["payload"][0]["extensions"]["cause"], "not-authorized");
    }
    drop(socket);
    let log = world.stop().await;
    let refused = log
        .lines()
        .filter(|line| line.contains("realtime connection refused"));
    let refused: Vec<&str> = refused.collect();
    check_line(refused[0], &[&identity, "cause=\"not-authorized\""]);
    assert_eq!(log.matches("WARN").count(), refused.len(), "{log}");
    assert_eq!(log.matches(&identity).count(), refused.len(), "{log}");
}

/// The stream is refused by its subscription, whose line explains why.
#[tokio::test]
async fn a_stream_of_events_that_aws_refuses_is_explained_once() {
    let world = World::builder().routes(&["event"]).daemon().await;
    world.switch(json!({ "policy": NOTHING }));
    let accept = ("accept", "text/event-stream");
    let answer = get(world.addr, "/event?channel=/default/a", &[accept]).await;
    assert_eq!(answer.code(), "EVENTS_REFUSED", "{answer:?}");
    let log = world.stop().await;
    let warnings = log.lines().filter(|line| line.contains("WARN"));
    let warnings: Vec<&str> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{log}");
    check_line(
        warnings[0],
        &["cause=\"not-authorized\"", "appsync:EventConnect"],
    );
    let request = log.lines().find(|line| line.contains("EVENTS_REFUSED"));
    assert!(
        request.is_some_and(|line| line.contains("cause=\"not-authorized\"")),
        "{log}"
    );
}
