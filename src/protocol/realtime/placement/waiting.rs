//! The subscriptions that are on no connection: how they get one, and how long they wait.

use std::time::{Duration, Instant};

use super::Placement;
use super::dialling::INTEREST;
use super::interface::{OnLoss, SubscriptionEnd, SubscriptionPhase};
use super::slots::{PlacedSubscription, PooledConnection, Subscriptions};
use crate::graphql::GraphqlError;
use crate::realtime::connection::{Key, STALL};

/// If an attempt to connect fails after a new subscription has waited for this time, the subscription
/// ends. Before, it waits for the next attempt.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);

impl<T: Clone> Placement<T> {
    /// Keeps a subscription until it has a connection.
    pub(super) fn wait(&mut self, key: Key, mut placed: PlacedSubscription<T>) {
        placed.phase = SubscriptionPhase::Waiting;
        self.waiting.insert(key, placed);
        self.place_waiting();
    }

    /// The same for one that has had no slot, or whose slot cannot be used. Ends it if all connections
    /// are full and no more may be opened.
    pub(super) fn wait_for_slot(&mut self, key: Key, placed: PlacedSubscription<T>) {
        self.wait(key, placed);
        if self.waiting.len() > self.future_slots()
            && let Some(placed) = self.waiting.remove(&key)
        {
            self.end(placed, SubscriptionEnd::TooManyConnections);
        }
    }

    /// Returns how many subscriptions the connections may carry that are not open.
    fn future_slots(&self) -> usize {
        let ready = self.connections.iter().filter(|pooled| pooled.is_ready());
        let others = self.config.connections.saturating_sub(ready.count());
        others.saturating_mul(self.config.subscriptions)
    }

    /// Places the subscriptions that wait on connections with free slots.
    pub(super) fn place_waiting(&mut self) {
        if !self.connections.iter().any(PooledConnection::has_capacity) {
            return;
        }
        let waiting = self.waiting.iter();
        let eligible = waiting.filter(|(_, placed)| placed.deferred_until.is_none());
        for key in eligible.map(|(key, _)| *key).collect::<Vec<_>>() {
            let Some(owner) = self.waiting.get(&key).map(|placed| placed.owner) else {
                continue;
            };
            let candidates = self.connections.iter_mut();
            let best = candidates
                .filter(|pooled| pooled.has_capacity())
                .max_by_key(|pooled| (pooled.has_owner(owner), pooled.subscriptions.len()));
            let Some(pooled) = best else {
                return;
            };
            if let Some(placed) = self.waiting.remove(&key) {
                self.out.push_back(pooled.add(key, placed));
            }
        }
    }

    /// Ends the new subscriptions that have waited long enough, because an attempt has failed.
    pub(super) fn end_impatient(&mut self, now: Instant, why: &SubscriptionEnd) {
        let waiting = &mut self.waiting;
        let ended = waiting.extract_if(.., |_, placed| {
            !placed.is_resuming && placed.since + FIRST_WAIT <= now
        });
        let ended: Subscriptions<T> = ended.collect();
        self.end_all(ended, why);
    }

    /// Ends the lost subscriptions that have waited for too long, makes those eligible whose pause after
    /// a failed start is over, and forgets clients that have not returned.
    pub(super) fn advance_waiting(&mut self, now: Instant) {
        self.interest_at.take_if(|at| *at + INTEREST <= now);
        let patience = self.config.patience;
        let waiting = &mut self.waiting;
        let ended = waiting.extract_if(.., |_, placed| {
            placed.is_resuming && placed.since + patience <= now
        });
        let ended: Subscriptions<T> = ended.collect();
        if !ended.is_empty() {
            let why = self.not_resumed();
            self.end_all(ended, &why);
        }
        for placed in self.waiting.values_mut() {
            placed.deferred_until.take_if(|until| *until <= now);
        }
        self.place_waiting();
    }

    /// Handles that [`Placement::handle_timeout`] was due so long ago. If the process did not run, that time
    /// does not count for the subscriptions that are being resumed, so that an attempt is made for them.
    pub fn postpone_if_late(&mut self, late: Duration) {
        if late >= STALL {
            let waiting = self.waiting.values_mut();
            for placed in waiting.filter(|placed| placed.is_resuming) {
                placed.since += late;
            }
        }
    }

    /// Returns when [`Placement::advance_waiting`] is due.
    pub(super) fn next_advance(&self) -> Option<Instant> {
        let due = self.waiting.values().filter_map(|placed| {
            let patience = placed
                .is_resuming
                .then(|| placed.since + self.config.patience);
            [patience, placed.deferred_until]
                .into_iter()
                .flatten()
                .min()
        });
        due.min()
    }

    pub(super) fn not_resumed(&self) -> SubscriptionEnd {
        SubscriptionEnd::NotResumed {
            patience: self.config.patience,
            cause: self.last_error.clone(),
        }
    }

    /// Ends all subscriptions that wait, because no attempt can succeed.
    pub(super) fn end_waiting(&mut self, why: &SubscriptionEnd) {
        let waiting = std::mem::take(&mut self.waiting);
        self.end_all(waiting, why);
    }

    /// Handles a refusal of AppSync that may pass.
    pub(super) fn wait_for_acceptance(&mut self, now: Instant, errors: Vec<GraphqlError>) {
        let why = SubscriptionEnd::Refused(errors);
        match self.config.on_loss {
            OnLoss::Close => self.end_waiting(&why),
            OnLoss::Resume => self.end_impatient(now, &why),
        }
    }

    pub(super) fn end_all(&mut self, subscriptions: Subscriptions<T>, why: &SubscriptionEnd) {
        for placed in subscriptions.into_values() {
            self.end(placed, why.clone());
        }
    }
}
