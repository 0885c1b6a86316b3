//! The storage of subscriptions. Each belongs to one connection, or waits for one.

use std::collections::BTreeMap;
use std::time::Instant;

use super::interface::{ConnectionId, Output, Owner, SubscriptionPhase};
use crate::realtime::connection::Key;

/// Subscriptions by their keys.
pub(super) type Subscriptions<T> = BTreeMap<Key, PlacedSubscription<T>>;

/// A connection that is open or being opened, and the subscriptions on it. It has none until it is
/// acknowledged, so that an attempt that hangs holds nobody up.
#[derive(Debug)]
pub(super) struct PooledConnection<T> {
    pub(super) id: ConnectionId,
    pub(super) capacity: usize,
    pub(super) dialled_at: Instant,
    /// When AppSync acknowledged it.
    pub(super) ready_at: Option<Instant>,
    pub(super) subscriptions: Subscriptions<T>,
}

/// A subscription. It is kept by its connection, or with those that wait.
#[derive(Debug)]
pub(super) struct PlacedSubscription<T> {
    pub(super) owner: Owner,
    pub(super) phase: SubscriptionPhase,
    /// Since when it has not been live.
    pub(super) since: Instant,
    /// Its connection was lost, and it has not been live again.
    pub(super) is_resuming: bool,
    /// How often AppSync rejected it because its connection was full.
    pub(super) moves: u32,
    /// How often its start failed since it was last live.
    pub(super) failed_starts: u32,
    /// It waits until this time after a failed start.
    pub(super) deferred_until: Option<Instant>,
    pub(super) subscriber: T,
}

impl<T> PooledConnection<T> {
    pub(super) fn is_ready(&self) -> bool {
        self.ready_at.is_some()
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.is_ready() && self.subscriptions.len() < self.capacity
    }

    pub(super) fn has_owner(&self, owner: Owner) -> bool {
        let mut subscriptions = self.subscriptions.values();
        subscriptions.any(|placed| placed.owner == owner)
    }
}

impl<T: Clone> PooledConnection<T> {
    pub(super) fn add(&mut self, key: Key, mut placed: PlacedSubscription<T>) -> Output<T> {
        placed.phase = SubscriptionPhase::Starting;
        let output = Output::Subscribe(self.id, key, placed.subscriber.clone());
        self.subscriptions.insert(key, placed);
        output
    }
}

impl<T> PlacedSubscription<T> {
    pub(super) fn new(now: Instant, owner: Owner, subscriber: T) -> Self {
        Self {
            owner,
            phase: SubscriptionPhase::Waiting,
            since: now,
            is_resuming: false,
            moves: 0,
            failed_starts: 0,
            deferred_until: None,
            subscriber,
        }
    }

    /// Handles its acknowledgement: what happened before no longer counts.
    pub(super) fn go_live(&mut self) {
        self.phase = SubscriptionPhase::Live;
        self.is_resuming = false;
        self.moves = 0;
        self.failed_starts = 0;
    }

    /// Handles the loss of its connection, after which it is to be resumed.
    pub(super) fn lose(&mut self, now: Instant) {
        self.phase = SubscriptionPhase::Waiting;
        if !self.is_resuming {
            self.is_resuming = true;
            self.since = now;
        }
    }
}
