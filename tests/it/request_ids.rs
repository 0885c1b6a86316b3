//! The id of a request: in its response, in its log lines and in its errors; and what the log says of
//! clients and subscriptions beside it.

use serde_json::{Value, json};

use crate::support::{JSON, Socket, World, get, post};

const SUBSCRIPTION: &str = "subscription OnMessage { onMessage(room: \"lobby\") { room body } }";

/// Returns the value of a field in a log line.
#[track_caller]
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=");
    let (_, value) = line
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name}: {line}"));
    value.split(' ').next().unwrap().trim().trim_matches('"')
}

#[track_caller]
fn check_made(id: &str) {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(id.len() == 16 && id.bytes().all(is_digit), "{id:?}");
}

#[tokio::test]
async fn the_response_the_log_line_and_the_error_have_the_same_id() {
    let mut world = World::builder().routes(&["rest"]).daemon().await;
    let query = json!({ "query": "query ListRooms { rooms { id } }" }).to_string();
    let batch = format!("[{query},{{\"query\":\"subscription {{ a }}\"}}]");
    let long = "x".repeat(129);
    for (given, is_taken) in [
        (None, false),
        (Some("7f3c-Ab/9"), true),
        (Some("two words"), false),
        (Some(long.as_str()), false),
    ] {
        let id_header = given.map(|id| ("x-request-id", id));
        let headers: Vec<_> = [JSON].into_iter().chain(id_header).collect();
        for (path, body) in [
            ("/graphql", query.as_str()),
            ("/graphql", "{"),
            ("/graphql", &batch),
            ("/nowhere", "{}"),
            ("/rest/items", "{}"),
            ("/rest/../items", "{}"),
        ] {
            let answer = post(world.addr, path, &headers, body).await;
            let id = answer.headers["x-request-id"].as_str();
            match given {
                Some(given) if is_taken => assert_eq!(id, given),
                Some(_) | None => check_made(id),
            }
            let line = world.countersign.line("total_ms").await;
            assert_eq!(field(&line, "request_id"), id, "{line}");
            assert!(
                field(&line, "client.address") == "127.0.0.1" && field(&line, "client.port") != "0",
                "{line}"
            );
            let body: Value = answer.json();
            let error = [
                &body,
                &body["errors"][0]["extensions"],
                &body[1]["errors"][0]["extensions"],
            ]
            .into_iter()
            .find(|part| part.get("code").is_some());
            assert_eq!(
                error.is_some(),
                body.to_string().contains("\"sent\""),
                "{body}"
            );
            if let Some(error) = error {
                assert_eq!(error["requestId"], id, "{path} {body}");
            }
            if path == "/graphql" && body.is_array() {
                for _ in 0..2 {
                    let line = world.countersign.line("total_ms").await;
                    assert_eq!(field(&line, "request_id"), id, "{line}");
                }
            }
        }
    }
    let [first, second] = [(); 2].map(|()| get(world.addr, "/graphql", &[]));
    let ids = [first.await, second.await].map(|answer| answer.headers["x-request-id"].clone());
    assert_ne!(ids[0], ids[1]);
    world.stop().await;
}

#[tokio::test]
async fn operations_on_a_socket_have_the_id_of_its_upgrade_or_one_each() {
    let mut world = World::builder().daemon().await;
    for given in [None, Some("socket-1")] {
        let headers: Vec<_> = given.map(|id| ("x-request-id", id)).into_iter().collect();
        let mut socket = Socket::open(world.addr, &headers).await;
        socket.init().await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            world.switch(
                json!({ "refuse_start": "{\"errors\":[{\"errorType\":\"MaxSubscriptionsReachedError\",\"message\":\"m\"}]}" }),
            );
            socket.subscribe("s", SUBSCRIPTION).await;
            let error = socket.next_of("s").await;
            let line = world
                .countersign
                .line("graphql.operation.type=\"subscription\"")
                .await;
            let id = error["payload"][0]["extensions"]["requestId"]
                .as_str()
                .unwrap();
            assert_eq!(field(&line, "request_id"), id, "{line}");
            assert!(
                field(&line, "client.address") == "127.0.0.1" && field(&line, "client.port") != "0",
                "{line}"
            );
            ids.push(id.to_owned());
        }
        match given {
            Some(given) => assert_eq!(ids, [given, given]),
            None => {
                ids.iter().for_each(|id| check_made(id));
                assert_ne!(ids[0], ids[1]);
            }
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn the_line_of_a_subscription_counts_its_events_and_says_what_ended_it() {
    let mut world = World::builder().daemon().await;
    let mut socket = world.acked().await;
    socket.subscribe("stopped", SUBSCRIPTION).await;
    socket.subscribe("open", SUBSCRIPTION).await;
    world.subscriptions(2).await;
    for _ in 0..3 {
        let mutation = "mutation { postMessage(room: \"lobby\", body: \"hi\") { room body } }";
        assert_eq!(world.query(mutation).await.status, 200);
        let mut received = [socket.next().await, socket.next().await].map(|frame| {
            assert_eq!(frame["type"], "next", "{frame}");
            frame["id"].as_str().unwrap().to_owned()
        });
        received.sort_unstable();
        assert_eq!(received, ["open", "stopped"]);
    }
    socket
        .send(json!({ "id": "stopped", "type": "complete" }))
        .await;
    let line = world
        .countersign
        .line("graphql.operation.type=\"subscription\"")
        .await;
    assert_eq!(field(&line, "events"), "3", "{line}");
    assert_eq!(field(&line, "ended_by"), "client", "{line}");
    world.countersign.signal("-TERM");
    let line = world
        .countersign
        .line("graphql.operation.type=\"subscription\"")
        .await;
    assert_eq!(field(&line, "events"), "3", "{line}");
    assert_eq!(field(&line, "ended_by"), "shutdown", "{line}");
    assert_eq!(world.countersign.exited().await, 0);
}
