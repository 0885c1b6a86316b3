//! The subscriptions of one connection, by our key and by their id on the wire.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::{Key, Start};

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_key: HashMap<Key, Subscription>,
    by_wire: HashMap<Uuid, Key>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    wire: Uuid,
    pub(super) start: Arc<Start>,
    pub(super) state: State,
    /// A start has been sent under this wire id: upstream may know it.
    pub(super) is_sent: bool,
    pub(super) has_retried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For the acknowledgement of the connection, or for the end of throttling.
    Waiting,
    Signing,
    Starting {
        deadline: Instant,
    },
    Live,
    Stopping {
        deadline: Instant,
    },
}

impl Subscriptions {
    pub(super) fn insert(&mut self, key: Key, wire: Uuid, start: Arc<Start>, state: State) {
        self.by_wire.insert(wire, key);
        let subscription = Subscription {
            wire,
            start,
            state,
            is_sent: false,
            has_retried: false,
        };
        self.by_key.insert(key, subscription);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Subscription> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Subscription> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn state(&self, key: Key) -> Option<State> {
        self.get(key).map(|subscription| subscription.state)
    }

    /// Goes on under a new wire id; what comes for the old one is nobody's.
    pub(super) fn rename(&mut self, key: Key, wire: Uuid) {
        if let Some(subscription) = self.by_key.get_mut(&key) {
            self.by_wire.remove(&subscription.wire);
            self.by_wire.insert(wire, key);
            subscription.wire = wire;
            subscription.is_sent = false;
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(subscription) = self.by_key.remove(&key) {
            self.by_wire.remove(&subscription.wire);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The key behind an id on the wire.
    pub(super) fn key(&self, id: &str) -> Option<Key> {
        let id = Uuid::try_parse(id).ok()?;
        self.by_wire.get(&id).copied()
    }

    /// In the order they were asked for, so that the machine is deterministic.
    pub(super) fn in_state(&self, is_wanted: impl Fn(State) -> bool) -> Vec<Key> {
        let entries = self.by_key.iter();
        let found = entries.filter(|(_, subscription)| is_wanted(subscription.state));
        let mut keys: Vec<Key> = found.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<Key> {
        self.in_state(|state| state.deadline().is_some_and(|deadline| deadline <= now))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let states = self.by_key.values().map(|subscription| subscription.state);
        states.filter_map(State::deadline).min()
    }
}

impl Subscription {
    pub(super) fn wire(&self) -> Uuid {
        self.wire
    }
}

impl State {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Starting { deadline } | Self::Stopping { deadline } => Some(deadline),
            Self::Waiting | Self::Signing | Self::Live => None,
        }
    }
}
