//! HTTP routes that are not AppSync's: streamed responses, large bodies
//! up to the limit, every method and status, and unchanged encodings.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_emulator::Emulator;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::fakes::TlsPeer;
use crate::support::{GATEWAY, World, command, demo_key, within};

const LIMIT: usize = 10 * 1024 * 1024;

/// A raw response: the status line and headers, and the body with its chunked framing.
struct Raw {
    head: String,
    body: Vec<u8>,
}

impl Raw {
    fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1);
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.head))
    }
}

/// Returns the head of the last request of a connection, without the final empty line.
fn head(addr: SocketAddr, method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{more}\r\n")
}

/// Sends a request and reads the response at the same time, as clients do.
async fn exchange(addr: SocketAddr, request: Vec<u8>) -> Raw {
    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
    let sending = async {
        // The server may close before it has read everything.
        let _ = write.write_all(&request).await;
    };
    let mut bytes = Vec::new();
    let reading = read.read_to_end(&mut bytes);
    let (_, read) = within("an answer", async { tokio::join!(sending, reading) }).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {read:?}"));
    Raw {
        head: String::from_utf8(bytes[..end].to_vec()).unwrap(),
        body: bytes.split_off(end + 4),
    }
}

async fn ask(addr: SocketAddr, method: &str, target: &str) -> Raw {
    exchange(addr, head(addr, method, target, "").into_bytes()).await
}

fn random(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunks = body.chunks(100_000).flat_map(|chunk| {
        let size = format!("{:x}\r\n", chunk.len()).into_bytes();
        [size, chunk.to_vec(), b"\r\n".to_vec()].concat()
    });
    chunks.chain(*b"0\r\n\r\n").collect()
}

