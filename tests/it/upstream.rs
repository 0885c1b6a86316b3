//! The exchange between a signed request and its response: the failure of each stage, the pool, what
//! is forwarded in both directions, and proxies. The upstream is fake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use countersign::app::App;
use countersign::config::{self, Credentials, Sources, Trust};
use countersign_emulator::{DEMO_SESSION_TOKEN, Emulator, Key, Options};
use countersign_protocol::error_code::{Code, Sent};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::server::TlsStream;

use crate::error_codes::check_response;
use crate::fakes::{Heard, Proxy, TlsPeer};
use crate::support::{
    Answer, ClosedPort, Daemon, JSON, Scratch, Socket, World, command, demo_key, flag, get, post,
    raw, within,
};

pub const API: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
pub const GATEWAY: &str = "a1b2c3.execute-api.us-east-1.amazonaws.com";

/// Starts countersign in this process, with `/graphql` to `API` and `/gateway` to `GATEWAY`, both
/// at `upstream`.
pub async fn app(upstream: SocketAddr, ca_pem: &str, settings: &[(&str, &str)]) -> SocketAddr {
    app_with_token(upstream, ca_pem, "the-session-token", settings).await
}

/// Does the same with another session token.
pub async fn app_with_token(
    upstream: SocketAddr,
    ca_pem: &str,
    session_token: &str,
    settings: &[(&str, &str)],
) -> SocketAddr {
    let connect = upstream.to_string();
    let graphql = format!("https://{API}/graphql");
    let gateway = format!("https://{GATEWAY}/prod");
    let mut flags = vec![
        flag("listen", "127.0.0.1:0"),
        flag("admin", "off"),
        flag("route.graphql.target", &graphql),
        flag("route.graphql.connect", &connect),
        flag("route.gateway.target", &gateway),
        flag("route.gateway.connect", &connect),
    ];
    flags.extend(settings.iter().map(|(key, value)| flag(key, value)));
    let sources = Sources {
        flags,
        ..Sources::default()
    };
    let (_, mut config) = config::load(&sources).unwrap();
    for route in &mut config.routes {
        route.trust = Trust::Pem(ca_pem.to_owned());
        route.credentials = Credentials::Fixed(aws_credential_types::Credentials::new(
            "AKIDTEST",
            "secret",
            Some(session_token.to_owned()),
            None,
            "fixed",
        ));
    }
    let app = App::start(config).await.unwrap();
    let addr = app.addresses()[0];
    tokio::spawn(app.run(std::future::pending(), std::future::pending()));
    addr
}

async fn app_before(peer: &TlsPeer, settings: &[(&str, &str)]) -> SocketAddr {
    app(peer.addr, &peer.ca_pem, settings).await
}

async fn query(addr: SocketAddr) -> Answer {
    let body = json!({ "query": "{ a }" }).to_string();
    post(addr, "/graphql", &[JSON], &body).await
}

async fn mutate(addr: SocketAddr) -> Answer {
    let body = json!({ "query": "mutation { a }" }).to_string();
    post(addr, "/graphql", &[JSON], &body).await
}

#[track_caller]
fn check_error(answer: &Answer, status: u16, code: Code, sent: Sent) {
    assert_eq!(answer.status, status, "{answer:?}");
    check_response(answer, code, sent);
}

pub const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

pub type Connection = BufReader<TlsStream<TcpStream>>;

/// Starts a peer with both names whose HTTP/1.1 connections `serve` handles.
pub async fn http1_peer<F, Serving>(serve: F) -> TlsPeer
where
    F: Fn(usize, Connection) -> Serving + Send + Sync + 'static,
    Serving: Future<Output = ()> + Send + 'static,
{
    let serve = move |number, stream| serve(number, BufReader::new(stream));
    TlsPeer::start(&[API, GATEWAY], &["http/1.1"], serve).await
}

