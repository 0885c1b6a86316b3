//! Subscriptions end to end: sharing, isolation, slow readers, losses, drain.

use std::time::{Duration, Instant};

use countersign_emulator::{Options, Stats};
use countersign_protocol::error_code::{Code, Sent};
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::error_codes::check_text;
use crate::support::{Running, Socket, World, within};

const ON_MESSAGE: &str = "subscription { onMessage { id body } }";

fn on_room(room: &str) -> String {
    format!("subscription {{ onMessage(room: \"{room}\") {{ id body }} }}")
}

fn message(room: &str, body: &str) -> String {
    format!("mutation {{ postMessage(room: \"{room}\", body: \"{body}\") {{ id room body }} }}")
}

fn body_of(frame: &Value) -> &str {
    let body = &frame["payload"]["data"]["onMessage"]["body"];
    body.as_str().unwrap_or_else(|| panic!("{frame}"))
}

/// Returns a socket whose subscription `s` is live, the only one.
async fn subscribed(world: &Running) -> Socket {
    let mut socket = world.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    socket
}

/// Starts the mutation `m`, which the emulator executes and answers when its gate is opened.
async fn hold_mutation(world: &Running, socket: &mut Socket) {
    world.switch(json!({ "gate": true }));
    let mutation = "mutation { slowPost(room: \"lobby\", body: \"b\", ms: 0) { body } }";
    socket.subscribe("m", mutation).await;
    let is_executed = |stats: &Stats| stats.mutations.get("lobby/b") == Some(&1);
    world.saw("the mutation", is_executed).await;
}

#[tokio::test]
async fn a_thousand_subscriptions_share_a_dozen_connections() {
    let world = World::builder().in_process().await;
    let open = (0..200).map(|_| async {
        let mut socket = world.acked().await;
        for id in 0..5 {
            socket.subscribe(&id.to_string(), ON_MESSAGE).await;
        }
        socket
    });
    let mut sockets = join_all(open).await;
    let stats = world.subscriptions(1_000).await;
    assert!(stats.realtime.connections <= 12, "{:?}", stats.realtime);
    assert!(stats.realtime.max_seen <= 100, "{:?}", stats.realtime);
    println!(
        "1000 subscriptions on {} connections",
        stats.realtime.connections
    );

    // Each subscription gets the event, five times per socket.
    assert_eq!(world.query(&message("lobby", "to all")).await.status, 200);
    for socket in &mut sockets {
        for _ in 0..5 {
            assert_eq!(body_of(&socket.next().await), "to all");
        }
    }

    // Closing a socket stops exactly its own subscriptions.
    drop(sockets.pop());
    let stats = world.subscriptions(995).await;
    assert_eq!(stats.realtime.stops_total, 5);
    assert_eq!(world.query(&message("lobby", "again")).await.status, 200);
    for socket in &mut sockets {
        assert_eq!(body_of(&socket.next().await), "again");
    }
    world.drained().await;
}

