//! How soon, and how often, realtime reconnects: outages, flapping upstreams, refusals that pass, and
//! processes that do not run for a while.

use std::time::{Duration, Instant};

use countersign_emulator::{
    DEMO_ACCESS_KEY_ID, DEMO_SECRET_ACCESS_KEY, DEMO_SESSION_TOKEN, Options,
};
use countersign_protocol::error_code::{Code, Sent};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::error_codes::check_text;
use crate::support::{Running, Socket, World, within};

const ON_MESSAGE: &str = "subscription { onMessage { id body } }";
const RESUME: (&str, &str) = ("route.graphql.on_upstream_loss", "resume");
/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_millis(500);
/// The aim is 2 s. The other tests slow this one down.
const SOON: Duration = Duration::from_secs(3);

/// Connects and subscribes until a subscription is live, as clients do that retry.
async fn served(world: &Running) -> Socket {
    loop {
        let mut socket = world.socket().await;
        socket.send(json!({ "type": "connection_init" })).await;
        if let Some(Ok(Message::Text(_))) = socket.0.next().await {
            socket.subscribe("s", ON_MESSAGE).await;
            let live = world
                .emulator
                .wait_for(|stats| stats.realtime.subscriptions == 1);
            tokio::select! {
                _ = live => return socket,
                _ = socket.0.next() => {}
            }
        }
        sleep(RETRY).await;
    }
}

/// Returns sockets with a hundred subscriptions each.
async fn hundreds(world: &Running, sockets: usize) -> Vec<Socket> {
    let open = (0..sockets).map(|_| async {
        let mut socket = world.acked().await;
        for id in 0..100 {
            socket.subscribe(&id.to_string(), ON_MESSAGE).await;
        }
        socket
    });
    let open = join_all(open).await;
    world.subscriptions(sockets * 100).await;
    open
}

async fn resumable(settings: &[(&str, &str)]) -> Running {
    let all = [&[RESUME], settings].concat();
    World::builder().settings(&all).in_process().await
}

/// Upstream is unreachable for this time. Returns how long after that a client is served that retries.
async fn outage_with_close(outage: Duration) -> Duration {
    let world = World::builder()
        .settings(&[("pool.spread", "1ms")])
        .in_process()
        .await;
    let socket = served(&world).await;
    world.switch(json!({ "refuse_connections": true, "close_all": true }));
    let recovered = async {
        sleep(outage).await;
        world.switch(json!({ "refuse_connections": false }));
        Instant::now()
    };
    let (well, new) = tokio::join!(recovered, async {
        let mut lost = socket;
        assert_eq!(u16::from(lost.closed().await.code), 1012);
        let new = served(&world).await;
        (new, Instant::now())
    });
    let took = new.1 - well;
    println!("close: outage of {outage:?}: a client is served {took:?} after it");
    world.drained().await;
    took
}

/// The same for hundreds of subscriptions that are resumed. Returns how much longer that takes than it took
/// to start them at first.
async fn outage_with_resume(outage: Duration, hundreds_of_them: usize) -> Duration {
    // The sockets are not read during the outage, so they answer no pings.
    let world = resumable(&[("timeouts.ping", "10m")]).await;
    let begun = Instant::now();
    let mut sockets = hundreds(&world, hundreds_of_them).await;
    let first = begun.elapsed();
    world.switch(json!({ "refuse_connections": true, "close_all": true }));
    world
        .saw("the loss", |stats| stats.realtime.connections == 0)
        .await;
    sleep(outage).await;
    world.switch(json!({ "refuse_connections": false }));
    let well = Instant::now();
    world
        .saw("the connections", |stats| {
            stats.realtime.connections == hundreds_of_them
        })
        .await;
    let connected = well.elapsed();
    let count = hundreds_of_them * 100;
    let stats = world.subscriptions(count).await;
    let took = well.elapsed();
    println!(
        "resume: outage of {outage:?}: {count} subscriptions on {} connections are live {took:?} after it; \
         the connections are open after {connected:?} (at first, all needed {first:?})",
        stats.realtime.connections
    );
    assert_eq!(stats.realtime.connections, hundreds_of_them);
    // Each of them receives events again, and none has ended.
    let post = "mutation { postMessage(room: \"lobby\", body: \"after\") { id room body } }";
    assert_eq!(world.query(post).await.status, 200);
    for socket in &mut sockets {
        for _ in 0..100 {
            let frame = socket.next().await;
            assert_eq!(frame["payload"]["data"]["onMessage"]["body"], "after");
        }
    }
    world.drained().await;
    took.saturating_sub(first)
}

