//! Owns the socket of one realtime connection, runs its machine, and reports to the pool.
//!
//! The `select!` in `drive` is biased. Reading comes first, because the reader must never wait for a
//! client, and because no deadline may be judged before what has arrived was read. Writing comes before
//! new commands. A deadline of upstream that is noticed late, because the process did not run, is
//! postponed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{Event, GraphqlError};
use countersign_protocol::realtime::connection::{Connection, Ignored, Key, Output};
use countersign_protocol::realtime::placement::{ConnectionEnd, Refusal};
use countersign_protocol::realtime::{Failure, Start};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::connector::RealtimeConnector;
use super::subscriber::{Subscriber, show};
use super::{REDACTION, RealtimeConfig};
use crate::inspector::Direction;
use crate::outbox::Overflow;
use crate::telemetry::metrics::{GaugeGuard, LastHeard, RouteMetrics};
use crate::upstream::Socket;

/// A command from the pool to a connection.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Key, Arc<Subscriber>),
    Stop(Key),
}

/// A report from a connection to the pool. The end of the connection is not a report: [`Driver::run`]
/// returns it.
#[derive(Debug)]
pub(super) enum Report {
    /// AppSync has acknowledged the connection.
    Ready,
    /// AppSync has acknowledged the subscription.
    Acknowledged(Key),
    /// Upstream has ended the subscription.
    Ended(Key, Event),
    /// The subscription could not be started, for a reason that may pass.
    Interrupted(Key, Event),
    /// The same, because upstream did not answer on this connection.
    Unanswered(Key, Event),
    /// The client reads too slowly, so the subscription is being stopped.
    Overflow(Key),
    /// The subscription was stopped, and upstream no longer counts it.
    Released(Key),
    /// Upstream rejected the subscription, because the connection has too many.
    Full(Key),
}

/// Receives the reports of one connection.
pub(super) trait Reports: Send {
    fn report(&self, report: Report);

    /// Returns whether the idle connection may close. If so, the pool sends it no more commands.
    fn retire(&self) -> bool;
}

/// The metrics of an acknowledged connection.
struct Open {
    heard: Arc<LastHeard>,
    _count: GaugeGuard,
}

/// Runs one realtime connection.
pub(super) struct Driver<R> {
    connector: Arc<RealtimeConnector>,
    config: RealtimeConfig,
    reports: R,
    commands: mpsc::Receiver<Command>,
    machine: Connection<Arc<Subscriber>>,
    /// Set when AppSync has acknowledged the connection.
    open: Option<Open>,
    created_at: Instant,
    /// The errors with which AppSync refused the connection.
    refused: Vec<Failure>,
    idle_since: Option<Instant>,
    /// Whether the inspector records an operation of the connection.
    is_shown: bool,
}

impl<R: Reports> Driver<R> {
    pub(super) fn new(
        connector: Arc<RealtimeConnector>,
        config: RealtimeConfig,
        reports: R,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let now = Instant::now();
        let machine = Connection::new(
            connector.protocol,
            now,
            now + config.handshake,
            config.start_ack,
            config.keepalive,
            REDACTION,
        );
        Self {
            connector,
            config,
            reports,
            commands,
            machine,
            open: None,
            created_at: now,
            refused: Vec::new(),
            idle_since: None,
            is_shown: false,
        }
    }

    /// Opens the connection, serves its subscriptions, and returns how it ended. If AppSync refused it
    /// because of its credentials or its time, these are renewed first.
    pub(super) async fn run(mut self) -> ConnectionEnd {
        let signed_at = Instant::now();
        let connector = Arc::clone(&self.connector);
        // On the heap, because the futures of the dial are large, and connections live long.
        let opening = Box::pin(connector.open());
        let ending = match self.handling_commands(opening).await {
            Ok(socket) => self.drive(socket).await,
            Err(ending) => ending,
        };
        let refused = std::mem::take(&mut self.refused);
        let ConnectionEnd::Refused(_, errors) = &ending else {
            return ending;
        };
        let renewing = Box::pin(connector.renew(&refused, signed_at));
        match self.handling_commands(renewing).await {
            Ok(true) => ConnectionEnd::Refused(Refusal::Renewed, errors.clone()),
            Ok(false) => {
                if !refused.is_empty() {
                    let first = errors.first();
                    let found = first.and_then(|error| connector.explanation(error, None));
                    let found = found.as_ref();
                    warn!(
                        exception.message = Failure::summary(&refused),
                        cause = found.map(|found| found.cause),
                        confidence = found.map(|found| found.confidence.as_str()),
                        identity = found.and_then(|found| found.identity.as_deref()),
                        denied = found.and_then(|found| found.denied.as_deref()),
                        fix = found.map(|found| found.hint.as_str()),
                        "realtime connection refused"
                    );
                }
                ending
            }
            Err(error) => ConnectionEnd::Refused(Refusal::Permanent, vec![error]),
        }
    }