#[tokio::test]
async fn one_sockets_subscriptions_stay_on_one_connection() {
    let options = Options {
        max_subscriptions: 10,
        ..Options::default()
    };
    let world = World::builder()
        .emulator(options)
        .settings(&[("pool.subscriptions", "10")])
        .in_process()
        .await;
    let mut first = world.acked().await;
    let mut second = world.acked().await;
    for id in 0..4 {
        first.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    world.subscriptions(4).await;
    for id in 0..8 {
        second.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let stats = world.subscriptions(12).await;
    assert_eq!(stats.realtime.subscriptions_by_connection, [10, 2]);
    // The connection of the first socket is full, so its next subscription goes to the other one.
    first.subscribe("more", ON_MESSAGE).await;
    let stats = world.subscriptions(13).await;
    assert_eq!(stats.realtime.subscriptions_by_connection, [10, 3]);
    world.drained().await;
}

#[tokio::test]
async fn a_smaller_cap_of_upstream_opens_another_connection() {
    let options = Options {
        max_subscriptions: 3,
        ..Options::default()
    };
    let world = World::builder().emulator(options).in_process().await;
    let mut socket = world.acked().await;
    for id in 0..7 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let stats = world.subscriptions(7).await;
    assert!(stats.realtime.max_seen <= 3);
    world.query(&message("lobby", "x")).await;
    for _ in 0..7 {
        assert_eq!(body_of(&socket.next().await), "x");
    }
    world.drained().await;
}

#[tokio::test]
async fn each_socket_keeps_its_own_headers_on_a_shared_connection() {
    let world = World::builder().in_process().await;
    let query = "subscription { onHeaders(names: [\"x-team\", \"authorization\", \"cookie\"]) }";
    for team in ["red", "blue"] {
        let headers = [
            ("x-team", team),
            ("cookie", "c"),
            ("authorization", "Bearer x"),
        ];
        let mut socket = Socket::open(world.addr, &headers).await;
        socket.init().await;
        socket.subscribe("h", query).await;
        let frame = socket.next().await;
        let seen = frame["payload"]["data"]["onHeaders"].as_str().unwrap();
        let seen: Value = serde_json::from_str(seen).unwrap();
        assert_eq!(seen, json!({ "x-team": team }));

        let query = "{ headers(names: [\"x-team\", \"cookie\"]) }";
        socket.subscribe("q", query).await;
        let frame = socket.next_of("q").await;
        let seen = frame["payload"]["data"]["headers"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(seen).unwrap(),
            json!({ "x-team": team })
        );
        std::mem::forget(socket);
    }
    let stats = world.subscriptions(2).await;
    assert_eq!(stats.realtime.connections, 1);
}

/// Promise 7: the slow client's subscription ends with an error, its siblings miss nothing, and
/// what waits for it stays within the bound.
#[tokio::test]
async fn a_client_that_stops_reading_loses_only_its_own_subscription() {
    let world = World::builder()
        .settings(&[("limits.outbox", "256KiB")])
        .in_process()
        .await;
    let mut slow = world.acked().await;
    slow.subscribe("slow", &on_room("lobby")).await;
    let mut brisk = world.acked().await;
    brisk.subscribe("brisk", &on_room("lobby")).await;
    let stats = world.subscriptions(2).await;
    assert_eq!(stats.realtime.connections, 1);

    let before = resident_kib();
    let large = "x".repeat(100_000);
    let mut sent = 0;
    while world.emulator.stats().realtime.stops_total == 0 {
        assert!(sent < 400, "the slow subscription did not end");
        let answer = world
            .query(&message("lobby", &format!("{sent} {large}")))
            .await;
        assert_eq!(answer.status, 200);
        let body = brisk.next().await;
        assert!(
            body_of(&body).starts_with(&format!("{sent} ")),
            "a sibling missed an event"
        );
        sent += 1;
    }
    world.subscriptions(1).await;
    let grown = resident_kib().saturating_sub(before);
    println!("{sent} events of 100 kB; resident memory grew by {grown} KiB");
    assert!(grown < 64 * 1024, "grew by {grown} KiB");

    // Queued events are still delivered in order, and then the reason.
    let mut got = 0;
    loop {
        let frame = slow.next().await;
        if frame["type"] == "error" {
            check_text(&frame.to_string(), Code::SlowConsumer, Sent::Yes);
            break;
        }
        assert!(body_of(&frame).starts_with(&format!("{got} ")));
        got += 1;
    }
    assert!(got < sent);
    // The socket stays open.
    slow.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(slow.next_of("q").await["type"], "next");
    world.drained().await;
}

#[tokio::test]
async fn a_client_that_never_reads_again_is_closed() {
    let world = World::builder()
        .settings(&[("limits.outbox", "64KiB"), ("timeouts.write", "300ms")])
        .in_process()
        .await;
    let mut slow = world.acked().await;
    slow.subscribe("a", &on_room("lobby")).await;
    slow.subscribe("b", &on_room("garden")).await;
    world.subscriptions(2).await;
    let large = "x".repeat(100_000);
    // `b` never overflows, so only the end of the socket stops it.
    while world.emulator.stats().realtime.subscriptions > 0 {
        world.query(&message("lobby", &large)).await;
    }
    world.drained().await;
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4
}

#[tokio::test(flavor = "multi_thread")]
async fn pongs_for_a_client_that_only_pings_do_not_pile_up() {
    let world = World::builder()
        .settings(&[("timeouts.write", "1s")])
        .in_process()
        .await;
    let mut socket = TcpStream::connect(world.addr).await.unwrap();
    let upgrade = format!(
        "GET /graphql HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: graphql-ws\r\n\r\n",
        world.addr
    );
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let before = resident_kib();
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let pings = ping.repeat(500);
    let flood = async {
        let mut sent = 0;
        // Until it is closed, or far beyond the buffers of both sockets.
        while sent < (64 << 20) && socket.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    };
    let sent = within("the close", flood).await;
    let grown = resident_kib().saturating_sub(before);
    assert!(sent < 64 << 20, "{sent} bytes of pings were taken");
    assert!(grown < 16 * 1024, "{grown} KiB");
    world.drained().await;
}

#[tokio::test]
async fn a_lost_connection_closes_only_the_sockets_on_it() {
    let options = Options {
        max_subscriptions: 1,
        ..Options::default()
    };
    let settings = [("pool.subscriptions", "1"), ("pool.spread", "50ms")];
    let world = World::builder()
        .emulator(options)
        .settings(&settings)
        .in_process()
        .await;
    let mut idle = world.acked().await;
    let mut subscribed = world.acked().await;
    subscribed.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;

    world.switch(json!({ "close_all": true }));
    let close = subscribed.closed().await;
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1012, "the upstream connection was lost")
    );

    idle.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(idle.next().await["type"], "next");
    // One reconnect ran at a time.
    world
        .saw("a redial", |stats| stats.realtime.connections_total == 2)
        .await;
    world.drained().await;
}

