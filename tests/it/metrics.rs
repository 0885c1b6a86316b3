//! Metrics, scraped from the built program after known events.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::fakes::{Heard, TlsPeer};
use crate::support::{
    Daemon, JSON, PATIENCE, Running, Socket, World, demo_key, get, post, raw, within,
};

/// A daemon with an admin listener.
async fn start(variables: &[(&str, &str)]) -> Running<Daemon> {
    let world = World::builder().admin().variables(variables);
    world.daemon().await
}

impl Running<Daemon> {
    /// Returns the value of one sample, by its name and labels as exposed.
    async fn sample(&self, sample: &str) -> Option<f64> {
        let page = self.metrics().await;
        page.lines().find_map(|line| {
            let value = line.strip_prefix(sample)?.strip_prefix(' ')?;
            value.parse().ok()
        })
    }

    /// Scrapes until a sample has this value, because a request is counted after its response is sent.
    async fn check(&self, sample: &str, expected: f64) {
        let asked = async {
            loop {
                let found = self.sample(sample).await;
                if found == Some(expected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            let page = self.metrics().await;
            panic!("no {sample} {expected} in\n{page}");
        }
    }

    async fn check_all(&self, expected: &[(&str, f64)]) {
        for (sample, value) in expected {
            self.check(&format!("countersign_{sample}"), *value).await;
        }
    }
}

#[tokio::test]
async fn requests_are_counted_by_their_outcome() {
    let world = start(&[]).await;
    for _ in 0..3 {
        assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    }
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"x\") { id } }";
    assert_eq!(world.query(mutation).await.status, 200);
    let rebound =
        "GET /graphql?query={a} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(world.addr, rebound.as_bytes()).await.status, 403);
    let bad = post(world.addr, "/graphql", &[JSON], "{").await;
    assert_eq!(bad.status, 400);
    assert_eq!(get(world.addr, "/nowhere", &[]).await.status, 404);

    let of_queries = "operation=\"query\",status=\"200\",code=\"\"";
    let queries = format!("requests_total{{route=\"graphql\",client=\"http\",{of_queries}}}");
    let refused = "operation=\"none\",status=\"403\",code=\"HOST_NOT_ALLOWED\"";
    let refused = format!("requests_total{{route=\"none\",client=\"http\",{refused}}}");
    world
        .check_all(&[
            (&queries, 3.0),
            (&refused, 1.0),
            ("refusals_total{rule=\"HOST_NOT_ALLOWED\"}", 1.0),
            ("refusals_total{rule=\"BAD_JSON\"}", 1.0),
            ("refusals_total{rule=\"NO_ROUTE\"}", 1.0),
            ("signing_duration_seconds_count{route=\"graphql\"}", 4.0),
            (
                "upstream_first_byte_duration_seconds_count{route=\"graphql\"}",
                4.0,
            ),
            (
                "upstream_connect_duration_seconds_count{route=\"graphql\"}",
                1.0,
            ),
            (
                "request_duration_seconds_count{route=\"graphql\",operation=\"query\"}",
                3.0,
            ),
            ("requests_in_flight{route=\"graphql\"}", 0.0),
            (
                "upstream_requests_total{route=\"graphql\",connection=\"new\"}",
                1.0,
            ),
            (
                "upstream_requests_total{route=\"graphql\",connection=\"reused\"}",
                3.0,
            ),
            (
                "upstream_dials_total{route=\"graphql\",outcome=\"ok\"}",
                1.0,
            ),
            (
                "upstream_tls_handshakes_total{route=\"graphql\",kind=\"full\"}",
                1.0,
            ),
            ("upstream_connections{route=\"graphql\"}", 1.0),
            ("client_connections_accepted_total", 7.0),
            (
                "credentials_refreshes_total{identity=\"default chain\",outcome=\"ok\"}",
                1.0,
            ),
            (
                "credentials_remaining_seconds{identity=\"default chain\"}",
                f64::INFINITY,
            ),
            ("draining", 0.0),
            ("ready", 1.0),
        ])
        .await;
    let offset = "countersign_clock_offset_seconds{route=\"graphql\"}";
    let offset = world.sample(offset).await.unwrap();
    assert!((-2.0..=1.0).contains(&offset), "{offset}");
    for sample in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
    ] {
        assert!(world.sample(sample).await.unwrap() > 0.0, "{sample}");
    }
    let started = world.sample("process_start_time_seconds").await.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(
        (now - 60.0..now + 2.0).contains(&started),
        "{started} {now}"
    );
}

#[tokio::test]
async fn subscriptions_are_counted_from_start_to_end() {
    let mut world = start(&[("COUNTERSIGN_POOL__SPREAD", "1ms")]).await;
    let mut socket = Socket::open(world.addr, &[]).await;
    socket.init().await;
    socket
        .send(json!({"id": "1", "type": "subscribe", "payload": {
            "query": "subscription { onMessage { id } }" }}))
        .await;
    let live = world
        .world
        .emulator
        .wait_for(|stats| stats.realtime.subscriptions == 1);
    within("a subscription", live).await;
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"x\") { id } }";
    assert_eq!(world.query(mutation).await.status, 200);
    assert_eq!(socket.next().await["type"], "next");
    world
        .check_all(&[
            ("sessions{dialect=\"graphql-transport-ws\"}", 1.0),
            ("subscriptions{route=\"graphql\"}", 1.0),
            (
                "subscription_start_duration_seconds_count{route=\"graphql\"}",
                1.0,
            ),
            ("events_received_total{route=\"graphql\"}", 1.0),
            ("events_delivered_total{route=\"graphql\"}", 1.0),
            ("realtime_connections{route=\"graphql\"}", 1.0),
            (
                "realtime_connects_total{route=\"graphql\",outcome=\"ok\"}",
                1.0,
            ),
            ("realtime_losses_total{route=\"graphql\"}", 0.0),
        ])
        .await;
    let age = "countersign_realtime_keepalive_age_seconds{route=\"graphql\"}";
    let age = world.sample(age).await.unwrap();
    assert!(age > 0.0 && age < 60.0, "{age}");

    world.switch(json!({ "close_all": true }));
    socket.closed().await;
    drop(socket);
    let code =
        "client=\"websocket\",operation=\"subscription\",status=\"\",code=\"SUBSCRIPTION_LOST\"";
    let over = format!("requests_total{{route=\"graphql\",{code}}}");
    world
        .check_all(&[
            ("sessions{dialect=\"graphql-transport-ws\"}", 0.0),
            ("subscriptions{route=\"graphql\"}", 0.0),
            ("realtime_losses_total{route=\"graphql\"}", 1.0),
            ("realtime_reconnects_total{route=\"graphql\"}", 1.0),
            (&over, 1.0),
        ])
        .await;
    world.countersign.signal("-TERM");
    assert_eq!(world.countersign.exited().await, 0);
}

/// Returns a duration in a log line.
fn millis(line: &str, name: &str) -> f64 {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
    rest.split(' ').next().unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_request_that_is_abandoned_before_it_is_sent_is_known_not_to_be_sent() {
    // Nothing answers the process that returns credentials.
    let mut world = World::builder()
        .admin()
        .keyless()
        .file(
            ".aws/config",
            "[default]\ncredential_process = /bin/sleep 60\n",
        )
        .daemon()
        .await;
    let body = json!({ "query": "mutation { clear }" }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.addr,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    world
        .check("countersign_requests_in_flight{route=\"graphql\"}", 1.0)
        .await;
    drop(stream);
    let line = world.countersign.line("CANCELLED").await;
    assert!(line.contains("sent=\"no\""), "{line}");
    assert!(millis(&line, "first_byte_ms") > 0.0, "{line}");
}

#[tokio::test]
async fn a_request_that_is_abandoned_during_the_dial_is_known_not_to_be_sent() {
    let world = World::new().await;
    // It accepts connections, but never begins TLS.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = silent.local_addr().unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let arguments = world.arguments_to("https://$API/graphql", connect, &listen);
    let mut daemon = Daemon::start(&arguments, &demo_key());
    let addr = daemon.address().await;
    let body = json!({ "query": "mutation { clear }" }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let dialled = within("the dial", silent.accept()).await.unwrap();
    drop(stream);
    let line = daemon.line("CANCELLED").await;
    assert!(line.contains("sent=\"no\""), "{line}");
    assert!(millis(&line, "signing_ms") > 0.0, "{line}");
    drop(dialled);
}

/// Requests that the client had abandoned were neither logged nor counted.
#[tokio::test]
async fn a_request_whose_client_disconnects_is_counted_as_cancelled() {
    let mut world = start(&[]).await;
    world.switch(json!({ "gate": true }));
    let query = "{ slow(ms: 0) }";
    let body = json!({ "query": query }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.addr,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    world
        .check("countersign_requests_in_flight{route=\"graphql\"}", 1.0)
        .await;
    let seen = world
        .world
        .emulator
        .wait_for(|stats| stats.requests.http > 0);
    within("the request", seen).await;
    drop(stream);
    let line = world.countersign.line("CANCELLED").await;
    assert!(line.contains("graphql.operation.type=\"query\""), "{line}");
    assert!(line.contains("sent=\"maybe\""), "{line}");
    for step in ["signing_ms", "connect_ms", "first_byte_ms"] {
        // The first request also opened the connection.
        let is_known = step == "connect_ms" || millis(&line, step) > 0.0;
        assert!(is_known, "{step}: {line}");
    }
    let labels = "client=\"http\",operation=\"query\",status=\"\",code=\"CANCELLED\"";
    let cancelled = format!("requests_total{{route=\"graphql\",{labels}}}");
    world
        .check_all(&[
            (&cancelled, 1.0),
            ("requests_in_flight{route=\"graphql\"}", 0.0),
        ])
        .await;
}

/// It was counted as a success.
#[tokio::test]
async fn a_response_whose_client_disconnects_is_counted_as_cancelled() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut world = start(&[]).await;
    let body = json!({ "query": "{ large(bytes: 5000000) }" }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.addr,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let begun = within("its beginning", stream.read(&mut [0; 100])).await;
    assert!(begun.unwrap() > 0);
    drop(stream);
    let line = world.countersign.line("CANCELLED").await;
    assert!(line.contains("http.response.status_code=200"), "{line}");
    assert!(line.contains("sent=\"yes\""), "{line}");
    // A complete response is a success.
    assert_eq!(world.query("{ large(bytes: 5000000) }").await.status, 200);
    let labels = "client=\"http\",operation=\"query\",status=\"200\",code=";
    let with = |code: &str| format!("requests_total{{route=\"graphql\",{labels}\"{code}\"}}");
    world
        .check_all(&[(&with("CANCELLED"), 1.0), (&with(""), 1.0)])
        .await;
}

/// Their loads were counted as those of one identity.
#[tokio::test]
async fn identities_of_two_regions_have_their_own_series() {
    let other = (
        "COUNTERSIGN_ROUTE__OTHER__TARGET",
        "https://a1b2c3.execute-api.us-west-2.amazonaws.com/prod",
    );
    let world = start(&[other]).await;
    for identity in ["default chain", "default chain, us-west-2"] {
        let loads = format!(
            "countersign_credentials_refreshes_total{{identity=\"{identity}\",outcome=\"ok\"}}"
        );
        world.check(&loads, 1.0).await;
        let left = format!("countersign_credentials_remaining_seconds{{identity=\"{identity}\"}}");
        world.check(&left, f64::INFINITY).await;
    }
}

/// Each pair of status and error type that upstream chose made a series of its own.
#[tokio::test]
async fn an_upstream_cannot_create_unlimited_series() {
    const ANSWERS: usize = 2_400;
    const GATEWAY: &str = "a1b2c3.execute-api.us-east-1.amazonaws.com";
    let peer = TlsPeer::start(&[GATEWAY], &["http/1.1"], |_, stream| async move {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Heard::read(&mut stream).await {
            let number: usize = request.path().rsplit('/').next().unwrap().parse().unwrap();
            let status = 200 + number % 800;
            let status = if matches!(status, 204 | 205 | 304) { 200 } else { status };
            let kind = number / 12;
            let answer = format!(
                "HTTP/1.1 {status} x\r\nx-amzn-errortype: Kind{kind}\r\ncontent-length: 2\r\n\r\n{{}}"
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await;
    let target = format!("https://{GATEWAY}/prod");
    let world = World::builder().peer("rest", &peer, &target, "").admin();
    let world = world.daemon().await;
    for number in 0..ANSWERS {
        let path = format!("/rest/{number}");
        assert!(get(world.addr, &path, &[]).await.status >= 200);
    }
    let counted = async {
        loop {
            let page = world.metrics().await;
            let samples: Vec<f64> = page
                .lines()
                .filter(|line| line.starts_with("countersign_requests_total{"))
                .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            if samples.iter().sum::<f64>() >= 2_400.0 {
                break (samples.len(), page.lines().count());
            }
        }
    };
    let (series, lines) = within("all answers to be counted", counted).await;
    assert!(series <= 400, "{series} series");
    assert!(lines < 1_000, "{lines} lines");
    println!("{ANSWERS} odd answers: {series} series of requests, {lines} lines in all");
}
