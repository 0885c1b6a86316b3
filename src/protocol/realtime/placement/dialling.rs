//! When a pool connects, and how many connections it opens.
//!
//! Connections are opened only for subscriptions that wait, and for clients that are about to return.
//! While attempts fail, one is made at a time; the subscriptions wait in the pool, so one success serves
//! them all. After a success, as many are made at a time as connections are open, until one of these has
//! proved that the upstream works: it may close them all at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Placement;
use super::interface::{ConnectionId, Output};
use super::slots::PooledConnection;

/// How long after a client was turned away, or lost its connection, it is expected to return.
pub(super) const INTEREST: Duration = Duration::from_secs(10);
/// After this time, an attempt that has no outcome no longer keeps another from starting.
pub(super) const SLOW: Duration = Duration::from_secs(2);

impl<T: Clone> Placement<T> {
    /// Returns when to connect next, if a connection is needed.
    pub(super) fn dial_at(&self) -> Option<Instant> {
        if self.connections.len() >= self.config.connections {
            return None;
        }
        let next = self.pacing.next();
        if self.is_short_of_connections() {
            return Some(next);
        }
        // An attempt is under way, or the last one failed.
        let opening = self.connections.iter().filter(|pooled| !pooled.is_ready());
        let slow_at = opening.map(|pooled| pooled.dialled_at + SLOW).max();
        let at = slow_at.map_or(next, |slow_at| slow_at.max(next));
        if self.eligible() > 0 {
            return Some(at);
        }
        let is_first = self.is_expecting && self.connections.is_empty();
        let has_interest = self.interest_at.is_some_and(|since| at < since + INTEREST);
        let is_probing = self.pacing.is_unreachable()
            && has_interest
            && !self.connections.iter().any(PooledConnection::is_ready);
        (is_first || is_probing).then_some(at)
    }

    /// Returns how many connections to open at `now`.
    pub(super) fn dials(&self, now: Instant) -> usize {
        if self.dial_at().is_none_or(|at| at > now) {
            return 0;
        }
        if !self.is_short_of_connections() {
            return 1;
        }
        let needed = self.missing().div_ceil(self.config.subscriptions);
        let allowed = self.config.connections - self.connections.len();
        let allowed = allowed.min(self.parallel());
        needed.min(allowed).min(self.pacing.available(now))
    }

    pub(super) fn dial(&mut self, now: Instant) {
        for _ in 0..self.dials(now) {
            self.is_expecting = false;
            self.pacing.attempt(now);
            self.last_connection += 1;
            let id = ConnectionId(self.last_connection);
            self.out.push_back(Output::Connect(id));
            self.connections.push(PooledConnection {
                id,
                capacity: self.config.subscriptions,
                dialled_at: now,
                ready_at: None,
                subscriptions: BTreeMap::new(),
            });
        }
    }

    /// Connects for new subscriptions at once. Attempts after a loss or a failure are left to
    /// [`Placement::handle_timeout`].
    pub(super) fn dial_if_healthy(&mut self, now: Instant) {
        self.settle(now);
        let is_resuming = self.waiting.values().any(|placed| placed.is_resuming);
        if !self.pacing.is_failing() && !is_resuming {
            self.dial(now);
        }
    }

    /// Returns how many subscriptions could start.
    pub(super) fn eligible(&self) -> usize {
        let waiting = self.waiting.values();
        let eligible = waiting.filter(|placed| placed.deferred_until.is_none());
        eligible.count()
    }

    /// Returns whether the connections that are being opened are too few, and more may be opened beside
    /// them.
    fn is_short_of_connections(&self) -> bool {
        !self.pacing.is_failing() && self.missing() > 0 && self.parallel() > 0
    }

    /// Returns how many attempts may begin beside those that are under way.
    fn parallel(&self) -> usize {
        if self.pacing.is_settled() {
            return usize::MAX;
        }
        let ready = self.connections.iter().filter(|pooled| pooled.is_ready());
        let ready = ready.count();
        let opening = self.connections.len() - ready;
        ready.max(1).saturating_sub(opening)
    }

    /// Ends the series of failures if a connection proves that the upstream works.
    pub(super) fn settle(&mut self, now: Instant) {
        for pooled in &self.connections {
            self.pacing.settle(now, pooled.ready_at);
        }
    }

    /// Returns how many subscriptions the connections that are being opened cannot carry.
    fn missing(&self) -> usize {
        let opening = self.connections.iter().filter(|pooled| !pooled.is_ready());
        let expected = opening.map(|pooled| pooled.capacity).sum();
        self.eligible().saturating_sub(expected)
    }
}
