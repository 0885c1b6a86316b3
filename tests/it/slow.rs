//! Clients that send slowly, read slowly or not at all are disconnected after a timeout, and no other
//! client is affected. The clients are sockets of the tests, and slowhttptest with hundreds of sockets.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use crate::load::{self, allow_files, closed};
use crate::support::{Daemon, GATEWAY, Running, Scratch, World, within};

/// Writes `begin`, and then `byte` every 50 ms until the connection is closed. Returns the
/// response, and how long it took.
async fn drip(world: &Running, begin: &str, byte: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let (mut read, mut write) = TcpStream::connect(world.addr).await.unwrap().into_split();
    write.write_all(begin.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let dripping = async {
        while write.write_all(byte).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let _ = read.read_to_end(&mut answer).await;
    };
    let both = async {
        tokio::select! {
            () = dripping => {}
            () = reading => {}
        }
    };
    within("the end of the connection", both).await;
    (String::from_utf8(answer).unwrap(), begun.elapsed())
}

#[tokio::test]
async fn a_slow_request_head_is_cut_off() {
    let settings = [
        ("timeouts.request_head", "500ms"),
        ("timeouts.idle_client", "60s"),
    ];
    let world = World::builder().settings(&settings).in_process().await;
    let (answer, took) = drip(&world, "GET /graphql HTTP/1.1\r\na: ", b"a").await;
    assert_eq!(answer, "");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    // The next head of a connection is cut off too.
    let first = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let (answer, _) = drip(&world, first, b"G").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.ends_with("}]}"), "{answer}");
    world.drained().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let settings = [
        ("timeouts.request_head", "60s"),
        ("timeouts.idle_client", "300ms"),
    ];
    let world = World::builder().settings(&settings).in_process().await;
    for begin in ["", "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        closed(&mut stream).await;
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
    // A connection with a long request is not idle.
    world.switch(json!({ "delay_ms": 900 }));
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.drained().await;
}

#[tokio::test]
async fn a_slow_request_body_is_refused() {
    let settings = [("timeouts.request_body_total", "500ms")];
    let world = World::builder().settings(&settings).in_process().await;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n",
        world.addr
    );
    for (framing, piece) in [
        ("content-length: 1000", "a"),
        ("transfer-encoding: chunked", "1\r\na\r\n"),
    ] {
        let begin = format!("{head}{framing}\r\n\r\n");
        let (answer, took) = drip(&world, &begin, piece.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{framing}: {answer}");
        assert!(answer.contains("request_body_total"), "{answer}");
        assert!(took >= Duration::from_millis(500), "{took:?}");
    }
    assert_eq!(world.emulator.stats().requests.http, 0);
    world.drained().await;
}

/// Opens a connection with a small receive buffer.
async fn narrow(world: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    socket.connect(world.addr).await.unwrap()
}

#[tokio::test]
async fn an_unread_response_is_cancelled_and_an_idle_stream_is_not() {
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[("timeouts.write", "500ms")])
        .in_process()
        .await;
    let mut resting = narrow(&world).await;
    let subscribe = "GET /graphql?query=subscription%7BonMessage%7Bbody%7D%7D HTTP/1.1\r\n\
                     host: localhost\r\naccept: text/event-stream\r\n\r\n";
    resting.write_all(subscribe.as_bytes()).await.unwrap();
    world.subscriptions(1).await;
    let mut stream = narrow(&world).await;
    let request = "GET /http/stream?chunks=1000&size=65536 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // The emulator counts responses whose reader has disconnected.
    world
        .saw("the end of the answer", |stats| stats.gateway.cut == 1)
        .await;
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"still here\") { body } }";
    assert_eq!(world.query(mutation).await.status, 200);
    let mut text = String::new();
    while !text.contains("still here") {
        let mut bytes = [0; 1_024];
        let read = within("the event", resting.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    drop(stream);
    world.drained().await;
}

/// Runs slowhttptest with 500 sockets. All of them must be closed before it ends.
async fn slowhttptest(load: &Running<Daemon>, what: &str, path: &str, arguments: &[&str]) {
    const SOCKETS: usize = 500;
    const SECONDS: usize = 18;
    allow_files(2_000);
    let scratch = Scratch::new(&format!("slowhttptest-{}", arguments[0]));
    let report = scratch.0.join("report");
    let url = format!("http://{}{path}", load.addr);
    let mut command = Command::new("slowhttptest");
    command
        .args(arguments)
        .args(["-c", &SOCKETS.to_string(), "-r", &SOCKETS.to_string()])
        .args(["-l", &SECONDS.to_string(), "-p", "5", "-v", "1", "-g", "-o"])
        .arg(&report)
        .args(["-u", &url])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let run = async {
        let output = command.output().await;
        output.expect("slowhttptest cannot be run: run tests/run")
    };
    let output = load.during(what, within(what, run)).await;
    let shown = String::from_utf8_lossy(&output.stdout);
    let exit = shown.lines().find(|line| line.contains("Exit status:"));
    let exit = exit.unwrap_or_else(|| panic!("no exit status: {shown}"));
    let table = std::fs::read_to_string(report.with_extension("csv")).unwrap();
    let rows = table.lines().skip(1).map(|line| {
        let cells = line.split(',').map(|cell| cell.parse().unwrap());
        cells.collect::<Vec<usize>>()
    });
    let rows: Vec<Vec<usize>> = rows.collect();
    let most = rows.iter().map(|row| row[3]).max().unwrap();
    let last = rows.last().unwrap()[0];
    println!(
        "{what}: at most {most} connected, over after {last} s; {}",
        exit.trim()
    );
    assert!(
        exit.contains("No open connections left"),
        "{shown}\n{table}"
    );
    assert!(most > SOCKETS / 2, "{table}");
}

const SHORT: &str = "timeouts.request_head = \"2s\"\ntimeouts.idle_client = \"3s\"\n\
                     timeouts.request_body = \"2s\"\ntimeouts.request_body_total = \"3s\"\n\
                     timeouts.write = \"1s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_heads_disturb_nobody() {
    let load = load::start(SHORT).await;
    slowhttptest(&load, "slow heads", "/graphql", &["-H", "-i", "1"]).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_bodies_disturb_nobody() {
    // The tool sends a malformed Referer, which is refused unless an allowed Origin is beside it.
    let origin = "guard.allow_origins = [\"http://slow.example\"]";
    let load = load::start(&format!("{SHORT}\n{origin}")).await;
    let json = "application/json\r\nOrigin: http://slow.example";
    let arguments = ["-B", "-i", "1", "-f", json, "-s", "8192"];
    slowhttptest(&load, "slow bodies", "/graphql", &arguments).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_readers_disturb_nobody() {
    let load = load::start(SHORT).await;
    // It notices the close only after it has read its receive buffer, some 2 KiB.
    let arguments = ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "1900"];
    let path = "/http/stream?chunks=8&size=65536";
    slowhttptest(&load, "slow reading", path, &arguments).await;
    load.stop().await;
}
