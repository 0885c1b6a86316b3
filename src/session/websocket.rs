//! Owns one client WebSocket: reads frames, runs what its dialect starts, writes what comes back.
//!
//! One task, one loop. An event leaves the outbox only when the frame before it has been written,
//! so what a slow client does not read stays counted there; and a client is read only while it
//! takes our answers. Upstream and client are served in no fixed order, so that neither starves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::debug;

use super::api::{self, Api};
use super::{Protocol, SessionConfig};
use crate::dialect::{Close, Limits, Output, TransportWs};
use crate::graphql::outbox::{Budget, Inbox, OperationKey, Outbox, outbox};
use crate::graphql::{Event, GraphqlError, Kind, Operation, Selected};
use crate::realtime::{Availability, Owner, Subscription};
use crate::telemetry::Record;

/// Everything a session needs of the process.
pub(super) struct Context {
    pub(super) config: SessionConfig,
    pub(super) budget: Arc<Budget>,
    pub(super) tasks: TaskTracker,
    pub(super) draining: CancellationToken,
    pub(super) expired: CancellationToken,
    pub(super) owner: Owner,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) route: String,
    pub(super) api: Arc<Api>,
    /// Counts the socket as a connection.
    pub(super) _permit: Arc<OwnedSemaphorePermit>,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

struct Session {
    context: Context,
    dialect: TransportWs,
    outbox: Outbox,
    running: HashMap<OperationKey, Running>,
    /// When a close is due, and what it says.
    closing: Option<(Instant, Close)>,
    is_draining: bool,
    has_expired: bool,
}

/// An operation under way; dropping it stops it.
enum Running {
    Http {
        kind: Kind,
        _task: AbortOnDropHandle<()>,
    },
    Subscription {
        record: Box<Record>,
        _subscription: Subscription,
    },
}

/// How long the client may take to answer our close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

impl Context {
    pub(super) async fn serve(self, upgrade: OnUpgrade, protocol: Protocol) {
        let Ok(upgraded) = upgrade.await else {
            debug!("a client went away during its upgrade");
            return;
        };
        // Frames are written one at a time, so the write buffer needs no bound of its own.
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(4 * 1024)
            .max_message_size(Some(self.config.message))
            .max_frame_size(Some(self.config.message));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (outbox, inbox) = outbox(self.config.outbox, Arc::clone(&self.budget));
        let limits = Limits {
            subscriptions: self.config.subscriptions,
            operations: self.config.operations,
        };
        let mut session = Session {
            dialect: TransportWs::new(Instant::now(), self.config.init, limits),
            context: self,
            outbox,
            running: HashMap::new(),
            closing: None,
            is_draining: false,
            has_expired: false,
        };
        if protocol == Protocol::Unknown {
            let reason = "Subprotocol not acceptable: offer graphql-transport-ws";
            session
                .dialect
                .close(Close::new(Close::BAD_SUBPROTOCOL, reason));
        }
        session.run(socket, inbox).await;
    }
}