/// The pause before the next attempt had grown to half a minute, whether or not clients waited.
#[tokio::test]
async fn clients_are_served_soon_after_an_outage() {
    let outages = [6, 25].map(|seconds| outage_with_close(Duration::from_secs(seconds)));
    for took in join_all(outages).await {
        assert!(took < SOON, "{took:?}");
    }
}

/// Each of the seven connections counted as a failure of its own, so that pauses grew seven times as fast.
#[tokio::test]
async fn hundreds_of_subscriptions_resume_soon_after_a_short_outage() {
    let took = outage_with_resume(Duration::from_millis(300), 7).await;
    assert!(took < SOON, "{took:?}");
}

/// Three attempts ended them.
#[tokio::test]
async fn subscriptions_resume_soon_after_an_outage_of_a_minute() {
    let took = outage_with_resume(Duration::from_secs(60), 1).await;
    assert!(took < SOON, "{took:?}");
}

/// An upstream that acknowledged connections and then closed them was dialled a hundred times a second,
/// and for a minute after its last client had left.
#[tokio::test]
async fn a_flapping_upstream_is_dialled_with_growing_pauses_and_only_for_clients() {
    for (on_loss, bound) in [("close", 16), ("resume", 14)] {
        let options = Options {
            connection_lifetime: Duration::from_millis(20),
            ..Options::default()
        };
        let settings = [
            ("pool.spread", "1ms"),
            ("route.graphql.on_upstream_loss", on_loss),
        ];
        let world = World::builder()
            .emulator(options)
            .settings(&settings)
            .in_process()
            .await;
        let restless = async {
            loop {
                let mut socket = world.socket().await;
                socket.send(json!({ "type": "connection_init" })).await;
                if let Some(Ok(Message::Text(_))) = socket.0.next().await {
                    socket.subscribe("s", ON_MESSAGE).await;
                    while let Some(Ok(message)) = socket.0.next().await {
                        if let Message::Close(_) = message {
                            break;
                        }
                    }
                }
            }
        };
        let flapping = tokio::time::timeout(Duration::from_secs(5), restless).await;
        assert!(flapping.is_err());
        let connects = || world.emulator.stats().realtime.connections_total;
        let during = connects();
        sleep(Duration::from_secs(5)).await;
        let after = connects() - during;
        println!(
            "{on_loss}: {during} connects in 5 s of flapping, {after} after the client has left"
        );
        assert!((5..=bound).contains(&during), "{on_loss}: {during}");
        assert!(after <= 1, "{on_loss}: {after}");
        world.drained().await;
    }
}

/// Waits until the subscription is live on another connection than so far.
async fn live_again(world: &World, connections: u64) {
    world
        .saw("the subscription again", |stats| {
            stats.realtime.connections_total > connections && stats.realtime.subscriptions == 1
        })
        .await;
}

async fn subscribed(world: &Running) -> Socket {
    let mut socket = world.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    socket
}

async fn receives_events(world: Running, mut socket: Socket) {
    let post = "mutation { postMessage(room: \"lobby\", body: \"after\") { id room body } }";
    world.query(post).await;
    let frame = socket.next().await;
    assert_eq!(frame["payload"]["data"]["onMessage"]["body"], "after");
    world.drained().await;
}

