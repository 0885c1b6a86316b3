//! Events in the hub: subscriptions to channels, and publishing to them.

use super::{Admission, AdmissionRules, Hub};
use crate::events::{Channel, Pattern, messages};
use crate::protocol::Protocol;
use crate::stats::LiveChannel;

impl Hub {
    /// Admits a subscription. Queues its acknowledgement before any event.
    pub(crate) fn subscribe(
        &self,
        connection: u64,
        id: &str,
        pattern: Pattern,
        rules: &AdmissionRules,
    ) -> Admission {
        {
            let mut connections = self.connections.lock();
            let Some(connection) = connections.open.get_mut(&connection) else {
                return Admission::Started;
            };
            let subscriptions = &connection.channels;
            let admission = rules.admit(subscriptions.contains_key(id), subscriptions.len());
            if admission != Admission::Started {
                return admission;
            }
            if rules.acknowledge {
                self.enqueue(connection, messages::subscribe_success(id));
            }
            connection.channels.insert(id.to_owned(), pattern);
        }
        self.ledger.count(|counts| counts.events.subscribed += 1);
        Admission::Started
    }

    /// Ends a subscription. Returns whether it was live.
    pub(crate) fn unsubscribe(&self, connection: u64, id: &str) -> bool {
        let was_live = {
            let mut connections = self.connections.lock();
            let connection = connections.open.get_mut(&connection);
            connection.is_some_and(|open| open.channels.remove(id).is_some())
        };
        self.ledger.notify_watchers();
        was_live
    }

    /// Returns whether a connection has a live subscription with this id.
    pub(crate) fn has_subscription(&self, connection: u64, id: &str) -> bool {
        let connections = self.connections.lock();
        let connection = connections.open.get(&connection);
        connection.is_some_and(|open| open.channels.contains_key(id))
    }

    /// Sends each event to every subscription that matches the channel, in a frame of its own.
    pub(crate) fn broadcast(&self, channel: &Channel, events: &[&str]) {
        let connections = self.connections.lock();
        for connection in connections.open.values() {
            let candidates = connection.channels.iter();
            for (id, _) in candidates.filter(|(_, pattern)| pattern.matches(channel)) {
                for event in events {
                    self.enqueue(connection, messages::data(id, event));
                }
            }
        }
    }

    /// Returns the live subscriptions of each open Events connection.
    pub(crate) fn channels(&self) -> Vec<Vec<LiveChannel>> {
        let connections = self.connections.lock();
        let open = connections.open.iter();
        open.filter(|(_, connection)| connection.protocol == Protocol::Events)
            .map(|(number, connection)| {
                let live = connection.channels.iter();
                live.map(|(id, pattern)| LiveChannel {
                    connection: *number,
                    id: id.clone(),
                    channel: pattern.to_string(),
                })
                .collect()
            })
            .collect()
    }
}
