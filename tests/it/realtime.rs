//! Subscriptions end to end: sharing, isolation, slow readers, losses, drain.

use std::time::Duration;

use countersign_emulator::Options;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Socket, Stage, within};

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

#[tokio::test]
async fn a_thousand_subscriptions_of_200_sockets_share_a_dozen_connections() {
    let stage = Stage::new().await;
    let open = (0..200).map(|_| async {
        let mut socket = stage.acked().await;
        for id in 0..5 {
            socket.subscribe(&id.to_string(), ON_MESSAGE).await;
        }
        socket
    });
    let mut sockets = join_all(open).await;
    let stats = stage.subscriptions(1_000).await;
    assert!(stats.realtime.connections <= 12, "{:?}", stats.realtime);
    assert!(stats.realtime.max_seen <= 100, "{:?}", stats.realtime);
    println!(
        "1000 subscriptions on {} connections",
        stats.realtime.connections
    );

    // Each gets the event, five times a socket.
    assert_eq!(stage.query(&message("lobby", "to all")).await.status, 200);
    for socket in &mut sockets {
        for _ in 0..5 {
            assert_eq!(body_of(&socket.next().await), "to all");
        }
    }

    // One socket's end stops exactly its own.
    drop(sockets.pop());
    let stats = stage.subscriptions(995).await;
    assert_eq!(stats.realtime.stops_total, 5);
    assert_eq!(stage.query(&message("lobby", "again")).await.status, 200);
    for socket in &mut sockets {
        assert_eq!(body_of(&socket.next().await), "again");
    }
    stage.drained().await;
}

