//! What the machine reports about its connections and subscriptions.

use super::Placement;
use super::interface::{ConnectionId, SubscriptionPhase};
use crate::realtime::connection::Key;

impl<T> Placement<T> {
    /// Returns the subscribers of a connection.
    pub fn subscribers(&self, id: ConnectionId) -> impl Iterator<Item = &T> {
        let connections = self.connections.iter();
        let connections = connections.filter(move |connection| connection.id == id);
        connections
            .flat_map(|connection| connection.subscriptions.values())
            .map(|placed| &placed.subscriber)
    }

    /// Returns whether AppSync has acknowledged the connection.
    pub fn is_ready(&self, id: ConnectionId) -> bool {
        let mut connections = self.connections.iter();
        connections.any(|pooled| pooled.id == id && pooled.is_ready())
    }

    /// Returns how many subscriptions would end, or resume, with the connection.
    pub fn count(&self, id: ConnectionId) -> usize {
        let of_id = self.connections.iter().filter(|pooled| pooled.id == id);
        let subscriptions = of_id.flat_map(|pooled| pooled.subscriptions.values());
        subscriptions
            .filter(|placed| placed.phase != SubscriptionPhase::Stopping)
            .count()
    }

    /// Returns the phase of the subscription, unless it has ended.
    pub fn phase(&self, key: Key) -> Option<SubscriptionPhase> {
        let connected = self.connections.iter().map(|pooled| &pooled.subscriptions);
        let mut all = connected.chain([&self.waiting]);
        all.find_map(|subscriptions| Some(subscriptions.get(&key)?.phase))
    }

    /// Returns whether there are no connections and no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.waiting.is_empty()
    }
}
