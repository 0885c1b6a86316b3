//! Owns one client WebSocket: reads frames, runs what its dialect starts, writes what comes back.
//!
//! One task, one loop. An event leaves the outbox only when the frame before it has been written,
//! so what a slow client does not read stays counted there; and a client is read only while it
//! takes our answers. Upstream and client are served in no fixed order, so that neither starves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_protocol::dialect::{Close, Dialect, Output, Times, websocket};
use countersign_protocol::graphql::{Event, OperationKey};
use countersign_protocol::realtime::placement::Availability;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use super::Context;
use super::operations::{Operations, count_refusals};
use crate::graphql::outbox::{Inbox, outbox};
use crate::guard::Admission;
use crate::telemetry::metrics::metrics;
use crate::telemetry::tasks::{Task, caught};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

struct Session {
    context: Arc<Context>,
    dialect: Box<dyn Dialect>,
    operations: Operations,
    admission: Admission,
    /// When a close is due, and what it says.
    closing: Option<(Instant, Close)>,
    is_draining: bool,
    has_expired: bool,
}

/// Bytes of a frame. The socket's write buffer grows to the size of one, and never shrinks.
const PART: usize = 128 * 1024;
/// How long the client may take to answer our close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a message of a client that has shown no token yet.
const PENDING_MESSAGE: usize = 32 * 1024;

/// Serves a socket once it is upgraded, in the dialect that `protocol` names.
pub(super) async fn serve(context: Context, upgrade: OnUpgrade, protocol: Option<&'static str>) {
    let Ok(upgraded) = upgrade.await else {
        debug!("a client went away during its upgrade");
        return;
    };
    let config = context.config;
    // Frames are short and written one at a time, so the write buffer needs no bound of its own.
    let socket_config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(4 * 1024)
        .max_message_size(Some(config.message))
        .max_frame_size(Some(config.message));
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(socket_config)).await;
    let times = Times {
        init: config.init,
        keepalive: config.ping,
    };
    let dialect = websocket(protocol, Instant::now(), times, config.limits());
    let (outbox, inbox) = outbox(config.outbox, Arc::clone(&context.budget));
    let context = Arc::new(context);
    let session = Session {
        dialect,
        operations: Operations::new(Arc::clone(&context), outbox),
        admission: context.admission.clone(),
        context,
        closing: None,
        is_draining: false,
        has_expired: false,
    };
    let run = session.run(&mut socket, inbox);
    if let Err(panicked) = caught(Task::Socket, run).await {
        farewell(
            &mut socket,
            Close::new(Close::INTERNAL, panicked.to_string()),
        )
        .await;
    }
}

