//! The dashboard and alert rules of `deploy/monitoring` use metrics that exist. They run in a
//! real Prometheus, and each alert is fired by its fault.

mod faults;
mod names;
mod page;
mod prometheus;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use names::{Family, families, names};
use parking_lot::Mutex;
use prometheus::{Prometheus, promtool};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;
use watched::{ROOMS, builder, start, start_with_credentials_for};
use yaml_rust2::{Yaml, YamlLoader};

use crate::fakes::Heard;
use crate::support::{Daemon, JSON, PATIENCE, Running, Scratch, Socket, get, post, raw};

const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");
const RUNBOOK: &str = include_str!("../../deploy/monitoring/README.md");

/// Labels that Prometheus adds to every target.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];
/// Prometheus's own series and their labels.
const OWN_SERIES: [(&str, &[&str]); 2] = [("ALERTS", &["alertname", "alertstate"]), ("up", &[])];

// === names ===

/// Uses every feature once, so that every metric has a series.
async fn exercise(watched: &Running<Daemon>) -> Vec<Socket> {
    let addr = watched.addr;
    assert_eq!(watched.query(ROOMS).await.status, 200);
    let batch = json!([{ "query": "{ rooms { id } }" }, { "query": "{ rooms { id } }" }]);
    assert_eq!(
        post(addr, "/graphql", &[JSON], &batch.to_string())
            .await
            .status,
        200
    );
    assert_eq!(
        post(addr, "/event/default/a", &[JSON], "{}").await.status,
        200
    );
    assert_eq!(get(addr, "/http/echo", &[]).await.status, 200);
    assert_eq!(get(addr, "/nowhere", &[]).await.status, 404);
    // A request that starts like a TLS handshake.
    raw(addr, b"\x16\x03\x01\x00\x05hello\r\n\r\n").await;
    let mut socket = watched.subscribed().await;
    assert_eq!(watched.say("hello").await.status, 200);
    assert_eq!(socket.next_of("1").await["type"], "next");
    let tunnel = Socket::dial(addr, "/ws", "any", &[]).await;
    vec![socket, tunnel]
}