/// Checks that the client sees each piece before upstream sends the next. The pieces begin with `first`.
async fn check_lockstep(alpn: &str, status: u16, content_type: &'static str, first: &str) {
    let (pieces, outbox) = mpsc::channel::<Bytes>(1);
    let outbox = Arc::new(Mutex::new(Some(outbox)));
    let peer = TlsPeer::start(&["upstream.example.com"], &[alpn], move |_, stream| {
        let outbox = Arc::clone(&outbox);
        let service = service_fn(move |_: Request<Incoming>| {
            let outbox = outbox.lock().take().expect("one request");
            let body = stream::unfold(outbox, |mut outbox| async {
                let piece = outbox.recv().await?;
                Some((Ok::<_, Infallible>(Frame::data(piece)), outbox))
            });
            async move {
                let response = Response::builder().status(status);
                let response = response.header("content-type", content_type);
                Ok::<_, Infallible>(response.body(StreamBody::new(body)).unwrap())
            }
        });
        async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let more = "service = \"lambda\"\nregion = \"eu-west-1\"";
    let world = World::builder().peer("up", &peer, "https://upstream.example.com/", more);
    let world = world.daemon().await;
    let addr = world.addr;

    let mut stream = BufReader::new(TcpStream::connect(addr).await.unwrap());
    let request = head(addr, "GET", "/up/stream", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    for n in 1..=60 {
        let first = if n == 1 { first } else { "" };
        let piece = format!("{first}piece {n}\n");
        pieces.send(piece.clone().into()).await.unwrap();
        // The head may need the first piece: it decides whether the response is a rejection by AWS.
        let mut line = String::new();
        while n == 1 && line != "\r\n" {
            line.clear();
            let read = within("the head", stream.read_line(&mut line)).await;
            assert!(read.unwrap() > 0, "{alpn}: no head");
        }
        let chunk = format!("{:X}\r\n{piece}\r\n", piece.len());
        let mut seen = vec![0; chunk.len()];
        let read = within("a piece", stream.read_exact(&mut seen)).await;
        read.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), chunk, "{alpn}");
    }
    drop(pieces);
    let mut rest = String::new();
    let read = within("the end", stream.read_to_string(&mut rest)).await;
    read.unwrap();
    assert_eq!(rest, "0\r\n\r\n", "{alpn}");
    world.stop().await;
}

#[tokio::test]
async fn each_piece_arrives_before_upstream_sends_the_next() {
    check_lockstep("http/1.1", 200, "text/plain", "").await;
    check_lockstep("h2", 200, "text/plain", "").await;
}

/// They were read to their end, because AWS's rejections have the same statuses.
#[tokio::test]
async fn each_piece_of_an_error_of_an_application_arrives_before_upstream_sends_the_next() {
    for status in [400, 401, 403] {
        check_lockstep("http/1.1", status, "text/event-stream", "").await;
        check_lockstep("h2", status, "application/json", "{\"items\":[").await;
    }
    let long = format!("{{\"message\":\"{}", "no reason of AWS ".repeat(200));
    check_lockstep("http/1.1", 400, "application/json", &long).await;
    check_lockstep("h2", 403, "text/plain", "").await;
}

/// The time of the first chunk of a stream, and the gaps between the others.
struct Pace {
    first: Duration,
    gaps: Vec<Duration>,
}

impl Pace {
    async fn of(mut curl: Command) -> Self {
        let begun = Instant::now();
        let mut child = curl
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut times = Vec::new();
        while let Some(line) = within("a chunk", lines.next_line()).await.unwrap() {
            times.push(begun.elapsed());
            assert_eq!(line, format!("chunk {}", times.len()));
        }
        assert!(within("curl's end", child.wait()).await.unwrap().success());
        assert_eq!(times.len(), 60);
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let mut gaps: Vec<Duration> = gaps.collect();
        gaps.sort();
        Self {
            first: times[0],
            gaps,
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, gaps } = self;
        let at = |share: usize| gaps[(gaps.len() - 1) * share / 100];
        write!(
            f,
            "first chunk {first:.1?}; gaps {:.1?} at least, median {:.1?}, p95 {:.1?}, at most {:.1?}",
            at(0),
            at(50),
            at(95),
            at(100)
        )
    }
}

fn curl(emulator: &Emulator, ca_file: &str, url: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--noproxy", "*", "--cacert", ca_file])
        .args([
            "--connect-to",
            &format!("{}:443:{}", emulator.rest_host(), emulator.addr()),
        ])
        .arg(url);
    curl
}

/// Returns a presigned URL, for which the emulator needs no proxy.
async fn presigned(emulator: &Emulator, target: &str) -> String {
    let url = format!("https://{}/prod{target}", emulator.rest_host());
    let output = command(&["presign", &url], &demo_key()).output();
    let output = within("presign", output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The test prints times and checks hardly any, because a busy machine breaks any bound.
#[tokio::test]
async fn a_stream_of_the_gateway_keeps_its_pace() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let ca_file = world.ca_file();
    let target = "/stream?chunks=60&every=20";
    let direct = presigned(&world.emulator, target).await;
    let direct = Pace::of(curl(&world.emulator, &ca_file, &direct)).await;
    let url = format!("http://{}/rest{target}", world.addr);
    let proxied = Pace::of(curl(&world.emulator, &ca_file, &url)).await;
    println!("60 chunks, one every 20 ms, direct: {direct}");
    println!("60 chunks, one every 20 ms, by countersign: {proxied}");
    let whole: Duration = proxied.gaps.iter().sum();
    assert!(
        whole >= Duration::from_millis(500),
        "the chunks came together, after {:?} and within {whole:?}",
        proxied.first
    );
    assert_eq!(world.emulator.stats().gateway.cut, 0);
    world.drained().await;
}

#[tokio::test]
async fn a_stream_that_upstream_aborts_is_aborted_for_the_client() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let cut = ask(world.addr, "GET", "/rest/cut?chunks=3&every=20").await;
    assert_eq!(cut.status(), 200);
    let body = String::from_utf8(cut.body).unwrap();
    // A reset may overtake data that was sent just before it.
    assert!(body.contains("chunk 1\n"), "{body:?}");
    assert!(!body.ends_with("0\r\n\r\n"), "{body:?}");
    let whole = ask(world.addr, "GET", "/rest/stream?chunks=3").await;
    assert!(whole.body.ends_with(b"chunk 3\n\r\n0\r\n\r\n"));
    world.drained().await;
}

#[tokio::test]
async fn ten_mebibytes_pass_in_both_directions() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let body = random(LIMIT);
    let length = format!("content-length: {LIMIT}\r\n");
    let chunks = "transfer-encoding: chunked\r\n".to_owned();
    for (framing, sent) in [(length, body.clone()), (chunks, chunked(&body))] {
        let head = head(world.addr, "POST", "/rest/sink", &framing);
        let answer = exchange(world.addr, [head.into_bytes(), sent].concat()).await;
        assert_eq!(answer.status(), 200, "{framing}{}", answer.head);
        let expected = json!({ "length": LIMIT, "sha256": sha256(&body) });
        assert_eq!(answer.json(), expected, "{framing}");
    }
    let target = "/rest/stream?chunks=160&size=65536";
    let answer = ask(world.addr, "GET", target).await;
    let (mut rest, mut chunk) = (answer.body.as_slice(), 0);
    // hyper may join or split chunks, so only the text is compared.
    let mut text = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        text.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    for piece in text.chunks(65_536) {
        chunk += 1;
        let beginning = format!("chunk {chunk}\n");
        assert!(piece.starts_with(beginning.as_bytes()), "{chunk}");
    }
    assert_eq!((text.len(), chunk), (LIMIT, 160));
    world.drained().await;
}

