//! Drives one client WebSocket: reads messages, runs the operations that the client starts, and writes
//! their results.
//!
//! One task runs one loop. Events leave the outbox only when the messages before them have been written,
//! several at a time, and they stay counted there until theirs have been written, too. The client is read
//! only while nothing is being written to it. Events and messages are handled in random order, so that
//! neither side starves.

mod frames;
mod link;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_protocol::dialect::{Close, Dialect, Output, Times, websocket};
use countersign_protocol::error_code::Code;
use countersign_protocol::graphql::{Event, OperationKey};
use countersign_protocol::realtime::placement::Availability;
use futures_util::FutureExt as _;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::WaitForCancellationFuture;
use tracing::debug;

use super::context::SessionContext;
use super::operations::{Operations, count_refusals};
use crate::deadline::Deadline;
use crate::guard::Admission;
use crate::inspector::FrameLog;
use crate::outbox::{Inbox, outbox};
use crate::telemetry::metrics::metrics;
use crate::telemetry::tasks::{Task, caught};
use link::{End, Io, Link};

struct Session {
    context: Arc<SessionContext>,
    dialect: Box<dyn Dialect>,
    operations: Operations,
    admission: Admission,
    inbox: Inbox,
    /// The events whose messages are being written. They stay counted in the outbox until then.
    carried: Carried,
    /// The close that ends the session once the messages before it have been written.
    last: Option<Close>,
    /// When a close is due, with its code and reason.
    closing: Option<(Instant, Close)>,
    /// The next of the deadlines that the client must meet.
    deadline: Deadline,
    is_draining: bool,
    has_expired: bool,
    /// Shows the messages to the inspector, if it is on.
    frames: Option<Box<FrameLog>>,
}

/// The number and the size of some events.
#[derive(Clone, Copy, Default)]
struct Carried {
    events: usize,
    bytes: usize,
}

/// The tokens of the drain, which each session waits for.
struct Drain<'a, 'b> {
    draining: Pin<&'b mut WaitForCancellationFuture<'a>>,
    expired: Pin<&'b mut WaitForCancellationFuture<'a>>,
}

/// Events are written together until they have this size in bytes, or this number.
const BATCH_BYTES: usize = 64 * 1024;
const BATCH_EVENTS: usize = 64;
/// The maximum size of a message of a client that has not sent its token yet, in bytes.
const PENDING_MESSAGE: usize = 32 * 1024;
/// The interval of pings to a socket that is closed at once, which never passes.
const CLOSED_PING: Duration = Duration::from_secs(60);

/// Serves a socket once it is upgraded, in the client protocol that `protocol` names.
pub(super) async fn serve(
    context: Arc<SessionContext>,
    upgrade: OnUpgrade,
    protocol: Option<&'static str>,
) {
    let Ok(upgraded) = upgrade.await else {
        debug!("client closed the connection during the WebSocket upgrade");
        return;
    };
    let config = context.config;
    let mut link = Link::new(upgraded, config.message, config.ping).await;
    let times = Times {
        init: config.init,
        keepalive: config.ping,
    };
    let (outbox, inbox) = outbox(config.outbox, Arc::clone(&context.budget));
    let documents = context.documents.clone();
    // The context counts the connection until the socket is closed.
    let _counted = Arc::clone(&context);
    // On the heap, because the future of `run` would contain it twice.
    let session = Box::new(Session {
        dialect: websocket(protocol, Instant::now(), times, config.limits(), documents),
        operations: Operations::new(Arc::clone(&context), outbox),
        admission: context.admission.clone(),
        frames: FrameLog::of_client(&context.inspector),
        context,
        inbox,
        carried: Carried::default(),
        last: None,
        closing: None,
        deadline: Deadline::default(),
        is_draining: false,
        has_expired: false,
    });
    match caught(Task::Socket, session.run(&mut link)).await {
        Ok(End::Close(close)) => link.close(close).await,
        Ok(End::Gone) => {}
        Err(panicked) => {
            let close = Close::new(Close::INTERNAL, panicked.to_string());
            link.close(close).await;
        }
    }
}

/// Closes a socket once it is upgraded.
pub(super) async fn close(upgrade: OnUpgrade, close: Close) {
    if let Ok(upgraded) = upgrade.await {
        let mut link = Link::new(upgraded, PENDING_MESSAGE, CLOSED_PING).await;
        link.close(close).await;
    }
}

