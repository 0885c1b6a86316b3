//! The open realtime connections and their live subscriptions.
//!
//! The hub puts frames into the bounded outbox of each connection: for results of mutations, for
//! published events, and for actions of switches. It drops a connection whose outbox is full, so that a
//! slow client does not delay others.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::{Pattern, messages as event_messages};
use super::messages;
use super::protocol::Protocol;
use super::selection::{self, SelectedField, Types};
use super::stats::{Ledger, LiveSubscription};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Text(String),
    Close(u16),
}

/// A live GraphQL subscription.
#[derive(Debug, Clone)]
pub(super) struct ActiveSubscription {
    /// The field of `Subscription`.
    pub(super) selected: SelectedField,
    /// Fields of the event, and their required values.
    pub(super) filter: Vec<(String, Value)>,
    pub(super) unsigned_headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Started,
    Duplicate,
    Full,
    /// The subscription could be admitted, but a switch rejects it.
    RefusedBySwitch,
}

/// The rules for admitting and acknowledging a subscription.
#[derive(Debug)]
pub(super) struct AdmissionRules {
    /// The connection's limit of subscriptions.
    pub(super) limit: usize,
    pub(super) acknowledge: bool,
    pub(super) refuse: bool,
}

/// How a `start` is admitted, and the event that it sends.
#[derive(Debug)]
pub(super) struct StartOptions {
    pub(super) rules: AdmissionRules,
    /// An event to send directly after the acknowledgement.
    pub(super) first_event: Option<Value>,
}

pub(super) struct Hub {
    types: Arc<Types>,
    ledger: Arc<Ledger>,
    shutdown: CancellationToken,
    connections: Mutex<Connections>,
}

/// The registration of a connection with the hub. Dropping it removes the connection.
pub(super) struct Registration {
    pub(super) id: u64,
    pub(super) outbox: mpsc::Receiver<Frame>,
    /// Cancelled to drop the connection.
    pub(super) disconnect: CancellationToken,
    _guard: LeaveOnDrop,
}

struct LeaveOnDrop {
    id: u64,
    hub: Arc<Hub>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: BTreeMap<u64, Connection>,
}

struct Connection {
    outbox: mpsc::Sender<Frame>,
    disconnect: CancellationToken,
    protocol: Protocol,
    /// GraphQL subscriptions by id.
    live: BTreeMap<String, ActiveSubscription>,
    /// The ids of live subscriptions, and the mutations of which the log explains that they do not reach
    /// them.
    explained: BTreeSet<(String, String)>,
    /// Events subscriptions by id.
    channels: BTreeMap<String, Pattern>,
}

// === impl Hub ===

impl Hub {
    pub(super) fn new(types: Arc<Types>, ledger: Arc<Ledger>, shutdown: CancellationToken) -> Self {
        Self {
            types,
            ledger,
            shutdown,
            connections: Mutex::default(),
        }
    }

    pub(super) fn register(self: &Arc<Self>, protocol: Protocol) -> Registration {
        let (sender, outbox) = mpsc::channel(OUTBOX);
        let disconnect = self.shutdown.child_token();
        let id = {
            let mut connections = self.connections.lock();
            connections.next += 1;
            let id = connections.next;
            let connection = Connection {
                outbox: sender,
                disconnect: disconnect.clone(),
                protocol,
                live: BTreeMap::new(),
                explained: BTreeSet::new(),
                channels: BTreeMap::new(),
            };
            connections.open.insert(id, connection);
            id
        };
        self.ledger.count(|counts| match protocol {
            Protocol::GraphQl => counts.connections_total += 1,
            Protocol::Events => counts.events.connections_total += 1,
        });
        Registration {
            id,
            outbox,
            disconnect,
            _guard: LeaveOnDrop {
                id,
                hub: Arc::clone(self),
            },
        }
    }

