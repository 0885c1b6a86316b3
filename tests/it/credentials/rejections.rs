//! Keys that AWS rejects before their expiry, and clocks that differ from AWS's: what is renewed, and which
//! requests are sent again.

use std::net::SocketAddr;

use countersign_emulator::Stats;
use countersign_protocol::error_code::{Code, Sent};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::*;
use crate::error_codes::check_response;
use crate::support::{GATEWAY, Running, get};

/// A `credential_process` without an expiry: it returns the key whose id is in the file `current`.
const PROCESS: &str = "\
echo run >> $DIR/runs
id=$(cat $DIR/current)
echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"$id\\\",\\\"SecretAccessKey\\\":\\\"secret/of+$id\\\"}\"
";
const KEYS: [&str; 2] = ["AKIDONE", "AKIDTWO"];
const CREATE: &str = "mutation { createRoom(name: \"NAME\") { id } }";

/// Starts a daemon with routes to every API, whose keys come from [`PROCESS`].
async fn start_daemon() -> Running<Daemon> {
    let builder = World::builder().keys(KEYS.map(key).to_vec()).keyless();
    builder
        .routes(&GATEWAY)
        .file("process.sh", PROCESS)
        .file("current", KEYS[0])
        .file(
            ".aws/config",
            "[default]\ncredential_process = /bin/sh $DIR/process.sh\n",
        )
        .admin()
        .daemon()
        .await
}

fn runs_of(world: &World) -> usize {
    world.read("runs").lines().count()
}

/// One way to reach AWS. It returns whether it succeeded, and takes a name for what it creates.
type Attempt = for<'a> fn(&'a SocketAddr, String) -> BoxFuture<'a, bool>;

async fn status_of(addr: SocketAddr, query: &str) -> u16 {
    let body = json!({ "query": query }).to_string();
    post(addr, "/graphql", &[JSON], &body).await.status
}

