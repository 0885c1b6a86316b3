//! Decides which connection carries which subscription, when to reconnect, and what the end of a
//! connection means for its subscriptions.
//!
//! Subscriptions of one owner (a client socket) stay together while their connection has a free slot.
//! Otherwise, a subscription is placed on the fullest connection that has a free slot, which keeps
//! the number of connections small. Those without a connection wait in the pool.
//!
//! The pool connects only while subscriptions wait, or clients are about to return, within the rate of a
//! token bucket. After a loss, it reconnects at once. While attempts fail, it makes one at a time and
//! backs off, and the upstream is considered down if it was not reached. A series of failures ends after a
//! connection has lived for a while.
//!
//! Drivers report by `handle_*`, sessions by [`Placement::subscribe`] and [`Placement::release`].
//! [`Placement::poll_output`] returns the actions to perform. The machine opens nothing, reads no
//! clock and draws no random numbers: time and jitter are arguments.

mod backoff;
mod bucket;
mod dialling;
mod interface;
mod pacing;
mod queries;
mod slots;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use self::interface::{
    Availability, ConnectionEnd, ConnectionId, OnLoss, Output, Owner, Refusal, SubscriptionEnd,
    SubscriptionPhase,
};

use self::backoff::start_pause;
use self::pacing::Pacing;
use self::slots::{PlacedSubscription, PooledConnection, Subscriptions};
use super::connection::Key;
use crate::graphql::{Event, GraphqlError};

/// Bounds and policy of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementConfig {
    pub on_loss: OnLoss,
    /// Subscriptions on one connection.
    pub subscriptions: usize,
    /// Connections that are open or being opened.
    pub connections: usize,
    /// With [`OnLoss::Resume`], the time from the loss of a subscription's connection until it must be
    /// live again.
    pub patience: Duration,
}

/// The placement machine of one pool. `T` is what a driver needs to serve a subscription.
#[derive(Debug)]
pub struct Placement<T> {
    config: PlacementConfig,
    connections: Vec<PooledConnection<T>>,
    /// The subscriptions without a connection.
    waiting: Subscriptions<T>,
    pacing: Pacing,
    /// The clients of a lost connection are about to return, and no connection is open for them.
    is_expecting: bool,
    /// When a client last connected or subscribed, or lost its subscriptions.
    interest_at: Option<Instant>,
    /// Why the latest attempt failed, or the latest start, since a connection was acknowledged.
    last_error: Option<GraphqlError>,
    last_key: u64,
    last_connection: u64,
    out: VecDeque<Output<T>>,
}

/// How often a subscription may be rejected because its connection is full.
const MAX_MOVES: u32 = 3;

impl<T: Clone> Placement<T> {
    pub fn new(config: PlacementConfig, now: Instant) -> Self {
        Self {
            config,
            connections: Vec::new(),
            waiting: BTreeMap::new(),
            pacing: Pacing::new(now),
            is_expecting: false,
            interest_at: None,
            last_error: None,
            last_key: 0,
            last_connection: 0,
            out: VecDeque::new(),
        }
    }

    /// Places a new subscription on a connection with a free slot, or on a new connection.
    pub fn subscribe(&mut self, now: Instant, owner: Owner, subscriber: T) -> Key {
        self.interest_at = Some(now);
        self.last_key += 1;
        let key = Key(self.last_key);
        self.wait_for_slot(key, PlacedSubscription::new(now, owner, subscriber));
        self.dial_if_healthy(now);
        key
    }

    /// Stops a subscription that its session has released. No end is reported.
    pub fn release(&mut self, key: Key) {
        if self.waiting.remove(&key).is_some() {
            return;
        }
        for connection in &mut self.connections {
            if let Some(placed) = connection.subscriptions.get_mut(&key) {
                if placed.phase != SubscriptionPhase::Stopping {
                    placed.phase = SubscriptionPhase::Stopping;
                    self.out.push_back(Output::Stop(connection.id, key));
                }
                return;
            }
        }
    }

    /// Returns whether the upstream is known to be down. If so, attempts to connect go on for
    /// [`INTEREST`](dialling::INTEREST) after the latest call.
    pub fn availability(&mut self, now: Instant) -> Availability {
        self.interest_at = Some(now);
        if self.pacing.is_down(now) {
            Availability::Down
        } else {
            Availability::Up
        }
    }

    /// Handles AppSync's acknowledgement of the connection.
    pub fn handle_ready(&mut self, now: Instant, id: ConnectionId) {
        self.settle(now);
        self.pacing.succeed(now);
        self.last_error = None;
        if let Some(connection) = self.connection(id) {
            connection.ready_at.get_or_insert(now);
        }
        self.place_waiting();
    }

