//! WebSocket connections after their upgrade: those of the WebSocket API, and the packet stream of
//! IoT Wireless.
//!
//! The `action` of a message selects the API's route. `echo` echoes the message, and so does a message
//! without `action`. `info` returns the connection's id and its handshake. Other actions are forbidden.
//! A frame of more than 32 KB or a message of more than 128 KB closes the connection with 1009, a
//! binary message with 1003. Messages to the client are sent in frames of at most 32 KB, too.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html>

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use uuid::Uuid;

use crate::context::Context;

/// An accepted upgrade: the headers of the 101, and the service that takes over the socket.
pub(super) struct Upgrade {
    pub(super) headers: HeaderMap,
    pub(super) service: SocketService,
}

pub(super) enum SocketService {
    /// A connection of the WebSocket API.
    Api {
        id: String,
        /// The request of the handshake, which `info` returns.
        handshake: Value,
        user_agent: String,
    },
    /// The stream of a network analyzer.
    Analyzer { configuration: String },
}

/// The open connections of the WebSocket API, by id.
#[derive(Default)]
pub(crate) struct Sockets {
    open: Mutex<BTreeMap<String, Socket>>,
}

struct Socket {
    outbox: mpsc::Sender<Command>,
    user_agent: String,
    connected_at: OffsetDateTime,
    last_active_at: OffsetDateTime,
}

/// A command from `@connections` or a switch to a connection.
enum Command {
    Send(String),
    Close(CloseCode),
    Drop,
}

/// How a connection ends.
enum Ending {
    /// The server closes it.
    ServerClose(CloseCode),
    /// The client closed it, or disconnected.
    ClientClose,
    /// The server drops it without a close frame.
    Drop,
}

/// The entry of an open connection, removed on drop.
struct SocketGuard<'a> {
    context: &'a Context,
    sockets: &'a Sockets,
    id: String,
    outbox: mpsc::Receiver<Command>,
}

// === impl Sockets ===

impl Sockets {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.open.lock().keys().cloned().collect()
    }

    /// Queues a message. Returns `false` if the connection is closed, or its queue is full.
    pub(super) fn send(&self, id: &str, text: String) -> bool {
        self.send_command(id, Command::Send(text))
    }

    pub(super) fn close(&self, id: &str) -> bool {
        self.send_command(id, Command::Close(CloseCode::Normal))
    }

    /// Closes every connection with this code.
    pub(crate) fn close_all(&self, code: u16) {
        for socket in self.open.lock().values() {
            let _ = socket.outbox.try_send(Command::Close(code.into()));
        }
    }

    /// Drops every connection without a close frame.
    pub(crate) fn drop_all(&self) {
        for socket in self.open.lock().values() {
            let _ = socket.outbox.try_send(Command::Drop);
        }
    }

    /// Returns the response to `GET @connections`.
    pub(super) fn describe(&self, id: &str) -> Option<Value> {
        let open = self.open.lock();
        let socket = open.get(id)?;
        let rfc3339 = &time::format_description::well_known::Rfc3339;
        let text = |at: OffsetDateTime| at.format(rfc3339).unwrap_or_default();
        Some(json!({
            "connectedAt": text(socket.connected_at),
            "identity": { "sourceIp": "127.0.0.1", "userAgent": socket.user_agent },
            "lastActiveAt": text(socket.last_active_at),
        }))
    }

    fn send_command(&self, id: &str, command: Command) -> bool {
        let open = self.open.lock();
        open.get(id)
            .is_some_and(|socket| socket.outbox.try_send(command).is_ok())
    }
}

// === impl SocketGuard ===

impl<'a> SocketGuard<'a> {
    fn register(
        context: &'a Context,
        sockets: &'a Sockets,
        id: String,
        user_agent: String,
    ) -> Self {
        let (sender, outbox) = mpsc::channel(OUTBOX);
        let now = context.clock.now();
        let socket = Socket {
            outbox: sender,
            user_agent,
            connected_at: now,
            last_active_at: now,
        };
        sockets.open.lock().insert(id.clone(), socket);
        context
            .ledger
            .count(|counts| counts.gateway.connections_total += 1);
        Self {
            context,
            sockets,
            id,
            outbox,
        }
    }

    fn record_activity(&self) {
        if let Some(socket) = self.sockets.open.lock().get_mut(&self.id) {
            socket.last_active_at = self.context.clock.now();
        }
    }
}

impl Drop for SocketGuard<'_> {
    fn drop(&mut self) {
        self.sockets.open.lock().remove(&self.id);
        self.context.ledger.notify_watchers();
    }
}

// === a connection ===

