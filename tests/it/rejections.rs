//! Rejections by AWS are explained: to the client in `extensions`, and in one line of the log.

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::fakes::{Heard, TlsPeer};
use crate::support::{Daemon, JSON, Running, World, demo_key, get, post};

const API: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const ON_MESSAGE: &str = "subscription { onMessage { id } }";
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
const DENIED: &str = "appsync:GraphQL on types/Query/fields/rooms";

/// Returns the lines of requests that have a cause.
fn explained(log: &str) -> Vec<&str> {
    let lines = log.lines();
    lines
        .filter(|line| line.contains(" request method=") && line.contains(" cause="))
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
    let lines = explained(&log);
    assert_eq!(lines.len(), 4, "{log}");
    for line in lines {
        check_line(line, &["cause=\"wrong-secret\""]);
    }
    let connects = log
        .lines()
        .filter(|line| line.contains("realtime connection refused"));
    for line in connects {
        check_line(line, &["cause=\"wrong-secret\""]);
    }
    assert!(!log.contains("canary"), "{log}");
}

/// Returns a daemon whose upstream answers every request with `answer`.
async fn answering(answer: String) -> Running<Daemon> {
    let peer = TlsPeer::start(&[API], &["http/1.1"], move |_, stream| {
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
    .await;
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
    for (status, page, message, cause) in [
        (
            503,
            page,
            "upstream responded 503 with text/html: \"503 Service Temporarily Unavailable\"",
            None,
        ),
        (
            403,
            blocked,
            "upstream responded 403 with text/html: \"ERROR: The request could not be satisfied\"",
            Some("waf"),
        ),
    ] {
        let length = page.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{page}"
        );
        let world = answering(answer).await;
        let answer = post(world.addr, "/graphql", &[JSON], r#"{"query":"{ a }"}"#).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let error = &answer.json()["errors"][0];
        assert_eq!(error["message"], message);
        assert_eq!(error["extensions"]["cause"].as_str(), cause, "{error}");
        let mut socket = world.acked().await;
        socket.subscribe("q", "{ a }").await;
        let frame = socket.next_of("q").await;
        assert_eq!(frame["payload"][0]["message"], message);
        drop(socket);
        world.stop().await;
    }
}