/// The fourth loss in the life of a subscription ended it.
#[tokio::test]
async fn any_number_of_losses_is_resumed() {
    let world = resumable(&[]).await;
    let socket = subscribed(&world).await;
    for losses in 1..=6 {
        world.switch(json!({ "close_all": true }));
        live_again(&world, losses).await;
    }
    receives_events(world, socket).await;
}

/// One such refusal ended all subscriptions that were being resumed.
#[tokio::test]
async fn refusals_that_pass_do_not_end_resumed_subscriptions() {
    let throttled =
        r#"{"errors":[{"errorType":"LimitExceededError","message":"Rate limit exceeded"}]}"#;
    let cases = [
        (
            json!({ "refuse_connect": throttled }),
            json!({ "refuse_connect": "" }),
        ),
        (
            json!({ "expire_keys": true }),
            json!({ "expire_keys": false }),
        ),
        (json!({ "throttle": true }), json!({ "throttle": false })),
        (
            json!({ "refuse_realtime": true }),
            json!({ "refuse_realtime": false }),
        ),
        (
            json!({ "refuse_start": throttled }),
            json!({ "refuse_start": "" }),
        ),
    ];
    for (fault, cure) in cases {
        let world = resumable(&[]).await;
        let socket = subscribed(&world).await;
        let before = world.emulator.stats();
        world.switch(fault.clone());
        world.switch(json!({ "close_all": true }));
        let what = format!("two attempts: {fault}");
        world
            .saw(&what, |stats| {
                let attempts = stats.requests.http - before.requests.http;
                let starts = stats.realtime.starts_total - before.realtime.starts_total;
                attempts.max(starts) >= 2
            })
            .await;
        world.switch(cure);
        live_again(&world, 1).await;
        receives_events(world, socket).await;
    }
}