/// Opens a tunnel, and returns the status of the handshake.
async fn tunnel(addr: SocketAddr, path: &str) -> u16 {
    let url = format!("ws://{addr}{path}");
    match within("a handshake", tokio_tungstenite::connect_async(url)).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// Subscribes on a new socket, and returns whether that succeeds. A query after it marks the point until
/// which an error would have arrived.
async fn subscribes(addr: SocketAddr, count: impl AsyncFn() -> Option<()>) -> bool {
    let mut socket = Socket::open(addr, &[]).await;
    socket.init().await;
    socket
        .subscribe("s", "subscription { onMessage { id } }")
        .await;
    tokio::select! {
        frame = socket.next_of("s") => {
            assert_eq!(frame["type"], "error", "{frame}");
            false
        }
        Some(()) = count() => true,
    }
}

const ATTEMPTS: [(&str, Attempt); 4] = [
    ("query", |addr, _| {
        Box::pin(async { status_of(*addr, "{ rooms { id } }").await == 200 })
    }),
    ("mutation", |addr, name| {
        Box::pin(async move { status_of(*addr, &CREATE.replace("NAME", &name)).await == 200 })
    }),
    ("GET of a REST API", |addr, _| {
        Box::pin(async { get(*addr, "/rest/items", &[]).await.status == 200 })
    }),
    ("handshake of a tunnel", |addr, _| {
        Box::pin(async { tunnel(*addr, "/ws").await == 101 })
    }),
];

/// The keys are revoked, and the provider has others: the first attempts may come too soon after the last
/// load.
#[tokio::test]
async fn revoked_keys_are_replaced_within_two_seconds_without_a_restart() {
    let running = start_daemon().await;
    let world = &running.world;
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    let mut current = 0;
    for (as_expired, as_400) in [(false, false), (true, false), (true, true)] {
        for (what, attempt) in ATTEMPTS {
            let is_first = !as_expired;
            if is_first {
                // The last load is then long enough ago that the next rejection causes another.
                sleep(Duration::from_millis(1_100)).await;
            }
            let refused = world.emulator.stats().requests.refused;
            let old = KEYS[current];
            current = 1 - current;
            world.switch(json!({
                "revoked_keys": [old],
                "revoked_as_expired": as_expired,
                "bad_signature_as_400": as_400,
            }));
            world.write("current", KEYS[current]);
            let begun = Instant::now();
            let mut attempts = 1;
            let mut name = format!("{old}-{as_expired}-{as_400}-{attempts}");
            while !attempt(&running.addr, name.clone()).await {
                assert!(begun.elapsed() < PATIENCE, "{what}");
                sleep(Duration::from_millis(20)).await;
                attempts += 1;
                name = format!("{old}-{as_expired}-{as_400}-{attempts}");
            }
            let took = begun.elapsed();
            println!("{what}, expired: {as_expired}: healed after {took:?}, {attempts} attempts");
            assert!(took < Duration::from_secs(2), "{what}: {took:?}");
            if is_first {
                assert_eq!(attempts, 1, "{what}");
                assert_eq!(
                    world.emulator.stats().requests.refused,
                    refused + 1,
                    "{what}"
                );
            }
            let executions = world.emulator.stats().mutations;
            if what == "mutation" {
                assert_eq!(executions[&format!("createRoom/{name}")], 1, "{what}");
            }
            assert!(
                executions.values().all(|count| *count == 1),
                "{executions:?}"
            );
            assert_eq!(get(running.admin(), "/readyz", &[]).await.status, 200);
        }
    }
    let metrics = running.metrics().await;
    for name in ["graphql", "rest", "ws"] {
        let sample = format!("upstream_replays_total{{route=\"{name}\",reason=\"credentials\"}} ");
        assert!(metrics.contains(&sample), "no {sample} in {metrics}");
    }
    let sample = "countersign_credentials_forced_loads_total{identity=\"default chain\"} ";
    assert!(metrics.contains(sample), "{metrics}");
    let log = running.stop().await;
    assert!(
        log.contains("credentials replaced after a rejection"),
        "{log}"
    );
    assert!(!log.contains("secret/of"), "{log}");
}

#[tokio::test]
async fn revoked_keys_are_replaced_for_realtime_connections_and_starts() {
    let running = start_daemon().await;
    let world = &running.world;
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    let mut socket = Socket::open(running.addr, &[]).await;
    socket.init().await;
    // The first subscription needs a connection; the second one is a start on it.
    for (count, what) in [(1, "connect"), (2, "start")] {
        world.switch(json!({ "revoked_keys": [KEYS[count - 1]], "revoked_as_expired": true }));
        world.write("current", KEYS[2 - count]);
        if what == "connect" {
            world.write("current", KEYS[1]);
        }
        let begun = Instant::now();
        let live = world
            .emulator
            .wait_for(|stats| stats.realtime.subscriptions == count);
        let mut live = std::pin::pin!(live);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let id = format!("{what}-{attempts}");
            let query = "subscription { onMessage { id } }";
            socket.subscribe(&id, query).await;
            tokio::select! {
                _ = live.as_mut() => break,
                frame = socket.next_of(&id) => assert_eq!(frame["type"], "error", "{frame}"),
            }
            assert!(begun.elapsed() < PATIENCE, "{what}");
            sleep(Duration::from_millis(20)).await;
        }
        let took = begun.elapsed();
        println!("{what}: healed after {took:?}, {attempts} attempts");
        assert!(took < Duration::from_secs(2), "{what}: {took:?}");
        assert_eq!(world.emulator.stats().realtime.connections_total, 1);
    }
    running.stop().await;
}