/// Serves a connection until either side ends it. `read` holds bytes received after the upgrade
/// request.
pub(super) async fn drive<S>(
    context: &Context,
    sockets: &Sockets,
    stream: S,
    read: Bytes,
    service: SocketService,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_FRAME));
    let socket =
        WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config));
    let mut socket = socket.await;
    let ending = match service {
        SocketService::Api {
            id,
            handshake,
            user_agent,
        } => {
            let mut guard = SocketGuard::register(context, sockets, id, user_agent);
            serve(&mut guard, &mut socket, &handshake).await
        }
        SocketService::Analyzer { configuration } => {
            context
                .ledger
                .count(|counts| counts.gateway.analyzer_streams += 1);
            send_packets(&mut socket, &configuration).await
        }
    };
    match ending {
        Ok(Ending::ServerClose(code)) => close(&mut socket, code).await,
        Ok(Ending::ClientClose) => finish_client_close(&mut socket).await,
        Ok(Ending::Drop) => {}
        Err(tungstenite::Error::Capacity(_)) => close(&mut socket, CloseCode::Size).await,
        Err(error) => tracing::debug!(exception.message = %error, "gateway socket failed"),
    }
}

/// Runs a connection of the WebSocket API until either side ends it.
async fn serve<S>(
    guard: &mut SocketGuard<'_>,
    socket: &mut WebSocketStream<S>,
    handshake: &Value,
) -> Result<Ending, tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            biased;
            command = guard.outbox.recv() => match command {
                Some(Command::Send(text)) => send(socket, &text).await?,
                Some(Command::Close(code)) => return Ok(Ending::ServerClose(code)),
                Some(Command::Drop) | None => return Ok(Ending::Drop),
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    guard.record_activity();
                    guard.context.ledger.count(|counts| counts.gateway.messages += 1);
                    let response = message_response(&guard.id, &text, handshake);
                    send(socket, response.as_deref().unwrap_or(&text)).await?;
                }
                Some(Ok(Message::Binary(_))) => return Ok(Ending::ServerClose(CloseCode::Unsupported)),
                Some(Ok(Message::Close(_))) | None => return Ok(Ending::ClientClose),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error),
            },
        }
    }
}

/// Returns the response to a message, or `None` to echo it.
fn message_response(id: &str, text: &str, handshake: &Value) -> Option<String> {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let request = Uuid::new_v4().to_string();
    match message.get("action").and_then(Value::as_str) {
        None | Some("echo") => None,
        Some("info") => {
            let info = json!({
                "connectionId": id, "requestId": request, "handshake": handshake,
            });
            Some(info.to_string())
        }
        Some(_) => {
            let forbidden = json!({
                "message": "Forbidden", "connectionId": id, "requestId": request,
            });
            Some(forbidden.to_string())
        }
    }
}

/// Sends a few messages of a network analyzer, then waits for the close.
async fn send_packets<S>(
    socket: &mut WebSocketStream<S>,
    configuration: &str,
) -> Result<Ending, tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for n in 1..=PACKETS {
        let packet = json!({
            "type": "uplink",
            "networkAnalyzerConfigurationName": configuration,
            "wirelessDeviceId": "00000000-0000-4000-8000-000000000001",
            "wirelessGatewayId": "00000000-0000-4000-8000-000000000002",
            "eventTimestamp": format!("2026-01-15T12:00:0{n}Z"),
            "frameCount": n,
            "rssi": -57,
            "snr": 9.5,
        });
        send(socket, &packet.to_string()).await?;
    }
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(_))) | None => return Ok(Ending::ClientClose),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
    }
}

/// Sends a text in frames of at most 32 KB.
async fn send<S>(socket: &mut WebSocketStream<S>, text: &str) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut rest = Bytes::copy_from_slice(text.as_bytes());
    let mut opcode = Data::Text;
    loop {
        let payload = rest.split_to(rest.len().min(MAX_FRAME));
        let is_final = rest.is_empty();
        let frame = Frame::message(payload, OpCode::Data(opcode), is_final);
        socket.feed(Message::Frame(frame)).await?;
        if is_final {
            return socket.flush().await;
        }
        opcode = Data::Continue;
    }
}

/// Completes a close that the client began. The library has queued the close frame, and sends it at
/// the next read.
async fn finish_client_close<S>(socket: &mut WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        while let Some(Ok(_)) = socket.next().await {}
        let _ = socket.get_mut().shutdown().await;
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

/// Sends a close frame and waits for the client's.
async fn close<S>(socket: &mut WebSocketStream<S>, code: CloseCode)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code,
        reason: "".into(),
    };
    let closing = async {
        if socket.close(Some(frame)).await.is_err() {
            return;
        }
        if code == CloseCode::Size {
            // The rest of the client's bytes cannot be parsed as frames, but must be read: unread
            // bytes would cause a reset, which could discard the close frame.
            let stream = socket.get_mut();
            let _ = stream.shutdown().await;
            let mut rest = BytesMut::new();
            while matches!(stream.read_buf(&mut rest).await, Ok(1..)) {
                rest.clear();
            }
        } else {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

const MAX_FRAME: usize = 32 << 10;
pub(super) const MAX_MESSAGE: usize = 128 << 10;
const OUTBOX: usize = 64;
const PACKETS: u8 = 3;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