#[tokio::test]
async fn one_byte_over_the_limit_is_refused_before_anything_is_sent() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let body = random(LIMIT + 1);
    let length = format!("content-length: {}\r\n", body.len());
    let chunks = "transfer-encoding: chunked\r\n";
    let waits = format!("{length}expect: 100-continue\r\n");
    for (framing, sent) in [
        (length.as_str(), body.clone()),
        (chunks, chunked(&body)),
        // The client waits for `100 Continue`, and does not get it.
        (&waits, Vec::new()),
    ] {
        let head = head(world.addr, "POST", "/rest/sink", framing);
        let answer = exchange(world.addr, [head.into_bytes(), sent].concat()).await;
        assert_eq!(answer.status(), 413, "{framing}{}", answer.head);
        assert_eq!(
            answer.header("x-countersign-error"),
            Some("BODY_TOO_LARGE"),
            "{framing}"
        );
        let error = answer.json();
        assert_eq!(error["code"], "BODY_TOO_LARGE", "{error}");
        assert_eq!(error["sent"], "no", "{error}");
    }
    assert_eq!(world.emulator.stats().requests.http, 0);
    assert_eq!(world.emulator.stats().gateway.requests, 0);
    world.drained().await;
}

#[tokio::test]
async fn any_method_passes() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "M-SEARCH",
    ] {
        for body in ["", "{\"a\":1}"] {
            let length = format!("content-length: {}\r\n", body.len());
            let framing = if body.is_empty() { "" } else { &length };
            let head = head(world.addr, method, "/rest/items?b=2&a=1", framing);
            let answer = exchange(world.addr, [head, body.to_owned()].concat().into_bytes()).await;
            assert_eq!(answer.status(), 200, "{method} {}", answer.head);
            let echo = answer.json();
            assert_eq!(echo["method"], method);
            assert_eq!(echo["target"], "/prod/items?b=2&a=1");
            assert_eq!(echo["body_length"], body.len(), "{method}");
        }
    }
    world.drained().await;
}

#[tokio::test]
async fn responses_without_a_body_stay_without_one() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let get = ask(world.addr, "GET", "/rest/gzip").await;
    let length = get.body.len().to_string();
    for target in [
        "/rest/gzip",
        "/rest/items",
        "/rest/stream",
        "/rest/status/404",
    ] {
        let answer = ask(world.addr, "HEAD", target).await;
        assert_eq!(answer.body, b"", "{target}");
        let status = if target.ends_with("404") { 404 } else { 200 };
        assert_eq!(answer.status(), status, "{target}");
    }
    let answer = ask(world.addr, "HEAD", "/rest/gzip").await;
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    for status in [204, 304] {
        let answer = ask(world.addr, "GET", &format!("/rest/status/{status}")).await;
        assert_eq!(
            (answer.status(), answer.body.as_slice()),
            (status, &b""[..])
        );
        assert_eq!(answer.header("transfer-encoding"), None);
        assert!(
            answer.header("x-amzn-requestid").is_some(),
            "{}",
            answer.head
        );
    }
    world.drained().await;
}

#[tokio::test]
async fn any_status_passes_and_redirects_are_not_followed() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    for status in [
        200, 201, 202, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 409, 418, 429, 500,
        502, 503, 504, 599,
    ] {
        let answer = ask(world.addr, "GET", &format!("/rest/status/{status}")).await;
        assert_eq!(answer.status(), status, "{}", answer.head);
        assert_eq!(answer.header("x-countersign-error"), None);
        let elsewhere = (300..400)
            .contains(&status)
            .then_some("https://elsewhere.example.com/");
        assert_eq!(answer.header("location"), elsewhere, "{status}");
    }
    assert_eq!(world.emulator.stats().requests.http, 22);
    world.drained().await;
}

#[tokio::test]
async fn a_compressed_body_is_untouched() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let ca_file = world.ca_file();
    let url = presigned(&world.emulator, "/gzip").await;
    let direct = curl(&world.emulator, &ca_file, &url).output();
    let direct = within("curl", direct).await.unwrap().stdout;
    assert!(direct.starts_with(b"\x1f\x8b"), "{direct:?}");
    for asked in [
        "",
        "accept-encoding: gzip\r\n",
        "accept-encoding: identity\r\n",
    ] {
        let request = head(world.addr, "GET", "/rest/gzip", asked);
        let answer = exchange(world.addr, request.into_bytes()).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{asked}");
        assert_eq!(answer.body, direct, "{asked}");
        let echo = head(world.addr, "GET", "/rest/items", asked);
        let echo = exchange(world.addr, echo.into_bytes()).await.json();
        let headers = echo["headers"].as_array().unwrap();
        let sent = headers.iter().find(|header| header[0] == "accept-encoding");
        let sent =
            sent.map(|header| format!("accept-encoding: {}\r\n", header[1].as_str().unwrap()));
        assert_eq!(sent.unwrap_or_default(), asked);
    }
    world.drained().await;
}
