//! Which connection carries which subscription.
//!
//! A connection is opened at the first subscription and kept for a linger time after the last.
//! Subscriptions of one owner (a client socket) stay together as long as their connection has
//! room; beyond that the fullest connection with room is taken, so that connections stay few. They
//! are bounded, too: where none has room and none can be added, a subscription fails at once.
//! When a connection is lost, one redial runs at once; while redials fail, upstream is known to
//! be down and newcomers are told so.

mod places;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub(super) use self::places::ConnectionId;
use self::places::{Entry, State};
use super::driver::{Command, Driver, Ending};
use super::{OnLoss, RealtimeConfig};
use crate::graphql::outbox::Outbox;
use crate::telemetry::metrics::metrics;
use crate::telemetry::tasks::{Task, caught};
use crate::upstream::{Dialer, Kind, Upstream};
use countersign_protocol::graphql::{Event, GraphqlError, OperationKey};
use countersign_protocol::realtime::Start;
use countersign_protocol::realtime::connection::{Key, Protocol};

/// The realtime connections of one route and identity.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

/// Whose subscriptions belong together: one client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// Whether a newcomer may hope for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Hopeful,
    /// The last attempts failed; a redial is under way.
    Down,
}

/// A running subscription; dropping it stops it upstream.
#[derive(Debug)]
pub struct Subscription {
    pool: Arc<Shared>,
    key: Key,
    /// Tells that somebody still wants it, while it is on no connection.
    alive: Option<Arc<()>>,
}

/// What the pool knows of a subscription wherever it runs.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) start: Arc<Start>,
    pub(super) outbox: Outbox,
    pub(super) operation: OperationKey,
    owner: Owner,
    alive: Weak<()>,
    /// How often it was moved to another connection, or tried on a new one.
    moves: u32,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) protocol: Protocol,
    pub(super) upstream: Arc<Upstream>,
    pub(super) dialer: Dialer,
    pub(super) config: RealtimeConfig,
    pub(super) stop: CancellationToken,
    tasks: TaskTracker,
    state: Mutex<State>,
}

/// Connections at a time, open or being opened.
const MAX_CONNECTIONS: usize = 256;
/// A subscription is moved, or retried on a new connection, at most so often.
const MAX_MOVES: u32 = 3;
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Redials stop when nobody has asked for so long.
const REDIAL_INTEREST: Duration = Duration::from_secs(60);

// === impl Pool ===

impl Pool {
    /// Connections are opened when they are needed and end with `stop`.
    pub fn new(
        upstream: Arc<Upstream>,
        dialer: Dialer,
        config: RealtimeConfig,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let protocol = match upstream.endpoint().kind {
            Kind::Events => Protocol::Events,
            Kind::Graphql | Kind::Http => Protocol::Graphql,
        };
        Self(Arc::new(Shared {
            protocol,
            upstream,
            dialer,
            config,
            stop,
            tasks,
            state: Mutex::default(),
        }))
    }

    /// Starts a subscription. Its events, an ending among them in any case, go to `outbox` under
    /// `operation`.
    pub fn subscribe(
        &self,
        owner: Owner,
        start: Start,
        outbox: Outbox,
        operation: OperationKey,
    ) -> Subscription {
        let recorder = self.0.upstream.recorder();
        match self.0.protocol {
            Protocol::Graphql => recorder.operation(start.data.as_bytes()),
            Protocol::Events => recorder.subscribe(start.data.as_bytes()),
        }
        let key = {
            let mut state = self.0.state.lock();
            state.wanted_at = Some(Instant::now());
            Key(state.next_id())
        };
        let alive = Arc::new(());
        self.0.place(Wanted {
            key,
            alive: Arc::downgrade(&alive),
            start: Arc::new(start),
            outbox,
            operation,
            owner,
            moves: 0,
        });
        Subscription {
            pool: Arc::clone(&self.0),
            key,
            alive: Some(alive),
        }
    }