#[tokio::test]
async fn dashboard_and_alerts_name_what_is_exposed() {
    let settings = "tls.dev = true\nroute.graphql.on_upstream_loss = \"resume\"";
    let home = Scratch::new("monitoring-state");
    let state = home.0.display().to_string();
    let variables = [("XDG_STATE_HOME", state.as_str())];
    let watched = builder(settings).variables(&variables).daemon().await;
    let sockets = exercise(&watched).await;
    watched.loses_its_connection().await;
    let page = watched.metrics().await;
    let exposed = families(&page);
    println!("{} metrics, {} bytes", exposed.len(), page.len());

    let mut wrong = Vec::new();
    for (name, family) in &exposed {
        if family.help.is_empty() || family.kind.is_empty() {
            wrong.push(format!("{name} has no HELP or no TYPE"));
        }
        if family.values.is_empty() {
            wrong.push(format!("{name} has no series"));
        }
    }
    for (place, expression) in expressions() {
        wrong.extend(unknown(&exposed, &expression).map(|what| format!("{place}: {what}")));
    }
    for (place, label) in shown_labels() {
        if !is_label(&exposed, &label) && !["alertname"].contains(&label.as_str()) {
            wrong.push(format!("{place}: no metric has the label {label}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    page::check(&exposed);
    drop(sockets);
    watched.stop().await;
}

#[test]
fn the_check_finds_a_name_that_is_not_exposed() {
    let page = "# HELP a_total A\n# TYPE a_total counter\na_total{b=\"\"} 1\n\
                # HELP c A\n# TYPE c histogram\nc_bucket{d=\"\",le=\"+Inf\"} 1\n";
    let exposed = families(page);
    let found = |expression: &str| unknown(&exposed, expression).collect::<Vec<_>>();
    for fine in [
        "rate(a_total{b=~\"x\", job=\"y\"}[5m])",
        "sum by (le, d) (rate(c_bucket[5m]))",
        "c_sum / c_count > up",
    ] {
        assert_eq!(found(fine), [""; 0], "{fine}");
    }
    for broken in [
        "a",
        "a_total{c=\"\"}",
        "a_total{le=\"\"}",
        "sum by (d) (a_total)",
        "c",
        "a_total_sum",
    ] {
        assert_eq!(found(broken).len(), 1, "{broken}");
    }
}

/// Returns the names in an expression that no metric has.
fn unknown<'a>(
    exposed: &'a BTreeMap<String, Family>,
    expression: &str,
) -> impl Iterator<Item = String> + use<'a> {
    let names = names(expression);
    assert!(!names.metrics.is_empty(), "{expression}");
    let mut grouped: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
    let mut wrong = Vec::new();
    for (name, selected) in names.metrics {
        let Some(labels) = labels_of(exposed, &name) else {
            wrong.push(format!("no metric {name}"));
            continue;
        };
        for label in selected {
            let is_target = TARGET_LABELS.contains(&label.as_str());
            if !labels.contains(&label) && !is_target {
                wrong.push(format!("{name} has no label {label}"));
            }
        }
        grouped.extend(labels);
    }
    let groups = names.groups.into_iter();
    wrong.extend(
        groups
            .filter(|label| !grouped.contains(label))
            .map(|label| format!("grouped by {label}, which nothing there has")),
    );
    wrong.into_iter()
}

/// The labels of a sample's name, `le` among them.
fn labels_of(exposed: &BTreeMap<String, Family>, sample: &str) -> Option<BTreeSet<String>> {
    if let Some((_, labels)) = OWN_SERIES.iter().find(|(name, _)| *name == sample) {
        return Some(labels.iter().map(|label| (*label).to_owned()).collect());
    }
    if let Some(family) = exposed.get(sample) {
        // A histogram has no sample of its own name.
        return (family.kind != "histogram").then(|| family.labels.clone());
    }
    let (name, part) = sample.rsplit_once('_')?;
    let family = exposed.get(name)?;
    let mut labels = family.labels.clone();
    match part {
        "bucket" => {
            labels.insert("le".to_owned());
        }
        "sum" | "count" => {}
        _ => return None,
    }
    (family.kind == "histogram").then_some(labels)
}

fn is_label(exposed: &BTreeMap<String, Family>, label: &str) -> bool {
    TARGET_LABELS.contains(&label) || exposed.values().any(|family| family.labels.contains(label))
}

/// Returns every expression of both files with its location.
fn expressions() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = rules()
        .iter()
        .map(|rule| (text(rule, "alert"), text(rule, "expr")))
        .collect();
    let alerts = all.len();
    assert!(alerts > 10, "{alerts} alerts");
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    collect(&dashboard, "", &mut |title, key, value| {
        if key == "expr" {
            all.push((format!("panel {title}"), value.to_owned()));
        }
        if key == "definition" {
            let (inside, _) = value.rsplit_once(", ").unwrap();
            let metric = inside.strip_prefix("label_values(").unwrap();
            all.push((format!("variable {title}"), metric.to_owned()));
        }
    });
    assert!(all.len() > alerts + 40, "{} expressions", all.len());
    all.extend(page::queries().map(|query| (page::EXPLAINED_PAGE.to_owned(), query.to_owned())));
    all
}

/// Returns the labels that legends, variables and texts use.
fn shown_labels() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    collect(&dashboard, "", &mut |title, key, value| {
        if ["legendFormat", "titleFormat", "textFormat"].contains(&key) {
            for part in value.split("{{").skip(1) {
                let (label, _) = part.split_once("}}").unwrap();
                all.push((format!("panel {title}"), label.trim().to_owned()));
            }
        }
        if key == "definition" {
            let (_, label) = value.rsplit_once(", ").unwrap();
            let label = label.trim_end_matches(')').to_owned();
            all.push((format!("variable {title}"), label));
        }
    });
    for part in ALERTS.split("$labels.").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        all.push(("alerts.yaml".to_owned(), part[..end.unwrap()].to_owned()));
    }
    assert!(all.len() > 40, "{} labels", all.len());
    all
}