/// A moment without credentials ended all subscriptions that were being resumed.
#[tokio::test]
async fn a_moment_without_credentials_does_not_end_resumed_subscriptions() {
    let script = format!(
        "[ -e $DIR/away ] && {{ echo away >&2; exit 1; }}\n\
         expires=$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo '{{\"Version\":1,\"AccessKeyId\":\"{DEMO_ACCESS_KEY_ID}\",\
         \"SecretAccessKey\":\"{DEMO_SECRET_ACCESS_KEY}\",\
         \"SessionToken\":\"{DEMO_SESSION_TOKEN}\",\"Expiration\":\"'$expires'\"}}'\n"
    );
    let profile = "[default]\ncredential_process = /bin/sh $DIR/process.sh\n";
    let world = World::builder()
        .config("route.graphql.on_upstream_loss = \"resume\"\n")
        .keyless()
        .admin()
        .file("process.sh", &script)
        .file(".aws/config", profile)
        .variables(&[("PATH", "/usr/bin:/bin")])
        .daemon()
        .await;
    let mut socket = world.acked().await;
    socket.subscribe("s", ON_MESSAGE).await;
    world.subscriptions(1).await;
    let away = world.path("away");
    std::fs::write(&away, "").unwrap();
    let post_until = async |status: u16, body: &str| {
        let fields = "{ id room body }";
        let post =
            format!("mutation {{ postMessage(room: \"lobby\", body: \"{body}\") {fields} }}");
        while world.query(&post).await.status != status {
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("the expiry", post_until(503, "before")).await;

    world.switch(json!({ "close_all": true }));
    let refused = async {
        loop {
            let metrics = world.metrics().await;
            let mut lines = metrics.lines();
            let count = lines.find_map(|line| {
                let counter =
                    "countersign_realtime_connects_total{route=\"graphql\",outcome=\"refused\"} ";
                line.strip_prefix(counter)
            });
            if count.is_some_and(|count| count.parse::<f64>().unwrap() >= 2.0) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    within("two attempts without credentials", refused).await;
    std::fs::remove_file(away).unwrap();
    live_again(&world, 1).await;
    within("credentials", post_until(200, "after")).await;
    while socket.next().await["payload"]["data"]["onMessage"]["body"] != "after" {}
    world.stop().await;
}

#[tokio::test]
async fn a_permanent_refusal_ends_resumed_subscriptions() {
    let world = resumable(&[]).await;
    let mut socket = subscribed(&world).await;
    let denied = r#"{"errors":[{"errorType":"UnauthorizedException","message":"You are not authorized to make this call.","errorCode":400}]}"#;
    world.switch(json!({ "refuse_connect": denied, "close_all": true }));
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error", "{frame}");
    let message = &frame["payload"][0]["message"];
    assert_eq!(message, "You are not authorized to make this call.");
    world.drained().await;
}

#[tokio::test]
async fn a_subscription_that_cannot_be_resumed_in_time_ends_with_the_cause() {
    let world = resumable(&[("route.graphql.timeouts.resume", "1s")]).await;
    let mut socket = subscribed(&world).await;
    world.switch(json!({ "refuse_connections": true, "close_all": true }));
    let frame = socket.next().await;
    assert_eq!(frame["type"], "error", "{frame}");
    let message = frame["payload"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "the realtime connection was lost, and the subscription could not be resumed within 1s \
             (timeouts.resume): "
        ),
        "{message}"
    );
    check_text(&frame.to_string(), Code::SubscriptionLost, Sent::Yes);
    // The socket is still usable.
    world.switch(json!({ "refuse_connections": false }));
    socket.subscribe("q", "{ rooms { id } }").await;
    assert_eq!(socket.next_of("q").await["type"], "next");
    world.drained().await;
}

/// The keepalives that arrived in the meantime were not read before the deadline was judged.
#[tokio::test]
async fn a_process_that_was_stopped_keeps_its_realtime_connections() {
    let options = Options {
        ka_interval: Duration::from_millis(100),
        ..Options::default()
    };
    let world = World::builder()
        .emulator(options)
        .config("pool.keepalive = \"1s\"\npool.subscriptions = 1\n")
        .daemon()
        .await;
    let mut socket = world.acked().await;
    for id in 0..40 {
        socket.subscribe(&id.to_string(), ON_MESSAGE).await;
    }
    let before = world.subscriptions(40).await.realtime;
    world.countersign.signal("-STOP");
    sleep(Duration::from_secs(4)).await;
    world.countersign.signal("-CONT");
    let post = "mutation { postMessage(room: \"lobby\", body: \"after\") { id room body } }";
    assert_eq!(within("a response", world.query(post)).await.status, 200);
    for _ in 0..40 {
        let frame = socket.next().await;
        assert_eq!(frame["payload"]["data"]["onMessage"]["body"], "after");
    }
    let after = world.emulator.stats().realtime;
    assert_eq!(after.connections_total, before.connections_total);
    assert_eq!(after.starts_total, before.starts_total);
    drop(socket);
    world.stop().await;
}

#[tokio::test]
async fn a_lost_connection_is_a_warning_only_if_subscriptions_used_it() {
    let mut world = World::builder().daemon().await;
    let mut socket = world.acked().await;
    socket
        .subscribe("s", "subscription { onMessage { id } }")
        .await;
    world.subscriptions(1).await;
    world.countersign.line("realtime connection open").await;
    world.switch(json!({ "close_all": true }));
    let line = world.countersign.line("realtime connection lost").await;
    let has = |part: &str| line.contains(part);
    assert!(
        has(" WARN ") && has(" reason=\"") && has(" subscriptions=1"),
        "{line}"
    );
    // It is opened again for those who reconnect. Nobody misses an event of it.
    world.countersign.line("realtime connection open").await;
    world.switch(json!({ "close_all": true }));
    let line = world.countersign.line("realtime connection lost").await;
    let has = |part: &str| line.contains(part);
    assert!(
        has(" INFO ") && has(" reason=\"") && has(" subscriptions=0"),
        "{line}"
    );
}