    /// Whether upstream is known to be down; asking keeps the redials going.
    pub fn availability(&self) -> Availability {
        let mut state = self.0.state.lock();
        state.wanted_at = Some(Instant::now());
        if state.failures > 0 && state.is_redialling {
            Availability::Down
        } else {
            Availability::Hopeful
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let state = self.pool.state.lock();
        // Under the lock, so that it cannot be placed behind our back.
        self.alive = None;
        let place = state.places.get(&self.key);
        let entry = place.and_then(|id| state.connections.iter().find(|entry| entry.id == *id));
        if let Some(entry) = entry {
            // There is room: a subscription makes two commands, and capacity counts both.
            let _ = entry.commands.try_send(Command::Stop(self.key));
        }
    }
}

impl Wanted {
    fn is_wanted(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Ends it: there is no room for it.
    fn refuse(&self) {
        const CODE: &str = "TOO_MANY_CONNECTIONS";
        let message = format!(
            "{MAX_CONNECTIONS} realtime connections are open or being opened, and none has room \
             for another subscription (pool.subscriptions)"
        );
        metrics().refused(CODE);
        let error = GraphqlError::coded(message, CODE, "no");
        self.outbox.end(self.operation, Event::Error(vec![error]));
    }
}

// === impl Shared ===

impl Shared {
    /// Puts a subscription on a connection with room, or on a new one.
    fn place(self: &Arc<Self>, wanted: Wanted) {
        let mut state = self.state.lock();
        if !wanted.is_wanted() {
            return;
        }
        while let Some(entry) = state.room_for(wanted.owner) {
            let id = entry.id;
            let commands = entry.commands.clone();
            if let Ok(permit) = commands.try_reserve() {
                state.connect(id, &wanted);
                permit.send(Command::Subscribe(wanted));
                return;
            }
            // The driver has ended and will say so; until then nothing is placed there.
            if let Some(entry) = state.entry(id) {
                entry.capacity = 0;
            }
        }
        self.open(&mut state, vec![wanted]);
    }

    /// Opens a connection for these subscriptions, which it is sure to have room for.
    fn open(self: &Arc<Self>, state: &mut State, wanted: Vec<Wanted>) {
        if state.connections.len() >= MAX_CONNECTIONS {
            return wanted.iter().for_each(Wanted::refuse);
        }
        let id = ConnectionId(state.next_id());
        let capacity = self.config.subscriptions;
        let (commands, inbox) = mpsc::channel(capacity * 2 + 1);
        state.connections.push(Entry {
            id,
            commands,
            capacity,
            owners: HashMap::new(),
            used: 0,
        });
        for wanted in &wanted {
            state.connect(id, wanted);
        }
        let driver = Driver::new(Arc::clone(self), id, inbox, wanted);
        let stop = self.stop.clone();
        let driven = caught(Task::Realtime, driver.run());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(driven).await;
        });
    }

    pub(super) fn ready(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.is_redialling = false;
    }

    /// A subscription is over, or was never started: its place is free.
    pub(super) fn released(&self, id: ConnectionId, wanted: &Wanted) {
        self.state.lock().release(id, wanted);
    }

    /// The connection said that it takes no more.
    pub(super) fn full(self: &Arc<Self>, id: ConnectionId, wanted: Wanted) {
        {
            let mut state = self.state.lock();
            state.release(id, &wanted);
            if let Some(entry) = state.entry(id) {
                entry.capacity = entry.used;
            }
        }
        let moved = Wanted {
            moves: wanted.moves + 1,
            ..wanted
        };
        if moved.moves > MAX_MOVES {
            let error = GraphqlError::coded(
                "AppSync takes no more subscriptions (pool.subscriptions)",
                "UPSTREAM_FULL",
                "no",
            );
            moved.outbox.end(moved.operation, Event::Error(vec![error]));
            return;
        }
        self.place(moved);
    }

    /// Whether an idle connection may close: from then on nothing is placed on it.
    pub(super) fn retire(&self, id: ConnectionId) -> bool {
        let mut state = self.state.lock();
        let is_idle = state.entry(id).is_some_and(|entry| entry.used == 0);
        if is_idle {
            state.connections.retain(|entry| entry.id != id);
        }
        is_idle
    }

    /// A connection has ended; `live` are the subscriptions it had.
    pub(super) fn ended(self: &Arc<Self>, id: ConnectionId, ending: Ending, live: Vec<Wanted>) {
        {
            let mut state = self.state.lock();
            state.connections.retain(|entry| entry.id != id);
            state.places.retain(|_, place| *place != id);
        }
        match ending {
            Ending::Idle => {}
            Ending::Lost(reason) => self.lost(reason, live),
            Ending::Panicked => self.dropped(&live),
            Ending::Refused(errors) => {
                self.ready();
                for wanted in live {
                    wanted
                        .outbox
                        .end(wanted.operation, Event::Error(errors.clone()));
                }
            }
            Ending::Unreachable(error) => self.unreachable(&error, live),
        }
    }

