//! The subscriptions of one connection.
//!
//! A wire id contains the key of its subscription, so one map serves both lookups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::output::Key;
use crate::realtime::Start;

/// The subscriptions that occupy a slot.
#[derive(Debug)]
pub(super) struct Subscriptions<S>(BTreeMap<Key, Subscription<S>>);

#[derive(Debug)]
pub(super) struct Subscription<S> {
    wire: Uuid,
    pub(super) start: Arc<Start>,
    /// What the driver attached.
    pub(super) subscriber: S,
    pub(super) state: SubscriptionState,
    /// A start has been sent under this wire id, so the subscription may run upstream.
    pub(super) is_sent: bool,
    /// When its latest start was signed.
    pub(super) signed_at: Option<Instant>,
    pub(super) has_retried: bool,
    /// How often its wire id has changed, once for each retry, renewal and pause of throttling.
    id_number: u8,
    /// How often it was signed again because its signature had been rejected.
    pub(super) renewals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// It waits for the connection's acknowledgement, or for the end of throttling.
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

/// The bits of a wire id's second half that hold the key; the other two are its variant.
const KEY_BITS: u64 = u64::MAX >> 2;

impl<S> Subscriptions<S> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a subscription. Its wire id is `id` with the key in it.
    pub(super) fn insert(
        &mut self,
        key: Key,
        id: Uuid,
        start: Arc<Start>,
        subscriber: S,
        state: SubscriptionState,
    ) {
        let (random, variant) = id.as_u64_pair();
        let wire = Uuid::from_u64_pair(random, (variant & !KEY_BITS) | (key.0 & KEY_BITS));
        let subscription = Subscription {
            wire,
            start,
            subscriber,
            state,
            is_sent: false,
            signed_at: None,
            has_retried: false,
            id_number: 0,
            renewals: 0,
        };
        self.0.insert(key, subscription);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Subscription<S>> {
        self.0.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Subscription<S>> {
        self.0.get_mut(&key)
    }

    pub(super) fn state(&self, key: Key) -> Option<SubscriptionState> {
        self.get(key).map(|subscription| subscription.state)
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.0.remove(&key);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the key of the subscription that has this id on the wire now.
    pub(super) fn key(&self, id: &str) -> Option<Key> {
        let id = Uuid::try_parse(id).ok()?;
        let (_, low) = id.as_u64_pair();
        let key = Key(low & KEY_BITS);
        let subscription = self.get(key)?;
        (subscription.wire == id).then_some(key)
    }

    /// Returns the subscriptions in a matching state, in the order in which they were started.
    pub(super) fn in_state(&self, is_match: impl Fn(SubscriptionState) -> bool) -> Vec<Key> {
        let entries = self.0.iter();
        let found = entries.filter(|(_, subscription)| is_match(subscription.state));
        found.map(|(key, _)| *key).collect()
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<Key> {
        self.in_state(|state| state.deadline().is_some_and(|deadline| deadline <= now))
    }

    pub(super) fn postpone(&mut self, by: Duration) {
        for subscription in self.0.values_mut() {
            if let SubscriptionState::Starting { deadline }
            | SubscriptionState::Stopping { deadline } = &mut subscription.state
            {
                *deadline += by;
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let states = self.0.values().map(|subscription| subscription.state);
        states.filter_map(SubscriptionState::deadline).min()
    }
}

impl<S> Subscription<S> {
    pub(super) fn wire(&self) -> Uuid {
        self.wire
    }

    /// Replaces the wire id. Messages with the old one are ignored from now on.
    pub(super) fn change_id(&mut self) {
        // These bits are random ones: no other subscription has the resulting id.
        let bits = |number: u8| u128::from(number & 7) << 125;
        let next = self.id_number.wrapping_add(1);
        self.wire = Uuid::from_u128(self.wire.as_u128() ^ bits(self.id_number) ^ bits(next));
        self.id_number = next;
        self.is_sent = false;
    }
}

impl SubscriptionState {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Starting { deadline } | Self::Stopping { deadline } => Some(deadline),
            Self::Waiting | Self::Signing | Self::Live => None,
        }
    }
}