#[tokio::test]
async fn one_sockets_subscriptions_stay_on_one_connection() {
    let options = Options {
        max_subscriptions: 10,
        ..Options::default()
    };
    let stage = Stage::on(options, &[("pool.subscriptions", "10")]).await;
    let mut first = stage.acked().await;
    let mut second = stage.acked().await;
    for id in 0..4 {
        first.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    stage.subscriptions(4).await;
    for id in 0..8 {
        second.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let stats = stage.subscriptions(12).await;
    assert_eq!(stats.realtime.subscriptions_by_connection, [10, 2]);
    // The first socket's next one finds its connection full and goes where there is room; the
    // second's own follow its majority's room rule as well.
    first.subscribe("more", ON_MESSAGE).await;
    let stats = stage.subscriptions(13).await;
    assert_eq!(stats.realtime.subscriptions_by_connection, [10, 3]);
    stage.drained().await;
}

#[tokio::test]
async fn a_smaller_cap_of_upstream_opens_another_connection() {
    let options = Options {
        max_subscriptions: 3,
        ..Options::default()
    };
    let stage = Stage::on(options, &[]).await;
    let mut socket = stage.acked().await;
    for id in 0..7 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let stats = stage.subscriptions(7).await;
    assert!(stats.realtime.max_seen <= 3);
    stage.query(&message("lobby", "x")).await;
    for _ in 0..7 {
        assert_eq!(body_of(&socket.next().await), "x");
    }
    stage.drained().await;
}

#[tokio::test]
async fn each_socket_keeps_its_own_headers_on_a_shared_connection() {
    let stage = Stage::new().await;
    let query = "subscription { onHeaders(names: [\"x-team\", \"authorization\", \"cookie\"]) }";
    for team in ["red", "blue"] {
        let headers = [
            ("x-team", team),
            ("cookie", "c"),
            ("authorization", "Bearer x"),
        ];
        let mut socket = Socket::open(stage.addr, &headers).await;
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
    let stats = stage.subscriptions(2).await;
    assert_eq!(stats.realtime.connections, 1);
}

/// Promise 7: the slow client's subscription ends with an error, its siblings miss nothing, and
/// what waits for it stays within the bound.
#[tokio::test]
async fn a_client_that_stops_reading_loses_only_its_own_subscription() {
    let stage = Stage::with(&[("limits.outbox", "256KiB")]).await;
    let mut slow = stage.acked().await;
    slow.subscribe("slow", &on_room("lobby")).await;
    let mut brisk = stage.acked().await;
    brisk.subscribe("brisk", &on_room("lobby")).await;
    let stats = stage.subscriptions(2).await;
    assert_eq!(stats.realtime.connections, 1);

    let before = resident_kib();
    let large = "x".repeat(100_000);
    let mut sent = 0;
    while stage.emulator.stats().realtime.stops_total == 0 {
        assert!(sent < 400, "the slow subscription did not end");
        let answer = stage
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
    stage.subscriptions(1).await;
    let grown = resident_kib().saturating_sub(before);
    println!("{sent} events of 100 kB; resident memory grew by {grown} KiB");
    assert!(grown < 64 * 1024, "grew by {grown} KiB");

    // What was queued still comes, in order, then the reason.
    let mut got = 0;
    loop {
        let frame = slow.next().await;
        if frame["type"] == "error" {
            assert_eq!(frame["payload"][0]["extensions"]["code"], "SLOW_CONSUMER");
            break;
        }
        assert!(body_of(&frame).starts_with(&format!("{got} ")));
        got += 1;
    }
    assert!(got < sent);
    // The socket lives.
    slow.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(slow.next_of("q").await["type"], "next");
    stage.drained().await;
}

#[tokio::test]
async fn a_client_that_never_reads_again_is_closed() {
    let stage = Stage::with(&[("limits.outbox", "64KiB"), ("timeouts.write", "300ms")]).await;
    let mut slow = stage.acked().await;
    slow.subscribe("a", &on_room("lobby")).await;
    slow.subscribe("b", &on_room("garden")).await;
    stage.subscriptions(2).await;
    let large = "x".repeat(100_000);
    // `b` never overflows: only the end of the socket stops it.
    while stage.emulator.stats().realtime.subscriptions > 0 {
        stage.query(&message("lobby", &large)).await;
    }
    stage.drained().await;
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4
}

#[tokio::test(flavor = "multi_thread")]
async fn pongs_piled_up_for_a_client_that_only_pings() {
    let stage = Stage::with(&[("timeouts.write", "1s")]).await;
    let mut socket = TcpStream::connect(stage.addr).await.unwrap();
    let upgrade = format!(
        "GET /graphql HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: graphql-ws\r\n\r\n",
        stage.addr
    );
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let before = resident_kib();
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
    let pings = ping.repeat(500);
    let flood = async {
        let mut sent = 0;
        // Until it is closed, or far beyond what the buffers of both sockets hold.
        while sent < (64 << 20) && socket.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    };
    let sent = within("the close", flood).await;
    let grown = resident_kib().saturating_sub(before);
    assert!(sent < 64 << 20, "{sent} bytes of pings were taken");
    assert!(grown < 16 * 1024, "{grown} KiB");
    stage.drained().await;
}

#[tokio::test]
async fn a_lost_connection_closes_only_the_sockets_that_were_on_it() {
    let options = Options {
        max_subscriptions: 1,
        ..Options::default()
    };
    let settings = [("pool.subscriptions", "1"), ("pool.spread", "50ms")];
    let stage = Stage::on(options, &settings).await;
    let mut idle = stage.acked().await;
    let mut subscribed = stage.acked().await;
    subscribed.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;

    stage.switch(json!({ "close_all": true }));
    let close = subscribed.closed().await;
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1012, "the upstream connection was lost")
    );

    idle.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(idle.next().await["type"], "next");
    // One redial ran at once.
    stage
        .saw("a redial", |stats| stats.realtime.connections_total == 2)
        .await;
    stage.drained().await;
}

/// A close code of upstream is never passed on: 1000 would make graphql-ws reconnect in a loop.
#[tokio::test]
async fn upstreams_own_close_code_is_not_passed_on() {
    let stage = Stage::with(&[("pool.spread", "1ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.switch(json!({ "close_clean": 1000 }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    stage.drained().await;
}

/// graphql-ws sends again what is in flight at a 1012, mutations too.
#[tokio::test]
async fn a_mutation_in_flight_at_a_loss_is_answered_before_the_close() {
    let stage = Stage::with(&[("pool.spread", "1ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.switch(json!({ "gate": true }));
    let mutation = "mutation { slowPost(room: \"lobby\", body: \"once\", ms: 0) { body } }";
    socket.subscribe("m", mutation).await;
    stage
        .saw("the mutation", |stats| {
            stats.mutations.get("lobby/once") == Some(&1)
        })
        .await;

    stage.switch(json!({ "close_all": true }));
    stage
        .saw("the redial", |stats| stats.realtime.connections_total == 2)
        .await;
    // Nothing new is taken while the close is due.
    socket
        .subscribe(
            "late",
            "mutation { postMessage(room: \"lobby\", body: \"late\") { body } }",
        )
        .await;
    stage.switch(json!({ "gate": false }));
    assert_eq!(
        socket.next().await["payload"]["data"]["slowPost"]["body"],
        "once"
    );
    assert_eq!(
        socket.next().await,
        json!({ "id": "m", "type": "complete" })
    );
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    let stats = stage.emulator.stats();
    assert_eq!(stats.mutations.get("lobby/once"), Some(&1));
    assert_eq!(stats.mutations.get("lobby/late"), None);
    stage.drained().await;
}

#[tokio::test]
async fn a_route_may_resume_instead() {
    let stage = Stage::with(&[("route.graphql.on_upstream_loss", "resume")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.switch(json!({ "close_all": true }));
    stage
        .saw("the subscription again", |stats| {
            stats.realtime.connections_total == 2 && stats.realtime.subscriptions == 1
        })
        .await;
    stage.query(&message("lobby", "after the gap")).await;
    assert_eq!(body_of(&socket.next().await), "after the gap");
    stage.drained().await;
}

#[tokio::test]
async fn a_subscription_that_was_given_up_during_the_gap_is_not_resumed() {
    let stage = Stage::with(&[("route.graphql.on_upstream_loss", "resume")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("kept", ON_MESSAGE).await;
    socket.subscribe("dropped", ON_MESSAGE).await;
    stage.subscriptions(2).await;
    stage.switch(json!({ "refuse_connections": true, "close_all": true }));
    stage
        .saw("the loss", |stats| stats.realtime.connections == 0)
        .await;
    socket
        .send(json!({ "id": "dropped", "type": "complete" }))
        .await;
    // A ping's answer proves that the completion was read.
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await["type"], "pong");
    stage.switch(json!({ "refuse_connections": false }));
    stage.subscriptions(1).await;
    stage.drained().await;
}

/// Closed before the acknowledgement, or clients would never stop trying.
#[tokio::test]
async fn newcomers_are_turned_away_while_upstream_is_down() {
    let stage = Stage::with(&[("pool.spread", "1ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.switch(json!({ "refuse_connections": true, "close_all": true }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);

    let turned_away = async {
        loop {
            let mut newcomer = stage.socket().await;
            newcomer.send(json!({ "type": "connection_init" })).await;
            match newcomer.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return u16::from(frame.code);
                }
                // Acknowledged: the first redial had not failed yet.
                _ => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(within("a refusal", turned_away).await, 1013);

    stage.switch(json!({ "refuse_connections": false }));
    let mut newcomer = within("a welcome", welcomed(&stage)).await;
    newcomer.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.drained().await;
}

/// Comes back until it is acknowledged.
async fn welcomed(stage: &Stage) -> Socket {
    loop {
        let mut newcomer = stage.socket().await;
        newcomer.send(json!({ "type": "connection_init" })).await;
        if let Some(Ok(Message::Text(_))) = newcomer.0.next().await {
            return newcomer;
        }
    }
}

/// The redial for a subscription that nobody wanted any more dialled nothing, and counted as
/// under way ever after.
#[tokio::test]
async fn newcomers_were_turned_away_for_ever_after_a_subscription_was_given_up() {
    let stage = Stage::new().await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "refuse_connections": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    socket.send(json!({ "id": "s", "type": "complete" })).await;
    let turned_away = async {
        loop {
            let mut newcomer = stage.socket().await;
            newcomer.send(json!({ "type": "connection_init" })).await;
            if let Some(Ok(Message::Close(_))) = newcomer.0.next().await {
                return;
            }
        }
    };
    within("a refusal", turned_away).await;
    stage.switch(json!({ "refuse_connections": false }));
    let mut newcomer = within("a welcome", welcomed(&stage)).await;
    newcomer.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.drained().await;
}

/// A stage before an upstream that accepts connections and says nothing. Nobody asks the listener:
/// the kernel accepts for it.
async fn before_silence(settings: &[(&str, &str)]) -> (Stage, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = silent.local_addr().unwrap().to_string();
    let own = [
        ("route.graphql.connect", connect.as_str()),
        ("timeouts.connect", "1m"),
    ];
    let stage = Stage::with(&[&own[..], settings].concat()).await;
    (stage, silent)
}

/// Their places were freed when the dial had ended, and whoever came next dialled again: a client in
/// a loop used up all files.
#[tokio::test]
async fn subscriptions_that_were_given_up_before_the_dials_end_kept_their_places() {
    let (stage, silent) = before_silence(&[("pool.subscriptions", "10")]).await;
    let mut socket = stage.acked().await;
    for id in 0..100 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
        let complete = json!({ "id": id.to_string(), "type": "complete" });
        socket.send(complete).await;
        // A ping's answer proves that both were read.
        socket.send(json!({ "type": "ping" })).await;
        assert_eq!(socket.next().await["type"], "pong");
    }
    let dialled = silent.into_std().unwrap();
    let mut dials = 0;
    while dialled.accept().is_ok() {
        dials += 1;
    }
    assert_eq!(dials, 1);
    stage.drained().await;
}

/// Each subscription that found no room dialled, however many dials were under way.
#[tokio::test]
async fn realtime_connections_had_no_bound() {
    let settings = [("pool.subscriptions", "1"), ("limits.subscriptions", "300")];
    let (stage, silent) = before_silence(&settings).await;
    let mut socket = stage.acked().await;
    for id in 0..=256 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let frame = socket.next().await;
    assert_eq!(
        (&frame["id"], &frame["type"]),
        (&json!("256"), &json!("error"))
    );
    assert_eq!(
        frame["payload"][0]["extensions"],
        json!({ "code": "TOO_MANY_CONNECTIONS", "sent": "no" })
    );
    stage.drained().await;
    drop(silent);
}

#[tokio::test]
async fn an_unreachable_realtime_endpoint_is_an_error_and_the_socket_lives() {
    let stage = Stage::new().await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "refuse_realtime": true }));
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
    stage.drained().await;
}

#[tokio::test]
async fn refused_credentials_are_an_error_and_the_socket_lives() {
    let stage = Stage::new().await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "expire_keys": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error");
    let text = frame["payload"][0]["message"].as_str().unwrap();
    assert!(text.contains("expired"), "{frame}");
    stage.switch(json!({ "expire_keys": false }));
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.drained().await;
}

#[tokio::test]
async fn throttled_starts_are_sent_again() {
    let stage = Stage::new().await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "throttle": true }));
    socket.subscribe("s", ON_MESSAGE).await;
    stage
        .saw("a throttled start", |stats| {
            stats.realtime.starts_total == 1
        })
        .await;
    stage.switch(json!({ "throttle": false }));
    stage.subscriptions(1).await;
    stage.drained().await;
}

#[tokio::test]
async fn silence_counts_as_a_loss() {
    let options = Options {
        connection_timeout: Duration::from_millis(400),
        ..Options::default()
    };
    let stage = Stage::on(options, &[("pool.spread", "1ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.switch(json!({ "stop_ka": true }));
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    stage.drained().await;
}

#[tokio::test]
async fn errors_and_completions_end_one_subscription_each() {
    let stage = Stage::new().await;
    for (switch, kind) in [("error_all", "error"), ("complete_all", "complete")] {
        let mut socket = stage.acked().await;
        socket.subscribe("s", ON_MESSAGE).await;
        stage.subscriptions(1).await;
        stage.switch(json!({ switch: true }));
        assert_eq!(socket.next().await["type"], kind);
        // The id is free, and nothing came after the end.
        socket.subscribe("s", "{ rooms { id } }").await;
        assert_eq!(socket.next().await["type"], "next");
        assert_eq!(socket.next().await["type"], "complete");
        stage.subscriptions(0).await;
    }
    stage.drained().await;
}

#[tokio::test]
async fn an_unused_connection_is_closed_after_the_linger_time() {
    let stage = Stage::with(&[("pool.linger", "100ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    socket.send(json!({ "id": "s", "type": "complete" })).await;
    stage
        .saw("the close", |stats| stats.realtime.connections == 0)
        .await;
    socket.subscribe("s", ON_MESSAGE).await;
    let stats = stage.subscriptions(1).await;
    assert_eq!(stats.realtime.connections_total, 2);
    stage.drained().await;
}

#[tokio::test]
async fn a_drain_lets_what_runs_finish_and_then_says_restart() {
    let mut stage = Stage::new().await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    stage.switch(json!({ "gate": true }));
    socket
        .subscribe(
            "m",
            "mutation { slowPost(room: \"lobby\", body: \"b\", ms: 0) { body } }",
        )
        .await;
    stage
        .saw("the mutation", |stats| {
            stats.mutations.contains_key("lobby/b")
        })
        .await;
    stage.begin_drain();
    let refused = async {
        while TcpStream::connect(stage.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the listener's end", refused).await;
    stage.switch(json!({ "gate": false }));
    assert_eq!(socket.next_of("m").await["type"], "next");
    assert_eq!(socket.next_of("m").await["type"], "complete");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    stage.drained().await;
}

/// At the deadline a mutation may have been executed; a client that is told so does not send it
/// again.
#[tokio::test]
async fn the_drains_deadline_ends_what_runs_with_an_error_before_the_close() {
    let mut stage = Stage::with(&[("drain.timeout", "200ms")]).await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "gate": true }));
    socket
        .subscribe(
            "m",
            "mutation { slowPost(room: \"lobby\", body: \"b\", ms: 0) { body } }",
        )
        .await;
    stage
        .saw("the mutation", |stats| {
            stats.mutations.contains_key("lobby/b")
        })
        .await;
    stage.begin_drain();
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error");
    assert_eq!(frame["payload"][0]["extensions"]["sent"], "maybe");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    stage.switch(json!({ "gate": false }));
    stage.drained().await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let mut stage = Stage::with(&[("drain.timeout", "10m")]).await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "gate": true }));
    socket.subscribe("q", "{ slow(ms: 0) }").await;
    stage
        .saw("the query", |stats| stats.requests.queries == 1)
        .await;
    stage.begin_drain();
    stage.hurry();
    assert_eq!(socket.next().await["type"], "error");
    stage.switch(json!({ "gate": false }));
    stage.drained().await;
}

#[tokio::test]
async fn a_socket_that_answers_no_ping_is_closed() {
    let stage = Stage::with(&[("timeouts.ping", "100ms")]).await;
    let mut socket = stage.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    stage.subscriptions(1).await;
    // Not reading means not answering either.
    stage.subscriptions(0).await;
    let ended = async { while let Some(Ok(_)) = socket.0.next().await {} };
    within("the end", ended).await;
    stage.drained().await;
}

#[tokio::test]
async fn a_socket_that_answers_pings_lives() {
    let stage = Stage::with(&[("timeouts.ping", "50ms")]).await;
    let mut socket = stage.acked().await;
    for _ in 0..5 {
        match within("a ping", socket.0.next()).await {
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
        socket.0.flush().await.unwrap();
    }
    stage.drained().await;
}

#[tokio::test]
async fn many_operations_of_one_socket_run_at_once_and_too_many_are_refused() {
    let stage = Stage::with(&[("limits.operations", "3"), ("limits.subscriptions", "2")]).await;
    let mut socket = stage.acked().await;
    stage.switch(json!({ "gate": true }));
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
    stage
        .saw("three queries", |stats| stats.requests.queries == 3)
        .await;
    stage.switch(json!({ "gate": false }));
    let mut results = 0;
    while results < 3 {
        if socket.next().await["type"] == "next" {
            results += 1;
        }
    }
    stage.drained().await;
}
