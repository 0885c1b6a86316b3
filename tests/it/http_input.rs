//! What HTTP clients really send: many headers, malformed heads, half-closed connections, byte order
//! marks, charsets, odd upgrades and HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use countersign::telemetry::metrics::{self, Format};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Answer, Daemon, JSON, Running, Socket, World, exchange, get, post, raw, raw_on, within,
};
use crate::tls;

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;
const SLOW: &str = r#"{"query":"{ slow(ms: 0) }"}"#;
const MARK: &str = "\u{feff}";

/// A daemon with TLS on its port, and a route of each kind.
async fn daemon() -> Running<Daemon> {
    World::builder()
        .routes(&["event", "rest"])
        .config("[tls]\ndev = true\n")
        .admin()
        .daemon()
        .await
}

/// Connects over TLS, with these protocols.
async fn secure(world: &Running<Daemon>, alpn: &[&str]) -> std::io::Result<Secure> {
    let ca = world.path(".local/state/countersign/ca.pem");
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let name = "localhost".try_into().unwrap();
    within("TLS", tls::client(&ca, alpn).connect(name, stream)).await
}

type Secure = tokio_rustls::client::TlsStream<TcpStream>;

/// A `POST` with a body, on a connection that stays open.
fn request(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

/// Sends a request on a connection that closes after it.
async fn send(stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> Answer {
    let headers = format!("connection: close\r\n{headers}");
    raw_on(stream, request(path, &headers, QUERY).as_bytes()).await
}

/// hyper gets room for many headers only when a request has them, in the middle of its head.
#[tokio::test]
async fn many_headers_are_read_in_any_pieces_and_after_any_request() {
    let world = daemon().await;
    let headers: String = (0..300).map(|at| format!("x{at}: 1\r\n")).collect();
    let many = request("/nowhere", &headers, QUERY);
    let last = request("/graphql", "connection: close\r\n", QUERY);
    // The request has two headers before these.
    let at = |line: &str| many.find(line).unwrap();
    let ends = [
        0,
        5,
        at("x0:"),
        at("x97:"),
        at("x98:") - 1,
        at("x98:"),
        at("x98:") + 1,
        at("x99:"),
        at("x250:"),
        many.len() - 1,
        many.len(),
    ];
    for first in [QUERY, SLOW].map(|query| request("/graphql", "", query)) {
        for end in ends {
            let (one, two) = many.split_at(end);
            let pieces = [first.clone() + one, two.to_owned() + &many + &last];
            let mut stream = TcpStream::connect(world.addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut answers = String::new();
            let read = stream.read_to_string(&mut answers);
            within("the answers", read).await.unwrap();
            let statuses = answers.split("HTTP/1.1 ").skip(1);
            let statuses: Vec<&str> = statuses.map(|answer| &answer[..3]).collect();
            assert_eq!(statuses, ["200", "404", "404", "200"], "{end}: {answers}");
        }
    }
}

/// hyper answered these itself, without a body: 431 beyond 100 headers, and 400.
#[tokio::test]
async fn heads_that_cannot_be_read_are_errors_like_all_others() {
    let mut world = daemon().await;
    let many = |count: usize| {
        (0..count)
            .map(|at| format!("x{at}: 1\r\n"))
            .collect::<String>()
    };
    // The emulator accepts fewer headers than countersign.
    for (path, count, status) in [
        ("/graphql", 90, 200),
        ("/graphql", 101, 200),
        ("/nowhere", 500, 404),
        ("/nowhere", 2_000, 404),
    ] {
        let headers = many(count);
        let plain = TcpStream::connect(world.addr).await.unwrap();
        for answer in [
            send(plain, path, &headers).await,
            send(secure(&world, &[]).await.unwrap(), path, &headers).await,
        ] {
            assert_eq!(answer.status, status, "{count} headers: {answer:?}");
        }
    }
    let post = |path: &str, headers: &str| {
        request(path, &format!("connection: close\r\n{headers}"), QUERY)
    };
    let beyond = |path: &str| post(path, &many(2_100));
    let large = |length: usize| post("/graphql", &format!("x: {}\r\n", "a".repeat(length)));
    let long = format!(
        "GET /rest/{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "a".repeat(40_000)
    );
    let head = |text: &str| format!("{text}\r\nhost: localhost\r\n\r\n");
    let large_text = "larger than 32768 bytes (limits.request_head)";
    let rows: [(&str, String, u16, &str, &str); 13] = [
        (
            "too many headers",
            beyond("/graphql"),
            431,
            "HEAD_TOO_LARGE",
            "more than 2048 headers",
        ),
        (
            "too many, Events",
            beyond("/event"),
            431,
            "HEAD_TOO_LARGE",
            "more than 2048 headers",
        ),
        (
            "too many, REST",
            beyond("/rest/a"),
            431,
            "HEAD_TOO_LARGE",
            "more than 2048 headers",
        ),
        (
            "too many, no route",
            beyond("/nowhere"),
            431,
            "HEAD_TOO_LARGE",
            "more than 2048 headers",
        ),
        (
            "a large header",
            large(40_000),
            431,
            "HEAD_TOO_LARGE",
            large_text,
        ),
        (
            "a very large header",
            large(500_000),
            431,
            "HEAD_TOO_LARGE",
            large_text,
        ),
        ("a long target", long, 431, "HEAD_TOO_LARGE", large_text),
        (
            "no colon",
            head("GET /graphql HTTP/1.1\r\nnonsense"),
            400,
            "BAD_HEAD",
            "malformed",
        ),
        (
            "a header name",
            head("GET /graphql HTTP/1.1\r\na b: c"),
            400,
            "BAD_HEAD",
            "malformed",
        ),
        (
            "a header value",
            head("GET /graphql HTTP/1.1\r\na: \x01"),
            400,
            "BAD_HEAD",
            "malformed",
        ),
        (
            "a space",
            head("GET /rest/a b HTTP/1.1"),
            400,
            "BAD_HEAD",
            "malformed",
        ),
        (
            "another version",
            head("GET /graphql HTTP/1.2"),
            400,
            "BAD_HEAD",
            "malformed",
        ),
        (
            "no HTTP",
            "nonsense\r\n\r\n".to_owned(),
            400,
            "BAD_HEAD",
            "malformed",
        ),
    ];
    // Its text blamed the headers.
    let latin_1 = b"GET /caf\xe9 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = raw(world.addr, latin_1).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_HEAD"));
    let text =
        "the request target has a byte that is not ASCII: percent-encode it, as in /caf%C3%A9";
    assert!(answer.body.contains(text), "{answer:?}");
    for (what, request, status, code, text) in &rows {
        let plain = raw(world.addr, request.as_bytes()).await;
        let secure = raw_on(secure(&world, &[]).await.unwrap(), request.as_bytes()).await;
        for answer in [plain, secure] {
            assert_eq!(answer.status, *status, "{what}: {answer:?}");
            assert_eq!(answer.headers["x-countersign-error"], *code, "{what}");
            assert_eq!(answer.headers["content-type"], "application/json", "{what}");
            assert_eq!(answer.headers["connection"], "close", "{what}");
            assert!(answer.headers.contains_key("date"), "{what}: {answer:?}");
            let length = answer.body.len().to_string();
            assert_eq!(answer.headers["content-length"], length, "{what}");
            let body = answer.json();
            let (error, at) = match request.contains(" /rest/") {
                true => (&body, &body),
                false => (&body["errors"][0], &body["errors"][0]["extensions"]),
            };
            assert!(
                error["message"].as_str().unwrap().contains(text),
                "{what}: {body}"
            );
            assert_eq!(
                (&at["code"], &at["sent"]),
                (&json!(code), &json!("no")),
                "{what}"
            );
            let line = world
                .countersign
                .line(&format!("error.type=\"{code}\""))
                .await;
            assert!(
                line.contains(&format!("http.response.status_code={status}")),
                "{what}: {line}"
            );
            assert!(
                line.contains("client.address=127.0.0.1 client.port="),
                "{what}: {line}"
            );
        }
    }
    // The guard refuses some of them, before it is known whether their route may be used.
    let page = world.metrics().await;
    for (route, status, code, count) in [
        ("graphql", 431, "HEAD_TOO_LARGE", 4),
        ("event", 431, "HEAD_TOO_LARGE", 2),
        ("rest", 431, "HEAD_TOO_LARGE", 2),
        ("none", 431, "HEAD_TOO_LARGE", 6),
        ("graphql", 400, "BAD_HEAD", 8),
        ("rest", 400, "BAD_HEAD", 2),
        ("none", 400, "BAD_HEAD", 3),
    ] {
        let sample = format!(
            "countersign_requests_total{{route=\"{route}\",client=\"http\",operation=\"none\",status=\"{status}\",code=\"{code}\"}} {count}\n"
        );
        assert!(page.contains(&sample), "no {sample} in\n{page}");
    }
    let stats = world.emulator.stats();
    assert_eq!(stats.requests.http, 4, "{stats:?}");
    world.stop().await;
}

#[tokio::test]
async fn malformed_request_after_others_is_an_error_of_its_own() {
    let world = World::builder().in_process().await;
    let text = format!("{}nonsense\r\n\r\n", request("/graphql", "", QUERY));
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    within("both", stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (first, second) = text.rsplit_once("HTTP/1.1 ").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(
        second.starts_with("400 ") && second.contains("BAD_HEAD"),
        "{text}"
    );
    world.drained().await;
}

/// Sends a request and closes the sending side.
async fn half_closed(addr: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    stream
}

/// `nc -N` received nothing.
#[tokio::test]
async fn client_that_closes_its_sending_side_gets_its_answer() {
    let world = World::builder().routes(&["rest"]).in_process().await;
    let chunked = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{QUERY}\r\n0\r\n\r\n",
        QUERY.len()
    );
    let by_get = "GET /graphql?query=%7Brooms%7Bid%7D%7D HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let rest = "GET /rest/stream?chunks=20&every=20 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let twice = request("/graphql", "", QUERY).repeat(2);
    let rows: [(&str, String, &str, usize); 7] = [
        ("POST", request("/graphql", "", QUERY), "\"lobby\"", 1),
        (
            "close",
            request("/graphql", "connection: close\r\n", QUERY),
            "\"lobby\"",
            1,
        ),
        ("chunked", chunked, "\"lobby\"", 1),
        ("GET", by_get.to_owned(), "\"lobby\"", 1),
        ("two requests", twice, "\"lobby\"", 2),
        (
            "a refusal",
            request("/nowhere", "", QUERY),
            "\"NO_ROUTE\"",
            1,
        ),
        ("a long response", rest.to_owned(), "chunk 19\n", 1),
    ];
    for (what, request, expected, count) in rows {
        let stream = half_closed(world.addr, &request).await;
        let answer = within(what, read_to_end(stream)).await;
        assert_eq!(answer.matches(expected).count(), count, "{what}: {answer}");
    }
    // The answers to these come only after the end of the client's side has arrived.
    let batch = format!("[{SLOW},{SLOW}]");
    let mutation =
        r#"{"query":"mutation { slowPost(room: \"lobby\", body: \"b\", ms: 0) { body } }"}"#;
    for (what, body) in [("query", SLOW), ("mutation", mutation), ("batch", &batch)] {
        world.switch(json!({ "gate": true }));
        let before = world.emulator.stats().requests.http;
        let stream = half_closed(world.addr, &request("/graphql", "", body)).await;
        let is_received = |stats: &countersign_emulator::Stats| stats.requests.http > before;
        world.saw(what, is_received).await;
        // Several checks of the client take place.
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.switch(json!({ "gate": false }));
        let answer = within(what, read_to_end(stream)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
        assert!(answer.contains("\"data\":{"), "{what}: {answer}");
    }
    world.drained().await;
}

async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn client_that_closes_its_sending_side_over_tls_gets_its_answer() {
    let world = daemon().await;
    world.switch(json!({ "gate": true }));
    let mut stream = secure(&world, &[]).await.unwrap();
    let request = request("/graphql", "", SLOW);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    world
        .saw("the request", |stats| stats.requests.http > 0)
        .await;
    world.switch(json!({ "gate": false }));
    let answer = within("an answer", read_to_end(stream)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn stream_goes_on_after_its_client_has_closed_its_sending_side() {
    let world = World::builder().in_process().await;
    let body = r#"{"query":"subscription { onMessage { body } }"}"#;
    let asked = request("/graphql", "accept: text/event-stream\r\n", body);
    let mut stream = half_closed(world.addr, &asked).await;
    world.subscriptions(1).await;
    for body in ["first", "second"] {
        let mutation =
            format!(r#"mutation {{ postMessage(room: "lobby", body: "{body}") {{ body }} }}"#);
        assert_eq!(world.query(&mutation).await.status, 200);
        let mut text = String::new();
        while !text.contains(body) {
            let mut bytes = [0; 1_024];
            let read = within(body, stream.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
    drop(stream);
    world.subscriptions(0).await;
    world.drained().await;
}

/// A client that closes its whole socket sends the same as one that closes its sending side.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn client_that_closes_its_socket_is_noticed_at_any_time() {
    let world = World::builder().in_process().await;
    world.switch(json!({ "gate": true }));
    let cancelled = || {
        let page = metrics::encode(Format::Prometheus).unwrap();
        let mut lines = page.lines();
        let line = lines.find(|line| {
            line.starts_with("countersign_requests_total{") && line.contains("CANCELLED")
        });
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    for (at, (is_half_closed, is_reset)) in
        [(false, false), (false, true), (true, false), (true, true)]
            .into_iter()
            .enumerate()
    {
        let asked = request("/graphql", "", SLOW);
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let expected = at + 1;
        world
            .saw("a request", |stats| stats.requests.http == expected as u64)
            .await;
        if is_half_closed {
            stream.shutdown().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(cancelled(), at, "half closed");
        }
        if is_reset {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        let noticed = async {
            while cancelled() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("{is_half_closed} {is_reset}"), noticed).await;
    }
    world.switch(json!({ "gate": false }));
    world.drained().await;
}

#[tokio::test]
async fn half_closed_client_of_the_admin_listener_gets_its_answer() {
    let world = World::builder().admin().daemon().await;
    for path in ["/livez", "/readyz", "/readyz?deep", "/metrics", "/nowhere"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let stream = half_closed(world.admin(), &request).await;
        let answer = within(path, read_to_end(stream)).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn byte_order_mark_before_json_is_accepted() {
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let world = World::builder().routes(&["event"]).in_process().await;
    let batch = format!("[{QUERY},{QUERY}]");
    let publish = r#"{"channel":"/default/a","events":["1"]}"#;
    let events = ("accept", "text/event-stream");
    let rows: [(&str, &str, Headers<'_>, &str, &str); 6] = [
        ("a query", "/graphql", &[JSON], QUERY, "lobby"),
        (
            "utf8",
            "/graphql",
            &[("content-type", "application/json; charset=UTF8")],
            QUERY,
            "lobby",
        ),
        ("a batch", "/graphql", &[JSON], &batch, "lobby"),
        ("a stream", "/graphql", &[JSON, events], QUERY, "lobby"),
        ("Events", "/event", &[JSON], publish, "successful"),
        (
            "an event",
            "/event/default/a",
            &[JSON],
            r#"{"a":1}"#,
            "successful",
        ),
    ];
    for (what, path, headers, body, expected) in rows {
        for text in [format!("{MARK}{body}"), format!("{MARK}\r\n {body}")] {
            let answer = post(world.addr, path, headers, &text).await;
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
            assert!(answer.body.contains(expected), "{what}: {answer:?}");
        }
        // Only one, and only at the beginning. AWS parses the body of Events itself.
        for text in [format!("{MARK}{MARK}{body}"), format!(" {MARK}{body}")] {
            let answer = post(world.addr, path, headers, &text).await;
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            let code = answer.headers.get("x-countersign-error");
            assert!(
                path == "/event" || code.is_some_and(|code| code == "BAD_JSON"),
                "{what}: {answer:?}"
            );
        }
    }
    for protocol in ["graphql-transport-ws", "graphql-ws"] {
        let mut socket = Socket::dial(world.addr, "/graphql", protocol, &[]).await;
        let send = async |socket: &mut Socket, frame: Value| {
            let text = format!("{MARK}{frame}");
            socket.0.send_text(text).await;
        };
        send(&mut socket, json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await["type"], "connection_ack", "{protocol}");
    }
    let mut socket = Socket::dial(world.addr, "/event/realtime", "aws-appsync-event-ws", &[]).await;
    let init = format!("{MARK}{}", json!({ "type": "connection_init" }));
    socket.0.send_text(init).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    drop(socket);
    world.drained().await;
}

trait SendText {
    async fn send_text(&mut self, text: String);
}

impl<S: futures_util::Sink<Message> + Unpin> SendText for S {
    async fn send_text(&mut self, text: String) {
        let sent = futures_util::SinkExt::send(self, Message::text(text)).await;
        assert!(sent.is_ok(), "not sent");
    }
}

#[tokio::test]
async fn refused_charset_is_named() {
    let world = World::builder().routes(&["event"]).in_process().await;
    for path in ["/graphql", "/event", "/event/default/a"] {
        for charset in ["latin1", "UTF-16", "utf-7"] {
            let kind = format!("application/json; charset={charset}");
            let answer = post(world.addr, path, &[("content-type", &kind)], QUERY).await;
            assert_eq!(answer.status, 415, "{answer:?}");
            assert_eq!(answer.code(), "UNSUPPORTED_MEDIA_TYPE");
            let expected = format!("charset utf-8 expected, got {charset:?}");
            assert_eq!(answer.json()["errors"][0]["message"], expected);
        }
    }
    world.drained().await;
}

/// The body was read as frames, or ignored.
#[tokio::test]
async fn upgrade_with_a_body_is_refused() {
    let world = World::builder().routes(&["event", "ws"]).in_process().await;
    for path in [
        "/graphql",
        "/graphql/realtime",
        "/realtime",
        "/event/realtime",
        "/ws",
    ] {
        let upgrade = |more: &str| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}"
            )
        };
        for more in [
            "content-length: 5\r\n\r\nhello",
            "content-length: 5\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let answer = raw(world.addr, upgrade(more).as_bytes()).await;
            assert_eq!(answer.status, 400, "{path} {more:?}: {answer:?}");
            assert_eq!(answer.headers["x-countersign-error"], "BAD_UPGRADE");
            assert!(answer.body.contains("must have no body"), "{answer:?}");
        }
        for more in ["\r\n", "content-length: 0\r\n\r\n"] {
            let mut stream = TcpStream::connect(world.addr).await.unwrap();
            stream.write_all(upgrade(more).as_bytes()).await.unwrap();
            let mut line = [0; 12];
            within("a handshake", stream.read_exact(&mut line))
                .await
                .unwrap();
            assert_eq!(&line, b"HTTP/1.1 101", "{path} {more:?}");
        }
    }
    world.drained().await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Checks the frames that a client of HTTP/2 receives, and the log.
async fn check_http2(world: &mut Running<Daemon>, bytes: &[u8], what: &str) {
    assert_eq!(
        bytes.get(..9),
        Some(&b"\0\0\0\x04\0\0\0\0\0"[..]),
        "{what}: {bytes:?}"
    );
    let goaway = &bytes[9..];
    assert_eq!(
        goaway[3..17],
        *b"\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d",
        "{what}"
    );
    let text = String::from_utf8_lossy(&goaway[17..]);
    assert!(text.contains("use HTTP/1.1"), "{what}: {text}");
    let line = world.countersign.line("error.type=\"HTTP_VERSION\"").await;
    assert!(
        line.contains("the client began HTTP/2: use HTTP/1.1"),
        "{what}: {line}"
    );
}

/// The connection was closed without a word, or with a response of HTTP/1.1.
#[tokio::test]
async fn http2_is_answered_with_http_1_1_required() {
    let mut world = daemon().await;
    for pieces in [
        vec![PREFACE],
        vec![&PREFACE[..2], &PREFACE[2..]],
        vec![&PREFACE[..14], &PREFACE[14..]],
        vec![&PREFACE[..16], &PREFACE[16..]],
        vec![&PREFACE[..18], &PREFACE[18..]],
        vec![&PREFACE[..24], &PREFACE[24..]],
    ] {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in &pieces {
            stream.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut bytes = Vec::new();
        let _ = within("frames", stream.read_to_end(&mut bytes)).await;
        check_http2(&mut world, &bytes, &format!("{pieces:?}")).await;
    }
    let mut stream = secure(&world, &[]).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let mut bytes = Vec::new();
    let _ = within("frames", stream.read_to_end(&mut bytes)).await;
    check_http2(&mut world, &bytes, "TLS").await;
    // With ALPN, HTTP/1.1 is chosen if it is offered.
    let stream = secure(&world, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(send(stream, "/graphql", "").await.status, 200);
    let refused = secure(&world, &["h2"]).await.unwrap_err();
    assert!(
        refused.to_string().contains("NoApplicationProtocol"),
        "{refused}"
    );
    let line = world.countersign.line("client connection not opened").await;
    let expected = [
        "WARN",
        "HTTP/2 (ALPN `h2`). It serves HTTP/1.1",
        "client.address=127.0.0.1 client.port=",
    ];
    assert!(expected.iter().all(|part| line.contains(part)), "{line}");
    // An upgrade to HTTP/2 is ignored, as HTTP allows.
    let upgrade =
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
    let stream = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(send(stream, "/graphql", upgrade).await.status, 200);
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let answer = exchange(stream, b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 505, "{answer:?}");
    assert_eq!(get(world.addr, "/nowhere", &[]).await.status, 404);
    world.stop().await;
}