    fn metrics(&self) -> &RouteMetrics {
        self.connector.upstream.metrics()
    }

    /// Waits for `future`. Handles commands in the meantime, so that a subscription that is cancelled before
    /// the socket is open releases its slot.
    async fn handling_commands<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = future.as_mut() => return output,
                Some(command) = self.commands.recv() => {
                    self.handle_command(command);
                    while let Some(output) = self.machine.poll_output() {
                        self.perform(output);
                    }
                }
            }
        }
    }

    async fn drive(&mut self, socket: Socket) -> ConnectionEnd {
        let (mut sink, mut stream) = socket.split();
        let mut signing = FuturesUnordered::new();
        // The sink gets a frame only when the previous one is flushed, and the loop does not wait for
        // that. So it keeps reading while upstream does not, and frames wait in the machine.
        let mut writing_since = None;
        loop {
            while let Some(output) = self.machine.poll_output() {
                if let Output::Sign(key, start) = output {
                    signing.push(sign(Arc::clone(&self.connector), key, start, None));
                } else if let Output::Renew {
                    key,
                    start,
                    signed_at,
                    failures,
                } = output
                {
                    let rejected = Some((failures, signed_at));
                    signing.push(sign(Arc::clone(&self.connector), key, start, rejected));
                } else if let Some(ending) = self.perform(output) {
                    return ending;
                }
            }
            if writing_since.is_none()
                && let Some(frame) = self.machine.poll_frame()
            {
                if self.is_shown {
                    show(&self.machine, Direction::Out, &frame);
                }
                writing_since = Some(Instant::now());
                if sink.feed(Message::text(frame)).await.is_err() {
                    self.machine.handle_closed();
                }
            }
            // What has arrived already needs no deadlines, whose calculation takes longer than an event.
            let arrived = poll_fn(|cx| Poll::Ready(stream.poll_next_unpin(cx)));
            if let Poll::Ready(message) = arrived.await {
                self.handle_message(message);
                continue;
            }
            let idle_at = self.idle_deadline();
            let stalled_at = writing_since.map(|since| since + self.config.handshake);
            let deadlines = [self.machine.poll_timeout(), idle_at, stalled_at];
            let due_at = deadlines.into_iter().flatten().min();
            tokio::select! {
                biased;
                message = stream.next() => self.handle_message(message),
                flushed = sink.flush(), if writing_since.is_some() => {
                    writing_since = None;
                    if flushed.is_err() {
                        self.machine.handle_closed();
                    }
                }
                Some((key, signed)) = signing.next() => {
                    self.machine.handle_signed(Instant::now(), key, signed);
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return ConnectionEnd::Idle,
                },
                () = sleep_until(due_at) => {
                    let now = Instant::now();
                    if let Some(by) = self.machine.postpone_if_late(now, stalled_at) {
                        debug!(?by, "postponed the deadlines: the process did not run");
                        writing_since = writing_since.map(|since| since + by);
                        continue;
                    }
                    self.machine.handle_timeout(now);
                    if stalled_at.is_some_and(|at| at <= now) {
                        self.machine.handle_closed();
                    }
                    if idle_at.is_some_and(|at| at <= now) && self.reports.retire() {
                        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                        let closing = sink.send(Message::Close(Some(frame)));
                        let _ = tokio::time::timeout(self.config.handshake, closing).await;
                        debug!("realtime connection closed: idle");
                        return ConnectionEnd::Idle;
                    }
                }
            }
        }
    }

    fn handle_message(&mut self, message: Option<Result<Message, tungstenite::Error>>) {
        match message {
            Some(Ok(Message::Text(text))) => {
                let now = Instant::now();
                if let Some(open) = &self.open {
                    open.heard.now(now);
                }
                if self.is_shown {
                    show(&self.machine, Direction::In, &text);
                }
                if let Some(ignored) = self.machine.handle_frame(now, &Bytes::from(text)) {
                    log_ignored(&ignored);
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => self.machine.handle_closed(),
            Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => {}
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Subscribe(key, subscriber) => {
                let start = Arc::clone(&subscriber.start);
                self.is_shown |= subscriber.capture.is_on();
                self.machine
                    .subscribe(key, Uuid::new_v4(), start, subscriber);
            }
            Command::Stop(key) => self.machine.stop(Instant::now(), key),
        }
    }

    /// Performs an output that does not wait. Returns how the connection ended, if the output ends it.
    fn perform(&mut self, output: Output) -> Option<ConnectionEnd> {
        match output {
            // `drive` signs. Before the connection is open, there is nothing to sign.
            Output::Sign(..) | Output::Renew { .. } => {}
            Output::Started {
                key,
                signed_at,
                took,
            } => {
                self.connector.upstream.accepted(signed_at);
                let took = took.as_secs_f64();
                self.metrics()
                    .subscription_start_duration_seconds
                    .observe(took);
                self.reports.report(Report::Acknowledged(key));
                self.deliver(key, Event::Started);
            }
            Output::Event(key, event) => {
                if let Event::Next(_) = event {
                    self.metrics().events_received.inc();
                }
                self.deliver(key, event);
            }
            Output::Ended(key, event) => self.reports.report(Report::Ended(key, event)),
            Output::Interrupted(key, event) => {
                self.reports.report(Report::Interrupted(key, event));
            }
            Output::Unanswered(key, event) => {
                self.reports.report(Report::Unanswered(key, event));
            }
            Output::Released(key) => self.reports.report(Report::Released(key)),
            Output::Full(key) => self.reports.report(Report::Full(key)),
            Output::Ready => {
                self.metrics().realtime_connect("ok");
                self.connector.upstream.accepted(self.created_at);
                self.open = Some(Open {
                    heard: self.metrics().listen(),
                    _count: GaugeGuard::new(&self.metrics().realtime_connections),
                });
                self.reports.report(Report::Ready);
                info!("realtime connection open");
            }
            Output::Refused(failures) => {
                let errors = failures.iter().map(|failure| {
                    let error = failure
                        .to_graphql()
                        .with("code", Code::UpstreamRefused.as_str());
                    error.with("sent", Sent::No.as_str())
                });
                let refusal = if failures.iter().any(Failure::is_transient) {
                    Refusal::Transient
                } else {
                    Refusal::Permanent
                };
                let ending = ConnectionEnd::Refused(refusal, errors.collect());
                self.refused = failures;
                return Some(ending);
            }
            Output::Lost(reason) if self.open.is_some() => {
                return Some(ConnectionEnd::Lost(reason));
            }
            Output::Lost(reason) => {
                let error = GraphqlError::coded(reason, Code::UpstreamUnreachable, Sent::No);
                return Some(ConnectionEnd::Unreachable(error));
            }
        }
        None
    }

    /// Queues an event for the client, without waiting. If the queue is full, the subscription ends.
    fn deliver(&mut self, key: Key, event: Event) {
        let Some(subscriber) = self.machine.subscriber(key) else {
            return;
        };
        if let Err(Overflow) = subscriber.offer(event) {
            self.metrics().slow_consumers.inc();
            warn!("subscription ended: the client reads too slowly (limits.outbox)");
            self.reports.report(Report::Overflow(key));
            self.machine.stop(Instant::now(), key);
        }
    }

    /// Returns when the connection may close because it has no subscriptions; `None` while it has any.
    fn idle_deadline(&mut self) -> Option<Instant> {
        if self.open.is_none() || self.machine.count() > 0 {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        Some(since + self.config.linger)
    }
}

/// Signs a `start` message, or signs it again if AppSync has `rejected` its signature and a new one may
/// help. The driver's loop does not wait for it, because credentials may have to be loaded first.
async fn sign(
    connector: Arc<RealtimeConnector>,
    key: Key,
    start: Arc<Start>,
    rejected: Option<(Vec<Failure>, Instant)>,
) -> (Key, Result<String, Vec<GraphqlError>>) {
    if let Some((failures, signed_at)) = rejected {
        match connector.renew(&failures, signed_at).await {
            Ok(true) => {}
            Ok(false) => {
                let errors = failures.iter().map(Failure::to_graphql).collect();
                return (key, Err(errors));
            }
            Err(error) => return (key, Err(vec![error])),
        }
    }
    let signed = connector.authorize_start(&start).await;
    (key, signed.map_err(|error| vec![error]))
}

fn log_ignored(ignored: &Ignored) {
    match ignored {
        Ignored::Malformed(class) => debug!(?class, "ignored a malformed realtime message"),
        Ignored::UnknownType(kind) => {
            debug!(?kind, "ignored a realtime message of an unknown type")
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::Reporter;
    use super::*;

    /// Returns the size of the future that a function returns.
    fn future_size<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn open_connections_do_not_keep_the_memory_of_their_dials() {
        assert!(future_size(Driver::<Reporter>::run) <= 6 * 1024);
    }
}
