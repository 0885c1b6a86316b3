//! Tests which parts a panic in each kind of task ends, and which keep running.
//!
//! A log subscriber of these tests panics at a chosen line, which acts like a bug in
//! the code around that line.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use countersign::telemetry::metrics::{self, Format};
use countersign_protocol::error_code::{Code, Sent};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::MutexGuard;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::error_codes::{check_response, check_text};
use crate::support::{
    GATEWAY, JSON, PATIENCE, Running, Scratch, Socket, World, get, post, raw_on, within,
};

/// The log line or span at which the next panic happens: its target, texts that it contains, and how
/// many such lines to skip.
struct Trap {
    target: &'static str,
    texts: &'static [&'static str],
    before: usize,
}

static TRAP: Mutex<Option<Trap>> = Mutex::new(None);
/// The address of the last admin listener.
static ADMIN: Mutex<Option<SocketAddr>> = Mutex::new(None);
/// A process has one log, so the tests take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Log;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

fn pass(target: &str, text: &str) {
    let mut trap = TRAP.lock();
    let Some(set) = trap.as_mut() else {
        return;
    };
    if target != set.target || !set.texts.iter().all(|wanted| text.contains(wanted)) {
        return;
    }
    if set.before > 0 {
        set.before -= 1;
        return;
    }
    *trap = None;
    drop(trap);
    panic!("on purpose");
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("countersign")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        pass(span.metadata().target(), span.metadata().name());
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if let Some((_, rest)) = line.0.split_once("health and metrics on http://") {
            let end = rest.find(|c| !matches!(c, '0'..='9' | '.' | ':'));
            *ADMIN.lock() = rest[..end.unwrap_or(rest.len())].parse().ok();
        }
        pass(event.metadata().target(), &line.0);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

pub async fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().await;
    // Another test of this process may have installed it.
    let _ = tracing::subscriber::set_global_default(Log);
    turn
}

