//! What clients of every protocol send besides the document, as an upstream receives it: names that are
//! empty, header values beyond ASCII, and headers that belong to signatures.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::fakes::{Heard, TlsPeer};
use crate::support::{Answer, Socket, World, exchange, within};
use crate::upstream::{API, Connection, OK, app};

/// What an upstream receives: the headers and the body of a request, or the entries of the authorization
/// object and the `data` (the channel) of a subscription.
#[derive(Debug)]
struct Received {
    headers: BTreeMap<String, String>,
    text: String,
}

/// A fake AppSync, and countersign before it.
struct Site {
    addr: SocketAddr,
    received: mpsc::Receiver<Received>,
    _peer: TlsPeer,
}

/// A client that sends the same headers with each of its requests.
#[derive(Clone)]
struct Client {
    addr: SocketAddr,
    /// Lines that end with CR LF.
    headers: Vec<u8>,
    /// The same headers in the authorization object of a message.
    entries: Value,
}

/// How a client sends an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Post,
    Get,
    Batch,
    Sse,
    SseByGet,
    Multipart,
    Reserved,
    TransportWs,
    Legacy,
    Native,
    EventsPost,
    EventsSse,
    EventsWs,
}

/// What stays open until the test has seen what it caused, and what it can read.
enum Opened {
    Stream(TcpStream),
    Socket(Box<Socket<TcpStream>>),
}

const REALTIME: &str = "abcdefghijklmnopqrstuvwxyz.appsync-realtime-api.us-east-1.amazonaws.com";
const QUERY: &str = "query A { a }";
const SUBSCRIPTION: &str = "subscription A { a }";
/// A subscription is sent as a signed `start`.
const SUBSCRIBING: [Way; 7] = [
    Way::Sse,
    Way::SseByGet,
    Way::Multipart,
    Way::Reserved,
    Way::TransportWs,
    Way::Legacy,
    Way::Native,
];

impl Site {
    async fn start() -> Self {
        let (sender, received) = mpsc::channel(100);
        let peer = TlsPeer::start(&[API, REALTIME], &["http/1.1"], move |_, stream| {
            record(Connection::new(stream), sender.clone())
        });
        let peer = peer.await;
        let event = format!("https://{API}/event");
        let connect = peer.addr.to_string();
        let routes = [
            ("route.event.target", event.as_str()),
            ("route.event.connect", &connect),
        ];
        Self {
            addr: app(peer.addr, &peer.ca_pem, &routes).await,
            received,
            _peer: peer,
        }
    }

    fn client(&self, headers: &[(&str, &[u8])]) -> Client {
        let mut lines = Vec::new();
        for (name, value) in headers {
            lines.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let mut entries = serde_json::Map::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value);
            let entry = entries.entry(*name);
            let known = entry.or_insert_with(|| json!(""));
            let known_text = known.as_str().unwrap();
            *known = match known_text {
                "" => json!(value),
                known => json!(format!("{known}, {value}")),
            };
        }
        Client {
            addr: self.addr,
            headers: lines,
            entries: Value::Object(entries),
        }
    }

    async fn next(&mut self, way: Way) -> Received {
        let what = format!("{way:?} at upstream");
        within(&what, self.received.recv()).await.unwrap()
    }
}

