//! The protocol machine of one realtime connection.
//!
//! AppSync's frames, commands and the time go in; frames and [`Output`]s come out. Signing is an
//! output, too ([`Output::Sign`]), so a stop that arrives while a start is being signed is an
//! ordinary case instead of a race. The machine does no I/O, does not sign, and reads no clock. No
//! input makes it panic.

mod endings;
mod output;
mod queries;
mod stall;
mod subscriptions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

pub use self::output::{Ignored, Key, Output};

pub(super) use self::stall::STALL;
use self::subscriptions::{SubscriptionState, Subscriptions};
use super::Start;
use super::failure::{Failure, Redaction};
use super::throttle::Throttle;
pub use super::wire::Protocol;
use super::wire::{self, UpstreamMessage};
use crate::error_code::{Code, Sent};
use crate::graphql::{Event, GraphqlError, Json};

/// The machine of one connection. `S` is what a driver attaches to each subscription.
#[derive(Debug)]
pub struct Connection<S> {
    protocol: Protocol,
    redaction: Redaction,
    phase: Phase,
    start_ack: Duration,
    keepalive: Duration,
    /// When the latest frame arrived.
    heard: Instant,
    /// How often the deadlines were postponed since then.
    postponements: u32,
    subscriptions: Subscriptions<S>,
    throttle: Throttle,
    /// The payload of the latest event, which the same event of another subscription shares.
    latest: Option<Json>,
    frames: VecDeque<String>,
    out: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// AppSync has not sent its `connection_ack` yet.
    Acking {
        deadline: Instant,
    },
    Ready,
    Ended,
}

/// How long AppSync may take to confirm a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

impl<S> Connection<S> {
    /// Returns the machine of a connection whose WebSocket is about to be opened.
    ///
    /// `ack_deadline` bounds the time until `connection_ack`, `start_ack` the time from each start
    /// to its acknowledgement, and `keepalive` the silence after which the connection is lost.
    pub fn new(
        protocol: Protocol,
        now: Instant,
        ack_deadline: Instant,
        start_ack: Duration,
        keepalive: Duration,
        redaction: Redaction,
    ) -> Self {
        Self {
            protocol,
            redaction,
            phase: Phase::Acking {
                deadline: ack_deadline,
            },
            start_ack,
            keepalive,
            heard: now,
            postponements: 0,
            subscriptions: Subscriptions::new(),
            throttle: Throttle::default(),
            latest: None,
            frames: VecDeque::from([wire::CONNECTION_INIT.to_owned()]),
            out: VecDeque::new(),
        }
    }

    /// Starts a subscription as soon as the connection is acknowledged and not throttled. Its id on
    /// the wire is `id` with the key in its second half.
    pub fn subscribe(&mut self, key: Key, id: Uuid, start: Arc<Start>, subscriber: S) {
        let state = match (self.phase, self.throttle.until()) {
            (Phase::Ready, None) => {
                self.out.push_back(Output::Sign(key, Arc::clone(&start)));
                SubscriptionState::Signing
            }
            (Phase::Acking { .. } | Phase::Ready | Phase::Ended, _) => SubscriptionState::Waiting,
        };
        self.subscriptions.insert(key, id, start, subscriber, state);
    }

    /// Handles the result of [`Output::Sign`] or [`Output::Renew`]: the authorization object, or the errors
    /// that end the subscription.
    pub fn handle_signed(
        &mut self,
        now: Instant,
        key: Key,
        signed: Result<String, Vec<GraphqlError>>,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if subscription.state != SubscriptionState::Signing || self.phase == Phase::Ended {
            return;
        }
        match signed {
            Ok(authorization) => {
                let frame = self.protocol.start(
                    subscription.wire(),
                    &subscription.start.data,
                    &authorization,
                );
                subscription.state = SubscriptionState::Starting {
                    deadline: now + self.start_ack,
                };
                subscription.is_sent = true;
                subscription.signed_at = Some(now);
                self.frames.push_back(frame);
            }
            Err(errors) => self.interrupt(key, Event::Error(errors)),
        }
    }

