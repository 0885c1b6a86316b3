//! The catalogue of error codes against the wire: a client provokes each code, over HTTP and also on
//! sockets and streams where it can arise there, and the status and `sent` must be the catalogue's.
//!
//! [`rows`] has the ways to provoke them. A few codes need the surroundings of another test
//! ([`ELSEWHERE`]), which calls [`check_response`] or [`check_text`].

mod rows;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use countersign::telemetry::metrics::{self, Format};
use countersign_emulator::Stats;
use countersign_protocol::error_code::{Code, Sent, Status};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fakes::{Heard, TlsPeer};
use crate::flood::{open_stream, reserve};
use crate::support::{Answer, ClosedPort, PATIENCE, Running, Socket, World, exchange, raw, within};
use crate::upstream::{app, app_with_token, http1_peer};

/// One way to provoke an error.
struct Row {
    code: Code,
    sent: Sent,
    /// Of the response, if the error is one.
    status: u16,
    /// A change of the emulator's switches before it.
    when: Value,
    /// A change of them once a subscription is live.
    then: Option<Value>,
    ask: Ask,
}

enum Ask {
    /// A request whose response is the error.
    Http(String),
    /// A request whose response contains the error: a stream, or the results of a batch.
    Inside(String),
    /// A request to which AWS responds itself. The code is only in the log and the metrics.
    Logged(String),
    /// A request that the client abandons when the emulator has received it.
    Abandoned(String),
    /// A frame on a socket, after `connection_init`.
    Socket {
        protocol: &'static str,
        path: &'static str,
        frames: Vec<Value>,
    },
    /// Requests about a reserved stream, whose token replaces `$TOKEN`. The last one fails.
    Reserved {
        is_open: bool,
        requests: Vec<String>,
    },
}

/// Codes with the tests that provoke them, because they need what only those tests set up.
const ELSEWHERE: [(Code, Sent, &str, &str); 13] = [
    // Panics, of which none is known: a log subscriber causes them.
    (
        Code::Internal,
        Sent::Maybe,
        "panics.rs",
        "a_panic_in_a_request_becomes_a_500_and_the_next_request_is_served",
    ),
    (
        Code::Internal,
        Sent::No,
        "panics.rs",
        "a_panic_in_a_signature_ends_only_its_subscription",
    ),
    // A process with little memory.
    (
        Code::MemoryShort,
        Sent::No,
        "memory.rs",
        "every_protocol_is_refused_alike_while_memory_is_short",
    ),
    // Megabytes of events that nobody reads.
    (
        Code::SlowConsumer,
        Sent::Yes,
        "realtime.rs",
        "a_client_that_stops_reading_loses_only_its_own_subscription",
    ),
    // 256 realtime connections.
    (
        Code::TooManyConnections,
        Sent::No,
        "realtime.rs",
        "realtime_connections_are_limited",
    ),
    // Client connections that are all in use.
    (
        Code::TooManyClients,
        Sent::No,
        "flood.rs",
        "clients_beyond_the_connection_limit_are_told_so",
    ),
    // Concurrent requests, held at the emulator's gate.
    (
        Code::TooManyInFlight,
        Sent::No,
        "flood.rs",
        "requests_beyond_the_limit_are_told_to_retry",
    ),
    // A clock that differs by more than a day.
    (
        Code::ClockSkew,
        Sent::No,
        "credentials/rejections.rs",
        "a_clock_that_differs_by_more_than_a_day_is_an_error_with_both_times",
    ),
    // Many reservations on one connection.
    (
        Code::StreamsExhausted,
        Sent::No,
        "flood.rs",
        "reserved_streams_are_limited_and_end_with_their_connection",
    ),
    // HTTP/2.
    (
        Code::UpstreamBroken,
        Sent::No,
        "pooled_connections.rs",
        "request_that_upstream_keeps_refusing_is_not_sent",
    ),
    // A drain.
    (
        Code::ShuttingDown,
        Sent::No,
        "interrupted.rs",
        "a_connection_opened_just_before_the_drain_is_answered",
    ),
    (
        Code::ShuttingDown,
        Sent::Maybe,
        "interrupted.rs",
        "a_request_is_answered_at_the_drain_deadline",
    ),
    (
        Code::ShuttingDown,
        Sent::Maybe,
        "interrupted.rs",
        "a_stream_ends_with_an_error_at_the_drain_deadline",
    ),
];