/// The application behind API Gateway could return the same error after it has executed the request, so
/// mutations are not sent again; the next one has the new keys.
#[tokio::test]
async fn revoked_keys_are_replaced_for_the_next_post_to_a_rest_api() {
    let running = start_daemon().await;
    let world = &running.world;
    let order = async || {
        post(running.addr, "/rest/orders", &[JSON], "{}")
            .await
            .status
    };
    let begun = Instant::now();
    while order().await != 200 {
        assert!(begun.elapsed() < PATIENCE, "no keys");
    }
    let refused = world.emulator.stats().requests.refused;
    world.switch(json!({ "revoked_keys": [KEYS[0]] }));
    world.write("current", KEYS[1]);
    let begun = Instant::now();
    let mut attempts = 1;
    while order().await != 200 {
        assert!(begun.elapsed() < PATIENCE, "not healed");
        sleep(Duration::from_millis(20)).await;
        attempts += 1;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let found = world.emulator.stats().requests.refused - refused;
    assert_eq!(found, attempts - 1, "one was sent again");
    assert!(found > 0);
    running.stop().await;
}

/// HTTP APIs answer `Forbidden` for any reason, so their rejections cause loads less often.
#[tokio::test]
async fn revoked_keys_are_replaced_after_forbidden_of_an_http_api() {
    let running = start_daemon().await;
    let world = &running.world;
    let orders = async || get(running.addr, "/http/orders", &[]).await.status;
    let begun = Instant::now();
    while orders().await != 200 {
        assert!(begun.elapsed() < PATIENCE, "no keys");
    }
    world.switch(json!({ "revoked_keys": [KEYS[0]] }));
    world.write("current", KEYS[1]);
    let begun = Instant::now();
    while orders().await == 403 {
        assert!(begun.elapsed() < PATIENCE, "not healed");
        sleep(Duration::from_millis(50)).await;
    }
    println!("GET of an HTTP API: healed after {:?}", begun.elapsed());
    assert_eq!(orders().await, 200);
    assert_eq!(runs_of(world), 2);
    // It is not known that the credentials were the cause.
    assert_eq!(get(running.admin(), "/readyz", &[]).await.status, 200);
    running.stop().await;
}

/// The provider returns the rejected keys again and again.
#[tokio::test]
async fn rejected_keys_are_reported_and_loaded_again_once_a_second_at_most() {
    let running = start_daemon().await;
    let world = &running.world;
    let ready = async || get(running.admin(), "/readyz", &[]).await;
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    assert_eq!(ready().await.status, 200);
    let before = runs_of(world);
    world.switch(json!({ "revoked_keys": KEYS }));
    let begun = Instant::now();
    let mut refused = 0_u64;
    while begun.elapsed() < Duration::from_secs(4) {
        let answers = std::array::from_fn::<_, 8, _>(|_| running.query("{ rooms { id } }"));
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.status, 403, "{answer:?}");
            assert!(
                answer.body.contains("UnrecognizedClientException"),
                "{answer:?}"
            );
            assert!(
                answer.headers.contains_key("x-amzn-requestid"),
                "{answer:?}"
            );
            refused += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let loads = runs_of(world) - before;
    println!("{refused} requests with rejected keys in {seconds:.1} s: {loads} loads");
    assert!((2..=6).contains(&loads), "{loads} loads in {seconds} s");
    assert_eq!(
        world.emulator.stats().requests.refused,
        refused,
        "sent again"
    );

    let answer = ready().await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("AWS rejects those from"), "{answer:?}");
    assert!(answer.body.contains("TOKEN_INVALID"), "{answer:?}");
    let remaining = "countersign_credentials_remaining_seconds{identity=\"default chain\"}";
    let metrics = running.metrics().await;
    assert!(metrics.contains(&format!("{remaining} 0.0\n")), "{metrics}");

    // AWS accepts the keys again.
    world.switch(json!({ "revoked_keys": [] }));
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    assert_eq!(ready().await.status, 200);
    let metrics = running.metrics().await;
    assert!(metrics.contains(&format!("{remaining} inf\n")), "{metrics}");
    running.stop().await;
}

