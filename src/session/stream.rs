//! Drives one streamed HTTP response: runs the operations that the client starts, and writes their
//! results.
//!
//! The response's body is a channel that holds one piece. An event leaves the outbox only when the piece
//! before it has left the channel, so the events that a slow client does not read stay counted there. A
//! stream whose client reads nothing for the write timeout is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_protocol::dialect::{Close, Output, StreamDialect};
use countersign_protocol::events::Subscribe;
use countersign_protocol::graphql::{
    Event, GraphqlError, Inspected, Json, OperationKey, SelectedOperation,
};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::context::SessionContext;
use super::operations::Operations;
use crate::deadline::Deadline;
use crate::inspector::{Direction, Side};
use crate::outbox::{Inbox, outbox};

/// The operation whose results a response streams.
#[derive(Debug)]
pub enum StreamOperation {
    Graphql(SelectedOperation, Box<Inspected>),
    Subscribe(Subscribe),
}

/// A response that has started.
#[derive(Debug)]
pub struct OpenedStream {
    pub content_type: &'static str,
    pub body: mpsc::Receiver<Piece>,
    /// The errors of an operation that failed before its first result. The body contains them, too.
    pub failed: Option<Vec<GraphqlError>>,
}

/// A piece of a response's body. A body that ends without [`Piece::End`] is interrupted, so that the
/// client notices an error.
#[derive(Debug)]
pub enum Piece {
    Text(Bytes),
    End,
    /// The process is shutting down, which interrupts the body.
    Stop,
}

/// A call of the protocol machine on behalf of another request.
pub(super) type MachineCall<M> = Box<dyn FnOnce(&mut M) + Send>;

/// The sending end of a response's body.
pub(super) type PieceSender = mpsc::Sender<Piece>;

pub(super) struct Stream<M> {
    context: Arc<SessionContext>,
    pub(super) machine: M,
    operations: Operations,
    inbox: Inbox,
    /// The text that is written first when the response starts.
    pending_text: Option<String>,
    /// The event whose text is being written.
    carried: Option<Event>,
    /// When the stream will be interrupted, and why.
    losing: Option<(Instant, &'static str)>,
}

/// The text of an event. It holds the payload, whose bytes are counted until it is dropped.
struct EventText {
    text: String,
    _json: Json,
}

enum Step {
    Done,
    Send(String),
    End,
    Cut,
}

/// The time between two heartbeats. Apollo's servers use five seconds, graphql-sse twelve.
const HEARTBEAT: Duration = Duration::from_secs(10);
const KEY: OperationKey = OperationKey(1);

/// Runs one operation on a response of its own ("distinct connections" of GraphQL over SSE). The
/// receiver resolves with the operation's first event.
pub(super) fn distinct<M: StreamDialect>(
    context: SessionContext,
    machine: M,
    work: StreamOperation,
) -> (impl Future<Output = ()>, oneshot::Receiver<OpenedStream>) {
    let (sender, opened) = oneshot::channel();
    let mut stream = Stream::new(Arc::new(context), machine);
    let driver = async move {
        match work {
            StreamOperation::Graphql(selected, inspected) => {
                stream.operations.start(KEY, &selected, *inspected);
            }
            StreamOperation::Subscribe(subscribe) => stream.operations.subscribe(KEY, &subscribe),
        }
        stream.open(sender).await;
    };
    (driver, opened)
}

impl AsRef<[u8]> for EventText {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl<M: StreamDialect> Stream<M> {
    pub(super) fn new(context: Arc<SessionContext>, machine: M) -> Self {
        let (outbox, inbox) = outbox(context.config.outbox, Arc::clone(&context.budget));
        Self {
            machine,
            operations: Operations::new(Arc::clone(&context), outbox),
            context,
            inbox,
            pending_text: None,
            carried: None,
            losing: None,
        }
    }

    /// Waits for the first event, starts the response, and runs the stream.
    async fn open(mut self, mut opened: oneshot::Sender<OpenedStream>) {
        let context = Arc::clone(&self.context);
        let ((key, mut event), has_expired) = tokio::select! {
            first = self.inbox.next() => (first, false),
            () = opened.closed() => return,
            () = context.expired.cancelled() => match self.operations.expire().pop() {
                Some(failed) => (failed, true),
                None => return,
            },
        };
        let (body, pieces) = mpsc::channel(1);
        let failed = match &event {
            Event::Error(errors) => Some(errors.clone()),
            // For a lost subscription the stream starts and is interrupted, so that clients reconnect.
            Event::Started | Event::Next(_) | Event::Missed(_) | Event::Complete | Event::Lost => {
                None
            }
        };
        let response = OpenedStream {
            content_type: self.machine.content_type(),
            body: pieces,
            failed,
        };
        if opened.send(response).is_ok() {
            self.machine.open();
            if has_expired {
                // The operation has been recorded already, so its event is only written.
                self.machine.handle_event(key, &event);
                self.flush(&body).await;
                return;
            }
            let size = event.size();
            self.handle_event(key, &mut event);
            self.inbox.written(1, size);
            self.carried = Some(event);
            self.run(body, None).await;
        }
    }