    /// Admits a subscription. Queues its acknowledgement before any event.
    pub(super) fn start(
        &self,
        connection: u64,
        id: &str,
        live: ActiveSubscription,
        options: StartOptions,
    ) -> Admission {
        let count = {
            let mut connections = self.connections.lock();
            let Some(connection) = connections.open.get_mut(&connection) else {
                return Admission::Started;
            };
            let StartOptions { rules, first_event } = options;
            let subscriptions = &connection.live;
            let admission = rules.admit(subscriptions.contains_key(id), subscriptions.len());
            if admission != Admission::Started {
                return admission;
            }
            if rules.acknowledge {
                self.enqueue(connection, messages::start_ack(id));
            }
            if let Some(event) = first_event {
                self.deliver(connection, id, &live, &event);
            }
            connection.live.insert(id.to_owned(), live);
            connection.live.len()
        };
        self.ledger.count(|counts| {
            counts.requests.subscriptions_started += 1;
            counts.max_seen = counts.max_seen.max(count);
        });
        Admission::Started
    }

    /// Ends a subscription, and queues a `complete`. An unknown id gets a `complete` too.
    pub(super) fn stop(&self, connection: u64, id: &str) {
        if let Some(connection) = self.connections.lock().open.get_mut(&connection) {
            connection.live.remove(id);
            connection.explained.retain(|(live, _)| live != id);
            self.enqueue(connection, messages::complete(id));
        }
        self.ledger.count(|counts| counts.stops_total += 1);
    }

    /// Puts a frame in a connection's outbox.
    pub(super) fn send(&self, connection: u64, text: String) {
        if let Some(connection) = self.connections.lock().open.get(&connection) {
            self.enqueue(connection, text);
        }
    }

    /// Sends a mutation's result to the subscriptions to `field` that match it.
    pub(super) fn publish(&self, mutation: &str, field: &str, event: &Value) {
        let mut connections = self.connections.lock();
        for connection in connections.open.values_mut() {
            let mut silent = Vec::new();
            for (id, live) in &connection.live {
                if live.selected.name != field {
                    continue;
                }
                if live.matches_filter(event) {
                    self.deliver(connection, id, live, event);
                } else {
                    silent.extend(live.unselected(event).map(|fields| (id.clone(), fields)));
                }
            }
            for (id, fields) in silent {
                if connection.explained.insert((id, mutation.to_owned())) {
                    explain(mutation, field, &fields);
                }
            }
        }
    }

    pub(super) fn complete_all(&self) {
        self.end_all(messages::complete);
    }

    /// Sends an error to every subscription. A GraphQL subscription ends with it. Events does not have
    /// an error that ends a subscription: there it is the error for an event that cannot be sent.
    pub(super) fn error_all(&self) {
        self.end_all(|id| messages::error(id, "InternalFailure", "Internal failure"));
        for connection in self.connections.lock().open.values() {
            for id in connection.channels.keys() {
                let (message_type, error_type) = ("broadcast_error", "MessageProcessingError");
                let message = Some("Internal failure");
                let text = event_messages::error(message_type, id, error_type, message);
                self.enqueue(connection, text);
            }
        }
    }

    /// Sends this text as a frame on every connection. If it contains `$ID`, sends one frame for each
    /// live subscription instead, in which the id, escaped for a JSON string, replaces `$ID`.
    pub(super) fn send_all(&self, text: &str) {
        for connection in self.connections.lock().open.values() {
            if !text.contains(ID) {
                self.enqueue(connection, text.to_owned());
                continue;
            }
            for id in connection.live.keys().chain(connection.channels.keys()) {
                let json = serde_json::Value::from(id.as_str()).to_string();
                let inside = json.get(1..json.len() - 1).unwrap_or_default();
                self.enqueue(connection, text.replace(ID, inside));
            }
        }
    }

    pub(super) fn close_all(&self, code: u16) {
        for connection in self.connections.lock().open.values() {
            self.enqueue_frame(connection, Frame::Close(code));
        }
    }

    pub(super) fn drop_all(&self) {
        for connection in self.connections.lock().open.values() {
            connection.disconnect.cancel();
        }
    }

