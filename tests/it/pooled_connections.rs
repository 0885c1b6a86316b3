//! Pooled connections whose upstream closes them, refuses requests, answers early or vanishes: which
//! requests are sent again, and how many connections are dialled. The upstream is fake. The tests print
//! what they measure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use countersign_protocol::error_code::{Code, Sent};
use futures_util::future::join_all;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};
use tokio_rustls::server::TlsStream;

use crate::error_codes::check_response;
use crate::fakes::{Heard, TlsPeer};
use crate::support::{Answer, JSON, get, post, raw};
use crate::upstream::{API, GATEWAY, OK, app, http1_peer};

/// How often upstream has processed each request, by its body.
type Processed = Arc<Mutex<BTreeMap<String, usize>>>;

async fn send(addr: SocketAddr, query: &str) -> Answer {
    let body = json!({ "query": query }).to_string();
    post(addr, "/graphql", &[JSON], &body).await
}

#[tokio::test]
async fn closed_connections_fail_no_query_and_mutations_are_not_repeated() {
    let processed = Processed::default();
    let log = Arc::clone(&processed);
    let peer = http1_peer(move |_, mut stream| {
        let log = Arc::clone(&log);
        async move {
            for _ in 0..4 {
                let Some(request) = Heard::read(&mut stream).await else {
                    return;
                };
                *log.lock().entry(request.body).or_default() += 1;
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            if let Some(request) = Heard::read(&mut stream).await {
                *log.lock().entry(request.body).or_default() += 1;
            }
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    for n in 0..250 {
        assert_eq!(send(addr, &format!("{{ a{n} }}")).await.status, 200, "{n}");
    }
    println!(
        "0 of 250 queries failed on {} connections",
        peer.connections()
    );
    assert_eq!(
        get(addr, "/gateway/x", &[]).await.status,
        200,
        "GET is safe, too"
    );
    processed.lock().clear();
    let mut failed = 0;
    for n in 0..50 {
        let answer = send(addr, &format!("mutation {{ a{n} }}")).await;
        if answer.status != 200 {
            assert_eq!(answer.status, 502, "{answer:?}");
            check_response(&answer, Code::UpstreamBroken, Sent::Maybe);
            failed += 1;
        }
    }
    assert!(failed > 5, "{failed}");
    let processed = processed.lock();
    assert_eq!(processed.len(), 50);
    assert!(processed.values().all(|times| *times == 1), "{processed:?}");
}

#[tokio::test]
async fn query_is_sent_again_only_once() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let peer = http1_peer(move |number, mut stream| {
        let count = Arc::clone(&count);
        async move {
            if number == 0 {
                Heard::read(&mut stream).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            Heard::read(&mut stream).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    assert_eq!(send(addr, "{ a }").await.status, 200);
    let answer = send(addr, "{ a }").await;
    assert_eq!(answer.status, 502);
    check_response(&answer, Code::UpstreamBroken, Sent::Maybe);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

/// Starts an HTTP/2 peer. `serve` receives each connection and its number, from 0.
async fn http2_peer<F, Serving>(serve: F) -> TlsPeer
where
    F: Fn(usize, h2::server::Connection<TlsStream<TcpStream>, Bytes>) -> Serving
        + Clone
        + Send
        + Sync
        + 'static,
    Serving: Future<Output = ()> + Send + 'static,
{
    TlsPeer::start(&[API, GATEWAY], &["h2"], move |number, stream| {
        let serve = serve.clone();
        async move {
            if let Ok(connection) = h2::server::handshake(stream).await {
                serve(number, connection).await;
            }
        }
    })
    .await
}

/// Reads a request, counts it as processed and answers it.
async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    processed: Processed,
) {
    let mut body = request.into_body();
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        text.extend_from_slice(&data);
    }
    let text = String::from_utf8(text).unwrap();
    *processed.lock().entry(text).or_default() += 1;
    let response = Response::builder().header("content-type", "application/json");
    let response = response.body(()).unwrap();
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(Bytes::from_static(b"{}"), true);
    }
}

/// Sends `count` mutations, `at_once` at a time, and checks that each is processed once and answered.
async fn check_mutations(peer: &TlsPeer, processed: &Processed, count: usize, at_once: usize) {
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    let next = AtomicUsize::new(0);
    let client = || async {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            if n >= count {
                return;
            }
            let answer = send(addr, &format!("mutation {{ a{n} }}")).await;
            assert_eq!(answer.status, 200, "{n}: {answer:?}");
        }
    };
    join_all((0..at_once).map(|_| client())).await;
    let processed = processed.lock();
    assert_eq!(processed.len(), count);
    assert!(processed.values().all(|times| *times == 1), "{processed:?}");
}

#[tokio::test]
async fn streams_that_upstream_refuses_are_sent_again() {
    let processed = Processed::default();
    let log = Arc::clone(&processed);
    let seen = Arc::new(AtomicUsize::new(0));
    let peer = http2_peer(move |_, mut connection| {
        let (log, seen) = (Arc::clone(&log), Arc::clone(&seen));
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if seen.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    tokio::spawn(answer(request, respond, Arc::clone(&log)));
                }
            }
        }
    })
    .await;
    check_mutations(&peer, &processed, 100, 1).await;
}

#[tokio::test]
async fn request_that_upstream_keeps_refusing_is_not_sent() {
    let peer = http2_peer(|_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    let answer = send(addr, "mutation { a }").await;
    check_response(&answer, Code::UpstreamBroken, Sent::No);
    assert_eq!(peer.connections(), 4);
}

#[tokio::test]
async fn goaway_fails_no_request_and_costs_few_connections() {
    let processed = Processed::default();
    let log = Arc::clone(&processed);
    let peer = http2_peer(move |_, mut connection| {
        let log = Arc::clone(&log);
        async move {
            let mut accepted = 0;
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer(request, respond, Arc::clone(&log)));
                accepted += 1;
                if accepted == 200 {
                    connection.graceful_shutdown();
                }
            }
        }
    })
    .await;
    check_mutations(&peer, &processed, 3_000, 30).await;
    println!(
        "0 of 3000 mutations failed, with a GOAWAY every 200: {} connections",
        peer.connections()
    );
    assert!(peer.connections() <= 20, "{}", peer.connections());
}

