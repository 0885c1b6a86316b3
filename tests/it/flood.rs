//! Floods of connections and of bytes: other clients are served meanwhile, and memory stays bounded.
//!
//! The bounds are for a debug build, which takes some MiB more than a release build.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_protocol::error_code::{Code, Sent};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error_codes::{check_response, check_text};
use crate::load::{self, allow_files, closed};
use crate::support::{Daemon, JSON, Running, World, get, post, raw, raw_on, within};

const MIB: u64 = 1024;

/// Prints the daemon's memory, and checks its peak against a bound in MiB.
fn bounded(load: &Running<Daemon>, what: &str, before: u64, bound: u64) {
    let (after, peak) = load.memory();
    println!(
        "{what}: resident before {} MiB, peak {} MiB, after {} MiB",
        before / MIB,
        peak / MIB,
        after / MIB
    );
    assert!(peak < bound * MIB, "{what}: {} MiB", peak / MIB);
}

/// Returns how many connections the daemon has not closed.
fn open(streams: &[TcpStream]) -> usize {
    let is_open = |stream: &&TcpStream| {
        let read = stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    streams.iter().filter(is_open).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_stay_within_memory() {
    const COUNT: usize = 10_000;
    /// The default of `limits.connections`.
    const KEPT: usize = 4_096;
    const TOGETHER: usize = 500;
    allow_files(12_000);
    let load = load::start("").await;
    let (before, _) = load.memory();
    let mut streams = load
        .during("10,000 idle connections", async {
            let begun = Instant::now();
            let mut streams = Vec::new();
            for at in 1..=COUNT {
                let connecting = TcpStream::connect(load.addr);
                streams.push(within("a connection", connecting).await.unwrap());
                // They are accepted in order, unless the kernel delays one.
                if at % TOGETHER == 0 {
                    assert_eq!(query(load.addr, "{ rooms { id } }").await, 200);
                }
            }
            println!("{COUNT} connections in {:.1?}", begun.elapsed());
            // The oldest connections are evicted. Of connections that came together, any may be the oldest.
            for stream in &mut streams[..COUNT - KEPT - TOGETHER] {
                closed(stream).await;
            }
            let room = async {
                while open(&streams) > KEPT {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            within("room for all that are kept", room).await;
            streams
        })
        .await;
    let rest = streams.split_off(COUNT - KEPT);
    let kept = open(&rest);
    println!("{kept} are still open");
    // Each query of the other client took a slot too.
    assert!(kept > KEPT / 2, "{kept}");
    drop((streams, rest));
    assert_eq!(query(load.addr, "{ rooms { id } }").await, 200);
    bounded(&load, "10,000 idle connections", before, 256);
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_connections_at_once_stay_within_memory() {
    const COUNT: usize = 5_000;
    allow_files(7_000);
    let load = load::start("").await;
    let (before, _) = load.memory();
    let addr = load.addr;
    let answers = load.during("5,000 connections at once", async {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..COUNT {
            clients.spawn(async move { get(addr, "/nowhere", &[]).await.status });
        }
        let answers = clients.join_all().await;
        println!(
            "{COUNT} connections, each with a request, in {:.1?}",
            begun.elapsed()
        );
        answers
    });
    let answers = answers.await;
    assert!(answers.iter().all(|status| *status == 404), "{answers:?}");
    bounded(&load, "5,000 connections at once", before, 256);
    load.stop().await;
}

/// Sends `head` and then `piece` repeatedly, `total` bytes of it. Returns the status of the response,
/// and how many bytes were sent before it arrived.
async fn pour(addr: SocketAddr, head: String, piece: Vec<u8>, total: usize) -> (u16, usize) {
    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
    let poured = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&poured);
    let pouring = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await?;
        while count.load(Ordering::Relaxed) < total {
            write.write_all(&piece).await?;
            count.fetch_add(piece.len(), Ordering::Relaxed);
        }
        Ok::<_, std::io::Error>(())
    });
    let mut line = [0; 12];
    within("the answer", read.read_exact(&mut line))
        .await
        .unwrap();
    let poured = poured.load(Ordering::Relaxed);
    drop(read);
    let _ = within("the end of the pouring", pouring).await.unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    (line.split(' ').nth(1).unwrap().parse().unwrap(), poured)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_300_mb_and_headers_of_500_kb_stay_within_memory() {
    const BODY: usize = 300_000_000;
    const HEADER: usize = 500_000;
    let load = load::start("").await;
    let addr = load.addr;
    let head = |headers: &str| format!("POST /graphql HTTP/1.1\r\nhost: {addr}\r\n{headers}");
    let json = "content-type: application/json\r\n";
    let told = head(&format!("{json}content-length: {BODY}\r\n\r\n"));
    let chunked = head(&format!("{json}transfer-encoding: chunked\r\n\r\n"));
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 65_536], b"\r\n".to_vec()].concat();
    let cases = [
        ("a 300 MB body", told, vec![b' '; 65_536], BODY, 413),
        ("a 300 MB body in chunks", chunked, chunk, BODY, 413),
        (
            "a 500 KB header",
            head("a: "),
            vec![b'a'; 10_000],
            HEADER,
            431,
        ),
    ];
    for (what, head, piece, total, expected) in cases {
        let (before, _) = load.memory();
        let work = async {
            for _ in 0..5 {
                let poured = pour(addr, head.clone(), piece.clone(), total).await;
                println!("{what}: {} after {} KB", poured.0, poured.1 / 1_000);
                assert_eq!(poured.0, expected, "{what}");
                assert!(total == HEADER || poured.1 < total / 4, "{what}: not early");
            }
        };
        load.during(what, work).await;
        bounded(&load, what, before, 96);
    }
    load.stop().await;
}

async fn query(addr: SocketAddr, query: &str) -> u16 {
    let body = json!({ "query": query }).to_string();
    post(addr, "/graphql", &[JSON], &body).await.status
}

/// Sends a request on a connection that stays open, and returns the status.
async fn ask(stream: &mut TcpStream) -> u16 {
    let request = b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    while !text.contains("\"sent\":\"no\"") {
        let mut bytes = [0; 1_024];
        let read = within("an answer", stream.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_connection_that_is_idle_longest_is_evicted() {
    let world = World::builder()
        .settings(&[("limits.connections", "3")])
        .in_process()
        .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        assert_eq!(ask(&mut stream).await, 404);
        streams.push(stream);
    }
    assert_eq!(ask(&mut streams[0]).await, 404);
    let mut fourth = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(ask(&mut fourth).await, 404);
    closed(&mut streams[1]).await;
    for at in [0, 2] {
        assert_eq!(ask(&mut streams[at]).await, 404, "{at}");
    }
    assert_eq!(ask(&mut fourth).await, 404);
    // One connection has sent nothing, and one half of a head.
    let mut silent = TcpStream::connect(world.addr).await.unwrap();
    closed(&mut streams[0]).await;
    let mut halfway = TcpStream::connect(world.addr).await.unwrap();
    halfway.write_all(b"GET / HT").await.unwrap();
    closed(&mut streams[2]).await;
    let mut fifth = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(ask(&mut fifth).await, 404);
    closed(&mut fourth).await;
    let mut sixth = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(ask(&mut sixth).await, 404);
    closed(&mut silent).await;
    let mut seventh = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(ask(&mut seventh).await, 404);
    closed(&mut halfway).await;
    world.drained().await;
}

#[tokio::test]
async fn a_connection_with_a_request_in_flight_is_not_evicted() {
    let world = World::builder()
        .settings(&[("limits.connections", "2")])
        .in_process()
        .await;
    let mut socket = world.acked().await;
    world.switch(json!({ "gate": true }));
    let query = tokio::spawn({
        let addr = world.addr;
        async move { query(addr, "{ slow(ms: 0) }").await }
    });
    world
        .saw("the query", |stats| stats.requests.http == 1)
        .await;
    let mut third = TcpStream::connect(world.addr).await.unwrap();
    third
        .write_all(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    // It is not accepted while the others are in use.
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await["type"], "pong");
    let nothing = third.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    world.switch(json!({ "gate": false }));
    assert_eq!(within("the query", query).await.unwrap(), 200);
    let mut text = String::new();
    within("its turn", third.read_to_string(&mut text))
        .await
        .unwrap();
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await["type"], "pong");
    world.drained().await;
}

/// Such clients waited until they gave up. Of many that came together, most were reset before their
/// requests were read.
#[tokio::test]
async fn clients_beyond_the_connection_limit_are_told_so() {
    let world = World::builder()
        .settings(&[("limits.connections", "2")])
        .in_process()
        .await;
    let mut sockets = vec![world.acked().await, world.acked().await];
    let ask = || async {
        let body = json!({ "query": "{ rooms { id } }" }).to_string();
        post(world.addr, "/graphql", &[JSON], &body).await
    };
    // As many as can be answered at once, and more.
    let mut answers = join_all((0..100).map(|_| ask())).await;
    // An upgrade, a request with a body that is never read, and one without a route.
    let upgrade = "GET /graphql HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                   connection: upgrade\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let long = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    for request in [upgrade, &long, "GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        answers.push(raw(world.addr, request.as_bytes()).await);
    }
    for answer in &answers {
        assert_eq!(answer.status, 503, "{answer:?}");
        check_response(answer, Code::TooManyClients, Sent::No);
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["connection"], "close");
    }
    // One that sends nothing holds nobody up, and neither do many.
    let silent = join_all((0..40).map(|_| TcpStream::connect(world.addr))).await;
    sockets.pop();
    let again = async { while ask().await.status != 200 {} };
    within("a free slot", again).await;
    drop((silent, sockets));
    assert_eq!(ask().await.status, 200);
    world.drained().await;
}