    /// Returns the live subscriptions of each open GraphQL connection.
    pub(super) fn live(&self) -> Vec<Vec<LiveSubscription>> {
        let connections = self.connections.lock();
        connections
            .open
            .iter()
            .filter(|(_, connection)| connection.protocol == Protocol::GraphQl)
            .map(|(number, connection)| {
                connection
                    .live
                    .iter()
                    .map(|(id, live)| LiveSubscription {
                        connection: *number,
                        id: id.clone(),
                        field: live.selected.name.clone(),
                        unsigned_headers: live.unsigned_headers.clone(),
                    })
                    .collect()
            })
            .collect()
    }

    fn end_all(&self, frame: impl Fn(&str) -> String) {
        for connection in self.connections.lock().open.values_mut() {
            connection.explained.clear();
            for id in std::mem::take(&mut connection.live).into_keys() {
                self.enqueue(connection, frame(&id));
            }
        }
        self.ledger.notify_watchers();
    }

    fn deliver(&self, connection: &Connection, id: &str, live: &ActiveSubscription, event: &Value) {
        let (value, errors) = selection::project(&self.types, &live.selected, event);
        let data = IndexMap::from([(Name::new(&live.selected.response_key), value)]);
        match messages::data_payload(&Value::Object(data), &errors) {
            Ok(payload) if payload.len() <= MAX_EVENT => {
                self.enqueue(connection, messages::data(id, &payload));
            }
            Ok(payload) => {
                tracing::debug!(
                    bytes = payload.len(),
                    "event dropped: larger than AppSync's limit"
                );
            }
            Err(error) => tracing::warn!(exception.message = %error, "event not delivered"),
        }
    }

    fn enqueue(&self, connection: &Connection, text: String) {
        self.enqueue_frame(connection, Frame::Text(text));
    }

    fn enqueue_frame(&self, connection: &Connection, frame: Frame) {
        // The task of a dropped connection may still be in the middle of a poll.
        if connection.disconnect.is_cancelled() {
            return;
        }
        if connection.outbox.try_send(frame).is_err() {
            tracing::info!("dropping connection: the client does not read");
            connection.disconnect.cancel();
            self.ledger.count(|counts| counts.overflowed += 1);
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

// === impl AdmissionRules ===

impl AdmissionRules {
    fn admit(&self, exists: bool, count: usize) -> Admission {
        if exists {
            Admission::Duplicate
        } else if count >= self.limit {
            Admission::Full
        } else if self.refuse {
            Admission::RefusedBySwitch
        } else {
            Admission::Started
        }
    }
}

// === impl ActiveSubscription ===

impl ActiveSubscription {
    /// Returns whether the event matches the filter. AppSync compares a subscription's arguments with
    /// the fields of the mutation's *result*: a field that the mutation did not select is null.
    fn matches_filter(&self, event: &Value) -> bool {
        let Value::Object(event) = event else {
            return false;
        };
        self.filter
            .iter()
            .all(|(name, expected)| event.get(name.as_str()).unwrap_or(&Value::Null) == expected)
    }

    /// Returns the fields of the filter that the mutation did not select, so that no value matches, or
    /// `None` if it selected all.
    fn unselected(&self, event: &Value) -> Option<Vec<&str>> {
        let Value::Object(event) = event else {
            return None;
        };
        let filter = self.filter.iter();
        let missing = filter
            .filter(|(name, value)| *value != Value::Null && !event.contains_key(name.as_str()));
        let missing: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
        (!missing.is_empty()).then_some(missing)
    }
}

// === impl LeaveOnDrop ===

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.hub.connections.lock().open.remove(&self.id);
        self.hub.ledger.notify_watchers();
    }
}

/// Logs why a subscription does not receive a mutation's result.
fn explain(mutation: &str, subscription: &str, fields: &[&str]) {
    tracing::warn!(
        mutation,
        subscription,
        fields = fields.join(" "),
        "event not sent: the mutation does not select the fields by which the subscription filters, and \
         AppSync compares its arguments with the fields that the mutation selects"
    );
}

const ID: &str = "$ID";
/// The largest number of frames queued for one connection.
const OUTBOX: usize = 1024;
/// AppSync's quota is 240 KB. A kilobyte of 1,000 bytes is the stricter assumption.
const MAX_EVENT: usize = 240_000;