impl Session {
    async fn run(mut self, mut socket: Socket, mut inbox: Inbox) {
        // Since when a frame is on its way to the client, and the size of the event it carries.
        let mut writing_since: Option<Instant> = None;
        let mut event_size: Option<usize> = None;
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
                        if socket.feed(Message::text(text)).await.is_err() {
                            return;
                        }
                    }
                    Step::Close(close) => {
                        // Upstream is left at once; the client may take its time.
                        self.running.clear();
                        return farewell(socket, close).await;
                    }
                }
            }
            if writing_since.is_none()
                && let Some(size) = event_size.take()
            {
                inbox.written(size);
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
                    event_size = Some(event.size());
                    self.handle_event(key, &event);
                }
                done = io => match done {
                    Io::Flushed(Ok(())) => writing_since = None,
                    Io::Flushed(Err(_)) => return,
                    Io::Read(Some(Ok(message))) => match message {
                        Message::Text(text) => self.dialect.handle_text(&text),
                        Message::Binary(_) => self.dialect.handle_binary(),
                        Message::Pong(_) => is_ponged = true,
                        Message::Ping(_) | Message::Frame(_) => {}
                        Message::Close(_) => {
                            self.running.clear();
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

    fn perform(&mut self, output: Output) -> Step {
        match output {
            Output::Send(text) => return Step::Send(text),
            Output::Close(close) => return Step::Close(close),
            Output::Init => match self.context.api.pool().availability() {
                Availability::Hopeful => self.dialect.accept(),
                // Before the acknowledgement, or clients would never stop trying.
                Availability::Down => {
                    let reason = "upstream is unavailable";
                    self.dialect
                        .close(Close::new(Close::TRY_AGAIN_LATER, reason));
                }
            },
            Output::Start(key, selected, operation) => self.start(key, &selected, operation),
            Output::Stop(key) => self.finish(key),
        }
        Step::Done
    }

    fn start(&mut self, key: OperationKey, selected: &Selected, operation: Operation) {
        let mut record = Record::new("WS");
        record.route = Some(self.context.route.clone());
        record.operation = Some(selected.kind.as_str());
        record.set_name(selected.name.as_deref());
        let running = match selected.kind {
            Kind::Subscription => {
                let start = api::start(&operation, &self.context.headers);
                record.bytes_in = start.data.len();
                let pool = self.context.api.pool();
                let owner = self.context.owner;
                Running::Subscription {
                    record: Box::new(record),
                    _subscription: pool.subscribe(owner, start, self.outbox.clone(), key),
                }
            }
            Kind::Query | Kind::Mutation => {
                let api = Arc::clone(&self.context.api);
                let headers = Arc::clone(&self.context.headers);
                let outbox = self.outbox.clone();
                let task = self.context.tasks.spawn(async move {
                    let (result, ending) = api.execute(&operation, &headers, &mut record).await;
                    record.write();
                    if let Some(result) = result {
                        outbox.send(key, Event::Next(result)).await;
                    }
                    outbox.end(key, ending);
                });
                Running::Http {
                    kind: selected.kind,
                    _task: AbortOnDropHandle::new(task),
                }
            }
        };
        self.running.insert(key, running);
    }

    fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(running) = self.running.get_mut(&key) else {
            return;
        };
        match event {
            Event::Started => return,
            Event::Next(json) => {
                if let Running::Subscription { record, .. } = running {
                    record.bytes_out += json.len();
                }
                return self.dialect.handle_event(key, event);
            }
            Event::Error(errors) => {
                if let Running::Subscription { record, .. } = running {
                    let code = errors.iter().find_map(|error| error.extensions.get("code"));
                    record.code = code.and_then(|code| code.as_str()).map(str::to_owned);
                }
                self.dialect.handle_event(key, event);
            }
            Event::Complete => self.dialect.handle_event(key, event),
            Event::Lost => {
                let spread = self.context.config.spread.mul_f64(fastrand::f64());
                self.close_soon(spread, "the upstream connection was lost");
            }
        }
        self.finish(key);
    }

    fn finish(&mut self, key: OperationKey) {
        if let Some(Running::Subscription { record, .. }) = self.running.remove(&key) {
            record.write();
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
        let is_running = |running: &Running| matches!(running, Running::Http { .. });
        let is_done = is_written && !self.running.values().any(is_running);
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
        let running = std::mem::take(&mut self.running);
        for (key, running) in running {
            if let Running::Http { kind, .. } = running {
                let message = format!("countersign shut down before the {} ended", kind.as_str());
                let error = GraphqlError::coded(message, "SHUTTING_DOWN", "maybe");
                self.dialect.handle_event(key, &Event::Error(vec![error]));
            }
        }
        // Sooner than a close that may be due already.
        self.closing = None;
        self.close_soon(Duration::ZERO, "countersign is shutting down");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let keys: Vec<OperationKey> = self.running.keys().copied().collect();
        for key in keys {
            self.finish(key);
        }
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

/// Writes the close frame and waits a little for the client's.
async fn farewell(mut socket: Socket, close: Close) {
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
