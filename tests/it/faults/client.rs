//! The client side: operations on sockets, and what came back as text.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Answer, PATIENCE};

/// A live subscription of a socket of its own.
pub struct Subscription(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

pub const SUBSCRIBE: &str = "subscription { onMessage { body } }";
/// Numbers mutations and events.
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub fn next_number() -> usize {
    COUNT.fetch_add(1, Ordering::SeqCst)
}

/// Returns the mutation that the emulator counts under this name.
pub fn mutation(name: &str) -> String {
    format!("mutation {{ postMessage(room: \"lobby\", body: \"{name}\") {{ body }} }}")
}

/// Returns the mutation of that name, and waits at the emulator's gate.
pub fn slow_mutation(name: &str) -> String {
    format!("mutation {{ slowPost(room: \"lobby\", body: \"{name}\", ms: 0) {{ body }} }}")
}

/// Returns the bytes of a request.
pub fn post_bytes(path: &str, query: &str, connection: &str) -> String {
    let body = json!({ "query": query }).to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends an operation on a connection, and describes the response.
pub async fn request_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    query: &str,
) -> String {
    let request = post_bytes(path, query, "close");
    let exchange = async {
        let _ = stream.write_all(request.as_bytes()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        describe(&bytes)
    };
    let described = tokio::time::timeout(PATIENCE, exchange).await;
    described.unwrap_or_else(|_| format!("nothing for {PATIENCE:?}"))
}

/// Describes a response.
pub fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "no response".to_owned();
    }
    let answer = Answer::parse(bytes);
    let (status, length) = (answer.status, answer.headers.get("content-length"));
    let is_whole = match length {
        Some(length) => length.parse() == Ok(answer.body.len()),
        None => bytes.ends_with(b"0\r\n\r\n"),
    };
    if !is_whole {
        return format!("{status}, cut off");
    }
    if let Some(code) = answer.headers.get("x-countersign-error") {
        let sent = &answer.json()["errors"][0]["extensions"]["sent"];
        return format!("{status} {code}, sent {}", sent.as_str().unwrap_or("?"));
    }
    match serde_json::from_str::<Value>(&answer.body) {
        Ok(json) if status == 200 && json["errors"].is_null() && json["data"].is_object() => {
            "served".to_owned()
        }
        _ => match answer.headers.get("retry-after") {
            Some(after) => format!("{status} of upstream, Retry-After: {after}"),
            None => format!("{status} of upstream"),
        },
    }
}

/// Opens a socket and subscribes, or describes what it received instead.
pub async fn open(addr: SocketAddr, path: &str) -> Result<Subscription, String> {
    let mut socket = acknowledged(addr, path).await?;
    socket.start("1", SUBSCRIBE).await;
    Ok(socket)
}

/// Opens a socket without a subscription.
pub async fn acknowledged(addr: SocketAddr, path: &str) -> Result<Subscription, String> {
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let socket = match tokio::time::timeout(PATIENCE, connect_async(request)).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(Error::Http(response))) => {
            let code = response.headers().get("x-countersign-error");
            let code = code.map_or("", |code| code.to_str().unwrap());
            return Err(format!("{} {code}", response.status().as_u16()));
        }
        Ok(Err(Error::Io(error))) => return Err(format!("connect: {}", error.kind())),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no upgrade for {PATIENCE:?}")),
    };
    let mut socket = Subscription(socket);
    socket.send(&json!({ "type": "connection_init" })).await;
    match socket.0.next().await {
        Some(Ok(Message::Text(_))) => {}
        message => return Err(describe_message(message, 0).unwrap_or_default()),
    }
    Ok(socket)
}

// === impl Subscription ===

impl Subscription {
    pub async fn send(&mut self, frame: &Value) {
        // The answer to a failure is read afterwards.
        let _ = self.0.send(Message::text(frame.to_string())).await;
    }

    pub async fn start(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        let frame = json!({ "id": id, "type": "subscribe", "payload": payload });
        self.send(&frame).await;
    }

    /// Waits for the end, or an error, and describes it.
    pub async fn end(&mut self) -> String {
        self.next(usize::MAX).await
    }

    /// Does the same, but also describes an event that arrives before.
    pub async fn end_or_event(&mut self) -> String {
        let newest = next_number();
        self.next(newest).await
    }

    async fn next(&mut self, first: usize) -> String {
        let end = async {
            loop {
                let message = self.0.next().await;
                if let Some(outcome) = describe_message(message, first) {
                    return outcome;
                }
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, end).await;
        outcome.unwrap_or_else(|_| "open".to_owned())
    }
}

/// Returns the type of an error that AppSync sent.
fn error_type(error: &Value) -> String {
    let kind = error["errorType"].as_str();
    let kind = kind.or_else(|| error["extensions"]["errorType"].as_str());
    kind.map_or_else(|| error.to_string(), str::to_owned)
}

/// Describes a message: an event numbered from `first` on, an error, or an end.
pub fn describe_message(message: Option<Result<Message, Error>>, first: usize) -> Option<String> {
    match message {
        Some(Ok(Message::Text(text))) => {
            let frame: Value = serde_json::from_str(&text).unwrap();
            match frame["type"].as_str() {
                Some("next") => {
                    let body = frame["payload"]["data"]["onMessage"]["body"].as_str();
                    let number = body.and_then(|body| body.parse::<usize>().ok());
                    number
                        .is_some_and(|number| number >= first)
                        .then(|| "served".to_owned())
                }
                Some("error") => {
                    let error = &frame["payload"][0];
                    let extension = |name: &str| error["extensions"][name].as_str();
                    Some(match (extension("code"), extension("sent")) {
                        (Some(code), Some(sent)) => format!("error {code}, sent {sent}"),
                        _ => format!("error of upstream: {}", error_type(error)),
                    })
                }
                Some("complete") => Some("complete".to_owned()),
                _ => None,
            }
        }
        Some(Ok(Message::Close(Some(frame)))) => Some(format!("closed {}", u16::from(frame.code))),
        Some(Ok(Message::Close(None))) => Some("closed without a code".to_owned()),
        Some(Ok(_)) => None,
        Some(Err(_)) | None => Some("cut off".to_owned()),
    }
}