/// Upstream's close code is never forwarded: 1000 would make graphql-ws reconnect in a loop.
#[tokio::test]
async fn upstreams_close_code_is_not_forwarded() {
    let world = World::builder()
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    world.switch(json!({ "close_clean": 1000 }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    world.drained().await;
}

/// After a 1012, graphql-ws repeats everything in flight, including mutations.
#[tokio::test]
async fn a_mutation_in_flight_at_a_loss_is_answered_before_the_close() {
    let world = World::builder()
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    hold_mutation(&world, &mut socket).await;
    world.switch(json!({ "close_all": true }));
    world
        .saw("the redial", |stats| stats.realtime.connections_total == 2)
        .await;
    // No new operation is accepted while the close is pending.
    socket
        .subscribe(
            "late",
            "mutation { postMessage(room: \"lobby\", body: \"late\") { body } }",
        )
        .await;
    world.switch(json!({ "gate": false }));
    assert_eq!(
        socket.next().await["payload"]["data"]["slowPost"]["body"],
        "b"
    );
    assert_eq!(
        socket.next().await,
        json!({ "id": "m", "type": "complete" })
    );
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    let stats = world.emulator.stats();
    assert_eq!(stats.mutations.get("lobby/b"), Some(&1));
    assert_eq!(stats.mutations.get("lobby/late"), None);
    world.drained().await;
}

#[tokio::test]
async fn a_route_can_resume_subscriptions_after_a_loss() {
    let world = World::builder()
        .settings(&[("route.graphql.on_upstream_loss", "resume")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    world.switch(json!({ "close_all": true }));
    world
        .saw("the subscription again", |stats| {
            stats.realtime.connections_total == 2 && stats.realtime.subscriptions == 1
        })
        .await;
    world.query(&message("lobby", "after the gap")).await;
    assert_eq!(body_of(&socket.next().await), "after the gap");
    world.drained().await;
}

#[tokio::test]
async fn a_subscription_cancelled_during_the_gap_is_not_resumed() {
    let world = World::builder()
        .settings(&[("route.graphql.on_upstream_loss", "resume")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    socket.subscribe("kept", ON_MESSAGE).await;
    socket.subscribe("dropped", ON_MESSAGE).await;
    world.subscriptions(2).await;
    world.switch(json!({ "refuse_connections": true, "close_all": true }));
    world
        .saw("the loss", |stats| stats.realtime.connections == 0)
        .await;
    socket
        .send(json!({ "id": "dropped", "type": "complete" }))
        .await;
    // The pong proves that the completion was read.
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await["type"], "pong");
    world.switch(json!({ "refuse_connections": false }));
    world.subscriptions(1).await;
    world.drained().await;
}

/// The socket is closed before the acknowledgement, or clients would retry for ever.
#[tokio::test]
async fn new_subscriptions_are_refused_while_upstream_is_down() {
    let world = World::builder()
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    world.switch(json!({ "refuse_connections": true, "close_all": true }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);

    assert_eq!(within("a refusal", turned_away(&world)).await, 1013);

    world.switch(json!({ "refuse_connections": false }));
    let mut newcomer = within("a welcome", welcomed(&world)).await;
    newcomer.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    world.drained().await;
}

/// Reconnects until a socket is closed before its acknowledgement, and returns the code. Until the first
/// reconnect to upstream has failed, sockets are acknowledged.
async fn turned_away(world: &Running) -> u16 {
    loop {
        let mut newcomer = world.socket().await;
        newcomer.send(json!({ "type": "connection_init" })).await;
        match newcomer.0.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Reconnects until the socket is acknowledged.
async fn welcomed(world: &Running) -> Socket {
    loop {
        let mut newcomer = world.socket().await;
        newcomer.send(json!({ "type": "connection_init" })).await;
        if let Some(Ok(Message::Text(_))) = newcomer.0.next().await {
            return newcomer;
        }
    }
}

/// The reconnect for a cancelled subscription dialled nothing, and counted as
/// in progress for ever.
#[tokio::test]
async fn new_subscriptions_are_accepted_after_a_pending_one_is_cancelled() {
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    world.switch(json!({ "refuse_connections": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    socket.send(json!({ "id": "s", "type": "complete" })).await;
    within("a refusal", turned_away(&world)).await;
    world.switch(json!({ "refuse_connections": false }));
    let mut newcomer = within("a welcome", welcomed(&world)).await;
    newcomer.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    world.drained().await;
}

/// Starts countersign with an upstream that accepts connections and sends nothing. Nobody reads from the
/// listener; the kernel accepts for it.
async fn before_silence(settings: &[(&str, &str)]) -> (Running, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = silent.local_addr().unwrap().to_string();
    let own = [
        ("route.graphql.connect", connect.as_str()),
        ("timeouts.connect", "1m"),
    ];
    let world = World::builder()
        .settings(&[&own[..], settings].concat())
        .in_process()
        .await;
    (world, silent)
}

/// The slots were freed only after the dial, and every new subscription dialled again: a client in
/// a loop used up all files.
#[tokio::test]
async fn a_subscription_cancelled_during_the_dial_frees_its_slot() {
    let (world, silent) = before_silence(&[("pool.subscriptions", "10")]).await;
    let mut socket = world.acked().await;
    let begun = Instant::now();
    for id in 0..100 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
        let complete = json!({ "id": id.to_string(), "type": "complete" });
        socket.send(complete).await;
        // The pong proves that both were read.
        socket.send(json!({ "type": "ping" })).await;
        assert_eq!(socket.next().await["type"], "pong");
    }
    let dialled = silent.into_std().unwrap();
    let mut dials = 0;
    while dialled.accept().is_ok() {
        dials += 1;
    }
    // An attempt without an outcome is followed by another one after two seconds.
    assert!(dials <= 1 + begun.elapsed().as_secs() / 2, "{dials} dials");
    world.drained().await;
}

/// Each subscription without a slot dialled, however many dials were in progress.
#[tokio::test]
async fn realtime_connections_are_limited() {
    let settings = [("pool.subscriptions", "1"), ("limits.subscriptions", "300")];
    let (world, silent) = before_silence(&settings).await;
    let mut socket = world.acked().await;
    for id in 0..=256 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let frame = socket.next().await;
    assert_eq!(
        (&frame["id"], &frame["type"]),
        (&json!("256"), &json!("error"))
    );
    check_text(&frame.to_string(), Code::TooManyConnections, Sent::No);
    world.drained().await;
    drop(silent);
}

#[tokio::test]
async fn an_unreachable_realtime_endpoint_is_an_error_and_the_socket_stays_open() {
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    world.switch(json!({ "refuse_realtime": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error");
    assert_eq!(
        frame["payload"][0]["extensions"]["code"],
        "UPSTREAM_REFUSED"
    );
    assert_eq!(frame["payload"][0]["extensions"]["sent"], "no");
    socket.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(socket.next().await["type"], "next");
    world.drained().await;
}

#[tokio::test]
async fn rejected_credentials_are_an_error_and_the_socket_stays_open() {
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    world.switch(json!({ "expire_keys": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error");
    let text = frame["payload"][0]["message"].as_str().unwrap();
    assert!(text.contains("expired"), "{frame}");
    world.switch(json!({ "expire_keys": false }));
    socket.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    world.drained().await;
}

#[tokio::test]
async fn throttled_starts_are_retried() {
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    world.switch(json!({ "throttle": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    world
        .saw("a throttled start", |stats| {
            stats.realtime.starts_total == 1
        })
        .await;
    world.switch(json!({ "throttle": false }));
    world.subscriptions(1).await;
    world.drained().await;
}

#[tokio::test]
async fn a_connection_without_keepalives_is_lost() {
    let options = Options {
        connection_timeout: Duration::from_millis(400),
        ..Options::default()
    };
    let world = World::builder()
        .emulator(options)
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    world.switch(json!({ "stop_ka": true }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    world.drained().await;
}

#[tokio::test]
async fn errors_and_completions_end_one_subscription_each() {
    let world = World::builder().in_process().await;
    for (switch, kind) in [("error_all", "error"), ("complete_all", "complete")] {
        let mut socket = subscribed(&world).await;
        world.switch(json!({ switch: true }));
        assert_eq!(socket.next().await["type"], kind);
        // The id is free, and no frame followed the end.
        socket.subscribe("s", "{ rooms { id } }").await;
        assert_eq!(socket.next().await["type"], "next");
        assert_eq!(socket.next().await["type"], "complete");
        world.subscriptions(0).await;
    }
    world.drained().await;
}

#[tokio::test]
async fn an_unused_connection_is_closed_after_the_linger_time() {
    let world = World::builder()
        .settings(&[("pool.linger", "100ms")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    socket.send(json!({ "id": "s", "type": "complete" })).await;
    world
        .saw("the close", |stats| stats.realtime.connections == 0)
        .await;
    socket.subscribe("s", ON_MESSAGE).await;
    let stats = world.subscriptions(1).await;
    assert_eq!(stats.realtime.connections_total, 2);
    world.drained().await;
}

#[tokio::test]
async fn a_drain_lets_operations_finish_and_then_closes_with_1012() {
    let mut world = World::builder().in_process().await;
    let mut socket = subscribed(&world).await;
    hold_mutation(&world, &mut socket).await;
    world.begin_drain();
    let refused = async {
        while TcpStream::connect(world.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the listener's end", refused).await;
    world.switch(json!({ "gate": false }));
    assert_eq!(socket.next_of("m").await["type"], "next");
    assert_eq!(socket.next_of("m").await["type"], "complete");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    world.drained().await;
}

/// At the deadline a mutation may have been executed. A client that knows this does not send it
/// again.
#[tokio::test]
async fn the_drain_deadline_ends_operations_with_an_error_before_the_close() {
    let mut world = World::builder()
        .settings(&[("drain.timeout", "200ms")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    hold_mutation(&world, &mut socket).await;
    world.begin_drain();
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error");
    assert_eq!(frame["payload"][0]["extensions"]["sent"], "maybe");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    world.switch(json!({ "gate": false }));
    world.drained().await;
}

#[tokio::test]
async fn a_second_signal_ends_the_drain() {
    let mut world = World::builder()
        .settings(&[("drain.timeout", "10m")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    world.switch(json!({ "gate": true }));
    socket.subscribe("q", "{ slow(ms: 0) }").await;
    world
        .saw("the query", |stats| stats.requests.queries == 1)
        .await;
    world.begin_drain();
    world.hurry();
    assert_eq!(socket.next().await["type"], "error");
    world.switch(json!({ "gate": false }));
    world.drained().await;
}

#[tokio::test]
async fn a_socket_that_answers_no_ping_is_closed() {
    let world = World::builder()
        .settings(&[("timeouts.ping", "100ms")])
        .in_process()
        .await;
    let mut socket = subscribed(&world).await;
    // A client that does not read does not answer either.
    world.subscriptions(0).await;
    let ended = async { while let Some(Ok(_)) = socket.0.next().await {} };
    within("the end", ended).await;
    world.drained().await;
}

#[tokio::test]
async fn a_socket_that_answers_pings_stays_open() {
    let world = World::builder()
        .settings(&[("timeouts.ping", "50ms")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    for _ in 0..5 {
        match within("a ping", socket.0.next()).await {
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
        socket.0.flush().await.unwrap();
    }
    world.drained().await;
}

#[tokio::test]
async fn operations_of_one_socket_run_concurrently_up_to_the_limit() {
    let world = World::builder()
        .settings(&[("limits.operations", "3"), ("limits.subscriptions", "2")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    world.switch(json!({ "gate": true }));
    for id in 0..4 {
        socket.subscribe(&id.to_string(), "{ slow(ms: 0) }").await;
    }
    let frame = socket.next().await;
    assert_eq!(
        (&frame["id"], &frame["type"]),
        (&json!("3"), &json!("error"))
    );
    for id in 4..7 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    assert_eq!(socket.next_of("6").await["type"], "error");
    world
        .saw("three queries", |stats| stats.requests.queries == 3)
        .await;
    world.switch(json!({ "gate": false }));
    let mut results = 0;
    while results < 3 {
        if socket.next().await["type"] == "next" {
            results += 1;
        }
    }
    world.drained().await;
}
