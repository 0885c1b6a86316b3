//! Each alert is fired by a real fault of a daemon of its own, under a real
//! Prometheus, and no alert fires for a healthy daemon.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign::telemetry::metrics::{self, Format};
use countersign::telemetry::tasks::{Panicked, Task, caught};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ALERTS;
use super::prometheus::Prometheus;
use super::watched::{ROOMS, builder, start, start_with_credentials_for};
use crate::support::{Daemon, JSON, Running, get, post};

/// The rules wait for minutes and look back further. Here they are shortened for a scrape every
/// second. No threshold is changed but the keepalive's, which follows the emulator's
/// interval of a second instead of AppSync's minute.
const SHORTER: [(&str, &str); 7] = [
    ("[5m]", "[8s]"),
    ("[10m]", "[12s]"),
    ("[15m]", "[15s]"),
    ("for: 1m\n", "for: 1s\n"),
    ("for: 2m\n", "for: 2s\n"),
    ("for: 5m\n", "for: 3s\n"),
    ("_keepalive_age_seconds > 90", "_keepalive_age_seconds > 3"),
];
/// The pause between two actions of a client.
const PACE: Duration = Duration::from_millis(100);
/// After this time, a client disconnects.
const IMPATIENCE: Duration = Duration::from_millis(500);

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;

/// One line of the table.
struct Row {
    alert: &'static str,
    fault: &'static str,
    took: Duration,
    summary: String,
}

