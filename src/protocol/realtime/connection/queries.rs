//! What a driver has attached to the subscriptions of its connection.

use super::Connection;
use crate::realtime::connection::Key;

impl<S> Connection<S> {
    /// Returns what the driver attached to the subscription, unless it has ended.
    pub fn subscriber(&self, key: Key) -> Option<&S> {
        let subscription = self.subscriptions.get(key)?;
        Some(&subscription.subscriber)
    }

    /// Returns what the driver attached to the subscription that has this id in messages now.
    pub fn subscriber_of(&self, id: &str) -> Option<&S> {
        self.subscriber(self.subscriptions.key(id)?)
    }
}