    /// Stops a subscription: no event of it follows, only [`Output::Released`].
    pub fn stop(&mut self, now: Instant, key: Key) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if self.phase == Phase::Ended {
            return;
        }
        match subscription.state {
            SubscriptionState::Waiting | SubscriptionState::Signing if !subscription.is_sent => {
                self.subscriptions.remove(key);
                self.out.push_back(Output::Released(key));
            }
            SubscriptionState::Waiting
            | SubscriptionState::Signing
            | SubscriptionState::Starting { .. }
            | SubscriptionState::Live => {
                subscription.state = SubscriptionState::Stopping {
                    deadline: now + STOP_TIMEOUT,
                };
                let frame = self.protocol.stop(subscription.wire());
                self.frames.push_back(frame);
            }
            SubscriptionState::Stopping { .. } => {}
        }
    }

    /// Handles a text frame of AppSync. Returns the reason if the frame was ignored.
    pub fn handle_frame(&mut self, now: Instant, bytes: &Bytes) -> Option<Ignored> {
        if self.phase == Phase::Ended {
            return None;
        }
        self.heard = now;
        self.postponements = 0;
        let message = match self.protocol.parse(bytes, self.redaction) {
            Ok(message) => message,
            Err(error) => return Some(Ignored::Malformed(error.classify())),
        };
        // An unknown id belongs to a subscription that was stopped.
        match message {
            UpstreamMessage::Acknowledged(timeout_ms) => self.acknowledged(timeout_ms),
            UpstreamMessage::Refused(failures) => self.refused(failures),
            UpstreamMessage::KeepAlive => {}
            UpstreamMessage::Started(id) => self.with(&id, |this, key| this.started(now, key)),
            UpstreamMessage::Data(id, payload) => self.with(&id, |this, key| {
                this.data(now, key, Json::slice(bytes, payload));
            }),
            UpstreamMessage::Completed(id) => self.with(&id, Self::completed),
            UpstreamMessage::Failed(Some(id), failures) => self.with(&id, |this, key| {
                this.failed(key, &failures);
            }),
            UpstreamMessage::Failed(None, failures) => self.failed_without_id(now, &failures),
            UpstreamMessage::Missed(id, failures) => self.with(&id, |this, key| {
                this.missed(key, &failures);
            }),
            UpstreamMessage::Unknown(message_type) => {
                return Some(Ignored::UnknownType(message_type.into_owned()));
            }
        }
        None
    }

    fn with(&mut self, id: &str, act: impl FnOnce(&mut Self, Key)) {
        if let Some(key) = self.subscriptions.key(id) {
            act(self, key);
        }
    }

    /// Handles the close or the failure of the socket.
    pub fn handle_closed(&mut self) {
        self.lose("upstream closed the connection");
    }

    /// Returns when [`Connection::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.upstream_deadline()?;
        let throttled_until = self.throttle.until();
        Some(throttled_until.map_or(deadline, |until| until.min(deadline)))
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Acking { deadline } if deadline <= now => {
                return self.lose("upstream did not acknowledge in time (pool.handshake)");
            }
            Phase::Ready if self.heard + self.keepalive <= now => {
                return self.lose("upstream sent nothing for too long (pool.keepalive)");
            }
            Phase::Ended => return,
            Phase::Acking { .. } | Phase::Ready => {}
        }
        if self.throttle.end_if_due(now) {
            self.sign_waiting();
        }
        for key in self.subscriptions.overdue(now) {
            self.expire(key);
        }
    }

    /// Returns the next text frame to write.
    pub fn poll_frame(&mut self) -> Option<String> {
        self.frames.pop_front()
    }

    /// Returns the next output to perform.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            let output = self.out.pop_front()?;
            if !self.is_stale(&output) {
                return Some(output);
            }
        }
    }

    /// Returns whether the subscription was stopped after the output had been queued.
    fn is_stale(&self, output: &Output) -> bool {
        let (Output::Started { key, .. } | Output::Event(key, _)) = output else {
            return false;
        };
        let state = self.subscriptions.state(*key);
        matches!(state, Some(SubscriptionState::Stopping { .. }))
    }

    /// Returns how many subscriptions occupy a slot of this connection.
    pub fn count(&self) -> usize {
        self.subscriptions.len()
    }

    fn acknowledged(&mut self, timeout_ms: Option<u64>) {
        let Phase::Acking { .. } = self.phase else {
            return;
        };
        self.phase = Phase::Ready;
        if let Some(timeout) = timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis) {
            self.keepalive = self.keepalive.min(timeout);
        }
        self.out.push_back(Output::Ready);
        self.sign_waiting();
    }

    fn refused(&mut self, failures: Vec<Failure>) {
        match self.phase {
            Phase::Acking { .. } => {
                self.phase = Phase::Ended;
                self.out.push_back(Output::Refused(failures));
            }
            Phase::Ready => self.lose("upstream ended the connection with an error"),
            Phase::Ended => {}
        }
    }

    /// An acknowledgement also counts while the start waits to be sent again: in that case another
    /// start was throttled.
    fn started(&mut self, now: Instant, key: Key) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        match subscription.state {
            SubscriptionState::Waiting
            | SubscriptionState::Signing
            | SubscriptionState::Starting { .. }
                if subscription.is_sent =>
            {
                subscription.state = SubscriptionState::Live;
                self.throttle.reset();
                let signed_at = subscription.signed_at.unwrap_or(now);
                let took = now.saturating_duration_since(signed_at);
                self.out.push_back(Output::Started {
                    key,
                    signed_at,
                    took,
                });
            }
            SubscriptionState::Waiting
            | SubscriptionState::Signing
            | SubscriptionState::Starting { .. }
            | SubscriptionState::Live
            | SubscriptionState::Stopping { .. } => {}
        }
    }

    fn data(&mut self, now: Instant, key: Key, json: Json) {
        self.started(now, key);
        if self.subscriptions.state(key) == Some(SubscriptionState::Live) {
            let latest = self.latest.take().filter(|latest| *latest == json);
            let json = latest.unwrap_or(json);
            self.latest = Some(json.clone());
            self.out.push_back(Output::Event(key, Event::Next(json)));
        }
    }

    fn missed(&mut self, key: Key, failures: &[Failure]) {
        if self.subscriptions.state(key) == Some(SubscriptionState::Live) {
            let errors = failures.iter().map(Failure::to_graphql).collect();
            self.out
                .push_back(Output::Event(key, Event::Missed(errors)));
        }
    }

    fn failed(&mut self, key: Key, failures: &[Failure]) {
        match self.subscriptions.state(key) {
            Some(SubscriptionState::Stopping { .. }) => {
                self.subscriptions.remove(key);
                self.out.push_back(Output::Released(key));
            }
            Some(_) if failures.iter().any(Failure::is_connection_full) => {
                self.subscriptions.remove(key);
                self.out.push_back(Output::Full(key));
            }
            Some(SubscriptionState::Starting { .. }) if self.renew(key, failures) => {}
            Some(_) => {
                let errors = failures.iter().map(Failure::to_graphql).collect();
                self.end_by(key, failures, Event::Error(errors));
            }
            None => {}
        }
    }

    /// Handles an error that belongs to an unknown one of the unacknowledged starts.
    fn failed_without_id(&mut self, now: Instant, failures: &[Failure]) {
        let starting = self
            .subscriptions
            .in_state(|state| matches!(state, SubscriptionState::Starting { .. }));
        if starting.is_empty() {
            // A later error of a burst: the first one has made all starts wait.
            return;
        }
        if failures.iter().any(Failure::is_throttled) && self.throttle.begin(now) {
            for key in starting {
                if let Some(subscription) = self.subscriptions.get_mut(key) {
                    subscription.state = SubscriptionState::Waiting;
                }
            }
            return;
        }
        let errors: Vec<GraphqlError> = failures.iter().map(Failure::to_graphql).collect();
        for key in starting {
            // The starts that the error does not belong to may run upstream.
            self.abandon(key);
            self.end_by(key, failures, Event::Error(errors.clone()));
        }
    }

    /// Handles a start or stop that was not confirmed in time.
    fn expire(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let old = subscription.wire();
        match subscription.state {
            SubscriptionState::Stopping { .. } => {
                self.subscriptions.remove(key);
                self.out.push_back(Output::Released(key));
            }
            SubscriptionState::Starting { .. } if !subscription.has_retried => {
                // The second attempt has a new id, because AppSync may still respond to the first.
                subscription.has_retried = true;
                subscription.state = SubscriptionState::Signing;
                subscription.change_id();
                let start = Arc::clone(&subscription.start);
                self.frames.push_back(self.protocol.stop(old));
                self.out.push_back(Output::Sign(key, start));
            }
            SubscriptionState::Starting { .. } => {
                self.abandon(key);
                let message = "upstream did not acknowledge the subscription (pool.start_ack)";
                let error = GraphqlError::coded(message, Code::UpstreamTimeout, Sent::Maybe);
                self.subscriptions.remove(key);
                let ending = Event::Error(vec![error]);
                self.out.push_back(Output::Unanswered(key, ending));
            }
            SubscriptionState::Waiting | SubscriptionState::Signing | SubscriptionState::Live => {}
        }
    }

    fn sign_waiting(&mut self) {
        for key in self
            .subscriptions
            .in_state(|state| state == SubscriptionState::Waiting)
        {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                if subscription.is_sent {
                    // Perhaps another start was throttled, and AppSync still starts this one.
                    let old = subscription.wire();
                    subscription.change_id();
                    self.frames.push_back(self.protocol.stop(old));
                }
                subscription.state = SubscriptionState::Signing;
                let start = Arc::clone(&subscription.start);
                self.out.push_back(Output::Sign(key, start));
            }
        }
    }
}

#[cfg(test)]
mod tests;