    /// Handles the upstream's acknowledgement of the subscription.
    pub fn handle_acknowledged(&mut self, id: ConnectionId, key: Key) {
        if let Some(placed) = self.placed(id, key)
            && placed.phase == SubscriptionPhase::Starting
        {
            placed.go_live();
        }
    }

    /// Handles the end of the subscription by the upstream.
    pub fn handle_ended(&mut self, id: ConnectionId, key: Key, event: Event) {
        if let Some(placed) = self.remove(id, key) {
            self.end(placed, SubscriptionEnd::Upstream(event));
        }
        self.place_waiting();
    }

    /// Handles a start that failed for a reason that may pass. A subscription that is being resumed is
    /// started again after a pause, which `jitter`, in `0.0..1.0`, spreads.
    pub fn handle_interrupted(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: Key,
        event: Event,
        jitter: f64,
    ) {
        let Some(mut placed) = self.remove(id, key) else {
            return;
        };
        if placed.phase == SubscriptionPhase::Stopping || !placed.is_resuming {
            self.end(placed, SubscriptionEnd::Upstream(event));
        } else {
            if let Event::Error(errors) = event {
                self.last_error = errors.into_iter().next();
            }
            placed.failed_starts = placed.failed_starts.saturating_add(1);
            placed.deferred_until = Some(now + start_pause(placed.failed_starts, jitter));
            self.wait(key, placed);
        }
        self.place_waiting();
    }

    /// The same for a start that AppSync did not answer on this connection. If it is started again, then
    /// on another, and this one takes no more.
    pub fn handle_unanswered(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: Key,
        event: Event,
        jitter: f64,
    ) {
        if let Some(connection) = self.connection(id)
            && let Some(placed) = connection.subscriptions.get(&key)
            && placed.is_resuming
        {
            connection.capacity = connection.subscriptions.len() - 1;
        }
        self.handle_interrupted(now, id, key, event, jitter);
    }

    /// Handles an overflow of the client's queue. The driver stops the subscription, which keeps its
    /// slot until [`Placement::handle_released`].
    pub fn handle_overflow(&mut self, id: ConnectionId, key: Key) {
        if let Some(placed) = self.placed(id, key)
            && placed.phase != SubscriptionPhase::Stopping
        {
            placed.phase = SubscriptionPhase::Stopping;
            let subscriber = placed.subscriber.clone();
            self.out
                .push_back(Output::End(subscriber, SubscriptionEnd::Overflow));
        }
    }

    /// Frees the slot of a stopped subscription, which has ended upstream, too.
    pub fn handle_released(&mut self, id: ConnectionId, key: Key) {
        self.remove(id, key);
        self.place_waiting();
    }

    /// Handles AppSync's rejection of the subscription because its connection has reached a limit of
    /// AppSync. The connection keeps its other subscriptions and takes no more; this one moves to
    /// another connection.
    pub fn handle_full(&mut self, now: Instant, id: ConnectionId, key: Key) {
        let Some(mut placed) = self.remove(id, key) else {
            return;
        };
        if let Some(connection) = self.connection(id) {
            connection.capacity = connection.subscriptions.len();
        }
        placed.moves += 1;
        if placed.moves > MAX_MOVES {
            self.end(placed, SubscriptionEnd::Full);
        } else if placed.phase != SubscriptionPhase::Stopping {
            self.wait_for_slot(key, placed);
            self.dial_if_healthy(now);
        }
    }

    /// Handles a driver that accepted no command, because it has ended and its report will follow. The
    /// subscription moves to another connection, and nothing more is placed on this one.
    pub fn handle_rejected(&mut self, now: Instant, id: ConnectionId, key: Key) {
        if let Some(connection) = self.connection(id) {
            connection.capacity = 0;
        }
        if let Some(placed) = self.remove(id, key)
            && placed.phase != SubscriptionPhase::Stopping
        {
            self.wait(key, placed);
            self.dial_if_healthy(now);
        }
    }

    /// Removes a connection that is idle, so that it can close. Returns `false`, and keeps it, if a
    /// subscription has been placed on it meanwhile.
    pub fn retire(&mut self, id: ConnectionId) -> bool {
        let before = self.connections.len();
        self.connections
            .retain(|pooled| pooled.id != id || !pooled.subscriptions.is_empty());
        self.connections.len() < before
    }