/// A pod that is not ready gets no requests that could cause a load.
#[tokio::test]
async fn rejected_keys_are_replaced_without_a_request() {
    let running = start_daemon().await;
    let world = &running.world;
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    world.switch(json!({ "revoked_keys": [KEYS[0]] }));
    let begun = Instant::now();
    while get(running.admin(), "/readyz", &[]).await.status == 200 {
        assert_eq!(running.query("{ rooms { id } }").await.status, 403);
        assert!(begun.elapsed() < PATIENCE);
    }
    world.write("current", KEYS[1]);
    while get(running.admin(), "/readyz", &[]).await.status == 503 {
        assert!(begun.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.query("{ rooms { id } }").await.status, 200);
    running.stop().await;
}

/// An application behind API Gateway may have executed the request, and its errors may have any text.
#[tokio::test]
async fn an_application_cannot_cause_a_second_execution_with_texts_of_aws() {
    let world = World::builder().routes(&["rest"]).in_process().await;
    let skewed = "Signature expired: 20200101T000000Z is now earlier than 20200101T000500Z \
                  (20200101T001000Z - 5 min.)";
    for text in [
        "The security token included in the request is expired",
        skewed,
    ] {
        let body = json!({ "message": text }).to_string();
        let answer = json!({ "status": 403, "content_type": "application/json", "body": body });
        world.switch(json!({ "answer_http": answer }));
        let before = world.emulator.stats().gateway.requests;
        let answer = post(world.addr, "/rest/orders", &[JSON], "{}").await;
        assert_eq!((answer.status, answer.body.as_str()), (403, body.as_str()));
        assert_eq!(world.emulator.stats().gateway.requests, before + 1);
    }
    // The application forwards the error of its own request to AWS.
    let relayed = json!({
        "status": 403, "content_type": "application/json", "body": r#"{"message":"expired"}"#,
        "error_type": "ExpiredTokenException",
    });
    world.switch(json!({ "answer_http": relayed }));
    let before = world.emulator.stats().gateway.requests;
    let begun = Instant::now();
    let answer = post(world.addr, "/rest/orders", &[JSON], "{}").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (403, r#"{"message":"expired"}"#)
    );
    assert_eq!(world.emulator.stats().gateway.requests, before + 1);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "it waited for a load"
    );
    world.switch(json!({ "answer_http": null }));
    assert_eq!(
        post(world.addr, "/rest/orders", &[JSON], "{}").await.status,
        200
    );
    assert_eq!(
        world.emulator.stats().requests.refused,
        0,
        "the clock was changed"
    );
    world.drained().await;
}

