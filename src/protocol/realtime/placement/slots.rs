//! The storage of subscriptions. Each belongs to one connection, or to one retry.

use std::collections::BTreeMap;
use std::time::Instant;

use super::interface::{ConnectionId, Output, Owner, SubscriptionPhase};
use crate::realtime::connection::Key;

/// Subscriptions by their keys.
pub(super) type Subscriptions<T> = BTreeMap<Key, PlacedSubscription<T>>;

/// A connection that is open or being opened, and the subscriptions on it.
#[derive(Debug)]
pub(super) struct PooledConnection<T> {
    pub(super) id: ConnectionId,
    pub(super) capacity: usize,
    pub(super) is_ready: bool,
    pub(super) subscriptions: Subscriptions<T>,
}

/// An attempt to connect that is due at `at`, and the subscriptions that wait for it.
#[derive(Debug)]
pub(super) struct Retry<T> {
    pub(super) at: Instant,
    pub(super) subscriptions: Subscriptions<T>,
}

/// A subscription. It is kept by the one connection, or the one retry, that it belongs to.
#[derive(Debug)]
pub(super) struct PlacedSubscription<T> {
    pub(super) owner: Owner,
    pub(super) phase: SubscriptionPhase,
    /// How often it was moved to another connection, or tried on a new one.
    pub(super) moves: u32,
    pub(super) subscriber: T,
}

impl<T: Clone> PooledConnection<T> {
    pub(super) fn has_capacity(&self) -> bool {
        self.subscriptions.len() < self.capacity
    }

    pub(super) fn has_owner(&self, owner: Owner) -> bool {
        let mut subscriptions = self.subscriptions.values();
        subscriptions.any(|placed| placed.owner == owner)
    }

    pub(super) fn add(&mut self, key: Key, mut placed: PlacedSubscription<T>) -> Output<T> {
        placed.phase = SubscriptionPhase::Starting;
        let output = Output::Subscribe(self.id, key, placed.subscriber.clone());
        self.subscriptions.insert(key, placed);
        output
    }
}
