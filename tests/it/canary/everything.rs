//! Every entry point, with secrets in all its parts, under every failure.
//!
//! A new entry point is one more line of [`requests`] or [`sockets`], and a new failure one of
//! [`CONDITIONS`]. `Run::end` checks everything that the process writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_emulator::Change;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{
    BODY, BY_GET, CHANNEL, CREDENTIALS, CanaryWorld, GUARD_TOKEN, KEY_ID, MESSAGE, PATH,
    PRETTY_WITH_MESSAGES, QUERY, Run, SECRET, TEXT, TOKEN, VARIABLE, check_absent, check_absent_of,
    client_secrets, echo, environment,
};
use crate::support::{Answer, ClosedPort, command, raw, within};

/// The upstream's behaviour for every request.
struct Condition {
    name: &'static str,
    key: Key,
    connect: Connect,
    /// The emulator's switches.
    change: &'static str,
    /// The status of a query then.
    status: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Good,
    Bad,
}

#[derive(Clone, Copy)]
enum Connect {
    Emulator,
    /// A port without a listener.
    Nobody,
}

const GOOD: Condition = Condition {
    name: "good",
    key: Key::Good,
    connect: Connect::Emulator,
    change: "{}",
    status: 200,
};

const CONDITIONS: [Condition; 8] = [
    GOOD,
    Condition {
        name: "signed by another key",
        key: Key::Bad,
        status: 403,
        ..GOOD
    },
    Condition {
        name: "nobody listens",
        connect: Connect::Nobody,
        status: 502,
        ..GOOD
    },
    Condition {
        name: "dropped connections",
        change: r#"{"refuse_connections":true}"#,
        status: 502,
        ..GOOD
    },
    Condition {
        name: "no answer in time",
        change: r#"{"delay_ms":3000,"connect_delay_ms":3000}"#,
        status: 504,
        ..GOOD
    },
    Condition {
        name: "throttled, and starts refused",
        change: concat!(
            r#"{"answer_http":{"status":429,"content_type":"application/json","#,
            r#""error_type":"ThrottlingException","body":"{}"},"#,
            r#""refuse_start":"{\"errors\":[{\"errorType\":\"E\",\"message\":\"no\"}]}"}"#
        ),
        status: 429,
        ..GOOD
    },
    Condition {
        name: "expired",
        change: r#"{"expire_keys":true}"#,
        status: 403,
        ..GOOD
    },
    // As AWS reports a mismatch, with everything that it received. `$TOKEN` is replaced below.
    Condition {
        name: "echoed",
        change: concat!(
            r#"{"answer_http":{"status":403,"content_type":"application/json","#,
            r#""error_type":"InvalidSignatureException","#,
            r#""body":"{\"message\":\"'POST\\nx-amz-security-token:$TOKEN\\n\\nhost'\"}"}}"#
        ),
        status: 403,
        ..GOOD
    },
];

#[tokio::test]
async fn no_entry_point_leaks_secrets_into_text_logs() {
    for condition in &CONDITIONS {
        check(condition, "text").await;
    }
}

#[tokio::test]
async fn no_entry_point_leaks_secrets_into_json_logs() {
    for condition in &CONDITIONS {
        check(condition, "json").await;
    }
}

#[tokio::test]
async fn no_entry_point_leaks_secrets_into_logs_for_people() {
    for condition in &CONDITIONS {
        check(condition, "pretty").await;
    }
}

#[tokio::test]
async fn messages_of_errors_in_logs_for_people_contain_no_credentials() {
    for condition in &CONDITIONS {
        check(condition, PRETTY_WITH_MESSAGES).await;
    }
}