    /// Handles the end of the connection. `jitter`, in `0.0..1.0`, spreads the next attempt.
    pub fn handle_closed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        ending: ConnectionEnd,
        jitter: f64,
    ) {
        let Some(index) = self.connections.iter().position(|pooled| pooled.id == id) else {
            return;
        };
        self.settle(now);
        let mut closed = self.connections.remove(index);
        let subscriptions = &mut closed.subscriptions;
        subscriptions.retain(|_, placed| placed.phase != SubscriptionPhase::Stopping);
        let was_used = !subscriptions.is_empty();
        let dialled_at = closed.dialled_at;
        match ending {
            // Not retried, because it might panic again. The next subscription opens another
            // connection.
            ConnectionEnd::Idle | ConnectionEnd::Panicked => {
                self.end_all(closed.subscriptions, &SubscriptionEnd::Lost);
            }
            ConnectionEnd::Lost(_) => {
                if was_used {
                    // Its clients are about to reconnect.
                    self.interest_at = Some(now);
                }
                self.pacing.lose(now, dialled_at, closed.ready_at, jitter);
                self.lose_all(now, closed.subscriptions, was_used);
            }
            ConnectionEnd::Refused(refusal, errors) => {
                self.last_error = errors.first().cloned();
                let is_renewed = refusal == Refusal::Renewed && self.pacing.renew(now, dialled_at);
                if !is_renewed && self.pacing.fail(now, dialled_at, jitter) {
                    self.refuse(now, refusal, errors);
                }
                self.wait_again(closed.subscriptions);
            }
            ConnectionEnd::Unreachable(error) => {
                self.last_error = Some(error.clone());
                if self.pacing.fail_to_reach(now, dialled_at, jitter) {
                    self.end_impatient(now, &SubscriptionEnd::Unreachable(error));
                }
                self.wait_again(closed.subscriptions);
            }
        }
        self.place_waiting();
    }

    /// Advances the subscriptions that wait, and returns how many connections
    /// [`Placement::handle_timeout`] will open at `now`.
    pub fn due(&mut self, now: Instant) -> usize {
        self.advance_waiting(now);
        self.dials(now)
    }

    /// Returns when [`Placement::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.next_advance(), self.dial_at()];
        due.into_iter().flatten().min()
    }

    /// Opens the connections that are due, and ends the subscriptions that have waited for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance_waiting(now);
        self.dial(now);
    }

    /// Gives up the connections that are due, because the task that should open them has panicked.
    pub fn abandon_due(&mut self, now: Instant) {
        if self.dials(now) > 0 {
            self.is_expecting = false;
            self.interest_at = None;
            self.end_waiting(&SubscriptionEnd::Lost);
        }
    }

    /// Returns the next output to perform.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.out.pop_front()
    }

    fn lose_all(&mut self, now: Instant, mut subscriptions: Subscriptions<T>, was_used: bool) {
        match self.config.on_loss {
            OnLoss::Close => {
                self.end_all(subscriptions, &SubscriptionEnd::Lost);
                self.is_expecting |= was_used && self.connections.is_empty();
            }
            OnLoss::Resume => {
                let live = subscriptions.values();
                let live = live.filter(|placed| placed.phase == SubscriptionPhase::Live);
                let live = live.count();
                if live > 0 {
                    self.out.push_back(Output::Gap(live));
                }
                for placed in subscriptions.values_mut() {
                    placed.lose(now);
                }
                self.waiting.append(&mut subscriptions);
            }
        }
    }

    fn refuse(&mut self, now: Instant, refusal: Refusal, errors: Vec<GraphqlError>) {
        match refusal {
            Refusal::Permanent => self.end_waiting(&SubscriptionEnd::Refused(errors)),
            Refusal::Transient | Refusal::Renewed => self.wait_for_acceptance(now, errors),
        }
    }

    /// Keeps the subscriptions of a connection that was not acknowledged.
    fn wait_again(&mut self, subscriptions: Subscriptions<T>) {
        for (key, placed) in subscriptions {
            self.wait(key, placed);
        }
    }

    /// Reports an end, unless the session has released the subscription or its end was reported.
    fn end(&mut self, placed: PlacedSubscription<T>, why: SubscriptionEnd) {
        if placed.phase != SubscriptionPhase::Stopping {
            self.out.push_back(Output::End(placed.subscriber, why));
        }
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut PooledConnection<T>> {
        self.connections.iter_mut().find(|pooled| pooled.id == id)
    }

    fn placed(&mut self, id: ConnectionId, key: Key) -> Option<&mut PlacedSubscription<T>> {
        self.connection(id)?.subscriptions.get_mut(&key)
    }

    fn remove(&mut self, id: ConnectionId, key: Key) -> Option<PlacedSubscription<T>> {
        self.connection(id)?.subscriptions.remove(&key)
    }
}

#[cfg(test)]
mod tests;