/// Runs `attempt` in a world whose clock is `seconds` ahead. It must succeed, and AWS must reject exactly
/// one signature.
async fn check_skew(what: &str, seconds: i64, attempt: impl AsyncFn(&SocketAddr, &World) -> bool) {
    let presigned = [
        ("route.presigned.target", "https://$WS/prod"),
        ("route.presigned.auth", "presign"),
    ];
    let world = World::builder().routes(&GATEWAY).routes(&["event"]);
    let world = world.settings(&presigned);
    let world = world.in_process().await;
    world.switch(json!({ "clock_skew_s": seconds }));
    let begun = Instant::now();
    assert!(attempt(&world.addr, &world.world).await, "{what} {seconds}");
    let stats = world.emulator.stats();
    assert_eq!(stats.requests.refused, 1, "{what} {seconds}: {stats:?}");
    println!(
        "{what}, clock {seconds:+} s: works after 1 rejection and {:?}",
        begun.elapsed()
    );
    assert!(stats.mutations.values().all(|count| *count == 1));
    world.switch(json!({ "clock_skew_s": 0 }));
    // The correction is corrected, as after the local clock has been set.
    assert!(attempt(&world.addr, &world.world).await, "{what} {seconds}");
    assert_eq!(
        world.emulator.stats().requests.refused,
        2,
        "{what} {seconds}"
    );
    world.drained().await;
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_after_one_rejection() {
    for seconds in [600, -600] {
        for (what, attempt) in ATTEMPTS {
            let names = std::cell::Cell::new(0);
            check_skew(what, seconds, async |addr, _| {
                names.set(names.get() + 1);
                attempt(addr, format!("{seconds}-{}", names.get())).await
            })
            .await;
        }
        check_skew("GET of an HTTP API", seconds, async |addr, _| {
            get(*addr, "/http/items", &[]).await.status == 200
        })
        .await;
        check_skew("presigned handshake", seconds, async |addr, _| {
            tunnel(*addr, "/presigned").await == 101
        })
        .await;
        check_skew(
            "connect and subscribe of Events",
            seconds,
            async |addr, _| {
                let listen = "GET /event?channel=/default/a HTTP/1.1\r\nhost: HOST\r\n\
                          accept: text/event-stream\r\n\r\n";
                let listen = listen.replace("HOST", &addr.to_string());
                let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
                stream.write_all(listen.as_bytes()).await.unwrap();
                let mut status = [0; 12];
                let read = within("a status", stream.read_exact(&mut status)).await;
                read.unwrap();
                status == *b"HTTP/1.1 200"
            },
        )
        .await;
        check_skew("realtime connect", seconds, async |addr, world| {
            world.switch(json!({ "close_all": true }));
            subscribed(world).await;
            let live = |stats: &Stats| stats.realtime.subscriptions == 1;
            subscribes(*addr, async || {
                world.saw("a subscription", live).await;
                Some(())
            })
            .await
        })
        .await;
    }
}

/// Waits until no subscription is left.
async fn subscribed(world: &World) {
    world
        .saw("no connection", |stats| stats.realtime.connections == 0)
        .await;
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_for_a_start_on_the_same_connection() {
    for seconds in [600, -600] {
        let world = World::builder().in_process().await;
        let mut socket = world.acked().await;
        let query = "subscription { onMessage { id } }";
        socket.subscribe("a", query).await;
        world.subscriptions(1).await;
        world.switch(json!({ "clock_skew_s": seconds }));
        let begun = Instant::now();
        socket.subscribe("b", query).await;
        let stats = world.subscriptions(2).await;
        println!(
            "start, clock {seconds:+} s: works after {:?}",
            begun.elapsed()
        );
        assert_eq!(stats.realtime.connections_total, 1, "{stats:?}");
        assert_eq!(stats.realtime.starts_total, 3, "{stats:?}");
        assert_eq!(stats.requests.refused, 1, "{stats:?}");
        drop(socket);
        world.drained().await;
    }
}

/// An HTTP API gives no reason, so its time counts only after a `GET` has succeeded with it.
#[tokio::test]
async fn the_clock_is_corrected_for_an_http_api_by_a_get_that_succeeds() {
    let world = World::builder().routes(&["http"]).in_process().await;
    let order = async || post(world.addr, "/http/orders", &[JSON], "{}").await.status;
    let orders = async || get(world.addr, "/http/orders", &[]).await;
    world.switch(json!({ "clock_skew_s": 600 }));
    assert_eq!(order().await, 403);
    assert_eq!(order().await, 403);
    assert_eq!(orders().await.status, 200);
    assert_eq!(order().await, 200);
    assert_eq!(world.emulator.stats().requests.refused, 3);
    world.switch(json!({ "clock_skew_s": 25 * 3_600 }));
    let answer = orders().await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.body, r#"{"message":"Forbidden"}"#);
    world.drained().await;
}

#[tokio::test]
async fn a_clock_that_differs_by_more_than_a_day_is_an_error_with_both_times() {
    let world = World::builder().in_process().await;
    world.switch(json!({ "clock_skew_s": 25 * 3_600 }));
    let answer = world.query("{ rooms { id } }").await;
    check_response(&answer, Code::ClockSkew, Sent::No);
    let error = &answer.json()["errors"][0];
    let message = error["message"].as_str().unwrap();
    let now = SystemTime::now();
    let days = [now, now + Duration::from_secs(25 * 3_600)].map(rfc3339);
    for day in days {
        assert!(message.contains(&day[..14]), "no {day} in {message}");
    }
    let mut socket = world.acked().await;
    socket
        .subscribe("s", "subscription { onMessage { id } }")
        .await;
    let frame = socket.next_of("s").await;
    assert_eq!(
        frame["payload"][0]["extensions"]["code"], "CLOCK_SKEW",
        "{frame}"
    );
    world.drained().await;
}