async fn check(condition: &Condition, format: &'static str) {
    let canary = CanaryWorld::new(format).await;
    let nobody = ClosedPort::new();
    let connect = match condition.connect {
        Connect::Emulator => canary.world.emulator.addr(),
        Connect::Nobody => nobody.addr,
    };
    let secret = match condition.key {
        Key::Good => SECRET.to_owned(),
        Key::Bad => format!("{SECRET}wrong"),
    };
    let run = canary
        .serve(&config(&canary, connect), &environment(&secret))
        .await;
    let mut change: Value = serde_json::from_str(condition.change).unwrap();
    if let Some(body) = change.pointer_mut("/answer_http/body") {
        *body = body.as_str().unwrap().replace("$TOKEN", TOKEN).into();
    }
    let change: Change = serde_json::from_value(change).unwrap();
    canary.world.emulator.switch(&change).unwrap();

    let is_good = condition.status == 200;
    for (name, request) in requests(&run) {
        let name = format!("{}, {format}: {name}", condition.name);
        let answer = raw(run.addr, request.as_bytes()).await;
        check_answer(&name, &answer);
        if name.ends_with(": a query") || name.ends_with(": a REST API") {
            assert_eq!(answer.status, condition.status, "{name}: {answer:?}");
        }
        if name.ends_with(": another token") {
            assert_eq!(answer.status, 401, "{name}: {answer:?}");
        }
    }
    for (name, path, protocol, frames) in sockets() {
        let name = format!("{}, {format}: {name}", condition.name);
        converse(&name, &run, &path, protocol, &frames).await;
    }
    if is_good {
        streams(&canary, &run).await;
        for (protocol, path) in PROTOCOLS {
            malformed(&run, protocol, path).await;
        }
    }
    run.end(&format!("{}, {format}", condition.name), 12).await;
}

/// Checks that our responses contain no secret, and upstream's no credentials. The error for a
/// path without a route contains this path.
fn check_answer(name: &str, answer: &Answer) {
    assert!(answer.status >= 200, "{name}: {answer:?}");
    let text = format!("{:?}\n{}", answer.headers, answer.body);
    if let Some(code) = answer.headers.get("x-countersign-error") {
        let is_without_route = code == "NO_ROUTE";
        let path = format!("/absent/{PATH}");
        let rest = text.replacen(&path, "", usize::from(is_without_route));
        check_absent(name, &rest);
    } else if answer.status >= 400 {
        check_absent_of(&CREDENTIALS, name, &text);
    }
}

fn config(canary: &CanaryWorld, connect: std::net::SocketAddr) -> String {
    let emulator = &canary.world.emulator;
    let ca_file = canary.world.ca_file();
    let route = |name: &str, target: String, more: &str| {
        format!(
            "[route.{name}]\ntarget = \"https://{target}\"\nconnect = \"{connect}\"\n\
             ca_file = {ca_file:?}\n{more}\n"
        )
    };
    let token = canary.world.home.file("token", GUARD_TOKEN);
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    [
        format!("[guard]\ntoken_file = {token:?}\n"),
        "[limits]\nrequest_body = \"16KiB\"\nhttp_request_body = \"16KiB\"\nmessage = \"16KiB\"\n\
         [timeouts]\nfirst_byte = \"300ms\"\n[pool]\nhandshake = \"300ms\"\nstart_ack = \"300ms\"\n"
            .to_owned(),
        route("graphql", format!("{}/graphql", emulator.api_host()), ""),
        route("event", format!("{}/event", emulator.api_host()), ""),
        route("rest", format!("{}/prod", emulator.rest_host()), ""),
        route("http", emulator.http_host().to_owned(), ""),
        route("ws", format!("{}/prod", emulator.websocket_host()), ""),
        route(
            "presigned",
            format!("{}/prod", emulator.rest_host()),
            "auth = \"presign\"",
        ),
        route("analyzer", emulator.analyzer_host().to_owned(), ""),
    ]
    .concat()
}

