//! Traces: W3C Trace Context in every protocol, and the spans that a collector receives.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::collector::{Batch, Collector, Kept, attributes, hex};
use crate::fakes::{Heard, TlsPeer};
use crate::support::{Answer, ClosedPort, Daemon, JSON, Socket, World, get, post, python, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
const PEER: &str = "a1b2c3.execute-api.us-east-1.amazonaws.com";

const QUERY: &str = r#"{ headers(names: ["traceparent", "tracestate"]) }"#;
const SUBSCRIPTION: &str =
    r#"subscription Watched { onHeaders(names: ["traceparent", "tracestate"]) }"#;
const MUTATION: &str = r#"mutation Said { postMessage(room: "lobby", body: "hello") { id } }"#;

/// A world with a fake upstream that records the heads of its requests.
struct TracesWorld {
    world: World,
    peer: TlsPeer,
    heard: mpsc::Receiver<Heard>,
}

struct Run {
    daemon: Daemon,
    addr: SocketAddr,
}

impl TracesWorld {
    async fn new() -> Self {
        let (tell, heard) = mpsc::channel(8);
        let peer = TlsPeer::start(&[PEER], &["http/1.1"], move |_, stream| {
            let tell = tell.clone();
            async move {
                let mut stream = BufReader::new(stream);
                while let Some(request) = Heard::read(&mut stream).await {
                    tell.send(request).await.unwrap();
                    let answer = "HTTP/1.1 426 No\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self {
            world: World::new().await,
            peer: peer.await,
            heard,
        }
    }

    /// Starts a daemon with these settings and variables.
    async fn run(&self, settings: &str, variables: &[(&str, &str)]) -> Run {
        let mut daemon = self.start(settings, variables);
        let addr = daemon.address().await;
        Run { daemon, addr }
    }

    fn start(&self, settings: &str, variables: &[(&str, &str)]) -> Daemon {
        let world = &self.world;
        let peer_ca = world.home.file("peer.pem", &self.peer.ca_pem);
        let config = [
            world.route("graphql", "https://$API/graphql", ""),
            world.route("rest", "https://$REST/prod", ""),
            format!("{settings}\n"),
            format!(
                "[route.peer]\ntarget = \"https://{PEER}\"\nconnect = \"{}\"\n\
                 ca_file = {peer_ca:?}\n",
                self.peer.addr
            ),
        ];
        world.serve(&config.concat(), variables)
    }

    async fn exporting(&self, collector: &Collector, more: &str) -> Run {
        let settings = format!("[traces]\nendpoint = \"{}\"\n{more}", collector.url());
        self.run(&settings, &[]).await
    }

    /// Returns the trace headers that upstream receives in every protocol.
    async fn ways(
        &mut self,
        run: &Run,
        headers: &[(&str, &str)],
    ) -> Vec<(&'static str, BTreeMap<String, String>)> {
        let addr = run.addr;
        let mut ways = Vec::new();
        let parse = |json: &Value| serde_json::from_str(json.as_str().unwrap()).unwrap();
        let of_json = [&[JSON], headers].concat();
        let body = json!({ "query": QUERY }).to_string();

        let answer = post(addr, "/graphql", &of_json, &body).await.json();
        ways.push(("POST", parse(&answer["data"]["headers"])));
        let path = format!("/graphql?query={}", QUERY.replace(' ', "%20"));
        let answer = get(addr, &path.replace('"', "%22"), headers).await.json();
        ways.push(("GET", parse(&answer["data"]["headers"])));
        let batch = format!("[{body}]");
        let answer = post(addr, "/graphql", &of_json, &batch).await.json();
        ways.push(("batch", parse(&answer[0]["data"]["headers"])));
        let of_stream = [&of_json[..], &[("accept", "text/event-stream")]].concat();
        let answer = post(addr, "/graphql", &of_stream, &body).await.body;
        let (_, next) = answer.split_once("event: next\ndata: ").expect(&answer);
        let next: Value = serde_json::from_str(next.lines().next().unwrap()).unwrap();
        ways.push(("stream", parse(&next["data"]["headers"])));

        let mut socket = Socket::open(addr, headers).await;
        socket.init().await;
        socket.subscribe("1", QUERY).await;
        let frame = socket.next_of("1").await;
        ways.push(("socket", parse(&frame["payload"]["data"]["headers"])));
        socket.subscribe("2", SUBSCRIPTION).await;
        let frame = socket.next_of("2").await;
        let seen = parse(&frame["payload"]["data"]["onHeaders"]);
        ways.push(("subscription", seen));

        let entries: BTreeMap<&str, &str> = headers.iter().copied().collect();
        let seen = native(addr, &[], json!(entries)).await;
        ways.push(("entries of a start", parse(&seen)));

        let echo = get(addr, "/rest/a", headers).await.json();
        let pairs: Vec<(String, String)> = serde_json::from_value(echo["headers"].clone()).unwrap();
        ways.push(("REST", of_trace(pairs)));

        let mut request = format!(
            "GET /peer HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all((request + "\r\n").as_bytes())
            .await
            .unwrap();
        let heard = within("a handshake", self.heard.recv()).await.unwrap();
        ways.push(("tunnel", of_trace(heard.headers)));
        ways
    }
}

impl Run {
    async fn post(&self, headers: &[(&str, &str)], query: &str) -> Answer {
        let headers = [&[JSON], headers].concat();
        let body = json!({ "query": query }).to_string();
        post(self.addr, "/graphql", &headers, &body).await
    }

    /// Returns the trace headers that upstream receives.
    async fn passed(&self, headers: &[(&str, &str)]) -> BTreeMap<String, String> {
        let answer = self.post(headers, QUERY).await.json();
        serde_json::from_str(answer["data"]["headers"].as_str().unwrap()).unwrap()
    }

    async fn end(mut self) -> String {
        self.daemon.signal("-TERM");
        assert_eq!(self.daemon.exited().await, 0, "{}", self.daemon.log);
        self.daemon.log
    }
}

/// Returns the headers of a subscription of AppSync's own client.
async fn native(addr: SocketAddr, headers: &[(&str, &str)], entries: Value) -> Value {
    let mut socket = Socket::dial(addr, "/graphql/realtime", "graphql-ws", headers).await;
    socket.send(json!({ "type": "connection_init" })).await;
    let data = json!({ "query": SUBSCRIPTION }).to_string();
    let payload = json!({ "data": data, "extensions": { "authorization": entries } });
    let start = json!({ "id": "1", "type": "start", "payload": payload });
    socket.send(start).await;
    loop {
        let frame = socket.next().await;
        if frame["type"] == "data" {
            return frame["payload"]["data"]["onHeaders"].clone();
        }
    }
}

fn of_trace(pairs: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let names = ["traceparent", "tracestate"];
    let pairs = pairs.into_iter();
    pairs
        .filter(|(name, _)| names.contains(&name.as_str()))
        .collect()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// Returns trace, span and flags of a `traceparent`.
fn parts(traceparent: &str) -> [&str; 3] {
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!(parts[0], "00", "{traceparent}");
    [parts[1], parts[2], parts[3]]
}

fn by_id<'s>(spans: &'s [Span], id: &str) -> Option<&'s Span> {
    spans.iter().find(|span| hex(&span.span_id) == id)
}

fn by_name<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name:?} in {spans:#?}"))
}

/// Returns a span and its ancestors in the batches.
fn ancestors<'s>(spans: &'s [Span], span: &'s Span) -> Vec<&'s Span> {
    std::iter::successors(Some(span), |span| by_id(spans, &hex(&span.parent_span_id))).collect()
}

fn has_failed(span: &Span) -> bool {
    span.status
        .as_ref()
        .is_some_and(|status| status.code == StatusCode::Error as i32)
}

#[track_caller]
fn check_attributes(span: &Span, expected: &[(&str, &str)]) {
    let mut found = attributes(&span.attributes);
    // The emulator generates the id.
    if let Some(id) = found.remove("aws.request_id") {
        assert!(id.len() >= 8, "{id:?}");
    }
    let expected = expected.iter();
    let expected: BTreeMap<String, String> = expected
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(found, expected, "{span:#?}");
}

#[tokio::test]
async fn without_export_trace_headers_are_forwarded_unchanged() {
    let mut traced = TracesWorld::new().await;
    let run = traced.run("", &[]).await;
    // A `traceparent` of a future version, and an invalid one.
    let later = format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like");
    for sent in [
        traceparent("01"),
        traceparent("00"),
        later,
        "x Y".to_owned(),
    ] {
        let headers = [("traceparent", sent.as_str()), ("tracestate", STATE)];
        let expected = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = BTreeMap::from(expected);
        let ways = traced.ways(&run, &headers).await;
        assert_eq!(ways.len(), 9);
        for (way, seen) in ways {
            assert_eq!(seen, expected, "{way}");
        }
    }
    for (way, seen) in traced.ways(&run, &[]).await {
        assert_eq!(seen, BTreeMap::new(), "{way}");
    }
    run.end().await;
}

#[tokio::test]
async fn with_export_every_protocol_continues_the_clients_trace() {
    let mut traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let run = traced.exporting(&collector, "").await;
    let sent = traceparent("01");
    let headers = [("traceparent", sent.as_str()), ("tracestate", STATE)];
    let ways = traced.ways(&run, &headers).await;
    assert_eq!(ways.len(), 9);
    run.end().await;
    let spans = collector.spans();
    for (way, seen) in &ways {
        let [trace, id, flags] = parts(&seen["traceparent"]);
        assert_eq!((trace, flags), (TRACE, "01"), "{way}");
        assert_eq!(seen["tracestate"], STATE, "{way}");
        let span = by_id(&spans, id).unwrap_or_else(|| panic!("{way}: no {id} in {spans:#?}"));
        assert_eq!(span.kind(), SpanKind::Client, "{way}");
        let ancestors = ancestors(&spans, span);
        assert!(ancestors.len() >= 2, "{way}: {ancestors:#?}");
        for ancestor in &ancestors[1..] {
            assert_eq!(ancestor.kind(), SpanKind::Server, "{way}");
        }
        let first = ancestors.last().unwrap();
        assert_eq!(hex(&first.parent_span_id), PARENT, "{way}");
    }
    // A socket without trace headers is a trace of its own. Its operation had them.
    let others = spans.iter().filter(|span| hex(&span.trace_id) != TRACE);
    let others: Vec<&str> = others.map(|span| span.name.as_str()).collect();
    assert_eq!(others, ["GET graphql"]);
    for span in &spans {
        assert_eq!(span.trace_state, "", "spans hold no headers");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
}

#[tokio::test]
async fn a_trace_starts_here_without_a_clients_trace() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let run = traced.exporting(&collector, "").await;
    for headers in [
        &[][..],
        &[("traceparent", "nonsense"), ("tracestate", STATE)],
        &[("tracestate", STATE)],
    ] {
        let seen = run.passed(headers).await;
        assert_eq!(
            seen.len(),
            1,
            "a tracestate without its traceparent: {seen:?}"
        );
        let [trace, id, flags] = parts(&seen["traceparent"]);
        assert_eq!(flags, "01");
        let is_there = |spans: &[Span]| by_id(spans, id).is_some();
        let spans = collector.wait_for("the exchange", is_there).await;
        let exchange = by_id(&spans, id).unwrap();
        assert_eq!(hex(&exchange.trace_id), trace);
        let spans = collector
            .wait_for("the request", |spans| ancestors(spans, exchange).len() == 2)
            .await;
        let request = ancestors(&spans, exchange)[1];
        assert!(request.parent_span_id.is_empty(), "{request:#?}");
    }
    run.end().await;
}

#[tokio::test]
async fn spans_have_the_attributes_of_the_log_and_no_more() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let run = traced.exporting(&collector, "").await;

    let named = "query Named { rooms { id } }";
    assert_eq!(run.post(&[], named).await.status, 200);
    let spans = collector
        .wait_for("a query", |spans| spans.len() == 2)
        .await;
    let (request, exchange) = (by_name(&spans, "POST graphql"), by_name(&spans, "POST"));
    let of_query = [
        ("countersign.route", "graphql"),
        ("graphql.operation.name", "Named"),
        ("graphql.operation.type", "query"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/graphql"),
    ];
    check_attributes(request, &of_query);
    assert!(attributes(&request.attributes).contains_key("aws.request_id"));
    assert_eq!(request.kind(), SpanKind::Server);
    let answered = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
    ];
    check_attributes(exchange, &answered);
    assert_eq!(exchange.parent_span_id, request.span_id);
    let steps: Vec<&str> = exchange
        .events
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(steps, ["signed", "connected"]);
    for event in &exchange.events {
        let whole = exchange.start_time_unix_nano..=exchange.end_time_unix_nano;
        assert!(whole.contains(&event.time_unix_nano), "{exchange:#?}");
    }
    assert!(!has_failed(request) && !has_failed(exchange));

    // The second request of a warm connection.
    let path = "/rest/items/secret?q=secret";
    assert_eq!(get(run.addr, path, &[]).await.status, 200);
    let spans = collector
        .wait_for("an item", |spans| spans.len() == 4)
        .await;
    let of_rest = [
        ("countersign.route", "rest"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/rest"),
    ];
    check_attributes(by_name(&spans, "GET rest"), &of_rest);

    let absent = get(run.addr, "/absent/secret", &[]).await;
    assert_eq!(absent.status, 404, "{absent:?}");
    let spans = collector
        .wait_for("no route", |spans| spans.len() == 5)
        .await;
    let of_absent = [
        ("error.type", absent.headers["x-countersign-error"].as_str()),
        ("http.request.method", "GET"),
        ("http.response.status_code", "404"),
    ];
    check_attributes(by_name(&spans[4..], "GET"), &of_absent);
    assert!(!has_failed(&spans[4]), "it is the client's mistake");

    let mut socket = Socket::open(run.addr, &[]).await;
    socket.init().await;
    socket.subscribe("1", MUTATION).await;
    assert_eq!(socket.next_of("1").await["type"], "next");
    let spans = collector
        .wait_for("a mutation", |spans| spans.len() == 8)
        .await;
    let of_mutation = [
        ("countersign.route", "graphql"),
        ("graphql.operation.name", "Said"),
        ("graphql.operation.type", "mutation"),
    ];
    check_attributes(by_name(&spans, "WS graphql"), &of_mutation);
    let upgrade = by_name(&spans[5..], "GET graphql");
    assert_eq!(
        attributes(&upgrade.attributes)["http.response.status_code"],
        "101"
    );

    // The start has been acknowledged, and the subscription continues.
    socket.subscribe("2", SUBSCRIPTION).await;
    assert_eq!(socket.next_of("2").await["type"], "next");
    let spans = collector
        .wait_for("a start", |spans| spans.len() == 9)
        .await;
    assert_eq!(spans[8].name, "start");
    assert_eq!(spans[8].kind(), SpanKind::Client);
    socket.send(json!({ "id": "2", "type": "complete" })).await;
    let spans = collector
        .wait_for("a subscription", |spans| spans.len() == 10)
        .await;
    let of_subscription = [
        ("countersign.route", "graphql"),
        ("graphql.operation.name", "Watched"),
        ("graphql.operation.type", "subscription"),
    ];
    check_attributes(&spans[9], &of_subscription);
    assert_eq!(spans[8].parent_span_id, spans[9].span_id);

    traced.world.switch(json!({ "refuse_connections": true }));
    assert_eq!(run.post(&[], named).await.status, 502);
    let spans = collector
        .wait_for("a failure", |spans| spans.len() == 12)
        .await;
    let (request, exchange) = (
        by_name(&spans[10..], "POST graphql"),
        by_name(&spans[10..], "POST"),
    );
    let code = attributes(&exchange.attributes)["error.type"].clone();
    assert!(code.starts_with("UPSTREAM_"), "{code}");
    check_attributes(
        exchange,
        &[("error.type", &code), ("http.request.method", "POST")],
    );
    assert_eq!(attributes(&request.attributes)["error.type"], code);
    assert_eq!(
        attributes(&request.attributes)["http.response.status_code"],
        "502"
    );
    assert!(has_failed(request) && has_failed(exchange));

    run.end().await;
    let batches = collector.batches();
    for batch in &batches {
        assert!(
            batch.head.starts_with("post /v1/traces http/1.1\r\n"),
            "{}",
            batch.head
        );
        assert!(
            batch
                .head
                .contains("\r\ncontent-type: application/x-protobuf\r\n")
        );
        assert_eq!(batch.resource()["service.name"], "countersign");
        assert_eq!(
            batch.resource()["service.version"],
            env!("CARGO_PKG_VERSION")
        );
        let text = String::from_utf8_lossy(&batch.body);
        assert!(
            !text.contains("secret") && !text.contains("rooms"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_operations_traceparent_overrides_its_sockets() {
    let traced = TracesWorld::new().await;
    let sent = traceparent("01");
    let upgrade = [("traceparent", sent.as_str()), ("tracestate", STATE)];
    let own = format!("00-{}-{PARENT}-01", "1".repeat(32));
    let collector = Collector::start().await;
    for run in [
        traced.run("", &[]).await,
        traced.exporting(&collector, "").await,
    ] {
        let seen = native(run.addr, &upgrade, json!({ "traceparent": own })).await;
        let seen: Value = serde_json::from_str(seen.as_str().unwrap()).unwrap();
        let [trace, _, _] = parts(seen["traceparent"].as_str().unwrap());
        assert_eq!(trace, "1".repeat(32), "{seen}");
        assert_eq!(seen["tracestate"], Value::Null, "of another trace");
        run.end().await;
    }
    assert!(
        collector
            .spans()
            .iter()
            .any(|span| hex(&span.trace_id) == "1".repeat(32))
    );
}

#[tokio::test]
async fn the_clients_sampling_decision_is_kept() {
    let traced = TracesWorld::new().await;
    for (ratio, is_ours_sampled) in [("0", "00"), ("1.0", "01")] {
        let collector = Collector::start().await;
        let run = traced
            .exporting(&collector, &format!("ratio = {ratio}"))
            .await;
        let ours = run.passed(&[]).await;
        let [_, ours, flags] = parts(&ours["traceparent"]);
        assert_eq!(flags, is_ours_sampled, "ratio {ratio}");
        let mut ids = Vec::new();
        for flags in ["00", "01"] {
            let sent = traceparent(flags);
            let headers = [("traceparent", sent.as_str()), ("tracestate", STATE)];
            let seen = run.passed(&headers).await;
            let [trace, id, passed] = parts(&seen["traceparent"]);
            assert_eq!((trace, passed), (TRACE, flags), "ratio {ratio}");
            assert_eq!(seen["tracestate"], STATE);
            assert_ne!(id, PARENT);
            ids.push(id.to_owned());
        }
        run.end().await;
        let spans = collector.spans();
        assert_eq!(
            by_id(&spans, ours).is_some(),
            is_ours_sampled == "01",
            "ratio {ratio}"
        );
        assert!(by_id(&spans, &ids[0]).is_none(), "ratio {ratio}");
        assert!(by_id(&spans, &ids[1]).is_some(), "ratio {ratio}");
    }
}

#[tokio::test]
async fn a_route_that_drops_traceparent_sends_none() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let variables = [(
        "COUNTERSIGN_ROUTE__GRAPHQL__DROP_HEADERS",
        "traceparent,tracestate",
    )];
    let settings = format!("[traces]\nendpoint = \"{}\"", collector.url());
    let run = traced.run(&settings, &variables).await;
    let sent = traceparent("01");
    let headers = [("traceparent", sent.as_str()), ("tracestate", STATE)];
    assert_eq!(run.passed(&headers).await, BTreeMap::new());
    run.end().await;
    assert_eq!(collector.spans().len(), 2);
}

/// Returns how many spans the log reports as dropped, and in how many lines.
fn dropped(log: &str) -> (usize, usize) {
    let lines = log
        .lines()
        .filter(|line| line.contains("spans were dropped"));
    let counts = lines.map(|line| {
        let (_, rest) = line.split_once("spans=").unwrap();
        rest.split(' ').next().unwrap().parse::<usize>().unwrap()
    });
    let counts: Vec<usize> = counts.collect();
    (counts.iter().sum(), counts.len())
}

#[tokio::test]
async fn an_unreachable_collector_costs_only_its_spans() {
    let traced = TracesWorld::new().await;
    let nobody = ClosedPort::new();
    let settings = format!("[traces]\nendpoint = \"http://{}\"", nobody.addr);
    let mut run = traced.run(&settings, &[]).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    let line = run.daemon.line("spans were dropped").await;
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("Connection refused"), "{line}");
    for _ in 0..5 {
        assert_eq!(run.post(&[], QUERY).await.status, 200);
    }
    let log = run.end().await;
    let (spans, lines) = dropped(&log);
    assert_eq!(spans, 12, "{log}");
    assert_eq!(lines, 2, "one at once, one at the end:\n{log}");
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nothing() {
    let traced = TracesWorld::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = format!(
        "[traces]\nendpoint = \"http://{}\"",
        listener.local_addr().unwrap()
    );
    let run = traced.run(&settings, &[]).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    // The collector has a batch and does not answer it.
    let (_kept, _) = within("a batch", listener.accept()).await.unwrap();
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(run.post(&[], QUERY).await.status, 200);
    }
    let asked = begun.elapsed();
    let begun = Instant::now();
    let log = run.end().await;
    let ended = begun.elapsed();
    assert!(
        asked < Duration::from_secs(4),
        "waited for the collector: {asked:?}"
    );
    let bound = Duration::from_millis(1_900)..Duration::from_secs(4);
    assert!(
        bound.contains(&ended),
        "two seconds are given to it: {ended:?}"
    );
    assert_eq!(dropped(&log).0, 102, "{log}");
}

#[tokio::test]
async fn queued_spans_are_sent_at_shutdown() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let run = traced.exporting(&collector, "").await;
    for _ in 0..20 {
        assert_eq!(run.post(&[], QUERY).await.status, 200);
    }
    let log = run.end().await;
    assert_eq!(collector.spans().len(), 40, "{log}");
    assert_eq!(dropped(&log), (0, 0), "{log}");
}

#[tokio::test]
async fn headers_of_a_file_are_sent_only_to_the_collector() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let text = "# for the collector\nX-Api-Key: the secret key\nauthorization:Bearer another\n";
    let file = traced.world.home.file("otlp", text);
    let settings = format!(
        "[log]\nfilter = \"trace\"\n[traces]\nendpoint = \"{}\"\nheaders_file = {file:?}",
        collector.url()
    );

    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let mut refused = traced.start(&settings, &[]);
    assert_eq!(refused.exited().await, 3);
    assert!(refused.log.contains("mode 644"), "{}", refused.log);

    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let run = traced.run(&settings, &[]).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    let log = run.end().await;
    assert!(
        !log.contains("secret key") && !log.contains("another"),
        "{log}"
    );
    let batches = collector.batches();
    assert!(!batches.is_empty());
    for Batch { head, .. } in batches {
        assert!(head.contains("\r\nx-api-key: the secret key\r\n"), "{head}");
        assert!(
            head.contains("\r\nauthorization: bearer another\r\n"),
            "{head}"
        );
    }

    fs::write(&file, "x-api-key: the secret key\nno secret header\n").unwrap();
    let mut refused = traced.start(&settings, &[]);
    assert_eq!(refused.exited().await, 3);
    assert!(refused.log.contains("line 2"), "{}", refused.log);
    assert!(!refused.log.contains("secret"), "{}", refused.log);
}

#[tokio::test]
async fn otel_variables_apply_where_ours_are_unset() {
    let traced = TracesWorld::new().await;
    let (theirs, ours) = (Collector::start().await, Collector::start().await);
    let url = theirs.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_SERVICE_NAME", "orders-signer"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test,service.name=x",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue"),
        // Unsupported options: we send protobuf over HTTP without compression.
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let run = traced.run("", &variables).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    run.end().await;
    let batches = theirs.batches();
    let resource = batches[0].resource();
    assert_eq!(resource["service.name"], "orders-signer");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert!(
        batches[0].head.contains("\r\nx-tenant: blue\r\n"),
        "{}",
        batches[0].head
    );

    let run = traced
        .run(
            &format!("[traces]\nendpoint = \"{}\"", ours.url()),
            &variables,
        )
        .await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    run.end().await;
    assert_eq!((theirs.spans().len(), ours.spans().len()), (2, 2));

    let run = traced.run("[traces]\nendpoint = \"off\"", &variables).await;
    let sent = traceparent("01");
    let seen = run.passed(&[("traceparent", &sent)]).await;
    assert_eq!(seen["traceparent"], sent);
    run.end().await;
    assert_eq!((theirs.spans().len(), ours.spans().len()), (2, 2));
}

#[tokio::test]
async fn spans_are_exported_over_tls() {
    let traced = TracesWorld::new().await;
    let kept = Kept::new();
    let keeper = Arc::clone(&kept);
    let peer = TlsPeer::start(&["localhost"], &["http/1.1"], move |_, stream| {
        crate::collector::serve(Arc::clone(&keeper), stream)
    })
    .await;
    let collector = Collector::keeping(peer.addr, &kept);
    let roots = traced.world.home.file("roots.pem", &peer.ca_pem);
    let settings = format!(
        "[traces]\nendpoint = \"https://localhost:{}\"",
        peer.addr.port()
    );
    let run = traced.run(&settings, &[("SSL_CERT_FILE", &roots)]).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    let log = run.end().await;
    assert_eq!(collector.spans().len(), 2, "{log}");

    // The certificate of another authority.
    let roots = traced
        .world
        .home
        .file("others.pem", traced.world.emulator.ca_pem());
    let run = traced.run(&settings, &[("SSL_CERT_FILE", &roots)]).await;
    assert_eq!(run.post(&[], QUERY).await.status, 200);
    let log = run.end().await;
    assert_eq!(dropped(&log).0, 2, "{log}");
    assert!(log.contains("certificate"), "{log}");
    assert_eq!(collector.spans().len(), 2);
}

/// OpenTelemetry's generated Python messages, parsed by Google's library, contain the same spans as
/// the Rust messages.
#[tokio::test]
async fn another_decoder_reads_the_same_spans() {
    let traced = TracesWorld::new().await;
    let collector = Collector::start().await;
    let run = traced.exporting(&collector, "").await;
    let sent = traceparent("01");
    let headers = [("traceparent", sent.as_str())];
    assert_eq!(run.post(&headers, MUTATION).await.status, 200);
    run.end().await;

    let mut seen = Vec::new();
    for batch in collector.batches() {
        let mut child = python("spans.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&batch.body).await.unwrap();
        drop(stdin);
        let output = within("the witness", child.wait_with_output())
            .await
            .unwrap();
        assert!(output.status.success());
        let spans: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        seen.extend(spans);
    }
    let kind = |span: &Span| span.kind().as_str_name().to_owned();
    let expected = collector.spans().into_iter().map(|span| {
        json!({
            "service": "countersign",
            "name": span.name,
            "kind": kind(&span),
            "trace": TRACE,
            "id": hex(&span.span_id),
            "parent": hex(&span.parent_span_id),
            "attributes": attributes(&span.attributes),
            "ends": true,
        })
    });
    assert_eq!(seen, expected.collect::<Vec<Value>>());
    let of = |name: &str| seen.iter().find(|span| span["name"] == name).unwrap();
    assert_eq!(of("POST graphql")["kind"], "SPAN_KIND_SERVER");
    assert_eq!(of("POST graphql")["parent"], PARENT);
    assert_eq!(of("POST")["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(of("POST")["parent"], of("POST graphql")["id"]);
    assert_eq!(
        of("POST graphql")["attributes"]["graphql.operation.type"],
        "mutation"
    );
}
