//! What the emulator has seen: counters and gauges, for tests to assert on.
//!
//! [`Ledger`] is written by every part and read as a [`Stats`] snapshot. Each change bumps a version
//! that waiters watch, so that nobody has to poll.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::refusal::Refusal;

/// A snapshot. Serialised, it is the answer of `GET /state` on the control listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub requests: Requests,
    /// Of GraphQL. Events has its own.
    pub realtime: Realtime,
    pub events: Events,
    pub gateway: GatewayStats,
    /// How often each mutation was executed, by `<room>/<body>`, or `createRoom/<name>`. Counted when
    /// its resolver begins, before any gate or delay. The last 10,000 distinct names are kept, each up
    /// to 1,000 bytes.
    pub mutations: BTreeMap<String, u64>,
    /// Error type and first line of the last refusal, for example
    /// `InvalidSignatureException: The request signature we calculated does not match …`. Bad
    /// signatures have this type here whatever was answered.
    pub last_refusal: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// All requests on the TLS listener, refused ones and realtime upgrades too.
    pub http: u64,
    /// Query operations executed.
    pub queries: u64,
    /// Mutation operations executed.
    pub mutations: u64,
    /// `start`s that were accepted.
    pub subscriptions_started: u64,
    /// Requests, realtime connects, `start`s and messages of Events that were refused.
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
    /// `start` messages received after the acknowledgement, refused ones too.
    pub starts_total: u64,
    /// `stop` messages received after the acknowledgement.
    pub stops_total: u64,
    /// The most subscriptions that were ever live on one connection.
    pub max_seen: usize,
    /// Connections cut because their peer did not read, those of Events too.
    pub overflowed: u64,
    pub live: Vec<LiveSubscription>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveSubscription {
    pub connection: u64,
    pub id: String,
    /// `onMessage`, `onCreateRoom` or `onHeaders`.
    pub field: String,
    /// What the `start`'s authorization carried beside the signed headers; AppSync shows these to
    /// resolvers as request headers. Names in lower case.
    pub unsigned_headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Requests to `/event`, refused ones too.
    pub requests: u64,
    /// Publishes with a good signature by HTTP, and all of them by realtime, refused ones too.
    pub publishes: u64,
    /// Single events that were accepted.
    pub accepted: u64,
    /// Single events that failed, in publishes that did not.
    pub failed: u64,
    /// Requests, connects, `publish`es, `subscribe`s and `unsubscribe`s that were refused. They are
    /// also in [`Requests::refused`].
    pub refused: u64,
    /// Realtime connections that are open and were authorised.
    pub connections: usize,
    pub connections_total: u64,
    /// Live subscriptions on all connections.
    pub subscriptions: usize,
    /// `subscribe`s that were accepted.
    pub subscribed: u64,
    /// `subscribe` messages received, refused ones too.
    pub subscribes_total: u64,
    /// `unsubscribe` messages received, refused ones too.
    pub unsubscribes_total: u64,
    pub live: Vec<LiveChannel>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveChannel {
    pub connection: u64,
    pub id: String,
    /// With a slash before it, for example `/default/room-1` or `/default/*`.
    pub channel: String,
}

/// Of API Gateway and the other services that the emulator plays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GatewayStats {
    /// All requests, refused ones and upgrades too.
    pub requests: u64,
    /// Those whose signature was good.
    pub verified: u64,
    /// Those that were refused, by reason: `missing_token`, `incomplete`, `mismatch`, `expired`,
    /// `not_yet_current`, `scope`, `signed_headers`, `unrecognized_client`, `expired_token`,
    /// `forbidden`, `bad_request` and others. They are also in [`Requests::refused`].
    pub refused: BTreeMap<String, u64>,
    /// Ids of the open connections of the WebSocket API.
    pub connections: Vec<String>,
    pub connections_total: u64,
    /// Text messages received on them.
    pub messages: u64,
    /// Streams of IoT Wireless that were begun.
    pub analyzer_streams: u64,
    /// Streamed answers whose client went away.
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
    /// Without the gauges: connections, subscriptions and live ones.
    pub(super) events: Events,
    /// Without the open connections.
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
        self.touch();
    }

    /// Tells waiters that a gauge kept elsewhere has changed.
    pub(super) fn touch(&self) {
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let summary = refusal.summary();
        tracing::info!(reason = %summary, "refused");
        self.refused_with(summary);
    }

    pub(super) fn refused_with(&self, summary: String) {
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

    /// A snapshot, given the live subscriptions of each open connection, GraphQL's and Events', and
    /// the gateway's open connections.
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