impl Session {
    async fn run(mut self: Box<Self>, link: &mut Link) -> End {
        let context = Arc::clone(&self.context);
        let mut drain = Drain {
            draining: pin!(context.draining.cancelled()),
            expired: pin!(context.expired.cancelled()),
        };
        loop {
            if let Err(end) = self.step(link, &mut drain).await {
                // The operations end before the close frame is written, because the client may delay
                // that.
                self.operations.clear();
                return end;
            }
        }
    }

    /// Writes pending messages, and handles the next event.
    async fn step(&mut self, link: &mut Link, drain: &mut Drain<'_, '_>) -> Result<(), End> {
        self.perform_outputs(link);
        let is_writing = link.is_writing() && !link.write_now().await?;
        if !is_writing {
            self.written()?;
        }
        let close_at = self.close_deadline(!is_writing);
        let deadline = self.next_deadline(link).into();
        tokio::select! {
            () = drain.expired.as_mut(), if !self.has_expired => self.expire(),
            () = drain.draining.as_mut(), if !self.is_draining => {
                self.is_draining = true;
                self.close_soon(Duration::ZERO, "countersign is shutting down");
            }
            (key, event) = self.inbox.next(), if !is_writing => self.handle_events(key, event),
            io = link.next() => self.handle_io(link, io).await?,
            () = sleep_until(close_at) => self.close_now(),
            () = self.deadline.passed(deadline) => {
                // What the client has sent counts, even if it is read only now.
                if let Some(io) = link.next().now_or_never() {
                    self.handle_io(link, io).await?;
                }
                self.handle_timeout(link).await?;
            }
        }
        Ok(())
    }

    async fn handle_io(&mut self, link: &mut Link, io: Io) -> Result<(), End> {
        match io {
            Io::Written(Ok(())) => Ok(()),
            Io::Written(Err(_)) | Io::Read(None) => Err(End::Gone),
            Io::Read(Some(Ok(message))) => self.handle_message(link, message).await,
            Io::Read(Some(Err(error))) => self.handle_error(&error),
        }
    }

    /// Performs the outputs of the protocol machine.
    fn perform_outputs(&mut self, link: &mut Link) {
        while let Some(output) = self.dialect.poll_output() {
            self.perform(output, link);
        }
    }

    /// Releases the events whose messages have been written.
    fn written(&mut self) -> Result<(), End> {
        let Carried { events, bytes } = std::mem::take(&mut self.carried);
        if events > 0 {
            self.inbox.written(events, bytes);
        }
        match self.last.take() {
            Some(close) => Err(End::Close(close)),
            None => Ok(()),
        }
    }

    /// Returns when the session must act next if the client does nothing.
    fn next_deadline(&self, link: &Link) -> Instant {
        let others = [self.dialect.poll_timeout(), self.write_deadline(link)];
        others
            .into_iter()
            .flatten()
            .fold(link.ping_at(), Instant::min)
    }

    /// Returns when the socket of a client that does not read is closed.
    fn write_deadline(&self, link: &Link) -> Option<Instant> {
        let since = link.writing_since()?;
        Some(since + self.context.config.write)
    }

    async fn handle_message(&mut self, link: &mut Link, message: Message) -> Result<(), End> {
        link.heard();
        match message {
            Message::Text(text) => self.handle_text(&text),
            Message::Binary(_) => self.dialect.handle_binary(),
            Message::Ping(_) => link.pinged(),
            Message::Pong(_) | Message::Frame(_) => {}
            Message::Close(_) => {
                self.operations.clear();
                link.flush_close().await;
                return Err(End::Gone);
            }
        }
        Ok(())
    }