/// Serves a connection: responds `{}` to requests, and confirms subscriptions.
async fn record(mut stream: Connection, sender: mpsc::Sender<Received>) {
    while let Some(request) = Heard::read(&mut stream).await {
        if let Some(key) = request.headers.get("sec-websocket-key") {
            let protocols = &request.headers["sec-websocket-protocol"];
            let protocol = protocols.split(',').next().unwrap();
            let head = format!(
                "HTTP/1.1 101 X\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {}\r\nsec-websocket-protocol: {protocol}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            return record_realtime(stream, sender).await;
        }
        let (headers, text) = (request.headers, request.body);
        sender.send(Received { headers, text }).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn record_realtime(stream: Connection, sender: mpsc::Sender<Received>) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let (authorization, data, answer) = match frame["type"].as_str().unwrap() {
            "connection_init" => {
                let timeout = json!({ "connectionTimeoutMs": 300_000 });
                let ack = json!({
                    "type": "connection_ack", "payload": timeout, "connectionTimeoutMs": 300_000,
                });
                socket.send(Message::text(ack.to_string())).await.unwrap();
                continue;
            }
            "start" => {
                let payload = &frame["payload"];
                let authorization = &payload["extensions"]["authorization"];
                (authorization, &payload["data"], "start_ack")
            }
            "subscribe" => (
                &frame["authorization"],
                &frame["channel"],
                "subscribe_success",
            ),
            _ => continue,
        };
        let entries = authorization.as_object().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let headers = entries.map(|(name, value)| (name.to_ascii_lowercase(), text(value)));
        let headers = headers.collect();
        let text = text(data);
        sender.send(Received { headers, text }).await.unwrap();
        let answer = json!({ "type": answer, "id": frame["id"] }).to_string();
        socket.send(Message::text(answer)).await.unwrap();
    }
}

impl Client {
    /// Sends a request with the client's headers and `more`.
    async fn http(&self, line: &str, more: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nhost: {}\r\n{more}", self.addr).into_bytes();
        request.extend(&self.headers);
        if !body.is_empty() {
            let framing = format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
            request.extend(framing.as_bytes());
        }
        request.extend(format!("\r\n{body}").as_bytes());
        stream.write_all(&request).await.unwrap();
        stream
    }

    /// Opens a socket with the client's headers, and waits for the acknowledgement.
    async fn socket(&self, path: &str, protocol: &str, init: Value) -> Socket<TcpStream> {
        let upgrade = format!(
            "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {protocol}\r\n"
        );
        let mut stream = self.http(&format!("GET {path}"), &upgrade, "").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("an upgrade", stream.read_u8()).await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let mut socket = Socket(socket);
        socket.send(init).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
    }

    /// Sends `operation`, an object with `query` and other members of a request.
    async fn send(&self, way: Way, operation: &Value) -> Opened {
        let init = json!({ "type": "connection_init" });
        let body = operation.to_string();
        let accept = |media: &str| format!("accept: {media}\r\n");
        let events = accept("text/event-stream");
        let by_get = || {
            let members = operation.as_object().unwrap().iter();
            let escaped = |value: &Value| {
                let text = value.as_str().map(str::to_owned);
                let text = text.unwrap_or_else(|| value.to_string());
                let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
                bytes.collect::<String>()
            };
            let pairs = members.map(|(name, value)| format!("{name}={}", escaped(value)));
            let pairs: Vec<String> = pairs.collect();
            format!("GET /graphql?{}", pairs.join("&"))
        };
        let start = |protocol, path, kind, payload: Value| async move {
            let init = json!({ "type": "connection_init" });
            let mut socket = self.socket(path, protocol, init).await;
            socket
                .send(json!({ "id": "1", "type": kind, "payload": payload }))
                .await;
            Opened::Socket(Box::new(socket))
        };
        let authorization = &self.entries;
        Opened::Stream(match way {
            Way::Post => self.http("POST /graphql", "", &body).await,
            Way::Get => self.http(&by_get(), "", "").await,
            Way::Batch => self.http("POST /graphql", "", &format!("[{body}]")).await,
            Way::Sse => self.http("POST /graphql", &events, &body).await,
            Way::SseByGet => self.http(&by_get(), &events, "").await,
            Way::Multipart => {
                let parts = accept("multipart/mixed;subscriptionSpec=1.0, application/json");
                self.http("POST /graphql", &parts, &body).await
            }
            Way::Reserved => {
                let reserve = self.http("PUT /graphql", "connection: close\r\n", "").await;
                let token = within("a token", exchange(reserve, b"")).await.body;
                let token = format!("x-graphql-event-stream-token: {token}\r\n");
                let accept = format!("{token}{events}");
                let stream = self.http("GET /graphql", &accept, "").await;
                let mut operation = operation.clone();
                operation["extensions"] = json!({ "operationId": "1" });
                let close = format!("{token}connection: close\r\n");
                let body = operation.to_string();
                let start = self.http("POST /graphql", &close, &body).await;
                let started = within("a start", exchange(start, b"")).await;
                assert_eq!(started.status, 202, "{started:?}");
                stream
            }
            Way::TransportWs => {
                let payload = operation.clone();
                return start("graphql-transport-ws", "/graphql", "subscribe", payload).await;
            }
            Way::Legacy => {
                return start("graphql-ws", "/graphql", "start", operation.clone()).await;
            }
            Way::Native => {
                let extensions = json!({ "authorization": authorization });
                let payload = json!({ "data": body, "extensions": extensions });
                return start("graphql-ws", "/graphql/realtime", "start", payload).await;
            }
            Way::EventsPost => {
                let body = json!({ "channel": "/default/a", "events": ["1"] }).to_string();
                self.http("POST /event", "", &body).await
            }
            Way::EventsSse => {
                let line = "GET /event?channel=/default/a";
                self.http(line, &events, "").await
            }
            Way::EventsWs => {
                let protocol = "aws-appsync-event-ws";
                let mut socket = self.socket("/event/realtime", protocol, init).await;
                let mut frame = match operation["query"].as_str().unwrap() {
                    QUERY => json!({ "type": "publish", "events": ["1"] }),
                    _ => json!({ "type": "subscribe" }),
                };
                frame["id"] = json!("1");
                frame["channel"] = json!("/default/a");
                frame["authorization"] = authorization.clone();
                socket.send(frame).await;
                return Opened::Socket(Box::new(socket));
            }
        })
    }
}

impl Opened {
    /// Returns the text that comes back until it contains all `parts`.
    async fn read_to(&mut self, parts: &[&str]) -> String {
        let is_enough = |text: &str| parts.iter().all(|part| text.contains(part));
        match self {
            Self::Socket(socket) => {
                let mut text = String::new();
                while !is_enough(&text) {
                    text.push_str(&socket.next().await.to_string());
                }
                text
            }
            Self::Stream(stream) => {
                let mut bytes = Vec::new();
                loop {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    if is_enough(&text) {
                        return text;
                    }
                    let what = format!("{parts:?} after {text}");
                    let read = stream.read_buf(&mut bytes);
                    let read = within(&what, read).await.unwrap();
                    assert!(read > 0, "no {parts:?} in {text}");
                }
            }
        }
    }
}

/// AppSync and other servers look for an operation named "", or reject it.
#[tokio::test]
async fn an_empty_operation_name_is_sent_by_no_protocol() {
    let mut site = Site::start().await;
    let client = site.client(&[]);
    let operation =
        |query: &str| json!({ "query": query, "operationName": "", "variables": { "n": 1.5 } });
    let others = [Way::Post, Way::Get, Way::Batch];
    let all = others.into_iter().chain(SUBSCRIBING);
    let subscriptions = SUBSCRIBING.map(|way| (way, SUBSCRIPTION));
    for (way, query) in all.map(|way| (way, QUERY)).chain(subscriptions) {
        let opened = client.send(way, &operation(query)).await;
        let received = site.next(way).await;
        let sent: Value = serde_json::from_str(&received.text).unwrap();
        let mut expected = json!({ "query": query, "variables": { "n": 1.5 } });
        if way == Way::Reserved && query == QUERY {
            expected["extensions"] = json!({ "operationId": "1" });
        }
        assert_eq!(sent, expected, "{way:?}");
        drop(opened);
    }
}

/// GraphQL over HTTP: a parameter without a value is as absent.
#[tokio::test]
async fn empty_parameters_of_a_get_count_as_absent() {
    let mut site = Site::start().await;
    let client = site.client(&[]);
    let query = "query=query+A+%7B+a+%7D";
    for rest in [
        "variables=",
        "variables",
        "operationName=",
        "extensions=",
        "documentId=",
        "token=",
        "variables=&extensions=&operationName=",
    ] {
        let line = format!("GET /graphql?{query}&{rest}");
        let _opened = client.http(&line, "", "").await;
        let received = site.next(Way::Get).await;
        let sent: Value = serde_json::from_str(&received.text).unwrap();
        let expected = json!({ "query": QUERY, "variables": {} });
        assert_eq!(sent, expected, "{rest}");
    }
}

/// Subscriptions lost the header, or the rest of a list after its first value.
#[tokio::test]
async fn header_values_in_utf_8_reach_upstream_by_every_protocol() {
    let mut site = Site::start().await;
    let client = site.client(&[
        ("x-multi", b"acme"),
        ("x-multi", "Zürich".as_bytes()),
        ("x-city", "Köln 🦀".as_bytes()),
    ]);
    // Their headers are only in the messages.
    let bare = Client {
        headers: Vec::new(),
        ..client.clone()
    };
    let others = [Way::Post, Way::Get, Way::Batch, Way::EventsPost];
    let queries = others.into_iter().chain(SUBSCRIBING).chain([Way::EventsWs]);
    let queries = queries.map(|way| (way, QUERY));
    let subscriptions = SUBSCRIBING
        .into_iter()
        .chain([Way::EventsSse, Way::EventsWs]);
    let subscriptions = subscriptions.map(|way| (way, SUBSCRIPTION));
    for (way, query) in queries.chain(subscriptions) {
        let has_entries = matches!(way, Way::Native | Way::EventsWs);
        for client in [Some(&client), has_entries.then_some(&bare)] {
            let Some(client) = client else { continue };
            let _opened = client.send(way, &json!({ "query": query })).await;
            let headers = site.next(way).await.headers;
            let found = ["x-multi", "x-city"].map(|name| headers.get(name).map(String::as_str));
            let expected = [Some("acme, Zürich"), Some("Köln 🦀")];
            assert_eq!(found, expected, "{way:?} {query}");
        }
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_carried_fails_its_operation_alone() {
    let mut site = Site::start().await;
    let latin_1 = site.client(&[("x-city", b"Z\xfcrich")]);
    let bare = |entries: Value| Client {
        addr: site.addr,
        headers: Vec::new(),
        entries,
    };
    let mut cases = Vec::new();
    for way in SUBSCRIBING
        .into_iter()
        .chain([Way::EventsSse, Way::EventsWs])
    {
        // The bytes are only in the headers of the upgrade.
        let client = Client {
            entries: json!({}),
            ..latin_1.clone()
        };
        cases.push((way, client, SUBSCRIPTION, "the header x-city: AppSync"));
    }
    for way in [Way::Native, Way::EventsWs] {
        for query in [QUERY, SUBSCRIPTION] {
            let control = bare(json!({ "x-city": "a\u{1}b" }));
            cases.push((way, control, query, "a control character"));
            let name = bare(json!({ "x city": "a" }));
            cases.push((way, name, query, "is not a valid header name"));
        }
    }
    for (way, client, query, part) in cases {
        let mut opened = client.send(way, &json!({ "query": query })).await;
        let parts = ["cannot forward", part, "HEADER_NOT_FORWARDABLE"];
        let text = opened.read_to(&parts).await;
        if way == Way::EventsSse {
            let answer = Answer::parse(text.as_bytes());
            assert_eq!(answer.status, 400, "{text}");
            let code = &answer.headers["x-countersign-error"];
            assert_eq!(code, "HEADER_NOT_FORWARDABLE", "{text}");
            assert!(!text.contains("the channel cannot be read"), "{text}");
        }
    }
    // Nothing was sent, and the socket of such an operation goes on.
    let mut socket = match latin_1
        .send(Way::TransportWs, &json!({ "query": SUBSCRIPTION }))
        .await
    {
        Opened::Socket(socket) => *socket,
        Opened::Stream(_) => panic!("no socket"),
    };
    assert_eq!(socket.next_of("1").await["type"], "error");
    socket.subscribe("2", "query B { b }").await;
    assert_eq!(socket.next_of("2").await["type"], "next");
    let first = site.next(Way::TransportWs).await;
    assert!(first.text.contains("query B"), "{first:?}");
    assert_eq!(first.headers["x-city"], "Z\u{fffd}rich");
}

/// The socket was closed with 4400, and with it all operations of its client.
#[tokio::test]
async fn an_invalid_unicode_escape_fails_its_own_operation_on_every_socket() {
    let mut site = Site::start().await;
    let client = site.client(&[]);
    let cause = "invalid Unicode escape";
    let literal = r#""payload":{"query":"{ a(b: \"\ud83d\") }"}"#;
    let name = r#""payload":{"query":"{ a }","operationName":"\ud83d"}"#;
    let fine = r#""payload":{"query":"query B { b }"}"#;
    let data = r#""payload":{"data":"{\"query\":\"{ a(b: \\\"\\ud83d\\\") }\"}"}"#;
    let outer = r#""payload":{"data":"\ud83d"}"#;
    let fine_data = r#""payload":{"data":"{\"query\":\"query B { b }\"}"}"#;
    let (new, old, event) = ("graphql-transport-ws", "graphql-ws", "aws-appsync-event-ws");
    let publish = r#""channel":"/default/a","events":["1"]"#;
    let escaped = r#""channel":"/default/a","events":["\ud83d"]"#;
    let (subscribe, start) = ("subscribe", "start");
    for (path, protocol, kind, bad, good) in [
        ("/graphql", new, subscribe, vec![literal, name], fine),
        ("/graphql", old, start, vec![literal, name], fine),
        ("/graphql", old, start, vec![data, outer], fine_data),
        ("/event/realtime", event, "publish", vec![escaped], publish),
    ] {
        let init = json!({ "type": "connection_init" });
        let mut socket = client.socket(path, protocol, init).await;
        let mut send = async |id: &str, members: &str| {
            let frame = format!(r#"{{"type":"{kind}","id":{id},{members}}}"#);
            socket.0.send(Message::text(frame)).await.unwrap();
            loop {
                match within("an answer", socket.0.next()).await {
                    Some(Ok(Message::Text(text))) if text.contains(r#""ka""#) => {}
                    Some(Ok(Message::Text(text))) => return text.to_string(),
                    other => panic!("{protocol} {members}: {other:?}"),
                }
            }
        };
        for members in bad {
            let mut answer = send(r#""1""#, members).await;
            assert!(answer.contains(cause), "{protocol} {members}: {answer}");
            assert!(answer.contains(r#""id":"1""#), "{answer}");
            // An id is echoed as it was written. The older protocol only echoes it.
            if protocol != old {
                answer = send(r#""\ud83d""#, good).await;
                assert!(
                    answer.contains(r#""id":"\ud83d","type":"error""#),
                    "{answer}"
                );
                assert!(answer.contains("id has an"), "{answer}");
            }
        }
        let frame = send(r#""2""#, good).await;
        assert!(!frame.contains("error"), "{protocol}: {frame}");
        let received = site.next(Way::TransportWs).await;
        let is_sent = ["query B", "/default/a"].map(|part| received.text.contains(part));
        assert!(is_sent.contains(&true), "{received:?}");
    }
}

/// The error blamed the syntax of the body, or its members.
#[tokio::test]
async fn an_invalid_unicode_escape_is_named_over_http() {
    let mut site = Site::start().await;
    let client = site.client(&[]);
    let bad = r#"{"query":"{ a(b: \"\ud83d\") }"}"#;
    let fine = r#"{"query":"query B { b }"}"#;
    let cause = "the body: invalid Unicode escape at line 1, column ";
    for (accept, body) in [
        ("", bad.to_owned()),
        ("accept: text/event-stream\r\n", bad.to_owned()),
        ("", format!("[{bad},{fine}]")),
    ] {
        let line = "POST /graphql";
        let stream = client.http(line, accept, &body).await;
        let mut opened = Opened::Stream(stream);
        let text = opened.read_to(&[cause, "BAD_JSON"]).await;
        let status = Answer::parse(text.as_bytes()).status;
        // The other operation of a batch runs.
        if body.starts_with('[') {
            assert_eq!(status, 200, "{text}");
            assert!(site.next(Way::Batch).await.text.contains("query B"));
        } else {
            assert_eq!(status, 400, "{text}");
        }
    }
    let mut reserved = fine.to_owned();
    reserved.insert_str(
        1,
        r#""extensions":{"operationId":"7"},"operationName":"\ud83d","#,
    );
    let operation: Value = json!({ "query": QUERY });
    let reserve = client
        .http("PUT /graphql", "connection: close\r\n", "")
        .await;
    let token = within("a token", exchange(reserve, b"")).await.body;
    let token = format!("x-graphql-event-stream-token: {token}\r\nconnection: close\r\n");
    let events = format!("{token}accept: text/event-stream\r\n");
    let stream = client.http("GET /graphql", &events, "").await;
    for (body, status, part) in [
        (reserved.as_str(), 202, ""),
        (&operation.to_string(), 400, "Operation ID is missing"),
        (
            r#"{"query":"{ a }","extensions":{"operationId":7}}"#,
            400,
            "Operation ID must be a string",
        ),
        (
            r#"{"query":"{ a }","extensions":{"operationId":"\ud83d"}}"#,
            400,
            "Operation ID has an invalid Unicode escape",
        ),
    ] {
        let start = client.http("POST /graphql", &token, body).await;
        let answer = within("a start", exchange(start, b"")).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(part), "{answer:?}");
    }
    let parts = [cause, r#""id":"7""#, "event: complete"];
    Opened::Stream(stream).read_to(&parts).await;
}

#[tokio::test]
async fn a_connection_init_contains_the_token_under_every_name() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let world = World::builder().routes(&["event"]).file("token", TOKEN);
    let settings = [("guard.token_file", "$DIR/token")];
    let world = world.settings(&settings).in_process().await;
    let bearer = format!("Bearer {TOKEN}");
    let payloads = [
        (json!({ "authorization": bearer }), true),
        (json!({ "AUTHORIZATION": bearer }), true),
        (json!({ "headers": { "Authorization": bearer } }), true),
        (json!({ "x-countersign-token": TOKEN }), true),
        (json!({ "headers": { "X-Countersign-Token": TOKEN } }), true),
        // The application has a token of its own.
        (
            json!({ "authorization": "Bearer x.y.z", "x-countersign-token": TOKEN }),
            true,
        ),
        (json!({ "token": TOKEN }), true),
        (json!({ "authorization": TOKEN }), true),
        (json!({ "authorization": "", "token": TOKEN }), true),
        (json!({ "authorization": "", "token": "" }), false),
        (json!({ "x-countersign-token": bearer }), false),
        (json!({ "headers": { "token": TOKEN } }), false),
        (json!({ "x-countersign-token": 7, "token": TOKEN }), false),
        (json!({}), false),
    ];
    for (path, protocol) in [
        ("/graphql", "graphql-transport-ws"),
        ("/graphql", "graphql-ws"),
        ("/graphql/realtime", "graphql-ws"),
        ("/event/realtime", "aws-appsync-event-ws"),
    ] {
        for (payload, is_valid) in &payloads {
            let mut inits = vec![json!({ "type": "connection_init", "payload": payload })];
            if protocol == "aws-appsync-event-ws" {
                let mut members = payload.clone();
                members["type"] = json!("connection_init");
                inits.push(members);
            }
            for init in inits {
                let mut socket = Socket::dial(world.addr, path, protocol, &[]).await;
                socket.send(init.clone()).await;
                if *is_valid {
                    let frame = socket.next().await;
                    assert_eq!(frame["type"], "connection_ack", "{protocol} {init}");
                } else {
                    let what = format!("a close: {protocol} {init}");
                    let close = within(&what, socket.closed()).await;
                    assert_eq!(u16::from(close.code), 4403, "{protocol} {init}");
                }
            }
        }
    }
    world.drained().await;
}

/// The names of SigV4, as they appear in headers and in query strings.
const SIGV4: [&str; 10] = [
    "authorization",
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-region-set",
    "x-amz-security-token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

#[tokio::test]
async fn a_clients_signature_reaches_upstream_by_no_protocol() {
    let mut site = Site::start().await;
    let headers = SIGV4.map(|name| (name, &b"from-the-client"[..]));
    let client = site.client(&headers);
    let others = [Way::Post, Way::Get, Way::Batch, Way::EventsPost];
    let queries = others.into_iter().chain(SUBSCRIBING).chain([Way::EventsWs]);
    let queries = queries.map(|way| (way, QUERY));
    let subscriptions = SUBSCRIBING
        .into_iter()
        .chain([Way::EventsSse, Way::EventsWs]);
    let subscriptions = subscriptions.map(|way| (way, SUBSCRIPTION));
    for (way, query) in queries.chain(subscriptions) {
        let _opened = client.send(way, &json!({ "query": query })).await;
        let received = site.next(way).await;
        let text = format!("{received:?}");
        assert!(!text.contains("from-the-client"), "{way:?}: {text}");
        assert!(text.contains("AWS4-HMAC-SHA256"), "{way:?}: {text}");
    }
    // The payload of a `connection_init` is sent with no operation, whatever it contains.
    for (path, protocol, kind) in [
        ("/graphql", "graphql-transport-ws", "subscribe"),
        ("/graphql", "graphql-ws", "start"),
    ] {
        for payload in [
            client.entries.clone(),
            json!({ "headers": client.entries }),
            json!({ "x-team": "from-the-client" }),
        ] {
            let init = json!({ "type": "connection_init", "payload": payload });
            let mut socket = site.client(&[]).socket(path, protocol, init).await;
            for (id, query) in [("1", QUERY), ("2", SUBSCRIPTION)] {
                let payload = json!({ "query": query });
                socket
                    .send(json!({ "id": id, "type": kind, "payload": payload }))
                    .await;
                let text = format!("{:?}", site.next(Way::TransportWs).await);
                assert!(!text.contains("from-the-client"), "{payload}: {text}");
            }
        }
    }
}