/// Starts a peer whose connections carry `streams` requests at a time, and which answers when
/// `at_once` requests are open.
async fn waiting_peer(alpn: &'static str, streams: Option<u32>, at_once: usize) -> TlsPeer {
    let barrier = Arc::new(Barrier::new(at_once));
    TlsPeer::start(&[API, GATEWAY], &[alpn], move |_, stream| {
        let barrier = Arc::clone(&barrier);
        let service = service_fn(move |_: Request<Incoming>| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            }
        });
        async move {
            let stream = TokioIo::new(stream);
            let _ = match alpn {
                "h2" => {
                    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.max_concurrent_streams(streams);
                    server.serve_connection(stream, service).await
                }
                _ => {
                    let server = hyper::server::conn::http1::Builder::new();
                    server.serve_connection(stream, service).await
                }
            };
        }
    })
    .await
}

#[tokio::test]
async fn cold_pool_dials_as_many_connections_as_its_requests_need() {
    let check = async |alpn, streams, connections| {
        let peer = waiting_peer(alpn, streams, 300).await;
        let addr = app(peer.addr, &peer.ca_pem, &[]).await;
        let answers = join_all((0..300).map(|_| get(addr, "/gateway/x", &[]))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        println!(
            "300 requests, {alpn}, {streams:?} streams: {} connections",
            peer.connections()
        );
        assert_eq!(peer.connections(), connections, "{alpn} {streams:?}");
    };
    check("h2", None, 3).await;
    check("h2", Some(128), 3).await;
    check("h2", Some(10), 30).await;
    check("h2", Some(1), 300).await;
    check("http/1.1", None, 300).await;
}

#[tokio::test]
async fn query_leaves_an_http2_connection_whose_peer_has_vanished() {
    let gone = Arc::new(Notify::new());
    let go = Arc::clone(&gone);
    let peer = http2_peer(move |number, mut connection| {
        let go = Arc::clone(&go);
        async move {
            loop {
                let accepted = tokio::select! {
                    accepted = connection.accept() => accepted,
                    // The socket stays open, but nobody reads it.
                    () = go.notified(), if number == 0 => return std::future::pending().await,
                };
                let Some(Ok((request, respond))) = accepted else {
                    return;
                };
                tokio::spawn(answer(request, respond, Processed::default()));
            }
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    assert_eq!(send(addr, "{ a }").await.status, 200);
    gone.notify_one();
    let mutation = "mutation { a }";
    let started = Instant::now();
    let (query, mutation) = tokio::join!(send(addr, "{ a }"), send(addr, mutation));
    println!("answered after {:?}", started.elapsed());
    assert_eq!(query.status, 200);
    check_response(&mutation, Code::UpstreamBroken, Sent::Maybe);
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn one_timeout_removes_all_connections_of_a_peer_that_has_vanished() {
    let ready = Arc::new(Barrier::new(3));
    let peer = http1_peer(move |number, mut stream| {
        let ready = Arc::clone(&ready);
        async move {
            while Heard::read(&mut stream).await.is_some() {
                if number < 3 {
                    ready.wait().await;
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                if number < 3 {
                    return std::future::pending().await;
                }
            }
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[("timeouts.first_byte", "300ms")]).await;
    let answers = join_all((0..3).map(|_| send(addr, "{ a }"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let answer = send(addr, "{ a }").await;
    assert_eq!(answer.status, 504);
    check_response(&answer, Code::UpstreamTimeout, Sent::Maybe);
    for _ in 0..3 {
        assert_eq!(send(addr, "{ a }").await.status, 200);
    }
    assert_eq!(peer.connections(), 4);
}

#[tokio::test]
async fn http2_connection_without_settings_counts_as_not_connected() {
    let peer = TlsPeer::start(&[API, GATEWAY], &["h2"], |_, stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[("timeouts.connect", "500ms")]).await;
    let answer = send(addr, "mutation { a }").await;
    assert_eq!(answer.status, 504);
    check_response(&answer, Code::UpstreamConnectTimeout, Sent::No);
}

const TOO_LARGE: &str = "the body is too large";

/// Sends a body that does not fit into the buffers of sockets, and checks that the early answer of
/// `peer` is passed on.
async fn check_early_answer(peer: &TlsPeer) {
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    let body = "x".repeat(9 << 20);
    for _ in 0..3 {
        let answer = post(addr, "/gateway/x", &[], &body).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.body, TOO_LARGE);
    }
}

#[tokio::test]
async fn early_answer_over_http1_is_passed_on() {
    let peer = TlsPeer::start(&[API, GATEWAY], &["http/1.1"], |_, stream| async move {
        // Otherwise, the system delays the answer and discards it when the connection is closed.
        stream.get_ref().0.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        let length = TOO_LARGE.len();
        let answer = format!(
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: {length}\r\n\r\n{TOO_LARGE}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // The unread body makes the system reset the connection.
    })
    .await;
    check_early_answer(&peer).await;
}

#[tokio::test]
async fn early_answer_over_http2_is_passed_on() {
    // The end of the response resets the stream with NO_ERROR.
    let peer = http2_peer(move |_, mut connection| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let response = Response::builder().status(413).body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(TOO_LARGE.into(), true).unwrap();
        }
    })
    .await;
    check_early_answer(&peer).await;
}

/// Returns a frame of HTTP/2 on stream 0 or 1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn send_settings(stream: &mut TlsStream<TcpStream>, settings: &[u8]) {
    stream.get_ref().0.set_nodelay(true).unwrap();
    let settings = frame(SETTINGS, 0, 0, settings);
    stream.write_all(&settings).await.unwrap();
    stream.flush().await.unwrap();
}

async fn read_preface(stream: &mut TlsStream<TcpStream>) {
    stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
}

/// Returns the stream of the next request, and whether the request ends with its head.
async fn read_head(stream: &mut TlsStream<TcpStream>) -> Option<(u8, bool)> {
    let mut head = [0; 9];
    while head[3] != HEADERS {
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
    }
    Some((head[8], head[4] & END_STREAM != 0))
}

/// Answers a request with 204.
async fn answer_raw(stream: &mut TlsStream<TcpStream>, id: u8) {
    let head = frame(HEADERS, 0x4 | END_STREAM, id, b"\x89");
    stream.write_all(&head).await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn request_that_changes_something_does_not_end_with_its_head() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let peer = TlsPeer::start(&[API, GATEWAY], &["h2"], move |_, mut stream| {
        let log = Arc::clone(&log);
        async move {
            send_settings(&mut stream, &[]).await;
            read_preface(&mut stream).await;
            while let Some((id, ends)) = read_head(&mut stream).await {
                log.lock().push(ends);
                answer_raw(&mut stream, id).await;
            }
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    for method in ["GET", "DELETE", "POST"] {
        let request = format!(
            "{method} /gateway/x HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let answer = raw(addr, request.as_bytes()).await;
        assert_eq!(answer.status, 204, "{method}: {answer:?}");
    }
    assert_eq!(*seen.lock(), [true, false, false]);
}

#[tokio::test]
async fn waiting_request_uses_a_stream_that_new_settings_allow() {
    /// MAX_CONCURRENT_STREAMS.
    const ONE_STREAM: &[u8] = &[0, 3, 0, 0, 0, 1];
    const MANY_STREAMS: &[u8] = &[0, 3, 0, 0, 0, 100];
    let dialled = Arc::new(Notify::new());
    let dial = Arc::clone(&dialled);
    let peer = TlsPeer::start(&[API, GATEWAY], &["h2"], move |number, mut stream| {
        let dial = Arc::clone(&dial);
        async move {
            if number > 0 {
                dial.notify_one();
                return std::future::pending().await;
            }
            send_settings(&mut stream, ONE_STREAM).await;
            read_preface(&mut stream).await;
            let (first, _) = read_head(&mut stream).await.unwrap();
            // The other request waits now.
            dial.notified().await;
            send_settings(&mut stream, MANY_STREAMS).await;
            let (second, _) = read_head(&mut stream).await.unwrap();
            answer_raw(&mut stream, first).await;
            answer_raw(&mut stream, second).await;
            std::future::pending().await
        }
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    let both = tokio::join!(get(addr, "/gateway/x", &[]), get(addr, "/gateway/y", &[]));
    assert_eq!((both.0.status, both.1.status), (204, 204), "{both:?}");
}

/// Closes the first `failures` connections, and passes the others on to `peer`. Returns its address and
/// the number of its connections.
async fn unreliable(peer: SocketAddr, failures: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            if count.fetch_add(1, Ordering::SeqCst) >= failures {
                let mut server = TcpStream::connect(peer).await.unwrap();
                tokio::spawn(async move {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }
    });
    (addr, accepted)
}

#[tokio::test]
async fn dial_is_repeated_twice_but_not_with_an_untrusted_certificate() {
    let peer = http2_peer(|_, mut connection| async move {
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(answer(request, respond, Processed::default()));
        }
    })
    .await;
    let other = http2_peer(|_, _| std::future::ready(())).await;
    for (failures, ca_pem, status, dials) in [
        (2, &peer.ca_pem, 200, 3),
        (3, &peer.ca_pem, 502, 3),
        (0, &other.ca_pem, 502, 1),
    ] {
        let (upstream, dialled) = unreliable(peer.addr, failures).await;
        let addr = app(upstream, ca_pem, &[]).await;
        let answer = send(addr, "mutation { a }").await;
        assert_eq!(answer.status, status, "{failures}: {answer:?}");
        if status != 200 {
            check_response(&answer, Code::UpstreamTls, Sent::No);
        }
        assert_eq!(dialled.load(Ordering::SeqCst), dials, "{failures}");
    }
}

#[tokio::test]
async fn early_answer_before_an_http2_connection_is_closed_is_passed_on() {
    let peer = TlsPeer::start(&[API, GATEWAY], &["h2"], |_, mut stream| async move {
        send_settings(&mut stream, &[]).await;
        read_preface(&mut stream).await;
        read_head(&mut stream).await.unwrap();
        // RFC 7541, section 6.2.2: a literal for name 8, `:status`.
        let status = frame(HEADERS, 0x4, 1, b"\x08\x03413");
        let body = frame(DATA, 0x1, 1, TOO_LARGE.as_bytes());
        stream.write_all(&[status, body].concat()).await.unwrap();
        stream.flush().await.unwrap();
        // The unread body makes the system reset the connection.
    })
    .await;
    check_early_answer(&peer).await;
}
