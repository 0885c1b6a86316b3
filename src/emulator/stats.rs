//! The emulator's counters and gauges, for the assertions of tests.
//!
//! All parts of the emulator write to the [`Ledger`]. A [`Stats`] is a snapshot of it. Each change
//! increments a version, which tests watch instead of polling.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::appsync_error::AppSyncError;

/// A snapshot. `GET /state` on the control listener returns it as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub requests: Requests,
    /// The realtime connections of GraphQL. Those of Events are in [`Events`].
    pub realtime: Realtime,
    pub events: Events,
    pub gateway: GatewayStats,
    /// The number of executions of each mutation, by `<room>/<body>` or `createRoom/<name>`, counted
    /// when its resolver starts, before any gate or delay. The last 10,000 distinct names are kept,
    /// each up to 1,000 bytes.
    pub mutations: BTreeMap<String, u64>,
    /// The error type and the first line of the last error, for example
    /// `InvalidSignatureException: The request signature we calculated does not match …`. A bad
    /// signature has this type here even if a switch changes the response.
    pub last_refusal: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// All requests on the TLS listener, including rejected ones and realtime upgrades.
    pub http: u64,
    /// Executed queries.
    pub queries: u64,
    /// Executed mutations.
    pub mutations: u64,
    /// Accepted `start`s.
    pub subscriptions_started: u64,
    /// Rejected requests, realtime connects, `start`s and messages of Events.
    pub refused: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Realtime {
    /// Connections that are open and were authorised.
    pub connections: usize,
    pub connections_total: u64,
    /// Live subscriptions on all connections.
    pub subscriptions: usize,
    /// Live subscriptions of each open connection, the oldest connection first.
    pub subscriptions_by_connection: Vec<usize>,
    /// `start` messages received after the acknowledgement, including rejected ones.
    pub starts_total: u64,
    /// `stop` messages received after the acknowledgement.
    pub stops_total: u64,
    /// The largest number of live subscriptions on one connection so far.
    pub max_seen: usize,
    /// Connections that were dropped because the client did not read, including those of Events.
    pub overflowed: u64,
    pub live: Vec<LiveSubscription>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveSubscription {
    pub connection: u64,
    pub id: String,
    /// `onMessage`, `onCreateRoom` or `onHeaders`.
    pub field: String,
    /// The unsigned headers in the `start`'s authorization, with names in lower case. AppSync passes
    /// them to resolvers as request headers.
    pub unsigned_headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Requests to `/event`, including rejected ones.
    pub requests: u64,
    /// Publishes, including rejected ones. Over HTTP, only those with a valid signature are counted.
    pub publishes: u64,
    /// Accepted events.
    pub accepted: u64,
    /// Events that failed in publishes that were accepted.
    pub failed: u64,
    /// Rejected requests, connects, `publish`es, `subscribe`s and `unsubscribe`s. They are also counted
    /// in [`Requests::refused`].
    pub refused: u64,
    /// Realtime connections that are open and were authorised.
    pub connections: usize,
    pub connections_total: u64,
    /// Live subscriptions on all connections.
    pub subscriptions: usize,
    /// Accepted `subscribe`s.
    pub subscribed: u64,
    /// `subscribe` messages received, including rejected ones.
    pub subscribes_total: u64,
    /// `unsubscribe` messages received, including rejected ones.
    pub unsubscribes_total: u64,
    pub live: Vec<LiveChannel>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveChannel {
    pub connection: u64,
    pub id: String,
    /// The channel with a leading slash, for example `/default/room-1` or `/default/*`.
    pub channel: String,
}

/// Statistics of API Gateway and the other emulated services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GatewayStats {
    /// All requests, including rejected ones and upgrades.
    pub requests: u64,
    /// Requests with a valid signature.
    pub verified: u64,
    /// Rejected requests by reason: `missing_token`, `incomplete`, `mismatch`, `expired`,
    /// `not_yet_current`, `scope`, `signed_headers`, `unrecognized_client`, `expired_token`,
    /// `forbidden`, `bad_request` and others. They are also counted in [`Requests::refused`].
    pub refused: BTreeMap<String, u64>,
    /// Ids of the open connections of the WebSocket API.
    pub connections: Vec<String>,
    pub connections_total: u64,
    /// Text messages received on connections of the WebSocket API.
    pub messages: u64,
    /// Started streams of IoT Wireless.
    pub analyzer_streams: u64,
    /// Streamed responses whose client disconnected before the end.
    pub cut: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    counts: Mutex<Counts>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: Requests,
    /// The counters of Events. Its gauges come from the hub.
    pub(super) events: Events,
    /// The counters of the gateway, without the open connections.
    pub(super) gateway: GatewayStats,
    pub(super) connections_total: u64,
    pub(super) starts_total: u64,
    pub(super) stops_total: u64,
    pub(super) max_seen: usize,
    pub(super) overflowed: u64,
    last_refusal: Option<String>,
    mutations: BTreeMap<String, u64>,
    mutation_order: VecDeque<String>,
}

// === impl Ledger ===

impl Default for Ledger {
    fn default() -> Self {
        Self {
            counts: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Ledger {
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
        self.notify_watchers();
    }

    /// Notifies watchers of a change of a gauge that the ledger does not hold.
    pub(super) fn notify_watchers(&self) {
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    pub(super) fn record_refusal(&self, error: &AppSyncError) {
        let summary = error.summary();
        tracing::info!(reason = %summary, "refused");
        self.record_refusal_summary(summary);
    }

    pub(super) fn record_refusal_summary(&self, summary: String) {
        self.count(|counts| {
            counts.requests.refused += 1;
            counts.last_refusal = Some(summary);
        });
    }

    pub(super) fn mutation(&self, mut name: String) {
        name.truncate(name.floor_char_boundary(MUTATION_NAME));
        self.count(|counts| {
            if let Some(count) = counts.mutations.get_mut(&name) {
                *count += 1;
                return;
            }
            if counts.mutation_order.len() >= MUTATION_NAMES
                && let Some(oldest) = counts.mutation_order.pop_front()
            {
                counts.mutations.remove(&oldest);
            }
            counts.mutation_order.push_back(name.clone());
            counts.mutations.insert(name, 1);
        });
    }

    /// Returns a snapshot. The arguments are the live subscriptions of each open connection of GraphQL
    /// and of Events, and the gateway's open connections.
    pub(super) fn snapshot(
        &self,
        connections: &[Vec<LiveSubscription>],
        channels: &[Vec<LiveChannel>],
        sockets: Vec<String>,
    ) -> Stats {
        let counts = self.counts.lock();
        let by_connection: Vec<usize> = connections.iter().map(Vec::len).collect();
        Stats {
            requests: counts.requests.clone(),
            realtime: Realtime {
                connections: connections.len(),
                connections_total: counts.connections_total,
                subscriptions: by_connection.iter().sum(),
                subscriptions_by_connection: by_connection,
                starts_total: counts.starts_total,
                stops_total: counts.stops_total,
                max_seen: counts.max_seen,
                overflowed: counts.overflowed,
                live: connections.concat(),
            },
            events: Events {
                connections: channels.len(),
                subscriptions: channels.iter().map(Vec::len).sum(),
                live: channels.concat(),
                ..counts.events.clone()
            },
            gateway: GatewayStats {
                connections: sockets,
                ..counts.gateway.clone()
            },
            mutations: counts.mutations.clone(),
            last_refusal: counts.last_refusal.clone(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

const MUTATION_NAMES: usize = 10_000;
const MUTATION_NAME: usize = 1000;