impl Session {
    async fn run(mut self, socket: &mut Socket, mut inbox: Inbox) {
        // Since when a message is on its way to the client, what is left of it, and the event it
        // carries, whose room is taken until then.
        let mut writing_since: Option<Instant> = None;
        let mut rest = Bytes::new();
        let mut carried: Option<Event> = None;
        let mut ping_at = Instant::now() + self.context.config.ping;
        let mut is_ponged = true;
        loop {
            while writing_since.is_none() {
                let Some(output) = self.dialect.poll_output() else {
                    break;
                };
                match self.perform(output) {
                    Step::Done => {}
                    Step::Send(text) => {
                        writing_since = Some(Instant::now());
                        let message = first_part(text, &mut rest);
                        if socket.feed(message).await.is_err() {
                            return;
                        }
                    }
                    Step::Close(close) => {
                        // Upstream is left at once; the client may take its time.
                        self.operations.clear();
                        return farewell(socket, close).await;
                    }
                }
            }
            if writing_since.is_none()
                && let Some(event) = carried.take()
            {
                inbox.written(event.size());
            }
            let is_writing = writing_since.is_some();
            let stalled_at = writing_since.map(|since| since + self.context.config.write);
            let close_at = self.close_deadline(!is_writing);
            let deadlines = [
                self.dialect.poll_timeout(),
                stalled_at,
                close_at,
                Some(ping_at),
            ];
            let wake_at = deadlines.into_iter().flatten().min();
            // A frame under way is finished before the client is read again.
            let io = async {
                match is_writing {
                    true => Io::Flushed(socket.flush().await),
                    false => Io::Read(socket.next().await),
                }
            };
            tokio::select! {
                () = self.context.expired.cancelled(), if !self.has_expired => self.expire(),
                () = self.context.draining.cancelled(), if !self.is_draining => {
                    self.is_draining = true;
                    self.close_soon(Duration::ZERO, "countersign is shutting down");
                }
                (key, event) = inbox.next(), if !is_writing => {
                    self.handle_event(key, &event);
                    carried = Some(event);
                }
                done = io => match done {
                    Io::Flushed(Ok(())) if rest.is_empty() => writing_since = None,
                    Io::Flushed(Ok(())) => {
                        if socket.feed(next_part(&mut rest)).await.is_err() {
                            return;
                        }
                    }
                    Io::Flushed(Err(_)) => return,
                    Io::Read(Some(Ok(message))) => match message {
                        Message::Text(text) => self.handle_text(&text),
                        Message::Binary(_) => self.dialect.handle_binary(),
                        Message::Pong(_) => is_ponged = true,
                        // Its pong is queued; what a client does not read must not pile up.
                        Message::Ping(_) => writing_since = Some(Instant::now()),
                        Message::Frame(_) => {}
                        Message::Close(_) => {
                            self.operations.clear();
                            // The answer to the client's close is queued; it still has to leave.
                            let _ = tokio::time::timeout(CLOSE_PATIENCE, socket.flush()).await;
                            return;
                        }
                    },
                    Io::Read(Some(Err(tungstenite::Error::Capacity(
                        CapacityError::MessageTooLong { .. },
                    )))) => {
                        let reason = "message too big (limits.message)";
                        self.dialect.close(Close::new(Close::TOO_BIG, reason));
                    }
                    Io::Read(Some(Err(error))) => {
                        debug!(%error, "a client socket failed");
                        return;
                    }
                    Io::Read(None) => return,
                },
                () = tokio::time::sleep_until(wake_at.unwrap_or(ping_at).into()) => {
                    let now = Instant::now();
                    self.dialect.handle_timeout(now);
                    if stalled_at.is_some_and(|at| at <= now) {
                        debug!("a client socket is closed: it takes nothing (timeouts.write)");
                        return;
                    }
                    if close_at.is_some_and(|at| at <= now) {
                        self.close_now();
                    }
                    if ping_at <= now {
                        if !is_ponged && !is_writing {
                            debug!("a client socket is closed: it answers no ping (timeouts.ping)");
                            return;
                        }
                        ping_at = now + self.context.config.ping;
                        if !is_writing {
                            is_ponged = false;
                            writing_since = Some(now);
                            if socket.feed(Message::Ping(Default::default())).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Until the client has shown a token, nothing is parsed that is longer than one needs.
    fn handle_text(&mut self, text: &str) {
        if matches!(self.admission, Admission::Pending(_)) && text.len() > PENDING_MESSAGE {
            return self.refuse_pending();
        }
        self.dialect.handle_text(Instant::now(), text);
        count_refusals(self.dialect.take_refusals());
    }

    fn refuse_pending(&mut self) {
        metrics().refused("TOKEN_MISSING");
        let reason = "Unauthorized: a token is needed, in the connection_init";
        self.dialect.close(Close::new(Close::UNAUTHORIZED, reason));
    }

    fn perform(&mut self, output: Output) -> Step {
        match output {
            Output::Send(text) => return Step::Send(text),
            Output::Close(close) => return Step::Close(close),
            Output::Init(payload) => self.init(payload.as_deref()),
            Output::Start(..) | Output::Subscribe(..) | Output::Publish(..)
                if matches!(self.admission, Admission::Pending(_)) =>
            {
                self.refuse_pending();
            }
            Output::Start(key, selected, operation) => {
                self.operations.start(key, &selected, &operation);
            }
            Output::Subscribe(key, subscribe) => self.operations.subscribe(key, &subscribe),
            Output::Publish(key, publish) => self.operations.publish(key, &publish),
            Output::Stop(key) => self.operations.finish(key),
        }
        Step::Done
    }

    fn init(&mut self, payload: Option<&str>) {
        if let Admission::Pending(tokens) = &self.admission {
            let Some(grant) =
                payload.and_then(|payload| tokens.authenticate_init(payload, &self.context.route))
            else {
                metrics().refused("TOKEN_WRONG");
                let reason = "Forbidden: connection_init needs a token (guard.token_file)";
                return self.dialect.close(Close::new(Close::FORBIDDEN, reason));
            };
            self.operations.grant(&grant);
            self.admission = Admission::Granted(grant);
        }
        match self.context.api.pool().availability() {
            Availability::Up => self.dialect.accept(Instant::now()),
            // Before the acknowledgement, or clients would never stop trying.
            Availability::Down => {
                let reason = "upstream is unavailable";
                self.dialect
                    .close(Close::new(Close::TRY_AGAIN_LATER, reason));
            }
        }
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        if !self.operations.note(key, event) {
            return;
        }
        match event {
            Event::Lost => {
                let spread = self.context.config.spread.mul_f64(fastrand::f64());
                self.close_soon(spread, "the upstream connection was lost");
            }
            Event::Started
            | Event::Next(_)
            | Event::Missed(_)
            | Event::Error(_)
            | Event::Complete => self.dialect.handle_event(key, event),
        }
    }

    /// A retryable close, once the operations that run by HTTP have ended: clients send again
    /// what is in flight at such a close, mutations too.
    fn close_soon(&mut self, after: Duration, reason: &'static str) {
        self.dialect.begin_closing();
        if self.closing.is_none() {
            let close = Close::new(Close::RESTART, reason);
            self.closing = Some((Instant::now() + after, close));
        }
    }

    fn close_deadline(&self, is_written: bool) -> Option<Instant> {
        let (at, _) = self.closing.as_ref()?;
        let is_done = is_written && !self.operations.has_requests();
        is_done.then_some(*at)
    }

    fn close_now(&mut self) {
        if let Some((_, close)) = self.closing.take() {
            self.dialect.close(close);
        }
    }

    /// The drain's deadline: what still runs is ended, and told so, before the close.
    fn expire(&mut self) {
        self.has_expired = true;
        for (key, event) in self.operations.expire() {
            self.dialect.handle_event(key, &event);
        }
        // Sooner than a close that may be due already.
        self.closing = None;
        self.close_soon(Duration::ZERO, "countersign is shutting down");
    }
}

enum Io {
    Flushed(Result<(), tungstenite::Error>),
    Read(Option<Result<Message, tungstenite::Error>>),
}

enum Step {
    Done,
    Send(String),
    Close(Close),
}

/// A message in one frame, or the first frame of one that is long; what is left of it then.
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

/// Writes the close frame and waits a little for the client's.
async fn farewell(socket: &mut Socket, close: Close) {
    let frame = CloseFrame {
        code: close.code.into(),
        reason: close.reason.into_owned().into(),
    };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                return;
            }
        }
        // Bytes left unread would turn the end into a reset that overtakes the close frame.
        let _ = tokio::io::copy(socket.get_mut(), &mut tokio::io::sink()).await;
    };
    let _ = tokio::time::timeout(CLOSE_PATIENCE, closing).await;
}