/// Starts a peer that sends the same response to every request and keeps its connections. The requests
/// come out of the channel.
async fn answering(answer: impl Into<Vec<u8>>) -> (TlsPeer, mpsc::Receiver<Heard>) {
    let (tell, heard) = mpsc::channel(100);
    let answer: Arc<[u8]> = answer.into().into();
    let peer = http1_peer(move |_, mut stream| {
        let (tell, answer) = (tell.clone(), Arc::clone(&answer));
        async move {
            while let Some(request) = Heard::read(&mut stream).await {
                tell.send(request).await.unwrap();
                stream.write_all(&answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    })
    .await;
    (peer, heard)
}

#[tokio::test]
async fn a_refused_connection_is_unreachable() {
    let gone = ClosedPort::new();
    let (peer, _heard) = answering(OK).await;
    let addr = app(gone.addr, &peer.ca_pem, &[]).await;
    let answer = query(addr).await;
    check_error(&answer, 502, Code::UpstreamUnreachable, Sent::No);
    assert!(answer.body.contains(&gone.addr.to_string()), "{answer:?}");
}

#[tokio::test]
async fn a_tls_handshake_without_an_answer_times_out() {
    // The kernel accepts connections for a listener that does not.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (peer, _heard) = answering(OK).await;
    let settings = [("timeouts.connect", "300ms")];
    let addr = app(silent.local_addr().unwrap(), &peer.ca_pem, &settings).await;
    let answer = query(addr).await;
    check_error(&answer, 504, Code::UpstreamConnectTimeout, Sent::No);
    assert!(answer.body.contains("timeouts.connect"), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_must_have_the_right_name_and_authority() {
    let (peer, _heard) = answering(OK).await;
    let other = TlsPeer::start(&["other.example.com"], &["http/1.1"], |_, _| async {}).await;
    // The right authority, the wrong name.
    let addr = app_before(&other, &[]).await;
    check_error(&query(addr).await, 502, Code::UpstreamTls, Sent::No);
    // The right name, another authority.
    let addr = app(peer.addr, &other.ca_pem, &[]).await;
    let answer = query(addr).await;
    check_error(&answer, 502, Code::UpstreamTls, Sent::No);
    assert!(answer.body.contains("ca_file"), "{answer:?}");
    assert_eq!(other.connections() + peer.connections(), 0);
}

/// AWS answers too many headers with 431, or closes the connection.
#[tokio::test]
async fn a_connection_lost_after_large_headers_is_explained_by_them() {
    let peer = TlsPeer::start(&[API], &["http/1.1"], |_, mut stream| async move {
        let mut head = [0; 16];
        let _ = stream.read(&mut head).await;
    })
    .await;
    let addr = app(peer.addr, &peer.ca_pem, &[]).await;
    let body = json!({ "query": "mutation { a }" }).to_string();
    for (length, is_explained) in [(4_000, false), (12_000, true)] {
        let value = "a".repeat(length);
        let answer = post(addr, "/graphql", &[JSON, ("x-long", &value)], &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "UPSTREAM_BROKEN")
        );
        let message = answer.json()["errors"][0]["message"].clone();
        let message = message.as_str().unwrap();
        let start = "the connection to upstream was lost before a response arrived";
        assert!(message.starts_with(start), "{message}");
        let is_found =
            message.contains("headers have 12") && message.contains("API Gateway accepts 10240");
        assert_eq!(is_found, is_explained, "{message}");
        assert_eq!(answer.json()["errors"][0]["extensions"]["sent"], "maybe");
    }
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_its_connection_is_dropped() {
    let gone = Arc::new(Notify::new());
    let tell = Arc::clone(&gone);
    let peer = http1_peer(move |number, mut stream| {
        let tell = Arc::clone(&tell);
        async move {
            Heard::read(&mut stream).await.unwrap();
            if number == 0 {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                assert!(rest.is_empty());
                tell.notify_one();
            } else {
                stream.write_all(OK.as_bytes()).await.unwrap();
                let _ = stream.read_u8().await;
            }
        }
    })
    .await;
    let addr = app_before(&peer, &[("timeouts.first_byte", "300ms")]).await;
    let answer = mutate(addr).await;
    check_error(&answer, 504, Code::UpstreamTimeout, Sent::Maybe);
    assert!(answer.body.contains("timeouts.first_byte"), "{answer:?}");
    within("the end of the connection", gone.notified()).await;
    assert_eq!(query(addr).await.status, 200);
}

/// The connection ends by a reset or a close, and is new or pooled. A request that may have been
/// executed is not retried.
#[tokio::test]
async fn a_request_whose_connection_breaks_is_not_retried() {
    for (resets, warm) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let peer = http1_peer(move |_, mut stream| {
            let count = Arc::clone(&count);
            async move {
                for _ in 0..warm {
                    Heard::read(&mut stream).await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(OK.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
                Heard::read(&mut stream).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if resets {
                    let (tcp, _) = stream.into_inner().into_inner();
                    tcp.set_zero_linger().unwrap();
                }
            }
        })
        .await;
        let addr = app_before(&peer, &[]).await;
        for _ in 0..warm {
            assert_eq!(query(addr).await.status, 200);
        }
        let answer = mutate(addr).await;
        check_error(&answer, 502, Code::UpstreamBroken, Sent::Maybe);
        assert_eq!(seen.load(Ordering::SeqCst), warm + 1);
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test]
async fn a_pooled_connection_that_upstream_closed_loses_no_request() {
    let (tell, mut heard) = mpsc::channel(100);
    let closed = Arc::new(Notify::new());
    let close = Arc::clone(&closed);
    let peer = http1_peer(move |_, mut stream| {
        let (tell, close) = (tell.clone(), Arc::clone(&close));
        async move {
            let request = Heard::read(&mut stream).await.unwrap();
            tell.send(request.body).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            close.notify_one();
        }
    })
    .await;
    let addr = app_before(&peer, &[]).await;
    for n in 0..20 {
        let body = json!({ "query": format!("mutation {{ a{n} }}") }).to_string();
        let answer = post(addr, "/graphql", &[JSON], &body).await;
        assert_eq!(answer.status, 200, "{n}: {answer:?}");
        assert_eq!(heard.recv().await.unwrap(), body);
        within("the close", closed.notified()).await;
    }
    assert!(heard.try_recv().is_err());
    assert_eq!(peer.connections(), 20);
}

#[tokio::test]
async fn a_truncated_body_never_looks_complete() {
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n0123456789";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n";
    for (start, breaks) in [
        (sized, false),
        (sized, true),
        (chunked, false),
        (chunked, true),
    ] {
        let peer = http1_peer(move |_, mut stream| async move {
            Heard::read(&mut stream).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            if !breaks {
                let _ = stream.read_u8().await;
            }
        })
        .await;
        let addr = app_before(&peer, &[("timeouts.idle", "300ms")]).await;
        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET /gateway/x HTTP/1.1\r\nhost: {addr}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = within("the abort", client.read_to_end(&mut bytes)).await;
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(text.contains("0123456789"), "{text}");
        // The body has neither its announced length nor the last chunk.
        assert!(text.len() < 1_000 && !text.ends_with("0\r\n\r\n"), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_forwarded_and_not_followed() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: https://other.example.com/\r\n\
                    content-length: 0\r\n\r\n";
    let (peer, mut heard) = answering(redirect).await;
    let addr = app_before(&peer, &[]).await;
    let answer = get(addr, "/gateway/a?b=c", &[]).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    assert_eq!(answer.headers["location"], "https://other.example.com/");
    let answer = query(addr).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    assert_eq!(
        heard.recv().await.unwrap().line,
        "GET /prod/a?b=c HTTP/1.1\r\n"
    );
    assert_eq!(heard.recv().await.unwrap().path(), "/graphql");
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_response_is_streamed() {
    let second = Arc::new(Notify::new());
    let go = Arc::clone(&second);
    let peer = http1_peer(move |_, mut stream| {
        let go = Arc::clone(&go);
        async move {
            Heard::read(&mut stream).await.unwrap();
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            go.notified().await;
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let addr = app_before(&peer, &[]).await;
    for (path, method) in [("/gateway", "GET"), ("/graphql", "POST")] {
        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"first\r\n") {
            let read = within("the first chunk", client.read_buf(&mut text)).await;
            assert!(read.unwrap() > 0);
        }
        second.notify_one();
        within("the rest", client.read_to_end(&mut text))
            .await
            .unwrap();
        assert!(text.ends_with(b"second\r\n0\r\n\r\n"));
    }
}

/// A request as hyper parsed it.
#[derive(Debug)]
struct Seen {
    authority: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    body: Bytes,
}

async fn hyper_peer(alpn: &'static str) -> (TlsPeer, Arc<Mutex<Vec<Seen>>>) {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = Arc::clone(&seen);
    let peer = TlsPeer::start(&[API, GATEWAY], &[alpn], move |_, stream| {
        let log = Arc::clone(&log);
        let service = service_fn(move |request: Request<Incoming>| {
            let log = Arc::clone(&log);
            async move {
                let (head, body) = request.into_parts();
                let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for (name, value) in &head.headers {
                    let values = headers.entry(name.to_string()).or_default();
                    values.push(value.to_str().unwrap().to_owned());
                }
                let seen = Seen {
                    authority: head.uri.authority().map(ToString::to_string),
                    headers,
                    body: body.collect().await?.to_bytes(),
                };
                log.lock().push(seen);
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            }
        });
        async move {
            let stream = TokioIo::new(stream);
            let _ = match alpn {
                "h2" => {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(stream, service).await
                }
                _ => {
                    let server = hyper::server::conn::http1::Builder::new();
                    server.serve_connection(stream, service).await
                }
            };
        }
    })
    .await;
    (peer, seen)
}

#[tokio::test]
async fn twenty_requests_share_a_connection_over_http1_and_http2() {
    for alpn in ["h2", "http/1.1"] {
        let (peer, seen) = hyper_peer(alpn).await;
        let addr = app_before(&peer, &[]).await;
        for _ in 0..20 {
            let answer = query(addr).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{alpn}");
        }
        assert_eq!(peer.connections(), 1, "{alpn}");
        let seen = seen.lock();
        assert_eq!(seen.len(), 20);
        for request in &*seen {
            // There is one host, the one on the wire: with HTTP/2 only the authority.
            let hosts = request.headers.get("host").map(Vec::as_slice);
            match alpn {
                "h2" => {
                    assert_eq!(request.authority.as_deref(), Some(API));
                    assert_eq!(hosts, None);
                }
                _ => assert_eq!(hosts, Some([API.to_owned()].as_slice())),
            }
            assert_eq!(request.body, r#"{"query":"{ a }"}"#);
            let authorization = &request.headers["authorization"];
            assert_eq!(authorization.len(), 1);
            assert!(authorization[0].contains("/us-east-1/appsync/aws4_request"));
            assert_eq!(request.headers["x-amz-security-token"].len(), 1);
        }
    }
}

#[tokio::test]
async fn an_empty_body_has_a_length_if_the_method_defines_a_body() {
    for alpn in ["h2", "http/1.1"] {
        let (peer, seen) = hyper_peer(alpn).await;
        let addr = app_before(&peer, &[]).await;
        for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
            for length in [
                "content-length: 0\r\n",
                "",
                "transfer-encoding: chunked\r\n",
            ] {
                let end = if length.contains("chunked") {
                    "0\r\n\r\n"
                } else {
                    ""
                };
                let request = format!(
                    "{method} /gateway/a HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\
                     {length}\r\n{end}"
                );
                let answer = raw(addr, request.as_bytes()).await;
                assert_eq!(answer.status, 200, "{method} {length:?}: {answer:?}");
                let request = seen.lock().pop().unwrap();
                let sent = request.headers.get("content-length").map(Vec::as_slice);
                let zero = ["0".to_owned()];
                let expected = matches!(method, "POST" | "PUT" | "PATCH").then_some(&zero[..]);
                assert_eq!(sent, expected, "{alpn} {method} {length:?}");
                assert_eq!(request.headers.get("transfer-encoding"), None);
            }
        }
    }
}

/// Sends requests until fifty connections were replaced.
#[tokio::test]
async fn connections_at_their_maximum_age_take_no_request_and_fail_none() {
    for alpn in ["h2", "http/1.1"] {
        let (peer, seen) = hyper_peer(alpn).await;
        let addr = app_before(&peer, &[("pool.max_age", "25ms")]).await;
        let client = || async {
            let mut sent = 0;
            while peer.connections() <= 50 {
                let answer = query(addr).await;
                assert_eq!(answer.status, 200, "{alpn}: {answer:?}");
                sent += 1;
            }
            sent
        };
        let sent = futures_util::future::join_all((0..8).map(|_| client())).await;
        assert_eq!(seen.lock().len(), sent.iter().sum::<usize>(), "{alpn}");
    }
}

#[tokio::test]
async fn an_idle_connection_closes_at_its_maximum_age() {
    let gone = Arc::new(Notify::new());
    let tell = Arc::clone(&gone);
    let peer = http1_peer(move |_, mut stream| {
        let tell = Arc::clone(&tell);
        async move {
            while Heard::read(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            tell.notify_one();
        }
    })
    .await;
    let addr = app_before(&peer, &[("pool.max_age", "200ms")]).await;
    assert_eq!(query(addr).await.status, 200);
    within("the end of the connection", gone.notified()).await;
    assert_eq!(query(addr).await.status, 200);
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_response_outlives_the_maximum_age_of_its_connection() {
    let next = Arc::new(Notify::new());
    let go = Arc::clone(&next);
    let peer = http2_peer(move || {
        let go = Arc::clone(&go);
        async move {
            go.notified().await;
            Bytes::from_static(b"piece")
        }
    })
    .await;
    let addr = app_before(&peer, &[("pool.max_age", "50ms")]).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET /gateway/endless HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    for pieces in 1..=3 {
        // Until a newer connection serves other requests.
        let connections = peer.connections();
        while peer.connections() == connections {
            assert_eq!(get(addr, "/gateway/small", &[]).await.status, 200);
        }
        next.notify_one();
        while text.windows(5).filter(|window| window == b"piece").count() < pieces {
            let read = within("a piece", client.read_buf(&mut text)).await;
            assert!(read.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn hop_by_hop_headers_are_removed_in_both_directions() {
    let response = "HTTP/1.1 200 OK\r\nconnection: keep-alive, X-Their-Hop\r\nx-their-hop: 1\r\n\
                    keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nproxy-connection: x\r\n\
                    upgrade: h2c\r\naccess-control-allow-origin: *\r\n\
                    access-control-expose-headers: *\r\naccess-control-max-age: 1\r\n\
                    access-control-allow-credentials: true\r\nx-amzn-requestid: the-id\r\n\
                    x-request-id: of-upstream\r\n\
                    set-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}";
    let (peer, mut heard) = answering(response).await;
    let addr = app_before(&peer, &[]).await;
    for path in ["/graphql", "/gateway/x"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close, X-Our-Hop, Host\r\n\
             x-our-hop: 1\r\nkeep-alive: 5\r\nte: trailers\r\ntrailer: x\r\nproxy-connection: x\r\n\
             proxy-authorization: Basic x\r\nexpect: 100-continue\r\nauthorization: Bearer x\r\n\
             cookie: a=b\r\nx-amz-date: 1\r\nx-amz-security-token: forged\r\nx-forwarded-for: 1\r\n\
             forwarded: for=1\r\nvia: 1.1 x\r\nx-team: red\r\nx-team: blue\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let answer = raw(addr, request.as_bytes()).await;
        let answer_text = format!("{answer:?}");
        assert!(answer_text.contains("the-id"), "{answer_text}");
        // It is countersign's, as Envoy's is its own.
        let ids = answer_text.matches("x-request-id: ").count();
        let has_theirs = answer_text.contains("of-upstream");
        assert_eq!((ids, has_theirs), (1, false), "{answer_text}");
        for name in [
            "x-their-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "upgrade",
        ] {
            assert!(!answer.headers.contains_key(name), "{name}: {answer_text}");
        }
        let cors = answer.headers.keys();
        let cors = cors.filter(|name| name.starts_with("access-control-"));
        assert_eq!(cors.count(), 0, "{answer_text}");

        let request = heard.recv().await.unwrap();
        for name in [
            "connection",
            "x-our-hop",
            "keep-alive",
            "te",
            "trailer",
            "proxy-connection",
            "proxy-authorization",
            "expect",
            "cookie",
            "x-forwarded-for",
            "forwarded",
            "via",
        ] {
            assert!(!request.headers.contains_key(name), "{name}: {request:?}");
        }
        assert_eq!(request.headers["x-team"], "red, blue");
        let signed = &request.headers["authorization"];
        assert!(signed.starts_with("AWS4-HMAC-SHA256 "), "{signed}");
        assert_eq!(request.headers["x-amz-security-token"], "the-session-token");
        assert_ne!(request.headers["x-amz-date"], "1");
        assert!([API, GATEWAY].contains(&request.headers["host"].as_str()));
    }
}

/// Headers of upstream that would take effect in a browser.
const ACTING: &str = "access-control-allow-origin: *\r\naccess-control-allow-private-network: true\r\n\
                      x-countersign-error: FORGED\r\nstrict-transport-security: max-age=9\r\n\
                      alt-svc: h3=\":443\"\r\nnel: {}\r\nreport-to: {}\r\n\
                      reporting-endpoints: a=\"https://evil.example\"\r\n\
                      service-worker-allowed: /\r\ntiming-allow-origin: *\r\n\
                      accept-ch: dpr\r\ncritical-ch: dpr\r\nuse-as-dictionary: match=\"/*\"\r\n\
                      set-login: logged-in\r\norigin-agent-cluster: ?1\r\n\
                      sec-session-registration: (ES256);path=\"/x\"\r\n\
                      secure-session-registration: (ES256);path=\"/x\"\r\n\
                      sec-session-challenge: \"x\"\r\nsecure-session-challenge: \"x\"\r\n\
                      set-cookie: a=b\r\nclear-site-data: \"cookies\"\r\n\
                      content-security-policy: default-src 'self'\r\n\
                      cross-origin-resource-policy: cross-origin\r\nx-kept: 1\r\n";

/// Returns the headers of [`ACTING`] that remain, and those that were added, as `name: value`.
fn acting(answer: &Answer) -> Vec<String> {
    let names = ACTING.lines().filter_map(|line| line.split(": ").next());
    let names = names.chain(["x-content-type-options"]);
    let left = names.filter_map(|name| Some(format!("{name}: {}", answer.headers.get(name)?)));
    let mut left: Vec<String> = left.collect();
    left.sort();
    left.dedup();
    left
}

#[tokio::test]
async fn responses_cannot_act_in_a_browser_unless_the_route_passes_their_headers() {
    let page = format!("{ACTING}content-type: text/html\r\n");
    let json = format!("{ACTING}content-type: application/json\r\n");
    let app_origin = ("origin", "https://app.example.com");
    let mode = ("sec-fetch-mode", "cors");
    let state = ["clear-site-data: \"cookies\"", "set-cookie: a=b"];
    let restricted = [
        "content-security-policy: sandbox",
        "cross-origin-resource-policy: same-origin",
        "x-content-type-options: nosniff",
        "x-kept: 1",
    ];
    let passed = [
        "content-security-policy: default-src 'self'",
        "cross-origin-resource-policy: cross-origin",
        "x-kept: 1",
    ];
    let allowed = ["access-control-allow-origin: https://app.example.com"];
    for (head, status) in [
        (&page, "200 OK"),
        (&json, "200 OK"),
        (&page, "403 Forbidden"),
        (&json, "500 Oh"),
    ] {
        let response = format!("HTTP/1.1 {status}\r\n{head}content-length: 2\r\n\r\n{{}}");
        let (peer, _heard) = answering(response).await;
        for setting in ["restrict", "pass"] {
            let settings = [
                ("route.graphql.response_headers", setting),
                ("route.gateway.response_headers", setting),
                ("guard.allow_origins", app_origin.1),
            ];
            let addr = app_before(&peer, &settings).await;
            for path in ["/graphql", "/gateway/x"] {
                for browser in [&[][..], &[app_origin], &[mode], &[app_origin, mode]] {
                    let headers = [&[JSON], browser].concat();
                    let answer = post(addr, path, &headers, r#"{"query":"{ a }"}"#).await;
                    let mut expected: Vec<&str> = match setting {
                        "pass" => passed.to_vec(),
                        _ => restricted.to_vec(),
                    };
                    if setting == "pass" || browser.is_empty() {
                        expected.extend(state);
                    }
                    if browser.contains(&app_origin) {
                        expected.extend(allowed);
                    }
                    expected.sort_unstable();
                    assert_eq!(
                        acting(&answer),
                        expected,
                        "{status} {setting} {path} {browser:?}"
                    );
                    // A browser's cache does not serve it to a page that the guard refuses.
                    if path == "/gateway/x" && !browser.contains(&app_origin) {
                        let varies = (!browser.is_empty()).then_some("sec-fetch-site");
                        assert_eq!(
                            answer.headers.get("vary").map(String::as_str),
                            varies,
                            "{status} {setting} {browser:?}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn handshakes_of_tunnels_cannot_act_in_a_browser() {
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\n{ACTING}connection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    // The peer closes the connection that it has upgraded.
    let peer = http1_peer(move |_, mut stream| {
        let response = response.clone();
        async move {
            if Heard::read(&mut stream).await.is_some() {
                stream.write_all(response.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        }
    })
    .await;
    let addr = app_before(&peer, &[]).await;
    let ask = |more: &str| {
        format!(
            "GET /gateway/ws HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    };
    let kept = [
        "content-security-policy: default-src 'self'",
        "cross-origin-resource-policy: cross-origin",
        "x-kept: 1",
    ];
    let state = ["clear-site-data: \"cookies\"", "set-cookie: a=b"];
    for (more, has_state) in [
        ("", true),
        ("sec-fetch-mode: websocket\r\n", false),
        ("sec-fetch-site: same-origin\r\n", false),
    ] {
        let answer = raw(addr, ask(more).as_bytes()).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let mut expected = kept.to_vec();
        if has_state {
            expected.extend(state);
        }
        expected.sort_unstable();
        assert_eq!(acting(&answer), expected, "{more}");
    }
}

#[tokio::test]
async fn own_responses_forbid_sniffing_and_other_origins() {
    let world = World::builder().in_process().await;
    let accept = |accept| [JSON, ("accept", accept)];
    let batch = r#"[{"query":"{ rooms { id } }"},{"query":"{ rooms { id } }"}]"#;
    let query = r#"{"query":"{ rooms { id } }"}"#;
    for answer in [
        post(world.addr, "/graphql", &accept("application/json"), batch).await,
        post(world.addr, "/graphql", &accept("text/event-stream"), query).await,
        post(world.addr, "/graphql", &accept("application/json"), "").await,
        post(world.addr, "/nowhere", &[], "").await,
        get(world.addr, "/graphql", &[("sec-fetch-mode", "navigate")]).await,
    ] {
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{answer:?}"
        );
        assert_eq!(
            answer.headers["cross-origin-resource-policy"],
            "same-origin"
        );
    }
    world.drained().await;
}

#[tokio::test]
async fn an_echoed_session_token_is_redacted_and_nothing_else_is_touched() {
    let wrong_secret = Key {
        secret_access_key: "another".to_owned(),
        ..Key::demo()
    };
    let options = Options {
        keys: vec![wrong_secret],
        ..Options::default()
    };
    let world = World::builder().emulator(options).in_process().await;
    let answer = world.query("{ rooms { id } }").await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(
        answer.headers["x-amzn-errortype"],
        "InvalidSignatureException"
    );
    assert!(!answer.headers.contains_key("x-countersign-error"));
    assert!(!answer.body.contains(DEMO_SESSION_TOKEN), "{answer:?}");
    let json = answer.json();
    let message = json["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("x-amz-security-token:[redacted]\n"));
    assert!(message.contains("The Canonical String for this request should have been"));

    // The body is unchanged but for the token, with a content length and without.
    let echo =
        "{\n  \"message\" : \"POST\\n/prod\\nx-amz-security-token:TOKEN\\n\\nhost \u{e9}\"\n}";
    let body = echo.replace("TOKEN", "the-session-token");
    let length = body.len();
    let sized = format!("content-length: {length}\r\n\r\n{body}");
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
    for rest in [sized, chunked] {
        let refusal = format!("HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: X\r\n{rest}");
        let (peer, _heard) = answering(refusal).await;
        let addr = app_before(&peer, &[]).await;
        let answer = get(addr, "/gateway/x", &[]).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.body, echo.replace("TOKEN", "[redacted]"));
    }
}

#[tokio::test]
async fn a_compressed_rejection_is_replaced() {
    let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\n\
                content-encoding: gzip\r\ncontent-length: 6\r\n\r\n";
    let refusal = [head.as_bytes(), b"\x1f\x8b\x08zip"].concat();
    let (peer, _heard) = answering(refusal).await;
    let addr = app_before(&peer, &[]).await;
    let answer = get(addr, "/gateway/x", &[]).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.json()["code"], "UPSTREAM_ERROR_UNREADABLE");
    assert!(!answer.headers.contains_key("content-encoding"));
    check_error(
        &query(addr).await,
        403,
        Code::UpstreamErrorUnreadable,
        Sent::Yes,
    );
}

/// It was taken for an error of AWS, which is read to its end, and replaced by a 502 when it was longer.
#[tokio::test]
async fn a_long_error_of_an_application_without_a_length_is_forwarded() {
    let piece = "x".repeat(200_000);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let long = |status: u16, header: &str| {
        let head = format!("HTTP/1.1 {status} X\r\n{header}transfer-encoding: chunked\r\n\r\n");
        format!("{head}{}0\r\n\r\n", chunk.repeat(3))
    };
    for status in [400, 401, 403] {
        let (peer, _heard) = answering(long(status, "")).await;
        let addr = app_before(&peer, &[]).await;
        let answer = get(addr, "/gateway/x", &[]).await;
        assert_eq!(answer.status, status);
        assert!(!answer.headers.contains_key("x-countersign-error"));
        let is_whole = answer.body == piece.repeat(3);
        assert!(is_whole, "{status}: {} bytes", answer.body.len());
    }
    // An error of AWS may contain the token anywhere.
    let (peer, _heard) = answering(long(403, "x-amzn-errortype: X\r\n")).await;
    let addr = app_before(&peer, &[]).await;
    let answer = get(addr, "/gateway/x", &[]).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["code"], "UPSTREAM_RESPONSE_TOO_LARGE");
}

// Where the body of an answer ends.

/// How a peer ends the connection after its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Waits for another request.
    Keep,
    /// TLS's close_notify, then FIN.
    Close,
    /// Only a FIN, as an attacker on the network could send.
    Fin,
    Reset,
}

/// A response as a client reads it from its socket.
#[derive(Debug)]
struct Read {
    head: String,
    body: String,
    /// The body ends as its head announces.
    is_whole: bool,
}

impl Read {
    async fn of(addr: SocketAddr, method: &str, path: &str) -> Self {
        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 13\r\n\r\n{{\"query\":\"a\"}}"
        );
        let request = match method {
            "POST" => request,
            _ => format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"),
        };
        client.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = within("the answer's end", client.read_to_end(&mut bytes)).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let chunked = lines.any(|line| line == "transfer-encoding: chunked");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let (body, is_whole) = match (chunked, length) {
            (true, None) => (dechunked(body), body.ends_with("0\r\n\r\n")),
            (false, Some(length)) => {
                let is_whole = method == "HEAD" || body.len().to_string() == length;
                (body.to_owned(), is_whole)
            }
            (false, None) => (body.to_owned(), true),
            (true, Some(_)) => panic!("two lengths: {text}"),
        };
        Self {
            head: head.to_owned(),
            body,
            is_whole,
        }
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("none")
    }
}

fn dechunked(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let piece = rest.get(..size).unwrap_or(rest);
        body.push_str(piece);
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

/// Starts countersign with a peer that sends this response to each request and then ends as given.
async fn framed(answer: &str, end: End) -> (TlsPeer, SocketAddr) {
    let answer = answer.to_owned();
    let peer = http1_peer(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            while Heard::read(&mut stream).await.is_some() {
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                match end {
                    End::Keep => continue,
                    End::Close => {
                        let _ = stream.shutdown().await;
                    }
                    End::Fin => {
                        let (tcp, _) = stream.get_mut().get_mut();
                        let _ = tcp.shutdown().await;
                    }
                    End::Reset => {
                        // The sent bytes must have been read, or the reset discards them.
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        let (tcp, _) = stream.into_inner().into_inner();
                        tcp.set_zero_linger().unwrap();
                        return;
                    }
                }
                let _ = stream.read_u8().await;
                return;
            }
        }
    })
    .await;
    let settings = [("timeouts.first_byte", "5s"), ("timeouts.idle", "300ms")];
    let addr = app_before(&peer, &settings).await;
    (peer, addr)
}

const CHUNKS: &str = "transfer-encoding: chunked\r\n";
const HELLO: &str = "\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";

#[tokio::test]
async fn the_body_of_a_response_ends_where_its_framing_says() {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 7\r\n\r\n".repeat(2_000);
    for (answer, end, body) in [
        (ok("content-length: 5\r\n\r\nhello"), End::Keep, "hello"),
        // The coding wins over any length.
        (
            ok(&format!("content-length: 1\r\n{CHUNKS}{HELLO}")),
            End::Keep,
            "hello",
        ),
        (
            ok(&format!("content-length: 0\r\n{CHUNKS}{HELLO}")),
            End::Keep,
            "hello",
        ),
        (
            ok(&format!("{CHUNKS}content-length: 1000{}{HELLO}", "\r\n")),
            End::Keep,
            "hello",
        ),
        (
            ok(&format!("{CHUNKS}content-length: 1, 2{}{HELLO}", "\r\n")),
            End::Keep,
            "hello",
        ),
        (
            ok(&format!("{CHUNKS}content-length: -1{}{HELLO}", "\r\n")),
            End::Keep,
            "hello",
        ),
        (
            ok(&format!("Transfer-Encoding:Chunked\t\r\n{HELLO}")),
            End::Keep,
            "hello",
        ),
        // Equal lengths count as one.
        (ok("content-length: 5, 5\r\n\r\nhello"), End::Keep, "hello"),
        (
            ok("content-length: 5,5 ,\t005\r\n\r\nhello"),
            End::Keep,
            "hello",
        ),
        (
            ok("content-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
            End::Keep,
            "hello",
        ),
        (
            ok("content-length: 5\r\na: b\r\nContent-Length: 5, 5\r\n\r\nhello"),
            End::Keep,
            "hello",
        ),
        (ok("content-length: 0, 0\r\n\r\n"), End::Keep, ""),
        // The end of the connection is the end of the body.
        (ok("\r\nhello"), End::Close, "hello"),
        (
            "HTTP/1.0 200 OK\r\n\r\nhello".to_owned(),
            End::Close,
            "hello",
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
            End::Close,
            "hello",
        ),
        (ok("content-length: 5\r\n\r\nhello"), End::Reset, "hello"),
        (
            hints + &ok("content-length: 5\r\n\r\nhello"),
            End::Keep,
            "hello",
        ),
    ] {
        let (_peer, addr) = framed(&answer, end).await;
        for (method, path) in [("GET", "/gateway/x"), ("POST", "/graphql")] {
            let read = Read::of(addr, method, path).await;
            assert_eq!(read.status(), "200", "{answer:?}: {read:?}");
            assert_eq!(read.body, body, "{answer:?}: {read:?}");
            assert!(read.is_whole, "{answer:?}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_response_whose_status_or_method_excludes_a_body_has_none() {
    // Method, status, headers, the body that upstream sends, and the length that remains.
    for (method, status, headers, body, length) in [
        ("HEAD", "200", "content-length: 5\r\n", "", Some("5")),
        ("HEAD", "200", "content-length: 5, 5\r\n", "", Some("5")),
        (
            "HEAD",
            "200",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "",
            None,
        ),
        (
            "HEAD",
            "404",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "",
            Some("5"),
        ),
        ("GET", "204", "content-length: 5\r\n", "", None),
        ("GET", "204", "content-length: 0\r\n", "", None),
        ("GET", "204", "transfer-encoding: chunked\r\n", "", None),
        ("GET", "204", "content-length: x\r\n", "", None),
        ("DELETE", "204", "content-length: 5\r\n", "hello", None),
        ("GET", "205", "content-length: 0\r\n", "", Some("0")),
        ("GET", "205", "content-length: 5\r\n", "hello", Some("0")),
        (
            "GET",
            "205",
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            Some("0"),
        ),
        ("GET", "304", "content-length: 5\r\n", "", Some("5")),
        ("GET", "304", "content-length: 5, 5\r\n", "", Some("5")),
        (
            "GET",
            "304",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "",
            None,
        ),
        ("GET", "304", "etag: \"a\"\r\n", "", None),
    ] {
        let answer = format!("HTTP/1.1 {status} X\r\n{headers}\r\n{body}");
        let (_peer, addr) = framed(&answer, End::Keep).await;
        // The second request shows that no bytes of the first remained on a connection.
        for _ in 0..2 {
            let read = Read::of(addr, method, "/gateway/x").await;
            assert_eq!(read.status(), status, "{method} {answer:?}: {read:?}");
            assert_eq!(read.body, "", "{method} {answer:?}: {read:?}");
            let mut lengths = read
                .head
                .lines()
                .filter_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(lengths.next(), length, "{method} {answer:?}: {read:?}");
            assert!(lengths.next().is_none());
        }
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_framed_is_a_bad_gateway() {
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\nhello");
    for answer in [
        head("content-length: 5, 6\r\n"),
        head("content-length: 5\r\ncontent-length: 6\r\n"),
        head("content-length: 5\r\ncontent-length: x\r\n"),
        head("content-length: +5\r\n"),
        head("content-length: -5\r\n"),
        head("content-length: 5.0\r\n"),
        head("content-length: 0x5\r\n"),
        head("content-length: 5,\r\n"),
        head("content-length:\r\n"),
        head("content-length: five\r\n"),
        head("content-length: 18446744073709551616\r\n"),
        head("content-length: 18446744073709551615\r\n"),
        head("transfer-encoding: gzip\r\n"),
        head("transfer-encoding: identity\r\ncontent-length: 5\r\n"),
        head("transfer-encoding: chunked, identity\r\n"),
        head(&format!("transfer-encoding: gzip, chunked\r\n{HELLO}")),
        head(&format!("transfer-encoding: gzip\r\n{CHUNKS}{HELLO}")),
        head(&format!("transfer-encoding: chunked, chunked\r\n{HELLO}")),
        head(&format!("transfer-encoding: chunked;a=b\r\n{HELLO}")),
        format!("HTTP/1.0 200 OK\r\n{CHUNKS}{HELLO}"),
        "HTTP/1.1 304 X\r\ncontent-length: 5, 6\r\n\r\n".to_owned(),
        // The client did not request an upgrade.
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 101 X\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        // Not HTTP/1.1.
        head("a: b\r\n c\r\n"),
        head("a : b\r\n"),
        head("a\r\n"),
        head("a: \0\r\n"),
        head(": b\r\n"),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
        "HTTP/3.0 200 OK\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1_000)),
        "HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
    ] {
        let (_peer, addr) = framed(&answer, End::Keep).await;
        let read = Read::of(addr, "GET", "/gateway/x").await;
        assert_eq!(read.status(), "502", "{answer:?}: {read:?}");
        let error: Value = serde_json::from_str(&read.body).unwrap();
        assert_eq!(error["code"], "UPSTREAM_BROKEN", "{answer:?}: {read:?}");
        assert_eq!(error["sent"], "maybe", "{answer:?}: {read:?}");
        check_error(&mutate(addr).await, 502, Code::UpstreamBroken, Sent::Maybe);
    }
    // The client receives the reason.
    let (_peer, addr) = framed(&head("transfer-encoding: gzip\r\n"), End::Keep).await;
    let answer = query(addr).await;
    assert!(answer.body.contains("Transfer-Encoding"), "{answer:?}");
}

#[tokio::test]
async fn a_response_that_ends_early_is_aborted() {
    let sized = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let both =
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let open = "HTTP/1.1 200 OK\r\n\r\nhello";
    let old = "HTTP/1.0 200 OK\r\n\r\nhello";
    for (answer, ends) in [
        (sized, &[End::Keep, End::Close, End::Fin, End::Reset][..]),
        (chunked, &[End::Keep, End::Close, End::Fin, End::Reset]),
        (both, &[End::Keep, End::Close, End::Fin, End::Reset]),
        (open, &[End::Keep, End::Fin, End::Reset]),
        (old, &[End::Keep, End::Fin, End::Reset]),
    ] {
        for end in ends {
            let (_peer, addr) = framed(answer, *end).await;
            for (method, path) in [("GET", "/gateway/x"), ("POST", "/graphql")] {
                let read = Read::of(addr, method, path).await;
                assert_eq!(read.status(), "200", "{answer:?} {end:?}: {read:?}");
                assert_eq!(read.body, "hello", "{answer:?} {end:?}: {read:?}");
                assert!(!read.is_whole, "{answer:?} {end:?}: {read:?}");
            }
        }
    }
}

/// Early hints are skipped, but not for ever.
#[tokio::test]
async fn endless_early_hints_time_out() {
    let peer = http1_peer(|_, mut stream| async move {
        Heard::read(&mut stream).await.unwrap();
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100);
        while stream.write_all(hints.as_bytes()).await.is_ok() {}
    })
    .await;
    let addr = app_before(&peer, &[("timeouts.first_byte", "500ms")]).await;
    check_error(&mutate(addr).await, 504, Code::UpstreamTimeout, Sent::Maybe);
}

/// HTTP/2 has its own length for each stream, and `Content-Length` must match it.
#[tokio::test]
async fn mismatched_lengths_over_http2_never_look_complete() {
    for (lengths, status) in [
        (&["5"][..], "200"),
        (&["5", "5"], "200"),
        (&["6"], "cut"),
        (&["4"], "cut"),
        (&["0"], "cut"),
        (&["5", "6"], "502"),
        (&["5, 5"], "502"),
        (&["x"], "502"),
        (&["+5"], "502"),
    ] {
        let peer = TlsPeer::start(&[API, GATEWAY], &["h2"], move |_, stream| {
            let service = service_fn(move |_| async move {
                let mut response = Response::builder();
                for length in lengths {
                    response = response.header("content-length", *length);
                }
                let pieces = [Ok::<_, hyper::Error>(Frame::data(Bytes::from_static(
                    b"hello",
                )))];
                let body = StreamBody::new(futures_util::stream::iter(pieces));
                Ok::<_, hyper::Error>(response.body(body).unwrap())
            });
            async move {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        let addr = app_before(&peer, &[]).await;
        let read = Read::of(addr, "GET", "/gateway/x").await;
        match status {
            "cut" => {
                assert_eq!(read.status(), "200", "{lengths:?}: {read:?}");
                assert!(!read.is_whole, "{lengths:?}: {read:?}");
            }
            _ => assert_eq!(read.status(), status, "{lengths:?}: {read:?}"),
        }
        if status == "200" {
            assert_eq!((read.body.as_str(), read.is_whole), ("hello", true));
        }
    }
}

// Through a proxy. The environment configures it, so these tests run the built program.

struct Proxied {
    daemon: Daemon,
    addr: SocketAddr,
    _home: Scratch,
}

async fn proxied(name: &str, emulator: &Emulator, target: &str, more: &[(&str, &str)]) -> Proxied {
    let home = Scratch::new(name);
    let ca_file = home.file("ca.pem", emulator.ca_pem());
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--region",
        "us-east-1",
        "--ca-file",
        &ca_file,
        target,
    ];
    let mut environment = demo_key();
    environment.extend(more);
    let mut daemon = Daemon::start(&arguments, &environment);
    let addr = daemon.address().await;
    Proxied {
        daemon,
        addr,
        _home: home,
    }
}

async fn rooms(addr: SocketAddr) -> Answer {
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    post(addr, "/graphql", &[JSON], &body).await
}

#[tokio::test]
async fn a_proxy_is_used_for_requests_and_for_realtime() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let proxy = Proxy::start(emulator.addr()).await;
    let url = format!("http://user:proxy-password@{}", proxy.addr);
    let target = format!("https://{}/graphql", emulator.api_host());
    let mut run = proxied("proxied", &emulator, &target, &[("HTTPS_PROXY", &url)]).await;
    for _ in 0..3 {
        let answer = rooms(run.addr).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let mut socket = Socket::open(run.addr, &[]).await;
    socket.init().await;
    socket
        .subscribe("s", "subscription { onMessage { body } }")
        .await;
    let subscribed = emulator.wait_for(|stats| stats.realtime.subscriptions == 1);
    within("a subscription", subscribed).await;
    socket
        .subscribe(
            "m",
            "mutation { postMessage(room: \"lobby\", body: \"through\") { id room body } }",
        )
        .await;
    let event = socket.next_of("s").await;
    assert_eq!(event["payload"]["data"]["onMessage"]["body"], "through");

    let heard = proxy.heard();
    let lines: Vec<&str> = heard.iter().map(|request| request.line.trim()).collect();
    let connect = |host: &str| format!("CONNECT {host}:443 HTTP/1.1");
    let expected = [
        connect(emulator.api_host()),
        connect(emulator.realtime_host()),
    ];
    assert_eq!(lines, expected);
    for request in &heard {
        // user:proxy-password
        let basic = &request.headers["proxy-authorization"];
        assert_eq!(basic, "Basic dXNlcjpwcm94eS1wYXNzd29yZA==");
    }
    run.daemon.signal("-TERM");
    run.daemon.exited().await;
    assert!(!run.daemon.log.contains("proxy-password"));
}

#[tokio::test]
async fn no_proxy_is_respected() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let proxy = Proxy::start(emulator.addr()).await;
    let (url, port) = (proxy.url(), emulator.addr().port());
    let target = format!("https://localhost:{port}/graphql");
    let by_proxy = [("HTTPS_PROXY", url.as_str())];
    let run = proxied("by-proxy", &emulator, &target, &by_proxy).await;
    assert_eq!(rooms(run.addr).await.status, 200);
    let heard = proxy.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].path(), format!("localhost:{port}"));

    let directly = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "localhost")];
    let run = proxied("no-proxy", &emulator, &target, &directly).await;
    assert_eq!(rooms(run.addr).await.status, 200);
    assert_eq!(proxy.heard().len(), 1);
}

/// A URL that could not be parsed was ignored, and requests went directly.
#[tokio::test]
async fn proxy_url_is_used_or_refused() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let proxy = Proxy::start(emulator.addr()).await;
    let target = format!("https://{}/graphql", emulator.api_host());
    let url = format!("http://user:p@ss word@{}", proxy.addr);
    let run = proxied("raw-password", &emulator, &target, &[("https_proxy", &url)]).await;
    assert_eq!(rooms(run.addr).await.status, 200);
    // user:p@ss word
    let basic = &proxy.heard()[0].headers["proxy-authorization"];
    assert_eq!(basic, "Basic dXNlcjpwQHNzIHdvcmQ=");

    let target = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";
    for url in [
        "http://user:proxy-password/x@127.0.0.1:3128",
        "http://user:proxy-password@127.0.0.1:99999",
        "ftp://user:proxy-password@127.0.0.1",
    ] {
        let environment = [&demo_key()[..], &[("HTTPS_PROXY", url)]].concat();
        let run = command(&["--listen", "127.0.0.1:0", target], &environment).output();
        let output = within("the program's end", run).await.unwrap();
        let shown = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{shown}");
        assert!(
            shown.contains("HTTPS_PROXY is not the URL of a proxy"),
            "{shown}"
        );
        assert!(!shown.contains("proxy-password"), "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_rejects_connect_is_named() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let proxy = Proxy::answering(emulator.addr(), "403 Forbidden").await;
    let url = proxy.url();
    let target = format!("https://{}/graphql", emulator.api_host());
    let run = proxied("refusing", &emulator, &target, &[("HTTPS_PROXY", &url)]).await;
    let answer = rooms(run.addr).await;
    check_error(&answer, 502, Code::UpstreamUnreachable, Sent::No);
    let message: Value = answer.json()["errors"][0]["message"].clone();
    let message = message.as_str().unwrap();
    for part in [
        &proxy.addr.to_string(),
        emulator.api_host(),
        "HTTPS_PROXY",
        "NO_PROXY",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(emulator.stats().requests.http, 0);
}

/// The proxy was dialled without TLS, and its password was sent in clear.
#[tokio::test]
async fn a_password_is_never_sent_to_a_tls_proxy_in_clear() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let target = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";
    for scheme in ["https", "socks5"] {
        let url = format!("{scheme}://user:proxy-password@{address}");
        let environment = [&demo_key()[..], &[("HTTPS_PROXY", url.as_str())]].concat();
        let run = command(&["--listen", "127.0.0.1:0", target], &environment).output();
        let output = within("the program's end", run).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("a {scheme}:// proxy")), "{said}");
        assert!(!said.contains("proxy-password"), "{said}");
    }
}

/// Starts a peer with 128 streams per connection, like AWS's load balancers. A path named
/// `endless` is answered with the pieces of `piece`, and all others with `{}`.
async fn http2_peer<F, Piece>(piece: F) -> TlsPeer
where
    F: Fn() -> Piece + Clone + Send + Sync + 'static,
    Piece: Future<Output = Bytes> + Send + 'static,
{
    TlsPeer::start(&[API, GATEWAY], &["h2"], move |_, stream| {
        let piece = piece.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let piece = piece.clone();
            let body = match request.uri().path().ends_with("/endless") {
                true => {
                    let pieces = futures_util::stream::unfold(piece, async |piece| {
                        let next = Ok::<_, hyper::Error>(Frame::data(piece().await));
                        Some((next, piece))
                    });
                    StreamBody::new(pieces).boxed_unsync()
                }
                false => {
                    let body = Full::new(Bytes::from_static(b"{}"));
                    body.map_err(|never| match never {}).boxed_unsync()
                }
            };
            async move { Ok::<_, hyper::Error>(Response::new(body)) }
        });
        async move {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(128);
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

/// Requests the endless response, and reads only its first bytes.
async fn stalled(addr: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let request = format!("GET /gateway/endless HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    let read = within("the answer's head", stream.read_exact(&mut first)).await;
    read.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// Its response took the whole window of the connection, and all other responses waited for it.
#[tokio::test]
async fn a_slow_reader_does_not_hold_up_other_responses() {
    const PIECE: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let peer = http2_peer(move || {
        counter.fetch_add(PIECE, Ordering::Relaxed);
        std::future::ready(Bytes::from_static(&[b'x'; PIECE]))
    })
    .await;
    // Otherwise the slow reader's disconnect would end it.
    let addr = app_before(&peer, &[("timeouts.write", "5m")]).await;
    let slow = stalled(addr).await;
    // Until no more bytes are read between two requests.
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        for _ in 0..50 {
            assert_eq!(query(addr).await.status, 200);
        }
    }
    let gateway = within("an answer", get(addr, "/gateway/small", &[])).await;
    assert_eq!((gateway.status, gateway.body.as_str()), (200, "{}"));
    assert!(before > 0);
    drop(slow);
}

/// Requests waited unsent until another response ended, and were reported as sent.
#[tokio::test]
async fn responses_beyond_the_stream_limit_are_served() {
    let peer = http2_peer(std::future::pending).await;
    let addr = app_before(&peer, &[]).await;
    let mut open = Vec::new();
    for _ in 0..250 {
        open.push(stalled(addr).await);
    }
    assert_eq!(get(addr, "/gateway/small", &[]).await.status, 200);
    assert_eq!(peer.connections(), 3);
}