pub fn set(target: &'static str, texts: &'static [&'static str]) {
    set_after(0, target, texts);
}

/// Skips so many lines before the panic.
pub fn set_after(before: usize, target: &'static str, texts: &'static [&'static str]) {
    *TRAP.lock() = Some(Trap {
        target,
        texts,
        before,
    });
}

pub const REQUEST: &str = "countersign::request";
pub const SPAN: &str = "countersign::trace";

fn count(sample: &str) -> f64 {
    let page = metrics::encode(Format::Prometheus).unwrap();
    let line = page.lines().find_map(|line| {
        line.strip_prefix("countersign_")?
            .strip_prefix(sample)?
            .strip_prefix(' ')
    });
    line.map_or(0.0, |value| value.parse().unwrap())
}

pub fn panics(task: &str) -> f64 {
    count(&format!("task_panics_total{{task=\"{task}\"}}"))
}

/// Waits until one more panic of the task than `before` is counted, and none of other tasks.
pub async fn one_more(task: &str, before: f64) {
    let counted = async {
        while panics(task) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("a panic of {task}"), counted).await;
    assert_eq!(panics(task), before + 1.0, "{task}");
    assert!(TRAP.lock().is_none());
}

const QUERY: &str = "{ rooms { id } }";
const SUBSCRIPTION: &str = "subscription { onMessage { id body } }";

async fn works(world: &Running) {
    assert_eq!(world.query(QUERY).await.status, 200);
    let mut socket = world.acked().await;
    socket.subscribe("q", QUERY).await;
    assert_eq!(socket.next_of("q").await["type"], "next");
}

#[tokio::test]
async fn a_panic_in_a_request_becomes_a_500_and_the_next_request_is_served() {
    let _turn = turn().await;
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[("limits.in_flight", "1")])
        .in_process()
        .await;
    let sample = "requests_total{route=\"none\",client=\"http\",operation=\"none\",\
                  status=\"500\",code=\"INTERNAL\"}";
    // Before the request is parsed, and while it is sent upstream.
    for before in [0, 1] {
        let (known, counted) = (panics("request"), count(sample));
        set_after(before, SPAN, &[]);
        let answer = world.query(QUERY).await;
        check_response(&answer, Code::Internal, Sent::Maybe);
        assert_eq!(answer.headers["connection"], "close");
        assert!(!answer.body.contains("on purpose"), "{answer:?}");
        one_more("request", known).await;
        if before == 0 {
            assert_eq!(count(sample), counted + 1.0);
        }
        works(&world).await;
    }
    // An HTTP route has another form of errors.
    let known = panics("request");
    set_after(1, SPAN, &[]);
    let answer = get(world.addr, "/http/echo", &[]).await;
    check_response(&answer, Code::Internal, Sent::Maybe);
    one_more("request", known).await;
    works(&world).await;
    assert_eq!(count("requests_in_flight{route=\"graphql\"}"), 0.0);
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_a_connection_ends_only_that_connection() {
    let _turn = turn().await;
    let world = World::builder().in_process().await;
    let mut other = world.acked().await;
    let open = count("client_connections");
    let known = panics("connection");
    // The request is logged after its response has been sent.
    set(
        REQUEST,
        &["message=request", "http.response.status_code=200"],
    );
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let request = format!(
        "GET /graphql?query=%7Brooms%7Bid%7D%7D HTTP/1.1\r\nhost: {}\r\n\r\n",
        world.addr
    );
    // Without `connection: close` the panic ends the connection.
    raw_on(&mut stream, request.as_bytes()).await;
    one_more("connection", known).await;
    other.subscribe("q", QUERY).await;
    assert_eq!(other.next_of("q").await["type"], "next");
    works(&world).await;
    assert!(count("client_connections") <= open);
    world.drained().await;
}

/// Makes the next accept fail, for a client that connects: no file descriptor is left.
async fn with_a_failed_accept(
    addr: SocketAddr,
    task: &str,
    target: &'static str,
    text: &'static str,
) -> TcpStream {
    let known = panics(task);
    let socket = TcpSocket::new_v4().unwrap();
    let usual = getrlimit(Resource::Nofile);
    // The lowest that is free: the descriptors below it are taken.
    let next = fs::File::open("/dev/null").unwrap();
    let limit = std::os::fd::AsRawFd::as_raw_fd(&next);
    drop(next);
    let short = Rlimit {
        current: Some(limit.try_into().unwrap()),
        ..usual
    };
    set(target, Box::leak(Box::new([text])));
    setrlimit(Resource::Nofile, short).unwrap();
    let stream = socket.connect(addr).await;
    let failed = tokio::time::timeout(PATIENCE, async {
        while panics(task) == known {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let failed = failed.await;
    setrlimit(Resource::Nofile, usual).unwrap();
    failed.expect("a panic of the accept loop");
    one_more(task, known).await;
    stream.unwrap()
}

#[tokio::test]
async fn a_panic_in_an_accept_loop_does_not_stop_accepting() {
    let _turn = turn().await;
    let world = World::builder()
        .settings(&[("admin", "127.0.0.1:0")])
        .in_process()
        .await;
    let admin = ADMIN.lock().unwrap();
    let target = "countersign::server::accept";
    let text = "connection not accepted";
    let stream = with_a_failed_accept(world.addr, "accept", target, text).await;
    let request = format!(
        "GET /graphql?query=%7Brooms%7Bid%7D%7D HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        world.addr
    );
    // The one that waited, and others.
    assert_eq!(raw_on(stream, request.as_bytes()).await.status, 200);
    works(&world).await;

    let stream = with_a_failed_accept(admin, "admin", target, text).await;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let page = raw_on(stream, request.as_bytes()).await;
    assert_eq!(page.status, 200);
    let sample = "countersign_task_panics_total{task=\"accept\"} ";
    assert!(page.body.contains(sample), "{}", page.body);

    // In a request of the admin listener.
    let known = panics("admin");
    set("countersign::admin", &["stop requested by /quitquitquit"]);
    let answer = post(admin, "/quitquitquit", &[], "").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    one_more("admin", known).await;
    assert_eq!(get(admin, "/livez", &[]).await.status, 200);
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_a_socket_closes_it_with_1011_and_stops_its_subscriptions() {
    let _turn = turn().await;
    let world = World::builder().in_process().await;
    let mut other = world.acked().await;
    other.subscribe("other", SUBSCRIPTION).await;
    let mut socket = world.acked().await;
    for id in ["one", "two"] {
        socket.subscribe(id, SUBSCRIPTION).await;
    }
    world.subscriptions(3).await;
    let known = panics("socket");
    set(REQUEST, &["graphql.operation.type=\"subscription\""]);
    socket
        .send(json!({ "id": "one", "type": "complete" }))
        .await;
    assert_eq!(u16::from(socket.closed().await.code), 1011);
    one_more("socket", known).await;
    world.subscriptions(1).await;
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"x\") { id body } }";
    assert_eq!(world.query(mutation).await.status, 200);
    assert_eq!(other.next_of("other").await["type"], "next");
    works(&world).await;
    assert_eq!(count("subscriptions{route=\"graphql\"}"), 1.0);
    drop((other, socket));
    world.subscriptions(0).await;
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_an_operation_becomes_its_error_and_the_socket_stays_open() {
    let _turn = turn().await;
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    let known = panics("operation");
    set(REQUEST, &["graphql.operation.type=\"query\""]);
    socket.subscribe("q", QUERY).await;
    let frame = socket.next_of("q").await;
    assert_eq!(frame["type"], "error", "{frame}");
    check_text(&frame.to_string(), Code::Internal, Sent::Maybe);
    one_more("operation", known).await;
    socket.subscribe("again", QUERY).await;
    assert_eq!(socket.next_of("again").await["type"], "next");
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_a_stream_aborts_it_or_becomes_a_500_before_its_start() {
    let _turn = turn().await;
    let world = World::builder().in_process().await;
    let accept = ("accept", "text/event-stream");
    let body = json!({ "query": SUBSCRIPTION }).to_string();
    let known = panics("stream");
    // The request has a span, then the operation that the stream starts.
    set(SPAN, &["request"]);
    TRAP.lock().as_mut().unwrap().before = 1;
    let answer = post(world.addr, "/graphql", &[JSON, accept], &body).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert_eq!(answer.headers["x-countersign-error"], "INTERNAL");
    one_more("stream", known).await;

    let known = panics("stream");
    let headers = [JSON, accept];
    let streamed = post(world.addr, "/graphql", &headers, &body);
    let broken = async {
        world.subscriptions(1).await;
        set(REQUEST, &["graphql.operation.type=\"subscription\""]);
        world.switch(json!({ "error_all": true }));
    };
    let (answer, ()) = tokio::join!(streamed, broken);
    assert_eq!(answer.status, 200, "{answer:?}");
    // A chunk of no bytes ends a response that is whole.
    assert!(!answer.body.contains("event: complete"), "{answer:?}");
    one_more("stream", known).await;
    works(&world).await;
    world.subscriptions(0).await;
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_a_realtime_connection_ends_only_its_subscriptions() {
    let _turn = turn().await;
    for on_loss in ["close", "resume"] {
        let settings = [
            ("route.graphql.on_upstream_loss", on_loss),
            ("limits.outbox", "256KiB"),
            ("pool.spread", "1ms"),
        ];
        let world = World::builder().settings(&settings).in_process().await;
        let pool = "countersign::realtime::pool";
        let driver = "countersign::realtime::driver";

        // When the connection has just opened.
        let known = panics("realtime");
        set(driver, &["realtime connection open"]);
        let mut first = world.acked().await;
        first.subscribe("s", SUBSCRIPTION).await;
        assert_eq!(u16::from(first.closed().await.code), 1012, "{on_loss}");
        one_more("realtime", known).await;

        // When the connection is live and has several clients.
        let known = panics("realtime");
        let mut slow = world.acked().await;
        slow.subscribe("slow", SUBSCRIPTION).await;
        let mut brisk = world.acked().await;
        brisk.subscribe("brisk", SUBSCRIPTION).await;
        assert_eq!(world.subscriptions(2).await.realtime.connections, 1);
        set(driver, &["the client reads too slowly"]);
        let large = "x".repeat(100_000);
        let mutation =
            format!("mutation {{ postMessage(room: \"lobby\", body: \"{large}\") {{ id body }} }}");
        let mut sent = 0;
        while panics("realtime") == known {
            assert!(sent < 400, "the slow subscription did not end");
            assert_eq!(world.query(&mutation).await.status, 200);
            sent += 1;
            if panics("realtime") == known {
                let next = tokio::time::timeout(Duration::from_millis(200), brisk.next_of("brisk"));
                let _ = next.await;
            }
        }
        one_more("realtime", known).await;
        assert_eq!(u16::from(brisk.closed().await.code), 1012, "{on_loss}");
        assert_eq!(u16::from(slow.closed().await.code), 1012, "{on_loss}");
        world.subscriptions(0).await;
        assert_eq!(count("realtime_connections{route=\"graphql\"}"), 0.0);

        // While a lost connection is being replaced.
        let mut third = world.acked().await;
        third.subscribe("s", SUBSCRIPTION).await;
        world.subscriptions(1).await;
        let known = panics("realtime");
        set(pool, &["realtime reconnecting"]);
        world.switch(json!({ "close_all": true }));
        assert_eq!(u16::from(third.closed().await.code), 1012, "{on_loss}");
        one_more("realtime", known).await;

        // Nothing is left behind: subscriptions run, and a loss is redialled.
        let mut last = world.acked().await;
        last.subscribe("s", SUBSCRIPTION).await;
        world.subscriptions(1).await;
        let redials = count("realtime_reconnects_total{route=\"graphql\"}");
        world.switch(json!({ "close_all": true }));
        let redialled = async {
            while count("realtime_reconnects_total{route=\"graphql\"}") == redials {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("a redial", redialled).await;
        works(&world).await;
        drop(last);
        world.drained().await;
    }
}

/// The connection is signed first, and then each subscription.
#[tokio::test]
async fn a_panic_in_a_signature_ends_only_its_subscription() {
    let _turn = turn().await;
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    let known = panics("signing");
    set("countersign::sign", &["signing"]);
    TRAP.lock().as_mut().unwrap().before = 1;
    socket.subscribe("s", SUBSCRIPTION).await;
    let frame = socket.next_of("s").await;
    assert_eq!(frame["type"], "error", "{frame}");
    check_text(&frame.to_string(), Code::Internal, Sent::No);
    one_more("signing", known).await;
    socket.subscribe("again", SUBSCRIPTION).await;
    world.subscriptions(1).await;
    works(&world).await;
    drop(socket);
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_the_recorder_does_not_stop_the_recording() {
    let _turn = turn().await;
    let scratch = Scratch::new("panics-record");
    let path = scratch.0.join("record.json");
    let world = World::builder()
        .settings(&[("iam.record", path.to_str().unwrap())])
        .in_process()
        .await;
    let known = panics("recorder");
    set("countersign::iam::recording", &["recording written"]);
    assert_eq!(world.query(QUERY).await.status, 200);
    one_more("recorder", known).await;
    assert_eq!(world.query("{ slow(ms: 1) }").await.status, 200);
    let recorded = async {
        while !fs::read_to_string(&path)
            .unwrap_or_default()
            .contains("slow")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the second field", recorded).await;
    world.drained().await;
}

#[tokio::test]
async fn a_panic_in_a_tunnel_ends_only_that_tunnel() {
    let _turn = turn().await;
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let other = Socket::dial(world.addr, "/ws", "any", &[]).await;
    let tunnel = Socket::dial(world.addr, "/ws", "any", &[]).await;
    let known = panics("tunnel");
    set(REQUEST, &["transport=\"tunnel\""]);
    drop(tunnel);
    one_more("tunnel", known).await;
    let open = async {
        while count("tunnels{route=\"ws\"}") != 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the end of one tunnel", open).await;
    drop(Socket::dial(world.addr, "/ws", "any", &[]).await);
    drop(other);
    world.drained().await;
}