/// Checks a response that is an error.
#[track_caller]
pub fn check_response(answer: &Answer, code: Code, sent: Sent) {
    check_catalogue(code, sent, answer.status);
    assert_eq!(
        answer
            .headers
            .get("x-countersign-error")
            .map(String::as_str),
        Some(code.as_str()),
        "{answer:?}"
    );
    let body = answer.json();
    let [error, at] = match body.get("errors") {
        Some(errors) => [&errors[0], &errors[0]["extensions"]],
        None => [&body, &body],
    };
    let message = error["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "{answer:?}");
    check_members(at, code, sent);
}

/// Checks that a frame, or a part of a stream, contains the error.
#[track_caller]
pub fn check_text(text: &str, code: Code, sent: Sent) {
    assert!(code.sent().contains(&sent), "{code}: {sent:?}");
    let found = extensions(text);
    let error = found.iter().find(|found| found["code"] == code.as_str());
    let error = error.unwrap_or_else(|| panic!("no {code}: {text}"));
    check_members(error, code, sent);
}

#[track_caller]
fn check_members(error: &Value, code: Code, sent: Sent) {
    assert_eq!(error["code"], code.as_str(), "{error}");
    assert_eq!(error["sent"], sent.as_str(), "{error}");
}

#[track_caller]
fn check_catalogue(code: Code, sent: Sent, status: u16) {
    assert!(code.sent().contains(&sent), "{code}: {sent:?}");
    match code.status() {
        Status::OneOf(statuses) => assert!(
            statuses.iter().any(|listed| *listed == status),
            "{code}: {status}"
        ),
        Status::Upstream => {}
        Status::None => panic!("{code} has no status, but {status} was received"),
    }
}

/// Returns the objects with the codes of the errors in a text.
fn extensions(text: &str) -> Vec<Value> {
    let keys = ["\"extensions\":", "\"errorInfo\":"];
    let after = keys.iter().flat_map(|key| text.split(key).skip(1));
    let values = after.map(|rest| serde_json::Deserializer::from_str(rest).into_iter().next());
    values.filter_map(|value| value?.ok()).collect()
}

/// Waits until a request with this code is counted.
async fn counted(code: Code) {
    let label = format!("code=\"{code}\"");
    let counted = async {
        loop {
            let page = metrics::encode(Format::Prometheus).unwrap();
            let mut lines = page.lines();
            if lines.any(|line| {
                line.starts_with("countersign_requests_total{") && line.contains(&label)
            }) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within(&format!("a count of {code}"), counted).await;
}

/// Sends a request and reads the response. One that waits for a buffer takes as long as [`PATIENCE`].
async fn patient(addr: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(stream, request.as_bytes());
    let answer = tokio::time::timeout(PATIENCE * 2, answer).await;
    answer.unwrap_or_else(|_| panic!("no response: {request}"))
}

impl Row {
    /// Provokes the error and compares it with the catalogue.
    async fn check(&self, addr: SocketAddr, world: Option<&World>) {
        let Self { code, sent, .. } = *self;
        let fill = |text: &str| text.replace("$ADDR", &addr.to_string());
        match &self.ask {
            Ask::Http(request) => {
                let answer = patient(addr, &fill(request)).await;
                assert_eq!(answer.status, self.status, "{code}: {answer:?}");
                check_response(&answer, code, sent);
                counted(code).await;
            }
            Ask::Inside(request) => {
                let request = fill(request);
                let asked = patient(addr, &request);
                let (answer, ()) = tokio::join!(asked, self.change_when_live(world));
                assert!(
                    !answer.headers.contains_key("x-countersign-error"),
                    "{code}: {answer:?}"
                );
                check_text(&answer.body, code, sent);
            }
            Ask::Logged(request) => {
                let answer = raw(addr, fill(request).as_bytes()).await;
                assert_eq!(answer.status, self.status, "{code}: {answer:?}");
                assert!(
                    !answer.headers.contains_key("x-countersign-error"),
                    "{code}: {answer:?}"
                );
                counted(code).await;
            }
            Ask::Abandoned(request) => {
                let world = world.expect("an emulator");
                let before = world.emulator.stats().requests.http;
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(fill(request).as_bytes()).await.unwrap();
                let is_received = |stats: &Stats| stats.requests.http > before;
                world.saw("the request", is_received).await;
                drop(stream);
                counted(code).await;
            }
            Ask::Socket {
                protocol,
                path,
                frames,
            } => {
                let mut socket = Socket::dial(addr, path, protocol, &[]).await;
                socket.send(json!({ "type": "connection_init" })).await;
                for frame in frames {
                    socket.send(frame.clone()).await;
                }
                let failed = async {
                    loop {
                        let frame = socket.next().await.to_string();
                        if !extensions(&frame).is_empty() {
                            return frame;
                        }
                    }
                };
                let (frame, ()) =
                    tokio::join!(within("an error", failed), self.change_when_live(world));
                check_text(&frame, code, sent);
            }
            Ask::Reserved { is_open, requests } => {
                let mut kept = TcpStream::connect(addr).await.unwrap();
                let (status, token) = reserve(&mut kept).await;
                assert_eq!(status, 201, "{token}");
                let _open = match is_open {
                    true => Some(open_stream(addr, &token).await),
                    false => None,
                };
                let (last, before) = requests.split_last().unwrap();
                for request in before {
                    let request = fill(request).replace("$TOKEN", &token);
                    let answer = raw(addr, request.as_bytes()).await;
                    assert_eq!(answer.status, 202, "{code}: {answer:?}");
                }
                let request = fill(last).replace("$TOKEN", &token);
                let answer = raw(addr, request.as_bytes()).await;
                assert_eq!(answer.status, self.status, "{code}: {answer:?}");
                check_response(&answer, code, sent);
            }
        }
    }

    async fn change_when_live(&self, world: Option<&World>) {
        if let Some(change) = &self.then {
            let world = world.expect("an emulator");
            world.subscriptions(1).await;
            world.switch(change.clone());
        }
    }
}

/// Checks rows one after another, each with its own switches.
async fn check(world: Running, rows: Vec<Row>) {
    for row in &rows {
        world.switch(rows::switched_off());
        world.switch(row.when.clone());
        row.check(world.addr, Some(&world.world)).await;
    }
    world.switch(rows::switched_off());
    world.drained().await;
}

#[tokio::test]
async fn errors_of_requests_and_operations_match_the_catalogue() {
    let settings = [
        ("guard.forwarded", "refuse"),
        ("limits.batch", "2"),
        ("limits.operations", "1"),
        ("limits.request_body", "1KiB"),
        ("limits.response_body", "1KiB"),
        ("limits.subscriptions", "1"),
        ("route.http.odd_paths", "keep"),
        ("route.ro.path", "/ro"),
        ("route.ro.read_only", "true"),
        ("route.ro.target", "https://$API/graphql"),
        ("timeouts.request_body", "200ms"),
    ];
    let world = World::builder()
        .routes(&["event", "rest", "http"])
        .settings(&settings)
        .in_process()
        .await;
    check(world, rows::ours()).await;
}

#[tokio::test]
async fn rejections_by_aws_match_the_catalogue() {
    check(World::builder().in_process().await, rows::rejections()).await;
}

/// A failed connection changes how the next one is opened, so each row has a world of its own.
#[tokio::test]
async fn errors_of_realtime_match_the_catalogue() {
    for row in rows::realtime() {
        // A short timeout only where it is awaited: a busy machine would exceed the others.
        let short = [
            ("connect_delay_ms", "pool.handshake"),
            ("gate", "timeouts.first_byte"),
            ("no_start_ack", "pool.start_ack"),
        ];
        let short = short
            .iter()
            .filter(|(switch, _)| row.when.get(switch).is_some());
        let settings: Vec<(&str, &str)> = short.map(|(_, key)| (*key, "200ms")).collect();
        let world = World::builder().routes(&["event"]).settings(&settings);
        check(world.in_process().await, vec![row]).await;
    }
}

#[tokio::test]
async fn errors_of_tokens_match_the_catalogue() {
    let world = World::builder()
        .file("token", &"t".repeat(40))
        .settings(&[("guard.token_file", "$DIR/token")])
        .in_process()
        .await;
    check(world, rows::tokens()).await;
}

#[tokio::test]
async fn a_missing_certificate_matches_the_catalogue() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let settings = [
        ("tls.cert", "$DIR/cert.pem"),
        ("tls.key", "$DIR/key.pem"),
        ("tls.client_ca", "$DIR/cert.pem"),
    ];
    let world = World::builder()
        .file("cert.pem", &certificate)
        .file("key.pem", &key.serialize_pem())
        .settings(&settings)
        .in_process()
        .await;
    check(world, rows::certificates()).await;
}

#[tokio::test]
async fn missing_credentials_match_the_catalogue() {
    let world = World::builder().keyless().daemon().await;
    for row in rows::operations(Code::CredentialsUnavailable, Sent::No) {
        // The requests are counted in another process.
        let Ask::Http(request) = &row.ask else {
            row.check(world.addr, None).await;
            continue;
        };
        let request = request.replace("$ADDR", &world.addr.to_string());
        let answer = raw(world.addr, request.as_bytes()).await;
        check_response(&answer, row.code, row.sent);
    }
}

/// countersign checks the credentials that it loads, so only fixed ones can have a line end.
#[tokio::test]
async fn credentials_that_cannot_sign_match_the_catalogue() {
    let ca_pem = World::new().await.emulator.ca_pem().to_owned();
    let closed = ClosedPort::new();
    let addr = app_with_token(closed.addr, &ca_pem, "a\nb", &[]).await;
    for row in rows::operations(Code::SigningFailed, Sent::No) {
        row.check(addr, None).await;
    }
}

/// A failed connection delays the next one, so each row has a countersign of its own.
#[tokio::test]
async fn errors_of_connections_to_aws_match_the_catalogue() {
    let peer = TlsPeer::start(&["other.example"], &["http/1.1"], |_, _| async {}).await;
    // The kernel accepts connections for a listener that does not.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = ClosedPort::new();
    for (code, upstream, timeout) in [
        (Code::UpstreamUnreachable, closed.addr, "20s"),
        (Code::UpstreamTls, peer.addr, "20s"),
        (
            Code::UpstreamConnectTimeout,
            silent.local_addr().unwrap(),
            "200ms",
        ),
    ] {
        for row in rows::operations(code, Sent::No) {
            let settings = [("timeouts.connect", timeout)];
            let addr = app(upstream, &peer.ca_pem, &settings).await;
            row.check(addr, None).await;
        }
    }
}

/// The upstream's response depends on the request's body, the name of a fault.
#[tokio::test]
async fn errors_of_responses_of_aws_match_the_catalogue() {
    let peer = http1_peer(|_, mut stream| async move {
        let Some(request) = Heard::read(&mut stream).await else {
            return;
        };
        let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: X\r\n";
        let (response, is_open) = if request.body.contains("compressed") {
            (
                "content-encoding: gzip\r\ncontent-length: 2\r\n\r\nzz",
                true,
            )
        } else if request.body.contains("interrupted") {
            ("content-length: 1000\r\n\r\n{", false)
        } else if request.body.contains("stalled") {
            ("content-length: 200000\r\n\r\n{", true)
        } else {
            // No response at all.
            return;
        };
        let response = format!("{head}{response}");
        stream.write_all(response.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if is_open {
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let settings = [("limits.buffered", "128KiB")];
    let addr = app(peer.addr, &peer.ca_pem, &settings).await;
    for row in rows::responses() {
        row.check(addr, None).await;
    }

    // One response that does not continue holds all of `limits.buffered`, until the test ends.
    let mut holding = TcpStream::connect(addr).await.unwrap();
    let request = rows::post_stalled().replace("$ADDR", &addr.to_string());
    holding.write_all(request.as_bytes()).await.unwrap();
    let opened = peer.connections();
    let begun = async {
        while peer.connections() == opened {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the response that holds the buffers", begun).await;
    let waiting = rows::buffers();
    let waiting = waiting.iter().map(|row| row.check(addr, None));
    futures_util::future::join_all(waiting).await;
}

/// Every value of `sent` and every status that the catalogue lists is met, and no other.
#[test]
fn every_code_of_the_catalogue_is_provoked() {
    let of_any = [
        Code::CredentialsUnavailable,
        Code::SigningFailed,
        Code::UpstreamConnectTimeout,
        Code::UpstreamTls,
        Code::UpstreamUnreachable,
    ];
    let any = of_any.map(|code| rows::operations(code, Sent::No));
    let all = [
        rows::ours(),
        rows::rejections(),
        rows::realtime(),
        rows::tokens(),
        rows::certificates(),
        rows::responses(),
        rows::buffers(),
    ];
    let rows: Vec<Row> = all.into_iter().chain(any).flatten().collect();
    let mut missing = BTreeSet::new();
    for code in Code::ALL.iter().copied() {
        let of_code = || rows.iter().filter(move |row| row.code == code);
        let elsewhere = || ELSEWHERE.iter().filter(move |(of, ..)| *of == code);
        if of_code().count() + elsewhere().count() == 0 {
            missing.insert(format!("{code}"));
        }
        for sent in code.sent() {
            let has_row = of_code().any(|row| row.sent == *sent);
            if !has_row && !elsewhere().any(|(_, of, ..)| of == sent) {
                missing.insert(format!("{code} with sent {sent:?}"));
            }
        }
        if let Status::OneOf(statuses) = code.status() {
            for status in statuses.iter().map(http::StatusCode::as_u16) {
                if !of_code().any(|row| row.status == status) && elsewhere().count() == 0 {
                    missing.insert(format!("{code} with status {status}"));
                }
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
    for (code, sent, file, test) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it")
            .join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let begin = format!("async fn {test}(");
        let (_, body) = text
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no {test}"));
        let body = body.split("\nasync fn ").next().unwrap();
        let check = format!("Code::{code:?}, Sent::{sent:?})");
        assert!(
            body.contains(&check),
            "{file}: {test} does not check {check}"
        );
    }
}
