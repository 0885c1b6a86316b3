//! Decides which connection carries which subscription, when to reconnect, and what the end of a
//! connection means for its subscriptions.
//!
//! Subscriptions of one owner (a client socket) stay together while their connection has a free slot.
//! Otherwise, a subscription is placed on the fullest connection that has a free slot, which keeps
//! the number of connections small. After a loss, the pool reconnects once immediately. Retries back
//! off, and while they fail, the upstream is considered down.
//!
//! Drivers report by `handle_*`, sessions by [`Placement::subscribe`] and [`Placement::release`].
//! [`Placement::poll_output`] returns the actions to perform. The machine opens nothing, reads no
//! clock and draws no random numbers: time and jitter are arguments.

mod backoff;
mod interface;
mod queries;
mod slots;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use self::interface::{
    Availability, ConnectionEnd, ConnectionId, OnLoss, Output, Owner, Refusal, SubscriptionEnd,
    SubscriptionPhase,
};

use self::backoff::backoff;
use self::slots::{PlacedSubscription, PooledConnection, Retry, Subscriptions};
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
}

/// The placement machine of one pool. `T` is what a driver needs to serve a subscription.
#[derive(Debug)]
pub struct Placement<T> {
    config: PlacementConfig,
    connections: Vec<PooledConnection<T>>,
    retries: Vec<Retry<T>>,
    /// Failed attempts to connect, in a row.
    failures: u32,
    /// A retry is scheduled or under way.
    is_retrying: bool,
    /// When a client last connected or subscribed. Retries without subscriptions go on for
    /// [`INTEREST`] after it.
    interest_at: Option<Instant>,
    last_key: u64,
    last_connection: u64,
    out: VecDeque<Output<T>>,
}

/// How often a subscription may move to another connection or be retried on a new one.
const MAX_MOVES: u32 = 3;
/// How often it may be retried with [`OnLoss::Close`].
const MAX_RETRIES_WITH_CLOSE: u32 = 1;
const INTEREST: Duration = Duration::from_secs(60);