/// Returns raw requests, each with the client's secrets in its head.
fn requests(run: &Run) -> Vec<(&'static str, String)> {
    let addr = run.addr;
    let request = |line: &str, more: &[(&str, &str)], body: &str| {
        let mut text = format!("{line} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
        for (name, value) in client_secrets() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in more {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text + &format!("content-length: {}\r\n\r\n{body}", body.len())
    };
    let json_type = ("content-type", "application/json");
    let encoded = |text: &str| text.replace(' ', "%20");
    let mutation = format!("mutation {{ createRoom(name: {TEXT:?}) {{ id name }} }}");
    let mutation = json!({ "query": mutation }).to_string();
    let subscription = format!("subscription {{ onMessage(rooms: {TEXT:?}) {{ id }} }}");
    let subscription = json!({ "query": subscription }).to_string();
    let query = format!("/graphql?query={{echo(text:%22{}%22)}}", encoded(BY_GET));
    let publish = json!({ "channel": "/default/a", "events": [json!(MESSAGE).to_string()] });
    let below = |route: &str| format!("/{route}/{PATH}?room={}", encoded(QUERY));
    let too_long = "x".repeat(20_000) + BODY;
    let head = "y".repeat(40_000) + TEXT;
    let sse = ("accept", "text/event-stream");
    let multipart = (
        "accept",
        "multipart/mixed;subscriptionSpec=1.0, application/json",
    );
    let post = |path: &str, more: &[(&str, &str)], body: &str| {
        let more = [&[json_type], more].concat();
        request(&format!("POST {path}"), &more, body)
    };
    let of_gateway = |method: &str, route: &str, body: &str| {
        request(&format!("{method} {}", below(route)), &[], body)
    };
    vec![
        ("a query", post("/graphql", &[], &echo())),
        ("a mutation", post("/graphql", &[], &mutation)),
        (
            "a batch",
            post("/graphql", &[], &format!("[{0},{0}]", echo())),
        ),
        ("a query by GET", request(&format!("GET {query}"), &[], "")),
        ("a query as a stream", post("/graphql", &[sse], &echo())),
        ("a query in parts", post("/graphql", &[multipart], &echo())),
        (
            "a bad subscription",
            post("/graphql", &[sse], &subscription),
        ),
        ("a single connection", request("PUT /graphql", &[], "")),
        (
            "another token's stream",
            post(
                "/graphql",
                &[("x-graphql-event-stream-token", TEXT)],
                &echo(),
            ),
        ),
        ("a publish", post("/event", &[], &publish.to_string())),
        (
            "a bad publish",
            post(
                "/event",
                &[],
                &json!({ "channel": CHANNEL, "events": [MESSAGE] }).to_string(),
            ),
        ),
        (
            "a bad channel",
            request(
                &format!("GET /event?channel=/no%20such/{CHANNEL}"),
                &[sse],
                "",
            ),
        ),
        ("a REST API", of_gateway("POST", "rest", BODY)),
        ("an HTTP API", of_gateway("PUT", "http", BODY)),
        ("a presigned request", of_gateway("DELETE", "presigned", "")),
        (
            "an analyzer without an upgrade",
            of_gateway("GET", "analyzer", ""),
        ),
        (
            "dots in the path",
            request(
                &format!("GET /rest/../{PATH}?q={}", encoded(QUERY)),
                &[],
                "",
            ),
        ),
        (
            "a bad escape",
            request(&format!("GET /rest/{PATH}?{}%FF", encoded(QUERY)), &[], ""),
        ),
        (
            "another path",
            request(&format!("GET /absent/{PATH}?q={}", encoded(QUERY)), &[], ""),
        ),
        ("a body that is too long", post("/graphql", &[], &too_long)),
        (
            "the same to a REST API",
            of_gateway("POST", "rest", &too_long),
        ),
        (
            "a head that is too long",
            request("GET /rest/a", &[("x-long", &head)], ""),
        ),
        (
            "a bad chunk",
            format!(
                "POST /rest/a HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\
                 x-countersign-token: {GUARD_TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n{BODY}\r\n"
            ),
        ),
        (
            "another token",
            post("/graphql", &[], &echo()).replace(GUARD_TOKEN, &format!("{GUARD_TOKEN}0")),
        ),
        (
            "another host",
            post("/graphql", &[], &echo()).replace(&format!("host: {addr}"), "host: evil.example"),
        ),
    ]
}

type Conversation = (&'static str, String, &'static str, Vec<Value>);

/// Returns the frames for sockets. A frame with an id expects a reply.
fn sockets() -> Vec<Conversation> {
    let secrets: Value = client_secrets()
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let init = json!({ "type": "connection_init", "payload": secrets });
    let good: Value = serde_json::from_str(&echo()).unwrap();
    let mutation =
        json!({ "query": format!("mutation {{ createRoom(name: {TEXT:?}) {{ id }} }}") });
    let bad = format!("subscription S($x: String) {{ onMessage(rooms: {TEXT:?}) {{ id }} }}");
    let bad = json!({ "query": bad, "variables": { "x": VARIABLE } });
    let unread = json!({ "query": format!("{{ echo(text {TEXT:?}) }}") });
    let graphql = |kind: &str| {
        let operations = [&good, &mutation, &bad, &unread].into_iter().enumerate();
        let frames = operations
            .map(|(id, payload)| json!({ "id": id.to_string(), "type": kind, "payload": payload }));
        std::iter::once(init.clone())
            .chain(frames)
            .collect::<Vec<_>>()
    };
    let start = |id: &str, operation: &Value| {
        let payload =
            json!({ "data": operation.to_string(), "extensions": { "authorization": secrets } });
        json!({ "id": id, "type": "start", "payload": payload })
    };
    let native = URL_SAFE_NO_PAD.encode(secrets.to_string());
    let channel =
        json!({ "id": "1", "type": "subscribe", "channel": CHANNEL, "authorization": secrets });
    let publish = json!({
        "id": "2", "type": "publish", "channel": "/default/a", "events": [json!(MESSAGE).to_string()],
        "authorization": secrets,
    });
    vec![
        (
            "graphql-transport-ws",
            "/graphql".to_owned(),
            "graphql-transport-ws",
            graphql("subscribe"),
        ),
        (
            "graphql-ws",
            "/graphql".to_owned(),
            "graphql-ws",
            graphql("start"),
        ),
        (
            "AppSync's protocol",
            format!("/graphql/realtime?header={native}&payload=e30="),
            "graphql-ws",
            vec![
                json!({ "type": "connection_init" }),
                start("1", &good),
                start("2", &bad),
            ],
        ),
        (
            "Events",
            "/event/realtime".to_owned(),
            "aws-appsync-event-ws",
            vec![init, channel, publish],
        ),
        (
            "a tunnel",
            format!("/ws/?room={}", QUERY.replace(' ', "%20")),
            "",
            vec![json!({ "action": "echo", "text": MESSAGE })],
        ),
        (
            "a tunnel that the API refuses",
            format!("/ws/?status=400&room={}", QUERY.replace(' ', "%20")),
            "",
            vec![],
        ),
        (
            "a presigned tunnel",
            format!(
                "/analyzer/start-network-analyzer-stream?room={}",
                QUERY.replace(' ', "%20")
            ),
            "",
            vec![json!({ "text": MESSAGE })],
        ),
    ]
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket whose upgrade carries secrets. Returns `None` if it is refused without a leak.
async fn open(name: &str, run: &Run, path: &str, protocol: &str) -> Option<Client> {
    let mut request = format!("ws://{}{path}", run.addr)
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    for (name, value) in client_secrets() {
        headers.insert(name, value.parse().unwrap());
    }
    if !protocol.is_empty() {
        headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    match within(name, tokio_tungstenite::connect_async(request)).await {
        Ok((socket, _)) => Some(socket),
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let text = format!("{:?}\n{}", answer.headers(), String::from_utf8_lossy(body));
            match answer.headers().contains_key("x-countersign-error") {
                true => check_absent(name, &text),
                false => check_absent_of(&CREDENTIALS, name, &text),
            }
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Sends all frames, and reads until they are answered or the socket has closed.
async fn converse(name: &str, run: &Run, path: &str, protocol: &str, frames: &[Value]) {
    let Some(mut socket) = open(name, run, path, protocol).await else {
        return;
    };
    let mut open: Vec<&str> = Vec::new();
    for frame in frames {
        // A refused socket may already be closed.
        let _ = socket.send(Message::text(frame.to_string())).await;
        open.extend(frame["id"].as_str());
    }
    let is_tunnel = protocol.is_empty();
    let answered = async {
        while let Some(Ok(message)) = socket.next().await {
            let text = match message {
                Message::Text(text) => text.to_string(),
                Message::Close(frame) => frame
                    .map(|frame| frame.reason.to_string())
                    .unwrap_or_default(),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    continue;
                }
            };
            check_absent_of(&CREDENTIALS, name, &text);
            let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                check_absent(name, &text);
                continue;
            };
            let is_ack = frame["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("_ack") || kind == "ka");
            if !is_ack && let Some(id) = frame["id"].as_str() {
                open.retain(|known| *known != id);
            }
            if is_tunnel || (open.is_empty() && !is_ack) {
                return;
            }
        }
    };
    within(name, answered).await;
}

/// Opens subscriptions as streams, with one event each.
async fn streams(canary: &CanaryWorld, run: &Run) {
    let query = "subscription S($room: String) { onMessage(room: $room) { body } }";
    let body =
        json!({ "query": query, "variables": { "room": "lobby", "unused": VARIABLE } }).to_string();
    let mutation =
        format!("mutation {{ postMessage(room: \"lobby\", body: {TEXT:?}) {{ id room body }} }}");
    let mutation = json!({ "query": mutation }).to_string();
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: {accept}\r\n\
             x-countersign-token: {GUARD_TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            run.addr,
            body.len()
        );
        let told = async {
            let live = canary
                .world
                .emulator
                .wait_for(|stats| stats.realtime.subscriptions == 1);
            within("a subscription", live).await;
            assert_eq!(run.post(&mutation).await.status, 200);
        };
        tokio::join!(streamed(run, &request, TEXT), told);
        let gone = canary
            .world
            .emulator
            .wait_for(|stats| stats.realtime.subscriptions == 0);
        within("its end", gone).await;
    }
    let request = format!(
        "GET /event?channel=/default/{CHANNEL} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\
         x-countersign-token: {GUARD_TOKEN}\r\n\r\n",
        run.addr
    );
    let told = async {
        let live = canary
            .world
            .emulator
            .wait_for(|stats| stats.events.subscriptions == 1);
        within("a channel", live).await;
        let event = json!({ "channel": format!("/default/{CHANNEL}"), "events": [json!(MESSAGE).to_string()] });
        let headers = [
            ("content-type", "application/json"),
            ("x-countersign-token", GUARD_TOKEN),
        ];
        let answer = crate::support::post(run.addr, "/event", &headers, &event.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    tokio::join!(streamed(run, &request, MESSAGE), told);
}

/// Reads until `text` has arrived, and disconnects.
async fn streamed(run: &Run, request: &str, text: &str) {
    let mut stream = TcpStream::connect(run.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let come = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = stream.read_buf(&mut read).await.unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        }
    };
    within(text, come).await;
    check_absent_of(&CREDENTIALS, "a stream", &String::from_utf8_lossy(&read));
}

const PROTOCOLS: [(&str, &str); 4] = [
    ("graphql-transport-ws", "/graphql"),
    ("graphql-ws", "/graphql"),
    ("graphql-ws", "/graphql/realtime?header=e30=&payload=e30="),
    ("aws-appsync-event-ws", "/event/realtime"),
];

/// Sends frames that are invalid, binary, not UTF-8, too long, or forbidden by RFC 6455.
async fn malformed(run: &Run, protocol: &str, path: &str) {
    let of_text =
        |bytes: Vec<u8>| Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true));
    let long = "x".repeat(20_000) + MESSAGE;
    for (what, message) in [
        ("no JSON", Message::text(MESSAGE)),
        ("a string", Message::text(json!(MESSAGE).to_string())),
        (
            "another type",
            Message::text(json!({ "type": MESSAGE, "id": "1" }).to_string()),
        ),
        ("binary", Message::binary(MESSAGE.as_bytes().to_vec())),
        ("no UTF-8", of_text([MESSAGE.as_bytes(), &[0xFF]].concat())),
        (
            "too long",
            Message::text(json!({ "type": long }).to_string()),
        ),
        (
            "a continuation of nothing",
            Message::Frame(Frame::message(
                MESSAGE.as_bytes().to_vec(),
                OpCode::Data(Data::Continue),
                true,
            )),
        ),
    ] {
        let name = format!("{protocol} at {path}: {what}");
        let mut socket = open(&name, run, path, protocol).await.unwrap();
        let _ = socket.send(message).await;
        let _ = socket.send(Message::Close(None)).await;
        let ended = async {
            while let Some(Ok(message)) = socket.next().await {
                check_absent(&name, &format!("{message:?}"));
            }
        };
        within(&name, ended).await;
    }
}

/// A secret may appear only where the user requests it: in the URL on standard output.
#[tokio::test]
async fn a_presigned_url_is_written_only_to_standard_output() {
    let url = format!(
        "wss://abcdefghij.execute-api.us-east-1.amazonaws.com/prod?room={}",
        QUERY.replace(' ', "%20")
    );
    let mut variables = environment(SECRET).to_vec();
    variables.extend([("RUST_LOG", "trace"), ("COUNTERSIGN_LOG__FILTER", "trace")]);
    for (arguments, code) in [
        (vec![url.as_str()], 0),
        (vec!["--expires", "30d", &url], 2),
        (
            vec!["https://api.example.com/?room=canary%20query%200013"],
            2,
        ),
    ] {
        let arguments = [vec!["presign"], arguments].concat();
        let output = command(&arguments, &variables).output();
        let output = within("presign", output).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.contains("X-Amz-Signature="), code == 0, "{shown}");
        assert_eq!(shown.contains(KEY_ID), code == 0, "{shown}");
        check_absent_of(&[SECRET], "the URL", &shown);
        check_absent(
            "what presign says",
            &String::from_utf8(output.stderr).unwrap(),
        );
    }
}
