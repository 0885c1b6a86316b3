//! A client's WebSocket, and the messages that are being written to it.
//!
//! While messages are being written, the client is not read, so that a client that does not read cannot
//! cause more messages to be queued. tungstenite reads, and writes control frames; [`Frames`] writes
//! messages. Each begins only when the other has written everything.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_protocol::dialect::{Close, EventFrame};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use super::frames::Frames;
use crate::deadline::timeout;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A client's socket.
pub(super) struct Link {
    socket: Socket,
    frames: Frames,
    /// When the first of the messages that are being written was added.
    writing_since: Option<Instant>,
    /// Whether tungstenite has a control frame to write.
    has_control: bool,
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
    Written(Result<(), tungstenite::Error>),
    Read(Option<Result<Message, tungstenite::Error>>),
}

/// The size of the buffer that each socket has even if it is idle. Most messages of clients are shorter; a
/// longer one has a buffer of its own, and is read in parts of this size.
const READ_BUFFER: usize = 1024;
/// How long the client may take to respond to a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

impl Link {
    /// Returns the link of an upgraded connection. `message` is the maximum size of a client's message.
    pub(super) async fn new(upgraded: Upgraded, message: usize, ping_period: Duration) -> Self {
        // Only control frames are written to it, one at a time, so it needs no bound of its own.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(4 * 1024)
            .max_message_size(Some(message))
            .max_frame_size(Some(message));
        let io = TokioIo::new(upgraded);
        Self {
            socket: WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await,
            frames: Frames::default(),
            writing_since: None,
            has_control: false,
            ping_at: Instant::now() + ping_period,
            ping_period,
            is_heard: true,
        }
    }

    /// Returns whether a message is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing_since.is_some()
    }

    /// Returns when the first of the messages that are being written was added.
    pub(super) fn writing_since(&self) -> Option<Instant> {
        self.writing_since
    }

    /// Returns when the next ping is due.
    pub(super) fn ping_at(&self) -> Instant {
        self.ping_at
    }

    /// Writes what is being written or, if there is nothing, reads a message. This is cancel safe.
    pub(super) async fn next(&mut self) -> Io {
        if self.is_writing() {
            return Io::Written(poll_fn(|cx| self.poll_write(cx)).await);
        }
        Io::Read(self.socket.next().await)
    }

    /// Writes as much as the socket takes now. Returns whether it has taken everything.
    pub(super) async fn write_now(&mut self) -> Result<bool, End> {
        poll_fn(|cx| match self.poll_write(cx) {
            Poll::Ready(written) => Poll::Ready(written.map(|()| true).map_err(|_| End::Gone)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        if self.has_control {
            ready!(self.socket.poll_flush_unpin(cx))?;
            self.has_control = false;
        }
        let stream = self.socket.get_mut();
        ready!(self.frames.poll_write(cx, stream))?;
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.writing_since = None;
        Poll::Ready(Ok(()))
    }

    /// Adds a message to those that are being written.
    pub(super) fn send(&mut self, text: String) {
        self.begin();
        self.frames.push_text(text);
    }

    /// Adds a message with an event to those that are being written.
    pub(super) fn send_event(&mut self, frame: EventFrame) {
        self.begin();
        self.frames.push_event(frame);
    }

    fn begin(&mut self) {
        self.writing_since.get_or_insert_with(Instant::now);
    }

    /// Handles a ping of the client. The socket has queued the pong, which counts as a message, so that
    /// pongs that the client does not read do not accumulate.
    pub(super) fn pinged(&mut self) {
        self.has_control = true;
        self.begin();
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
        self.has_control = true;
        self.begin();
        let ping = self.socket.feed(Message::Ping(Bytes::new()));
        ping.await.map_err(|_| End::Gone)
    }

    /// Flushes the response to the client's close frame, which the socket has queued.
    pub(super) async fn flush_close(&mut self) {
        let _ = timeout(CLOSE_PATIENCE, self.socket.flush()).await;
    }

    /// Writes the messages that are being written and a close frame, and waits up to [`CLOSE_PATIENCE`] for the client's.
    pub(super) async fn close(&mut self, close: Close) {
        let frame = CloseFrame {
            code: close.code.into(),
            reason: close.reason.into_owned().into(),
        };
        let closing = async {
            if poll_fn(|cx| self.poll_write(cx)).await.is_err() {
                return;
            }
            let socket = &mut self.socket;
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