impl<T: Clone> Placement<T> {
    pub fn new(config: PlacementConfig) -> Self {
        Self {
            config,
            connections: Vec::new(),
            retries: Vec::new(),
            failures: 0,
            is_retrying: false,
            interest_at: None,
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
        let placed = PlacedSubscription {
            owner,
            phase: SubscriptionPhase::Waiting,
            moves: 0,
            subscriber,
        };
        self.place(key, placed);
        key
    }

    /// Stops a subscription that its session has released. No end is reported.
    pub fn release(&mut self, key: Key) {
        for retry in &mut self.retries {
            if retry.subscriptions.remove(&key).is_some() {
                return;
            }
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

    /// Returns whether the upstream is known to be down. Each call keeps the retries going.
    pub fn availability(&mut self, now: Instant) -> Availability {
        self.interest_at = Some(now);
        if self.failures > 0 && self.is_retrying {
            Availability::Down
        } else {
            Availability::Up
        }
    }

    /// Handles AppSync's acknowledgement of the connection.
    pub fn handle_ready(&mut self, id: ConnectionId) {
        self.stop_retrying();
        if let Some(connection) = self.connection(id) {
            connection.is_ready = true;
        }
    }

    /// Handles the upstream's acknowledgement of the subscription.
    pub fn handle_acknowledged(&mut self, id: ConnectionId, key: Key) {
        if let Some(placed) = self.placed(id, key)
            && placed.phase == SubscriptionPhase::Starting
        {
            placed.phase = SubscriptionPhase::Live;
        }
    }

    /// Handles the end of the subscription by the upstream.
    pub fn handle_ended(&mut self, id: ConnectionId, key: Key, event: Event) {
        if let Some(placed) = self.remove(id, key) {
            self.end(placed, SubscriptionEnd::Upstream(event));
        }
    }

    /// Handles a start that failed for a reason that may pass.
    pub fn handle_interrupted(&mut self, id: ConnectionId, key: Key, event: Event) {
        self.handle_ended(id, key, event);
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
    }

    /// Handles AppSync's rejection of the subscription because its connection has reached a limit of
    /// AppSync. The connection keeps its other subscriptions and takes no more; this one moves to
    /// another connection.
    pub fn handle_full(&mut self, id: ConnectionId, key: Key) {
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
            self.place(key, placed);
        }
    }

    /// Handles a driver that accepted no command, because it has ended and its report will follow. The
    /// subscription moves to another connection, and nothing more is placed on this one.
    pub fn handle_rejected(&mut self, id: ConnectionId, key: Key) {
        if let Some(connection) = self.connection(id) {
            connection.capacity = 0;
        }
        if let Some(placed) = self.remove(id, key)
            && placed.phase != SubscriptionPhase::Stopping
        {
            self.place(key, placed);
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

    /// Handles the end of the connection. `jitter`, in `0.0..1.0`, spreads the retry.
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
        let mut subscriptions = self.connections.remove(index).subscriptions;
        let was_used = !subscriptions.is_empty();
        subscriptions.retain(|_, placed| placed.phase != SubscriptionPhase::Stopping);
        for placed in subscriptions.values_mut() {
            placed.phase = SubscriptionPhase::Waiting;
        }
        match ending {
            // Not retried, because it might panic again. The next subscription opens another
            // connection.
            ConnectionEnd::Idle | ConnectionEnd::Panicked => {
                self.end_all(subscriptions, &SubscriptionEnd::Lost)
            }
            ConnectionEnd::Lost(_) => {
                if was_used {
                    // Its clients are about to reconnect.
                    self.interest_at = Some(now);
                }
                self.lost(now, subscriptions, jitter);
            }
            ConnectionEnd::Refused(refusal, errors) => {
                self.stop_retrying();
                if refusal == Refusal::Renewed {
                    let again = subscriptions.extract_if(.., |_, placed| placed.moves == 0);
                    let mut again: Subscriptions<T> = again.collect();
                    for placed in again.values_mut() {
                        placed.moves += 1;
                    }
                    self.retry(now, again, jitter);
                }
                self.end_all(subscriptions, &SubscriptionEnd::Refused(errors));
            }
            ConnectionEnd::Unreachable(error) => {
                self.unreachable(now, error, subscriptions, jitter)
            }
        }
    }

    /// Returns how many retries [`Placement::handle_timeout`] will start at `now`.
    pub fn due(&self, now: Instant) -> usize {
        let due = self.retries.iter().filter(|retry| retry.at <= now);
        due.count()
    }

    /// Returns when the next retry is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retries.iter().map(|retry| retry.at).min()
    }

    /// Starts the retries that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for retry in self.take_due(now) {
            self.reconnect(retry.subscriptions);
        }
    }

    /// Drops the retries that are due, because the task that should start them has panicked.
    pub fn abandon_due(&mut self, now: Instant) {
        for retry in self.take_due(now) {
            self.is_retrying = false;
            self.end_all(retry.subscriptions, &SubscriptionEnd::Lost);
        }
    }

