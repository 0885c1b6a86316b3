//! A client's WebSocket, and the message that is being written to it.
//!
//! Long messages are written in several frames, one at a time. While a message is being written, the
//! client is not read, so that a client that does not read cannot cause more messages to be queued.

use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_protocol::dialect::Close;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use crate::deadline::timeout;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A client's socket.
pub(super) struct Link {
    socket: Socket,
    /// When the message that is being written was handed to the socket.
    writing_since: Option<Instant>,
    /// The part of a long message that has not been handed to the socket.
    rest: Bytes,
    ping_at: Instant,
    ping_period: Duration,
    /// The client has sent something since the last ping.
    is_heard: bool,
}

/// How a session ends.
pub(super) enum End {
    /// The session sends this close frame.
    Close(Close),
    /// The client has closed the socket, or no longer reads or responds. No close frame is sent.
    Gone,
}

/// An event on the socket.
pub(super) enum Io {
    Flushed(Result<(), tungstenite::Error>),
    Read(Option<Result<Message, tungstenite::Error>>),
}

/// The size of the buffer that each socket has even if it is idle. Most messages of clients are shorter; a
/// longer one has a buffer of its own, and is read in parts of this size.
const READ_BUFFER: usize = 1024;
/// The maximum size of a frame. The socket's write buffer grows to that of the largest frame, and never
/// shrinks.
const PART: usize = 128 * 1024;
/// How long the client may take to respond to a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

impl Link {
    /// Returns the link of an upgraded connection. `message` is the maximum size of a client's message.
    pub(super) async fn new(upgraded: Upgraded, message: usize, ping_period: Duration) -> Self {
        // Frames are short and written one at a time, so the write buffer needs no bound of its own.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(4 * 1024)
            .max_message_size(Some(message))
            .max_frame_size(Some(message));
        let io = TokioIo::new(upgraded);
        Self {
            socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await,
            writing_since: None,
            rest: Bytes::new(),
            ping_at: Instant::now() + ping_period,
            ping_period,
            is_heard: true,
        }
    }

    /// Returns whether a message is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing_since.is_some()
    }

    /// Returns when the message that is being written was handed to the socket.
    pub(super) fn writing_since(&self) -> Option<Instant> {
        self.writing_since
    }

    /// Returns when the next ping is due.
    pub(super) fn ping_at(&self) -> Instant {
        self.ping_at
    }

    /// Flushes the frame that is being written or, if there is none, reads a message. This is cancel
    /// safe.
    pub(super) async fn next(&mut self) -> Io {
        if self.is_writing() {
            return Io::Flushed(self.socket.flush().await);
        }
        Io::Read(self.socket.next().await)
    }

    /// Starts writing a message.
    pub(super) async fn send(&mut self, text: String) -> Result<(), End> {
        let message = first_part(text, &mut self.rest);
        self.feed(message).await
    }

    /// Continues after a frame has been flushed, with the next frame of the message if there is one.
    pub(super) async fn flushed(&mut self) -> Result<(), End> {
        if self.rest.is_empty() {
            self.writing_since = None;
            return Ok(());
        }
        let part = next_part(&mut self.rest);
        self.socket.feed(part).await.map_err(|_| End::Gone)
    }

    /// Handles a ping of the client. The socket has queued the pong, which counts as a message, so that
    /// pongs that the client does not read do not accumulate.
    pub(super) fn pinged(&mut self) {
        self.writing_since = Some(Instant::now());
    }

    /// Notes that the client has sent a message. Any message shows that the client is alive, and a pong
    /// may wait behind others.
    pub(super) fn heard(&mut self) {
        self.is_heard = true;
    }

    /// Sends a ping if one is due. Fails if the client has sent nothing since the last one.
    pub(super) async fn ping(&mut self, now: Instant) -> Result<(), End> {
        if now < self.ping_at {
            return Ok(());
        }
        self.ping_at = now + self.ping_period;
        if self.is_writing() {
            return Ok(());
        }
        if !self.is_heard {
            debug!("closing socket: client did not answer a ping (timeouts.ping)");
            return Err(End::Gone);
        }
        self.is_heard = false;
        self.feed(Message::Ping(Bytes::new())).await
    }

    async fn feed(&mut self, message: Message) -> Result<(), End> {
        self.writing_since = Some(Instant::now());
        self.socket.feed(message).await.map_err(|_| End::Gone)
    }

    /// Flushes the response to the client's close frame, which the socket has queued.
    pub(super) async fn flush_close(&mut self) {
        let _ = timeout(CLOSE_PATIENCE, self.socket.flush()).await;
    }

    /// Writes a close frame, and waits up to [`CLOSE_PATIENCE`] for the client's.
    pub(super) async fn close(&mut self, close: Close) {
        let frame = CloseFrame {
            code: close.code.into(),
            reason: close.reason.into_owned().into(),
        };
        let socket = &mut self.socket;
        let closing = async {
            if socket.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() {
                    return;
                }
            }
            // Unread bytes would turn the end of the connection into a reset, which may overtake the close
            // frame.
            let _ = tokio::io::copy(socket.get_mut(), &mut tokio::io::sink()).await;
        };
        let _ = timeout(CLOSE_PATIENCE, closing).await;
    }
}

/// Returns a message in one frame, or the first frame of a long one, whose rest goes to `rest`.
fn first_part(text: String, rest: &mut Bytes) -> Message {
    if text.len() <= PART {
        return Message::text(text);
    }
    *rest = Bytes::from(text);
    let part = rest.split_to(PART);
    Message::Frame(Frame::message(part, OpCode::Data(Data::Text), false))
}

fn next_part(rest: &mut Bytes) -> Message {
    let part = rest.split_to(PART.min(rest.len()));
    let is_last = rest.is_empty();
    Message::Frame(Frame::message(part, OpCode::Data(Data::Continue), is_last))
}