/// Calls `found` with every text of a JSON document: the title next above it, its key, and itself.
fn collect(value: &Value, title: &str, found: &mut impl FnMut(&str, &str, &str)) {
    match value {
        Value::Object(members) => {
            let named = members.get("title").or_else(|| members.get("name"));
            let title = named.and_then(Value::as_str).unwrap_or(title);
            for (key, value) in members {
                if let Some(text) = value.as_str() {
                    found(title, key, text);
                }
                collect(value, title, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, title, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rules() -> Vec<Yaml> {
    let document = YamlLoader::load_from_str(ALERTS).unwrap().remove(0);
    let groups = document["groups"].as_vec().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap());
    rules.cloned().collect()
}

fn text(rule: &Yaml, key: &str) -> String {
    let text = rule[key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {rule:?}"))
        .trim()
        .to_owned()
}

// === promtool ===

#[tokio::test]
async fn promtool_accepts_the_rules() {
    let said = promtool(&["check", "rules", "deploy/monitoring/alerts.yaml"], "").await;
    assert!(said.contains("18 rules found"), "{said}");
    promtool(&["test", "rules", "tests/monitoring/alerts_test.yaml"], "").await;
}

#[test]
fn every_alert_is_documented_and_tested() {
    let series = include_str!("../monitoring/alerts_test.yaml");
    for rule in rules() {
        let alert = text(&rule, "alert");
        assert!(
            series.contains(&format!("'{{alertname=\"{alert}\"")),
            "{alert}"
        );
        assert!(RUNBOOK.contains(&format!("\n### {alert}\n")), "{alert}");
        let anchor = format!("deploy/monitoring/README.md#{}", alert.to_lowercase());
        assert_eq!(text(&rule["annotations"], "runbook"), anchor);
        for key in ["summary", "description"] {
            assert!(!text(&rule["annotations"], key).is_empty());
        }
        let severity = text(&rule["labels"], "severity");
        assert!(
            ["critical", "warning", "info"].contains(&severity.as_str()),
            "{alert}"
        );
    }
    let sections = RUNBOOK
        .lines()
        .filter(|line| line.starts_with("### "))
        .count();
    assert_eq!(sections, rules().len());
    assert!(RUNBOOK.lines().count() <= 100);
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let watched = start("").await;
    let sockets = exercise(&watched).await;
    let page = watched.metrics().await;
    let said = promtool(&["check", "metrics"], &page).await;
    assert_eq!(said, "", "{page}");
    drop(sockets);
    watched.stop().await;
}

// === a real Prometheus ===

/// Forwards scrapes with or without their `accept` header. Returns the address, and the content types.
async fn scraped_through(
    admin: SocketAddr,
    passes_accept: bool,
) -> (SocketAddr, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let types: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = Arc::clone(&types);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(heard) = Heard::read(&mut stream).await {
                    let accept = heard.headers.get("accept").filter(|_| passes_accept);
                    let accept = accept.map(|accept| ("accept", accept.as_str()));
                    let answer = get(admin, "/metrics", accept.as_slice()).await;
                    let kind = answer.headers["content-type"].clone();
                    let text = format!(
                        "HTTP/1.1 {} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{}",
                        answer.status,
                        answer.body.len(),
                        answer.body
                    );
                    seen.lock().insert(kind);
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, types)
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_counts_what_was_sent() {
    let watched = start("").await;
    let (open, open_types) = scraped_through(watched.admin(), true).await;
    let (text, text_types) = scraped_through(watched.admin(), false).await;
    let targets = [("direct", watched.admin()), ("open", open), ("text", text)];
    let prometheus = Prometheus::start("prometheus-counts", &targets, "{}").await;

    let mut socket = watched.subscribed().await;
    let sent = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let load = async || {
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(watched.query(ROOMS).await.status, 200);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut said = 0;
    let scrapes = async {
        // Until it has been scraped often enough by all, and said something else each time.
        let scraped = "min(changes(countersign_requests_total{operation=\"query\",code=\"\"}[1m]))";
        while prometheus
            .value(scraped)
            .await
            .is_none_or(|changes| changes < 3.0)
        {
            assert_eq!(watched.say("hello").await.status, 200);
            assert_eq!(socket.next_of("1").await["type"], "next");
            assert_eq!(get(watched.addr, "/nowhere", &[]).await.status, 404);
            said += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let all = async { tokio::join!(load(), load(), scrapes) };
    let scraped = timeout(prometheus::PATIENCE, all).await;
    assert!(scraped.is_ok(), "too few scrapes under load");

    let (sent, said) = (sent.into_inner() as f64, f64::from(said));
    for (instance, _) in targets {
        let requests = |rest: &str| {
            format!(
                "sum(countersign_requests_total{{instance=\"{instance}\",client=\"http\",{rest}}})"
            )
        };
        let of = |metric: &str| format!("sum({metric}{{instance=\"{instance}\"}})");
        prometheus
            .reaches(
                &requests("route=\"graphql\",operation=\"query\",status=\"200\",code=\"\""),
                sent,
            )
            .await;
        prometheus
            .reaches(
                &requests("route=\"graphql\",operation=\"mutation\",status=\"200\""),
                said,
            )
            .await;
        prometheus
            .reaches(&requests("code=\"NO_ROUTE\",status=\"404\""), said)
            .await;
        prometheus
            .reaches(&of("countersign_refusals_total"), said)
            .await;
        prometheus
            .reaches(&of("countersign_events_received_total"), said)
            .await;
        prometheus
            .reaches(&of("countersign_events_delivered_total"), said)
            .await;
        prometheus
            .reaches(&of("countersign_subscriptions"), 1.0)
            .await;
        prometheus
            .reaches(
                &of("countersign_request_duration_seconds_count"),
                sent + said * 2.0,
            )
            .await;
    }
    assert_eq!(
        prometheus.value("min(min_over_time(up[5m]))").await,
        Some(1.0)
    );
    let slowest = prometheus
        .value("max(max_over_time(scrape_duration_seconds[5m]))")
        .await;
    println!(
        "{sent} queries, {said} messages; the slowest scrape took {:.3} s",
        slowest.unwrap()
    );
    let has = |types: &Mutex<BTreeSet<String>>, wanted: &str| {
        let types = types.lock();
        assert!(
            types.len() == 1 && types.iter().all(|kind| kind.starts_with(wanted)),
            "{types:?}"
        );
    };
    has(&open_types, "application/openmetrics-text");
    has(&text_types, "text/plain; version=0.0.4");
    prometheus.end().await;
    drop(socket);
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_something() {
    let settings = "tls.dev = true\nlimits.memory = \"1GiB\"\n\
                    route.graphql.on_upstream_loss = \"resume\"";
    let watched = start_with_credentials_for(3_600, settings).await;
    let targets = [("panels", watched.admin())];
    let prometheus = Prometheus::start("prometheus-panels", &targets, "{}").await;
    let mut empty: Vec<(String, String)> = expressions()
        .into_iter()
        .filter(|(place, _)| place.starts_with("panel ") && place != "panel Alerts")
        .map(|(place, expression)| {
            let expression = expression.replace("$__rate_interval", "1m");
            let variables = ["$job", "$instance", "$route"];
            let all = variables.iter().fold(expression, |expression, variable| {
                expression.replace(variable, ".+")
            });
            (place, all)
        })
        .collect();
    println!("{} expressions", empty.len());
    let shown = async {
        while !empty.is_empty() {
            let held = exercise(&watched).await;
            watched.loses_its_connection().await;
            let mut still = Vec::new();
            for (place, expression) in &empty {
                if prometheus.series(expression).await.is_empty() {
                    still.push((place.clone(), expression.clone()));
                }
            }
            empty = still;
            drop(held);
        }
    };
    if timeout(PATIENCE, shown).await.is_err() {
        panic!("no data: {empty:#?}");
    }
    prometheus.end().await;
    watched.stop().await;
}

/// Grafana would draw overlapping panels over each other, and hide those outside the grid.
#[test]
fn panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut taken: BTreeMap<(u64, u64), &Value> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                let before = taken.insert((x, y), panel);
                assert!(x < 24 && before.is_none(), "{panel} lies on {before:?}");
            }
        }
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_is_fired_by_its_fault() {
    let alerts = rules().iter().map(|rule| text(rule, "alert")).collect();
    faults::table(&alerts).await;
}