    /// Writes until the operation ends, the client closes the connection or the process shuts down.
    pub(super) async fn run(
        mut self,
        body: PieceSender,
        mut calls: Option<&mut mpsc::Receiver<MachineCall<M>>>,
    ) {
        if let Some(text) = self.pending_text.take()
            && body.send(Piece::Text(Bytes::from(text))).await.is_err()
        {
            return;
        }
        let context = Arc::clone(&self.context);
        let mut heartbeat_at = Instant::now() + HEARTBEAT;
        let mut event_size = None;
        let mut is_draining = false;
        loop {
            if !self.flush(&body).await {
                return;
            }
            self.carried = None;
            if let Some(size) = event_size.take() {
                self.inbox.written(1, size);
            }
            let lose_at = self.losing.filter(|_| !self.operations.has_requests());
            let wake_at = lose_at.map_or(heartbeat_at, |(at, _)| at.min(heartbeat_at));
            tokio::select! {
                () = body.closed() => return,
                () = context.expired.cancelled() => {
                    for (key, event) in self.operations.expire() {
                        self.machine.handle_event(key, &event);
                    }
                    self.machine.lose("countersign is shutting down");
                    self.flush(&body).await;
                    return;
                }
                () = context.draining.cancelled(), if !is_draining => {
                    is_draining = true;
                    self.lose_soon(Duration::ZERO, "countersign is shutting down");
                }
                (key, mut event) = self.inbox.next() => {
                    event_size = Some(event.size());
                    self.handle_event(key, &mut event);
                    self.carried = Some(event);
                }
                // To its caller, a dropped call looks as if the stream had ended, which is about to
                // happen.
                machine_call = receive(&mut calls) => if self.losing.is_none() {
                    machine_call(&mut self.machine);
                },
                () = tokio::time::sleep_until(wake_at.into()) => {
                    let now = Instant::now();
                    if let Some((_, reason)) = lose_at.filter(|(at, _)| *at <= now) {
                        self.machine.lose(reason);
                    }
                    if heartbeat_at <= now {
                        heartbeat_at = now + HEARTBEAT;
                        self.machine.heartbeat();
                    }
                }
            }
        }
    }

    /// Performs outputs of the protocol machine before the response has started, up to the first text,
    /// which is kept for the response.
    pub(super) fn prepare(&mut self) {
        while self.pending_text.is_none()
            && let Some(output) = self.machine.poll_output()
        {
            if let Step::Send(text) = self.perform(output) {
                self.pending_text = Some(text);
            }
        }
    }

    /// Performs all outputs of the protocol machine. Returns whether the stream continues.
    async fn flush(&mut self, body: &PieceSender) -> bool {
        let context = Arc::clone(&self.context);
        let mut deadline = Deadline::default();
        let at = Instant::now() + context.config.write;
        loop {
            let Some(output) = self.machine.poll_output() else {
                return true;
            };
            let (piece, is_last) = match self.perform(output) {
                Step::Done => continue,
                Step::Send(text) => (Piece::Text(self.counted(text)), false),
                Step::End => (Piece::End, true),
                Step::Cut if context.draining.is_cancelled() => (Piece::Stop, true),
                Step::Cut => return false,
            };
            tokio::select! {
                biased;
                sent = body.send(piece) => if sent.is_err() || is_last {
                    return false;
                },
                () = deadline.passed(at.into()) => {
                    debug!("closing stream: client did not read within the write timeout (timeouts.write)");
                    return false;
                }
            }
        }
    }

    /// Returns the text as bytes. They hold the event's payload, so that it stays counted until the client
    /// has read them.
    fn counted(&self, text: String) -> Bytes {
        match &self.carried {
            Some(Event::Next(json)) => Bytes::from_owner(EventText {
                text,
                _json: json.clone(),
            }),
            Some(_) | None => Bytes::from(text),
        }
    }

    /// Returns the step that writes a text, and shows the text to the inspector.
    fn text(&self, text: String) -> Step {
        let capture = self.operations.latest();
        capture.frame(Side::Client, Direction::Out, &text);
        Step::Send(text)
    }

    fn perform(&mut self, output: Output) -> Step {
        match output {
            Output::Send(text) => return self.text(text),
            Output::SendEvent(frame) => return self.text(frame.into()),
            Output::Close(close) if close.code == Close::NORMAL => return Step::End,
            Output::Close(_) => return Step::Cut,
            Output::Start(key, selected, inspected) => {
                self.operations.start(key, &selected, *inspected);
            }
            Output::Subscribe(key, subscribe) => self.operations.subscribe(key, &subscribe),
            Output::Publish(key, publish) => self.operations.publish(key, &publish),
            Output::Stop(key) => self.operations.finish(key),
            Output::Init(_) => {}
        }
        Step::Done
    }

    fn handle_event(&mut self, key: OperationKey, event: &mut Event) {
        if !self.operations.record_event(key, event) {
            return;
        }
        match event {
            Event::Lost => {
                let spread = self.context.config.spread.mul_f64(fastrand::f64());
                self.lose_soon(spread, "the upstream connection was lost");
            }
            Event::Started
            | Event::Next(_)
            | Event::Missed(_)
            | Event::Error(_)
            | Event::Complete => self.machine.handle_event(key, event),
        }
    }

    /// Schedules the interruption of the stream `after` this time. It waits for operations that run by
    /// HTTP.
    fn lose_soon(&mut self, after: Duration, reason: &'static str) {
        self.losing.get_or_insert((Instant::now() + after, reason));
    }
}

/// Returns the next call; never resolves if there can be none.
async fn receive<M>(calls: &mut Option<&mut mpsc::Receiver<MachineCall<M>>>) -> MachineCall<M> {
    if let Some(receiver) = calls
        && let Some(machine_call) = receiver.recv().await
    {
        return machine_call;
    }
    std::future::pending().await
}
