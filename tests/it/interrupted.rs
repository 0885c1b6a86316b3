//! What HTTP clients receive when their request is cut short: a response that says whether upstream
//! may have acted, or an end that no client mistakes for a complete response.

use std::process::Stdio;

use countersign_protocol::error_code::{Code, Sent};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error_codes::{check_response, check_text};
use crate::support::{Answer, JSON, Socket, World, get, node, post, raw, raw_on, within};

fn slow_post(body: &str) -> String {
    let query =
        format!("mutation {{ slowPost(room: \"lobby\", body: \"{body}\", ms: 0) {{ body }} }}");
    json!({ "query": query, "extensions": { "operationId": body } }).to_string()
}

/// Sends `body`, whose mutation "b" hangs at the emulator's gate until the drain deadline.
async fn at_the_deadline(accept: &'static str, body: String) -> Answer {
    let mut world = World::builder()
        .settings(&[("drain.timeout", "300ms")])
        .in_process()
        .await;
    world.switch(json!({ "gate": true }));
    let addr = world.addr;
    let asked = async move {
        let headers = [JSON, ("accept", accept)];
        post(addr, "/graphql", &headers, &body).await
    };
    let answer = tokio::spawn(asked);
    world
        .saw("the mutation", |stats| {
            stats.mutations.contains_key("lobby/b")
        })
        .await;
    world.begin_drain();
    let answer = within("the answer", answer).await.unwrap();
    world.switch(json!({ "gate": false }));
    world.drained().await;
    answer
}

#[tokio::test]
async fn a_request_is_answered_at_the_drain_deadline() {
    let answer = at_the_deadline("application/json", slow_post("b")).await;
    check_response(&answer, Code::ShuttingDown, Sent::Maybe);
}

