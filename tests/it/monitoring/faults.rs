//! Each alert, and the fault that fires it: real ones, each at a daemon of its own, under a real
//! Prometheus, while nothing fires for a daemon that has none.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;

use super::ALERTS;
use super::prometheus::Prometheus;
use super::subject::Subject;
use crate::support::get;

/// The rules wait for minutes and look back for more. Here they are in proportion to a scrape every
/// second; nothing else is changed, and no threshold but the keepalive's, which follows the emulator's
/// interval of a second in place of AppSync's minute.
const SHORTER: [(&str, &str); 7] = [
    ("[5m]", "[8s]"),
    ("[10m]", "[12s]"),
    ("[15m]", "[15s]"),
    ("for: 1m\n", "for: 1s\n"),
    ("for: 2m\n", "for: 2s\n"),
    ("for: 5m\n", "for: 3s\n"),
    ("_keepalive_age_seconds > 90", "_keepalive_age_seconds > 3"),
];
/// Between two actions of a client.
const PACE: Duration = Duration::from_millis(100);
/// After this a client leaves.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// One line of the table.
struct Row {
    alert: &'static str,
    fault: &'static str,
    took: Duration,
    summary: String,
}

/// Causes every fault, and prints what fired; `alerts` are all there are.
pub(crate) async fn table(alerts: &BTreeSet<String>) {
    let healthy = Subject::start("healthy", "").await;
    let killed = Subject::start("killed", "").await;
    let keyless = Subject::with("keyless", "", &[]).await;
    let failing = Subject::start("failing", "").await;
    let refused = Subject::start("refused", "").await;
    let expiring = Subject::with_credentials_for("expiring", 12, "").await;
    let skewed = Subject::start("skewed", "").await;
    let mut alone = Subject::start("alone", "").await;
    let deaf = Subject::start("deaf", "").await;
    let lossy = Subject::start("lossy", "route.graphql.on_upstream_loss = \"resume\"").await;
    let silent = Subject::start("silent", "").await;
    let slow = Subject::start("slow", "limits.outbox = \"64KiB\"").await;
    let full = Subject::start("full", "limits.connections = 10").await;
    let unread = Subject::start("unread", "log.filter = \"info\"").await;
    let pestered = Subject::start("pestered", "").await;
    let short = Subject::start("short", &just_enough_memory(&healthy)).await;
    let targets = [
        &healthy, &killed, &keyless, &failing, &refused, &expiring, &skewed, &alone, &deaf, &lossy,
        &silent, &slow, &full, &unread, &pestered, &short,
    ]
    .map(|subject| (subject.name, subject.admin));
    let prometheus = Prometheus::start("prometheus-faults", &targets, &shorter()).await;

    let upstream = alone.emulator.take().unwrap();
    let prometheus = &prometheus;
    let begun = Instant::now();
    let rows = join_all([
        fires(prometheus, "CountersignDown", &killed, "SIGKILL", async {
            killed.daemon.signal("-KILL");
            pending().await
        })
        .boxed_local(),
        fires(
            prometheus,
            "CountersignNotReady",
            &keyless,
            "no credentials are to be had",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignErrorsHigh",
            &failing,
            "upstream answers 503",
            async {
                let answer = json!({ "status": 503, "content_type": "text/plain", "body": "" });
                failing.switch(json!({ "answer_http": answer }));
                again(async || drop(failing.query().await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignSignaturesRefused",
            &refused,
            "the keys are revoked",
            async {
                refused.switch(json!({ "expire_keys": true }));
                again(async || drop(refused.query().await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignCredentialsExpiring",
            &expiring,
            "they are for 12 s",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignCredentialRefreshFailing",
            &expiring,
            "their process gives no more",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignClockSkewed",
            &skewed,
            "AWS's clock is 2 min ahead",
            async {
                skewed.switch(json!({ "clock_skew_s": 120 }));
                again(async || drop(skewed.query().await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignUpstreamUnreachable",
            &alone,
            "upstream is killed",
            async {
                upstream.shutdown().await;
                again(async || drop(alone.query().await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignRealtimeConnectsFailing",
            &deaf,
            "realtime upgrades are answered 503",
            async {
                deaf.switch(json!({ "refuse_realtime": true }));
                // A subscription is tried again for longer and longer: others come meanwhile.
                again(async || drop(tokio::time::timeout(IMPATIENCE, deaf.stream()).await)).await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignRealtimeUnstable",
            &lossy,
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
            &lossy,
            "the same, with on_upstream_loss = \"resume\"",
            pending(),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignKeepaliveStale",
            &silent,
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
            &slow,
            "a client that does not read",
            async {
                let _socket = slow.subscribed().await;
                let large = "x".repeat(100_000);
                while slow.emulator().stats().realtime.stops_total == 0 {
                    slow.say(&large).await;
                }
                pending().await
            },
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignConnectionsNearLimit",
            &full,
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
            &pestered,
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
            &unread,
            "nobody reads standard error",
            again(async || unread.is_refused(500).await),
        )
        .boxed_local(),
        fires(
            prometheus,
            "CountersignMemoryNearLimit",
            &short,
            "limits.memory is 5 % above what it takes",
            pending(),
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
    for subject in [
        healthy, keyless, failing, refused, expiring, skewed, alone, deaf, lossy, silent, slow,
        full, unread, pestered, short,
    ] {
        subject.end().await;
    }
}

/// Waits until an alert fires, while its cause goes on.
async fn fires(
    prometheus: &Prometheus,
    alert: &'static str,
    subject: &Subject,
    fault: &'static str,
    cause: impl Future<Output = Infallible>,
) -> Row {
    let begun = Instant::now();
    let summary = tokio::select! {
        summary = prometheus.fires(alert, subject.name) => summary,
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

/// A client that asks and one that listens.
async fn is_well(subject: &Subject) -> Infallible {
    let mut socket = subject.subscribed().await;
    loop {
        assert_eq!(subject.query().await.status, 200);
        assert_eq!(subject.say("hello").await.status, 200);
        assert_eq!(socket.next_of("1").await["type"], "next");
        tokio::time::sleep(PACE).await;
    }
}

/// A limit that what `like` holds is 95 % of.
fn just_enough_memory(like: &Subject) -> String {
    let pid = like.daemon.pid();
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