/// Most of them were closed without a response.
#[tokio::test]
async fn clients_that_come_together_wait_for_their_slot() {
    let world = World::builder()
        .settings(&[("limits.connections", "4")])
        .in_process()
        .await;
    let statuses = join_all((0..60).map(|_| query(world.addr, "{ rooms { id } }"))).await;
    assert_eq!(statuses, [200; 60]);
    // Their requests follow when others have come that took their slots.
    let mut late = join_all((0..12).map(|_| TcpStream::connect(world.addr))).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(query(world.addr, "{ rooms { id } }").await);
    }
    assert_eq!(answers, [200; 3]);
    for stream in late.drain(..) {
        let request = b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = raw_on(stream.unwrap(), request).await;
        assert!(matches!(answer.status, 404 | 503), "{answer:?}");
    }
    world.drained().await;
}

/// Two queries that wait at the emulator's gate.
struct Held {
    queries: JoinSet<u16>,
    /// How many requests the emulator has received with them.
    requests: u64,
}

async fn hold_two(world: &Running) -> Held {
    world.switch(json!({ "gate": true }));
    let requests = world.emulator.stats().requests.http + 2;
    let mut queries = JoinSet::new();
    for _ in 0..2 {
        let addr = world.addr;
        queries.spawn(async move { query(addr, "{ slow(ms: 0) }").await });
    }
    world
        .saw("both", |stats| stats.requests.http == requests)
        .await;
    Held { queries, requests }
}