/// The connection was closed a second after the deadline, without the results of the batch.
#[tokio::test]
async fn a_batch_is_answered_at_the_drain_deadline() {
    let subscription = json!({ "query": "subscription { onMessage { body } }" });
    let batch = format!("[{},{},{subscription}]", slow_post("b"), slow_post("c"));
    let answer = at_the_deadline("application/json", batch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let of = |at: usize| &told[at]["errors"][0]["extensions"];
    for at in [0, 1] {
        assert_eq!(of(at)["code"], "SHUTTING_DOWN", "{told}");
        assert_eq!(of(at)["sent"], "maybe", "{told}");
    }
    assert_eq!(of(2)["code"], "SUBSCRIPTION_OVER_HTTP", "{told}");
    assert_eq!(told.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_stream_ends_with_an_error_at_the_drain_deadline() {
    let answer = at_the_deadline("text/event-stream", slow_post("b")).await;
    assert_eq!(answer.status, 200);
    check_text(&answer.body, Code::ShuttingDown, Sent::Maybe);
    assert!(answer.body.contains("event: complete"), "{}", answer.body);
}

/// Its body arrives in the second in which final responses may still be sent.
#[tokio::test]
async fn a_request_that_is_complete_after_the_drain_deadline_is_not_sent() {
    let mut world = World::builder()
        .settings(&[("drain.timeout", "10m")])
        .in_process()
        .await;
    world.switch(json!({ "gate": true }));
    let mut socket = world.acked().await;
    socket.subscribe("q", "{ slow(ms: 0) }").await;
    let body = slow_post("late");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 25];
    within("the read of the body", stream.read_exact(&mut begun))
        .await
        .unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    world
        .saw("the query", |stats| stats.requests.queries == 1)
        .await;
    world.begin_drain();
    world.hurry();
    assert_eq!(socket.next().await["type"], "error", "the deadline");
    let answer = within("the answer", raw_on(stream, body.as_bytes())).await;
    check_response(&answer, Code::ShuttingDown, Sent::No);
    world.switch(json!({ "gate": false }));
    let mutations = &world.emulator.stats().mutations;
    assert!(!mutations.contains_key("lobby/late"), "{mutations:?}");
    world.drained().await;
}

/// The connection was closed without a response, and its client does not retry.
#[tokio::test]
async fn a_connection_opened_just_before_the_drain_is_answered() {
    let mut world = World::builder().in_process().await;
    let addr = world.addr;
    let silent = TcpStream::connect(addr).await.unwrap();
    let mut begun = TcpStream::connect(addr).await.unwrap();
    begun.write_all(b"P").await.unwrap();
    // The earlier connections have been accepted too.
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.begin_drain();
    let refused = async { while TcpStream::connect(addr).await.is_ok() {} };
    within("the drain", refused).await;
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let length = body.len();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    for (stream, rest) in [(silent, &request[..]), (begun, &request[1..])] {
        let answer = within("an answer", raw_on(stream, rest.as_bytes())).await;
        // The client may send it again.
        check_response(&answer, Code::ShuttingDown, Sent::No);
    }
    world.drained().await;
}

#[tokio::test]
async fn graphql_sse_does_not_repeat_a_mutation_after_the_drain_deadline() {
    let mut world = World::builder()
        .settings(&[("drain.timeout", "300ms")])
        .in_process()
        .await;
    world.switch(json!({ "gate": true }));
    let url = format!("http://{}/graphql", world.addr);
    let client = node("sse-mutation.mjs")
        .args([&url, "lobby", "sse"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    world
        .saw("the mutation", |stats| {
            stats.mutations.contains_key("lobby/sse")
        })
        .await;
    world.begin_drain();
    let output = within("the client", client.wait_with_output())
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("SHUTTING_DOWN"), "{told}");
    assert!(told.contains("complete"), "{told}");
    assert_eq!(
        world.emulator.stats().mutations.get("lobby/sse"),
        Some(&1),
        "executions"
    );
    world.switch(json!({ "gate": false }));
    world.drained().await;
}

#[tokio::test]
async fn a_single_connection_takes_no_operation_after_its_upstream_is_lost() {
    let world = World::builder()
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let addr = world.addr;
    let put = format!("PUT /graphql HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    let token = raw(addr, put.as_bytes()).await.body;
    let path = format!("/graphql?token={token}");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let open = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(open.as_bytes()).await.unwrap();
    let subscription = "subscription { onMessage(room: \"lobby\") { body } }";
    let subscribe = json!({ "query": subscription, "extensions": { "operationId": "s" } });
    post(addr, &path, &[JSON], &subscribe.to_string()).await;
    world.subscriptions(1).await;
    world.switch(json!({ "gate": true }));
    assert_eq!(
        post(addr, &path, &[JSON], &slow_post("a")).await.status,
        202
    );
    world
        .saw("the mutation", |stats| {
            stats.mutations.contains_key("lobby/a")
        })
        .await;
    world.switch(json!({ "close_all": true }));
    // The stream has noticed the loss when it takes no more operations. It waits for running ones.
    let refused = async {
        for n in 0.. {
            let answer = post(addr, &path, &[JSON], &slow_post(&format!("late-{n}"))).await;
            if answer.status != 202 {
                return answer.status;
            }
        }
        0
    };
    assert_eq!(within("the refusal", refused).await, 404);
    world.switch(json!({ "gate": false }));
    let mut body = Vec::new();
    // The response is cut short, so the last chunk is missing.
    let _ = within("the end", stream.read_to_end(&mut body)).await;
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains(r#""slowPost":{"body":"a"}"#), "{body}");
    assert!(!body.ends_with("0\r\n\r\n"), "{body}");
    world.drained().await;
}

#[tokio::test]
async fn a_resumed_subscription_is_acknowledged_once() {
    let world = World::builder()
        .settings(&[("route.graphql.on_upstream_loss", "resume")])
        .in_process()
        .await;
    let mut socket = Socket::dial(world.addr, "/graphql", "graphql-ws", &[]).await;
    socket.send(json!({ "type": "connection_init" })).await;
    let query = "subscription { onMessage(room: \"lobby\") { body } }";
    let data = json!({ "query": query, "variables": {} }).to_string();
    let payload = json!({ "data": data, "extensions": { "authorization": {} } });
    let start = json!({ "id": "1", "type": "start", "payload": payload });
    socket.send(start).await;
    assert_eq!(socket.next_of("1").await["type"], "start_ack");
    world.switch(json!({ "close_all": true }));
    world
        .saw("the resumed subscription", |stats| {
            stats.realtime.starts_total == 2 && stats.realtime.subscriptions == 1
        })
        .await;
    let post = "mutation { postMessage(room: \"lobby\", body: \"after\") { room body } }";
    world.query(post).await;
    assert_eq!(socket.next_of("1").await["type"], "data");
    world.drained().await;
}

#[tokio::test]
async fn an_error_does_not_quote_a_body_of_the_wrong_form() {
    let world = World::builder().in_process().await;
    let put = format!(
        "PUT /graphql HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        world.addr
    );
    let token = raw(world.addr, put.as_bytes()).await.body;
    let path = format!("/graphql?token={token}");
    let operation = r#"{"query":"{ a }","variables":{"password":"canary"}}"#;
    for (body, message) in [
        (
            json!({ "query": 7, "variables": operation }),
            "not a GraphQL request",
        ),
        (json!({ "query": [operation] }), "not a GraphQL request"),
        (json!(operation), "no `query`"),
    ] {
        let answer = post(world.addr, &path, &[JSON], &body.to_string()).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(message), "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
    }
    let token = get(world.addr, "/graphql?token=none", &[]).await;
    assert_eq!(token.status, 404);
    world.drained().await;
}