    fn lost(self: &Arc<Self>, reason: &'static str, live: Vec<Wanted>) {
        warn!(
            reason,
            subscriptions = live.len(),
            "realtime connection lost"
        );
        if !live.is_empty() {
            // Their clients will be back.
            self.state.lock().wanted_at = Some(Instant::now());
        }
        match self.config.on_loss {
            OnLoss::Close => {
                for wanted in &live {
                    wanted.outbox.end(wanted.operation, Event::Lost);
                }
                self.redial(Vec::new());
            }
            OnLoss::Resume => {
                let gaps = &self.upstream.metrics().realtime_gaps;
                gaps.inc_by(live.len() as u64);
                warn!(subscriptions = live.len(), "events of the gap are missing");
                self.redial(live);
            }
        }
    }

    /// A panic ended a connection. It is not redialled: what made it panic may do so again, and the
    /// next subscription opens another.
    fn dropped(&self, live: &[Wanted]) {
        let subscriptions = live.len();
        warn!(subscriptions, "realtime connection ended by a panic");
        for wanted in live {
            wanted.outbox.end(wanted.operation, Event::Lost);
        }
    }

    /// A connection could not be opened. Its subscriptions get one more try, later redials are
    /// for newcomers only.
    fn unreachable(self: &Arc<Self>, error: &GraphqlError, live: Vec<Wanted>) {
        {
            let mut state = self.state.lock();
            state.failures = state.failures.saturating_add(1);
            state.is_redialling = false;
        }
        let patience = match self.config.on_loss {
            OnLoss::Close => 1,
            OnLoss::Resume => MAX_MOVES,
        };
        let (again, given_up): (Vec<_>, Vec<_>) = live
            .into_iter()
            .map(|wanted| Wanted {
                moves: wanted.moves + 1,
                ..wanted
            })
            .partition(|wanted| wanted.moves <= patience);
        for wanted in given_up {
            wanted
                .outbox
                .end(wanted.operation, Event::Error(vec![error.clone()]));
        }
        self.redial(again);
    }

    /// Dials again after a pause that grows with the failures; at once after a loss. One redial
    /// runs at a time; what is wanted meanwhile starts a connection of its own.
    fn redial(self: &Arc<Self>, wanted: Vec<Wanted>) {
        let pause = {
            let mut state = self.state.lock();
            let has_interest = state
                .wanted_at
                .is_some_and(|at| at.elapsed() < REDIAL_INTEREST);
            let is_needless = state.is_redialling || !state.connections.is_empty();
            if wanted.is_empty() && (is_needless || !has_interest) {
                if !state.is_redialling && !has_interest {
                    state.failures = 0;
                }
                return;
            }
            state.is_redialling = true;
            backoff(state.failures)
        };
        let pool = Arc::clone(self);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let waiting = wanted.clone();
            let redialled = caught(Task::Realtime, async {
                let slept = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                if slept.is_some() {
                    pool.upstream.metrics().realtime_reconnects.inc();
                    info!("realtime redials");
                    pool.open_all(wanted);
                }
            });
            if redialled.await.is_err() {
                pool.state.lock().is_redialling = false;
                pool.dropped(&waiting);
            }
        });
    }

    fn open_all(self: &Arc<Self>, wanted: Vec<Wanted>) {
        let mut state = self.state.lock();
        // If nothing can be dialled, nothing will tell how the redial ended.
        state.is_redialling &= state.connections.len() < MAX_CONNECTIONS;
        let mut rest = wanted;
        rest.retain(Wanted::is_wanted);
        if rest.is_empty() {
            // Dialled all the same: how it ends decides whether upstream counts as down.
            return self.open(&mut state, rest);
        }
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(self.config.subscriptions));
            self.open(&mut state, rest);
            rest = later;
        }
    }
}

fn backoff(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let base = Duration::from_millis(500 << failures.saturating_sub(1).min(6)).min(MAX_BACKOFF);
    base.mul_f64(0.5 + fastrand::f64() / 2.0)
}