impl Held {
    /// Opens the gate. Both queries must succeed.
    async fn release(self, world: &Running) {
        world.switch(json!({ "gate": false }));
        let statuses = within("both", self.queries.join_all()).await;
        assert_eq!(statuses, [200, 200]);
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_retry() {
    let world = World::builder()
        .settings(&[("limits.in_flight", "2")])
        .in_process()
        .await;
    // Open streams and sockets do not count.
    let mut sockets = Vec::new();
    let mut streams = Vec::new();
    for count in 1..=3 {
        sockets.push(world.acked().await);
        let request = format!(
            "GET /graphql?query=subscription%7BonMessage%7Bid%7D%7D HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n",
            world.addr
        );
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        within("a stream", stream.read_exact(&mut line))
            .await
            .unwrap();
        assert_eq!(&line, b"HTTP/1.1 200");
        streams.push(stream);
        world.subscriptions(count).await;
    }
    let held = hold_two(&world).await;
    let answer = world.query("{ rooms { id } }").await;
    check_response(&answer, Code::TooManyInFlight, Sent::No);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(world.emulator.stats().requests.http, held.requests);
    held.release(&world).await;
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.drained().await;
}

/// Sends a request's head, and waits until the daemon expects its body.
async fn awaited(addr: SocketAddr, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut line = [0; 25];
    within("the interim response", stream.read_exact(&mut line))
        .await
        .unwrap();
    assert_eq!(&line, expected, "{}", String::from_utf8_lossy(&line));
    stream
}

async fn answer_of(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.contains("}]}") && !text.contains("\"data\"") {
        let mut bytes = [0; 1_024];
        let read = within("an answer", stream.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text
}

/// 1,030 connections that had sent one byte of their bodies held all of `limits.in_flight`.
#[tokio::test]
async fn requests_with_missing_bodies_hold_no_slot() {
    let settings = [("limits.in_flight", "2"), ("timeouts.request_body", "20s")];
    let world = World::builder().settings(&settings).in_process().await;
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = awaited(world.addr, body.len()).await;
        stream.write_all(&body.as_bytes()[..1]).await.unwrap();
        streams.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    }
    // Two bodies are awaited until the timeout, and the others only briefly.
    for stream in &mut streams[2..] {
        let text = answer_of(stream).await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
        assert!(text.contains("TOO_MANY_IN_FLIGHT"), "{text}");
        assert!(text.contains("\"sent\":\"no\""), "{text}");
    }
    for stream in &mut streams[..2] {
        stream.write_all(&body.as_bytes()[1..]).await.unwrap();
        let text = answer_of(stream).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    }
    // The daemon does not wait for a body that it cannot serve.
    let held = hold_two(&world).await;
    let mut refused = TcpStream::connect(world.addr).await.unwrap();
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n";
    refused.write_all(head.as_bytes()).await.unwrap();
    let text = answer_of(&mut refused).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    held.release(&world).await;
    world.drained().await;
}

/// Reserves a stream on a connection that stays open, and returns status and body.
pub async fn reserve(stream: &mut TcpStream) -> (u16, String) {
    let request = b"PUT /graphql HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    loop {
        let mut bytes = [0; 1_024];
        let read = within("an answer", stream.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_ascii_lowercase();
        let (_, length) = length.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, body.to_owned());
        }
    }
}

/// Returns whether a stream is reserved, by stopping an operation that it does not have.
async fn is_reserved(addr: SocketAddr, token: &str) -> bool {
    let request = format!(
        "DELETE /graphql?operationId=none HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         x-graphql-event-stream-token: {token}\r\n\r\n"
    );
    let answer = raw(addr, request.as_bytes()).await;
    assert!(matches!(answer.status, 200 | 404), "{answer:?}");
    answer.status == 200
}

/// Opens a stream and returns its connection.
pub async fn open_stream(addr: SocketAddr, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "GET /graphql HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
         x-graphql-event-stream-token: {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    within("a stream", stream.read_exact(&mut line))
        .await
        .unwrap();
    assert_eq!(&line, b"HTTP/1.1 200");
    stream
}

/// One connection could take all 1,024 reservations, and they outlived it.
#[tokio::test]
async fn reserved_streams_are_limited_and_end_with_their_connection() {
    let world = World::builder()
        .settings(&[("timeouts.init", "60s")])
        .in_process()
        .await;
    let addr = world.addr;
    let mut greedy = TcpStream::connect(addr).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..16 {
        let (status, token) = reserve(&mut greedy).await;
        assert_eq!(status, 201, "{token}");
        tokens.push(token);
    }
    let (status, refusal) = reserve(&mut greedy).await;
    assert_eq!(status, 503, "{refusal}");
    check_text(&refusal, Code::StreamsExhausted, Sent::No);
    let mut other = TcpStream::connect(addr).await.unwrap();
    let (status, kept) = reserve(&mut other).await;
    assert_eq!(status, 201, "{kept}");
    // An open stream belongs to the connection that opened it.
    let opened = open_stream(addr, &tokens[0]).await;
    let (status, _) = reserve(&mut greedy).await;
    assert_eq!(status, 201);
    drop(greedy);
    // A client that uses each connection once can still open its stream.
    let second = open_stream(addr, &tokens[1]).await;
    let ended = async {
        while is_reserved(addr, &tokens[2]).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the end of what is not opened", ended).await;
    for token in [&tokens[0], &tokens[1], &kept] {
        assert!(is_reserved(addr, token).await);
    }
    drop((opened, second, other));
    let ended = async {
        for token in [&tokens[0], &tokens[1], &kept] {
            while is_reserved(addr, token).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    within("the end of the others", ended).await;
    world.drained().await;
}