    /// Returns the next output to perform.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.out.pop_front()
    }

    fn lost(&mut self, now: Instant, subscriptions: Subscriptions<T>, jitter: f64) {
        match self.config.on_loss {
            OnLoss::Close => {
                self.end_all(subscriptions, &SubscriptionEnd::Lost);
                self.retry(now, BTreeMap::new(), jitter);
            }
            OnLoss::Resume => {
                if !subscriptions.is_empty() {
                    self.out.push_back(Output::Gap(subscriptions.len()));
                }
                self.retry(now, subscriptions, jitter);
            }
        }
    }

    fn unreachable(
        &mut self,
        now: Instant,
        error: GraphqlError,
        mut subscriptions: Subscriptions<T>,
        jitter: f64,
    ) {
        self.failures = self.failures.saturating_add(1);
        self.is_retrying = false;
        let retries = match self.config.on_loss {
            OnLoss::Close => MAX_RETRIES_WITH_CLOSE,
            OnLoss::Resume => MAX_MOVES,
        };
        for placed in subscriptions.values_mut() {
            placed.moves += 1;
        }
        let again = subscriptions.extract_if(.., |_, placed| placed.moves <= retries);
        let again = again.collect();
        self.end_all(subscriptions, &SubscriptionEnd::Unreachable(error));
        self.retry(now, again, jitter);
    }

    /// Schedules an attempt to connect: at once after a loss, with a backoff after failures. If no
    /// subscription waits for it, the attempt is skipped while another one is under way, while
    /// another connection exists, or if no client has shown interest lately.
    fn retry(&mut self, now: Instant, subscriptions: Subscriptions<T>, jitter: f64) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < INTEREST;
        let has_interest = self.interest_at.is_some_and(is_recent);
        let is_unneeded = self.is_retrying || !self.connections.is_empty();
        if subscriptions.is_empty() && (is_unneeded || !has_interest) {
            if !self.is_retrying && !has_interest {
                self.failures = 0;
            }
            return;
        }
        self.is_retrying = true;
        let at = now + backoff(self.failures, jitter);
        self.retries.push(Retry { at, subscriptions });
    }

    /// Connects, even if all subscriptions have been released meanwhile: the outcome determines
    /// whether the upstream counts as down.
    fn reconnect(&mut self, mut subscriptions: Subscriptions<T>) {
        // If no connection can be opened, none will report the outcome.
        self.is_retrying &= self.connections.len() < self.config.connections;
        loop {
            let next = subscriptions.keys().nth(self.config.subscriptions);
            let rest = next.copied().map(|key| subscriptions.split_off(&key));
            self.connect(subscriptions);
            let Some(rest) = rest else {
                return;
            };
            subscriptions = rest;
        }
    }

    fn take_due(&mut self, now: Instant) -> Vec<Retry<T>> {
        let due = self.retries.extract_if(.., |retry| retry.at <= now);
        due.collect()
    }

    fn place(&mut self, key: Key, placed: PlacedSubscription<T>) {
        let candidates = self
            .connections
            .iter_mut()
            .filter(|pooled| pooled.has_capacity());
        let best = candidates
            .max_by_key(|pooled| (pooled.has_owner(placed.owner), pooled.subscriptions.len()));
        match best {
            Some(pooled) => self.out.push_back(pooled.add(key, placed)),
            None => self.connect(BTreeMap::from([(key, placed)])),
        }
    }

    /// Opens a connection for these subscriptions, which are at most its capacity.
    fn connect(&mut self, subscriptions: Subscriptions<T>) {
        if self.connections.len() >= self.config.connections {
            return self.end_all(subscriptions, &SubscriptionEnd::TooManyConnections);
        }
        self.last_connection += 1;
        let mut pooled = PooledConnection {
            id: ConnectionId(self.last_connection),
            capacity: self.config.subscriptions,
            is_ready: false,
            subscriptions: BTreeMap::new(),
        };
        self.out.push_back(Output::Connect(pooled.id));
        for (key, placed) in subscriptions {
            self.out.push_back(pooled.add(key, placed));
        }
        self.connections.push(pooled);
    }

    fn end_all(&mut self, subscriptions: Subscriptions<T>, why: &SubscriptionEnd) {
        for placed in subscriptions.into_values() {
            self.end(placed, why.clone());
        }
    }

    /// Reports an end, unless the session has released the subscription or its end was reported.
    fn end(&mut self, placed: PlacedSubscription<T>, why: SubscriptionEnd) {
        if placed.phase != SubscriptionPhase::Stopping {
            self.out.push_back(Output::End(placed.subscriber, why));
        }
    }

    fn stop_retrying(&mut self) {
        self.failures = 0;
        self.is_retrying = false;
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