/// Causes every fault and prints the alerts that fired. `alerts` must be all of them.
pub(crate) async fn table(alerts: &BTreeSet<String>) {
    let healthy = start("").await;
    let killed = start("").await;
    let keyless = builder("").keyless().daemon().await;
    let failing = start("").await;
    let refused = start("").await;
    let expiring = start_with_credentials_for(12, "").await;
    let skewed = start("").await;
    let alone = start("").await;
    let deaf = start("").await;
    let lossy = start("route.graphql.on_upstream_loss = \"resume\"").await;
    let silent = start("").await;
    let slow = start("limits.outbox = \"64KiB\"").await;
    let full = start("limits.connections = 10").await;
    let unread = start("log.filter = \"info\"").await;
    let pestered = start("").await;
    let short = start(&just_enough_memory(&healthy)).await;
    let targets = [
        ("healthy", healthy.admin()),
        ("killed", killed.admin()),
        ("keyless", keyless.admin()),
        ("failing", failing.admin()),
        ("refused", refused.admin()),
        ("expiring", expiring.admin()),
        ("skewed", skewed.admin()),
        ("alone", alone.admin()),
        ("deaf", deaf.admin()),
        ("lossy", lossy.admin()),
        ("silent", silent.admin()),
        ("slow", slow.admin()),
        ("full", full.admin()),
        ("unread", unread.admin()),
        ("pestered", pestered.admin()),
        ("short", short.admin()),
        ("panicking", serve_metrics_of_this_process().await),
    ];
    let prometheus = Prometheus::start("prometheus-faults", &targets, &shorter()).await;

    let Running {
        world: upstream,
        addr: alone,
        countersign: mut daemon,
        ..
    } = alone;
    let prometheus = &prometheus;
    let begun = Instant::now();
    let rows = join_all([
        fires(prometheus, "CountersignDown", "killed", "SIGKILL", async {
            killed.countersign.signal("-KILL");
            pending().await
        })
        .boxed_local(),
        fires(
            prometheus,
            "CountersignNotReady",
            "keyless",
            "no credentials are available",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignErrorsHigh",
            "failing",
            "upstream answers 503",
            async {
                let answer = json!({ "status": 503, "content_type": "text/plain", "body": "" });
                failing.switch(json!({ "answer_http": answer }));
                again(async || drop(failing.query(ROOMS).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignSignaturesRefused",
            "refused",
            "the keys are revoked",
            async {
                refused.switch(json!({ "expire_keys": true }));
                again(async || drop(refused.query(ROOMS).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignCredentialsExpiring",
            "expiring",
            "they are for 12 s",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignCredentialRefreshFailing",
            "expiring",
            "their process gives no more",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignClockSkewed",
            "skewed",
            "AWS's clock is 2 min ahead",
            async {
                skewed.switch(json!({ "clock_skew_s": 120 }));
                again(async || drop(skewed.query(ROOMS).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignUpstreamUnreachable",
            "alone",
            "upstream is killed",
            async {
                upstream.emulator.shutdown().await;
                again(async || drop(post(alone, "/graphql", &[JSON], QUERY).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignRealtimeConnectsFailing",
            "deaf",
            "realtime upgrades are answered 503",
            async {
                deaf.switch(json!({ "refuse_realtime": true }));
                // A subscription is retried with growing backoff, so new ones start meanwhile.
                again(async || drop(tokio::time::timeout(IMPATIENCE, deaf.stream()).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignRealtimeUnstable",
            "lossy",
            "realtime connections are dropped, 8 times",
            async {
                let _socket = lossy.subscribed().await;
                for _ in 0..8 {
                    lossy.loses_its_connection().await;
                }
                pending().await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignEventsMissed",
            "lossy",
            "the same, with on_upstream_loss = \"resume\"",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignKeepaliveStale",
            "silent",
            "no keepalive comes any more",
            async {
                let _socket = silent.subscribed().await;
                silent.switch(json!({ "stop_ka": true }));
                pending().await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignSlowConsumers",
            "slow",
            "a client that does not read",
            async {
                let _socket = slow.subscribed().await;
                let large = "x".repeat(100_000);
                while slow.emulator.stats().realtime.stops_total == 0 {
                    slow.say(&large).await;
                }
                pending().await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignConnectionsNearLimit",
            "full",
            "9 of 10 connections are held",
            async {
                let mut held = Vec::new();
                for _ in 0..9 {
                    held.push(TcpStream::connect(full.addr).await.unwrap());
                }
                pending().await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignRefusalsHigh",
            "pestered",
            "a web page of elsewhere asks",
            async {
                let origin = ("origin", "https://elsewhere.example");
                again(async || drop(get(pestered.addr, "/graphql", &[origin]).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignLogLinesDropped",
            "unread",
            "nobody reads standard error",
            again(async || unread.is_refused(500).await),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignMemoryNearLimit",
            "short",
            "limits.memory is 5 % above what it takes",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignPanicked",
            "panicking",
            "a task panics",
            again(async || {
                let ended = caught(Task::Request, async { panic!("on purpose") }).await;
                assert_eq!(ended, Err::<(), _>(Panicked));
            }),
        )
        .boxed_local(),
    ]);
    let rows = tokio::select! {
        rows = rows => rows,
        never = is_well(&healthy) => match never {},
    };
    print(&rows, begun.elapsed());

    let fired = "count by (alertname) (count_over_time(ALERTS{alertstate=\"firing\",instance=\"healthy\"}[5m]))";
    let fired = prometheus.series(fired).await;
    assert!(fired.is_empty(), "for a daemon without a fault: {fired:?}");
    let shown = rows.iter().map(|row| row.alert.to_owned());
    assert_eq!(*alerts, shown.collect());
    for watched in [
        healthy, keyless, failing, refused, expiring, skewed, deaf, lossy, silent, slow, full,
        unread, pestered, short,
    ] {
        watched.stop().await;
    }
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(!daemon.log.contains("panicked"), "{}", daemon.log);
}

/// Serves the metrics of this process: no daemon can be made to panic from outside, so the test
/// panics itself.
async fn serve_metrics_of_this_process() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let page = metrics::encode(Format::Prometheus).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                Format::Prometheus.media_type(),
                page.len()
            );
            let _ = stream.write_all(&[head, page].concat().into_bytes()).await;
        }
    });
    addr
}

/// Waits until an alert fires while its cause continues.
async fn fires(
    prometheus: &Prometheus,
    alert: &'static str,
    name: &str,
    fault: &'static str,
    cause: impl Future<Output = Infallible>,
) -> Row {
    let begun = Instant::now();
    let summary = tokio::select! {
        summary = prometheus.fires(alert, name) => summary,
        never = cause => match never {},
    };
    Row {
        alert,
        fault,
        took: begun.elapsed(),
        summary,
    }
}

async fn again(act: impl AsyncFn()) -> Infallible {
    loop {
        act().await;
        tokio::time::sleep(PACE).await;
    }
}

/// Runs a client that queries and one that subscribes.
async fn is_well(watched: &Running<Daemon>) -> Infallible {
    let mut socket = watched.subscribed().await;
    loop {
        assert_eq!(watched.query(ROOMS).await.status, 200);
        assert_eq!(watched.say("hello").await.status, 200);
        assert_eq!(socket.next_of("1").await["type"], "next");
        tokio::time::sleep(PACE).await;
    }
}

/// Returns a memory limit of which the daemon `like` uses 95 %.
fn just_enough_memory(like: &Running<Daemon>) -> String {
    let pid = like.countersign.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim().trim_end_matches(" kB");
    let limit = resident.parse::<f64>().unwrap() * 1.05;
    format!("limits.memory = \"{limit:.0}KiB\"")
}

fn shorter() -> String {
    let rules = SHORTER.iter().fold(ALERTS.to_owned(), |rules, (from, to)| {
        assert!(rules.contains(from), "no {from}");
        rules.replace(from, to)
    });
    let lines = || rules.lines().map(str::trim);
    let is_long =
        |line: &&str| line.contains("m]") || (line.starts_with("for: ") && line.ends_with('m'));
    assert_eq!(lines().find(is_long), None);
    rules
}

fn print(rows: &[Row], took: Duration) {
    println!("| alert | fault | fired after | summary |\n|---|---|---|---|");
    for row in rows {
        let Row {
            alert,
            fault,
            summary,
            ..
        } = row;
        println!(
            "| {alert} | {fault} | {:.1} s | {summary} |",
            row.took.as_secs_f64()
        );
    }
    println!(
        "All within {:.0} s; nothing fired for the daemon without a fault.",
        took.as_secs_f64()
    );
}