    fn handle_error(&mut self, error: &tungstenite::Error) -> Result<(), End> {
        if let tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) = error {
            let reason = "message too big (limits.message)";
            self.dialect.close(Close::new(Close::TOO_BIG, reason));
            return Ok(());
        }
        debug!(exception.message = %error, "client socket failed");
        // Nothing can be read after an invalid frame, so the close waits for no operation.
        if let tungstenite::Error::Utf8(_) = error {
            let close = Close::new(Close::INVALID_DATA, "text is not UTF-8");
            return Err(End::Close(close));
        }
        if let tungstenite::Error::Protocol(problem) = error
            && !matches!(problem, ProtocolError::ResetWithoutClosingHandshake)
        {
            let close = Close::new(Close::PROTOCOL, "invalid WebSocket frame");
            return Err(End::Close(close));
        }
        Err(End::Gone)
    }

    async fn handle_timeout(&mut self, link: &mut Link) -> Result<(), End> {
        let now = Instant::now();
        self.dialect.handle_timeout(now);
        if self.write_deadline(link).is_some_and(|at| at <= now) {
            debug!("closing socket: client did not read within the write timeout (timeouts.write)");
            return Err(End::Gone);
        }
        link.ping(now).await
    }

    /// Handles a message. Before the client has sent its token, refuses messages that are longer than any
    /// message with a token.
    fn handle_text(&mut self, text: &str) {
        if matches!(self.admission, Admission::Pending(_)) && text.len() > PENDING_MESSAGE {
            return self.refuse_pending();
        }
        // Some clients begin their JSON with a byte order mark (RFC 8259, section 8.1).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(frames) = &mut self.frames {
            frames.received(text);
        }
        self.dialect.handle_text(Instant::now(), text);
        count_refusals(self.dialect.take_refusals());
    }

    fn refuse_pending(&mut self) {
        metrics().refused(Code::TokenMissing);
        let reason = "Unauthorized: connection_init must contain a token";
        self.dialect.close(Close::new(Close::UNAUTHORIZED, reason));
    }

    fn perform(&mut self, output: Output, link: &mut Link) {
        match output {
            Output::Send(text) => {
                if let Some(frames) = &mut self.frames {
                    frames.sent(&text);
                }
                link.send(text);
            }
            Output::SendEvent(frame) => {
                if let Some(frames) = &mut self.frames {
                    let parts = [frame.head.as_str(), frame.payload.as_str(), frame.tail];
                    frames.sent(&parts.concat());
                }
                link.send_event(frame);
            }
            Output::Close(close) => self.last = Some(close),
            Output::Init(payload) => self.init(payload.as_deref()),
            Output::Start(..) | Output::Subscribe(..) | Output::Publish(..)
                if matches!(self.admission, Admission::Pending(_)) =>
            {
                self.refuse_pending();
            }
            Output::Start(key, selected, inspected) => {
                self.operations.start(key, &selected, *inspected);
                self.show_start();
            }
            Output::Subscribe(key, subscribe) => {
                self.operations.subscribe(key, &subscribe);
                self.show_start();
            }
            Output::Publish(key, publish) => {
                self.operations.publish(key, &publish);
                self.show_start();
            }
            Output::Stop(key) => self.operations.finish(key),
        }
    }

    /// Shows the message that has started an operation to the inspector.
    fn show_start(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.started(self.operations.latest());
        }
    }

    fn init(&mut self, payload: Option<&str>) {
        if let Admission::Pending(tokens) = &self.admission {
            let Some(grant) =
                payload.and_then(|payload| tokens.authenticate_init(payload, &self.context.route))
            else {
                metrics().refused(Code::TokenWrong);
                let reason = "Forbidden: connection_init has no valid token (guard.token_file, guard.tokens)";
                return self.dialect.close(Close::new(Close::FORBIDDEN, reason));
            };
            self.operations.grant(&grant);
            self.admission = Admission::Granted(grant);
        }
        match self.context.api.availability() {
            Availability::Up => self.dialect.accept(Instant::now()),
            // A close after the acknowledgement would make clients reconnect without end.
            Availability::Down => {
                let reason = "upstream is unavailable";
                self.dialect
                    .close(Close::new(Close::TRY_AGAIN_LATER, reason));
            }
        }
    }

    /// Handles an event, and others that are queued, so that their messages are written together.
    fn handle_events(&mut self, key: OperationKey, event: Event) {
        let mut next = Some((key, event));
        while let Some((key, mut event)) = next {
            self.carried.events += 1;
            self.carried.bytes += event.size();
            self.handle_event(key, &mut event);
            let has_room = self.carried.events < BATCH_EVENTS && self.carried.bytes < BATCH_BYTES;
            next = has_room.then(|| self.inbox.try_next()).flatten();
        }
    }

    fn handle_event(&mut self, key: OperationKey, event: &mut Event) {
        if !self.operations.record_event(key, event) {
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

    /// Schedules a close with a retryable code. It waits for the operations that run by HTTP, because
    /// after such a close clients send again all operations in flight, including mutations.
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

    /// Ends the operations that are running at the drain's deadline, reports an error for each, and
    /// schedules the close.
    fn expire(&mut self) {
        self.has_expired = true;
        for (key, event) in self.operations.expire() {
            self.dialect.handle_event(key, &event);
        }
        // Replaces a close that may be scheduled for later.
        self.closing = None;
        self.close_soon(Duration::ZERO, "countersign is shutting down");
    }
}

/// Waits until `at`; forever if there is none.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size of the future that a function returns.
    fn future_size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn sessions_of_idle_sockets_are_small() {
        let size = future_size(serve) + size_of::<Session>();
        assert!(size <= 2 * 1024, "{size} bytes");
    }
}
