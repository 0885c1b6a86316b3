//! The realtime connections of one route.
//!
//! The placement machine makes all decisions, and one lock protects it. A caller with an input for it
//! (a session that subscribes, a driver that reports, a timer) performs the machine's outputs
//! before it releases the lock, so that outputs are performed in order. No output waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{GraphqlError, OperationKey};
use countersign_protocol::realtime::Start;
use countersign_protocol::realtime::connection::{Key, Protocol};
use countersign_protocol::realtime::placement::{
    Availability, ConnectionEnd, ConnectionId, Output, Owner, Placement, PlacementConfig,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::RealtimeConfig;
use super::connector::RealtimeConnector;
use super::driver::{Command, Driver, Report, Reports};
use super::subscriber::{MAX_CONNECTIONS, Subscriber};
use crate::inspector::{Capture, ShownConnection};
use crate::lifecycle::BackgroundTasks;
use crate::outbox::Outbox;
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::tasks::{Panicked, Task, caught};
use crate::upstream::{Dialer, Upstream};

/// The realtime connections of one route and identity.
#[derive(Clone, Debug)]
pub struct Pool(Arc<PoolInner>);

/// A running subscription. Dropping it stops the subscription upstream.
#[derive(Debug)]
pub struct Subscription {
    pool: Arc<PoolInner>,
    key: Key,
}

#[derive(Debug)]
struct PoolInner {
    connector: Arc<RealtimeConnector>,
    config: RealtimeConfig,
    stop: CancellationToken,
    tasks: TaskTracker,
    state: Mutex<PoolState>,
    /// Notified when `wakes_at` is set to an earlier time.
    rescheduled: Notify,
}

#[derive(Debug)]
struct PoolState {
    placement: Placement<Arc<Subscriber>>,
    /// The drivers of the connections in `placement`.
    drivers: HashMap<ConnectionId, mpsc::Sender<Command>>,
    /// When the timer's task wakes the machine.
    wakes_at: Option<Instant>,
    has_timer: bool,
}

/// Passes one connection's reports to its pool.
pub(super) struct Reporter {
    pool: Arc<PoolInner>,
    id: ConnectionId,
}

// === impl Pool ===

impl Pool {
    /// Returns a pool without connections. It opens connections when subscriptions need them, and closes
    /// them when the background tasks are stopped.
    pub fn new(
        upstream: Arc<Upstream>,
        dialer: Dialer,
        config: RealtimeConfig,
        background: BackgroundTasks,
    ) -> Self {
        let connector = Arc::new(RealtimeConnector::new(upstream, dialer, config.handshake));
        let placement = PlacementConfig {
            on_loss: config.on_loss,
            subscriptions: config.subscriptions,
            connections: MAX_CONNECTIONS,
            patience: config.patience,
        };
        let state = Mutex::new(PoolState {
            placement: Placement::new(placement, Instant::now()),
            drivers: HashMap::new(),
            wakes_at: None,
            has_timer: false,
        });
        Self(Arc::new(PoolInner {
            connector,
            config,
            stop: background.stop,
            tasks: background.tracker,
            state,
            rescheduled: Notify::new(),
        }))
    }

    /// Starts a subscription. Its events are queued in `outbox` with the key `operation`; the last event
    /// ends the operation. Its messages are shown to `capture`.
    pub fn subscribe(
        &self,
        owner: Owner,
        start: Start,
        outbox: Outbox,
        operation: OperationKey,
        capture: Capture,
    ) -> Subscription {
        let recorder = self.0.connector.upstream.recorder();
        match self.0.connector.protocol {
            Protocol::Graphql => recorder.operation(start.data.as_bytes()),
            Protocol::Events => recorder.subscribe(start.data.as_bytes()),
        }
        let subscriber = Arc::new(Subscriber {
            start: Arc::new(start),
            outbox,
            operation,
            connector: Arc::clone(&self.0.connector),
            capture,
        });
        let key = self
            .0
            .update(|placement| placement.subscribe(Instant::now(), owner, subscriber));
        Subscription {
            pool: Arc::clone(&self.0),
            key,
        }
    }

    /// Returns the open connections as the inspector shows them.
    pub fn shown(&self) -> Vec<ShownConnection> {
        let state = self.0.state.lock();
        let ids = state.drivers.keys();
        let mut shown: Vec<ShownConnection> = ids
            .filter(|id| state.placement.is_ready(**id))
            .map(|id| ShownConnection {
                id: id.0,
                subscriptions: state.placement.count(*id),
                limit: self.0.config.subscriptions,
                entries: state
                    .placement
                    .subscribers(*id)
                    .filter_map(|subscriber| subscriber.capture.id())
                    .collect(),
            })
            .collect();
        shown.sort_unstable_by_key(|connection| connection.id);
        shown
    }

    /// Returns whether upstream is known to be unreachable. If so, the pool tries to reconnect.
    pub fn availability(&self) -> Availability {
        self.0
            .update(|placement| placement.availability(Instant::now()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.pool.update(|placement| placement.release(self.key));
    }
}

// === impl Reporter ===

impl Reports for Reporter {
    fn report(&self, report: Report) {
        let id = self.id;
        let now = Instant::now();
        self.pool.update(|placement| match report {
            Report::Ready => placement.handle_ready(now, id),
            Report::Acknowledged(key) => placement.handle_acknowledged(id, key),
            Report::Ended(key, event) => placement.handle_ended(id, key, event),
            Report::Interrupted(key, event) => {
                placement.handle_interrupted(now, id, key, event, fastrand::f64());
            }
            Report::Unanswered(key, event) => {
                placement.handle_unanswered(now, id, key, event, fastrand::f64());
            }
            Report::Overflow(key) => placement.handle_overflow(id, key),
            Report::Released(key) => placement.handle_released(id, key),
            Report::Full(key) => placement.handle_full(now, id, key),
        });
    }

    fn retire(&self) -> bool {
        let mut state = self.pool.state.lock();
        let retired = state.placement.retire(self.id);
        if retired {
            state.drivers.remove(&self.id);
        }
        retired
    }
}

// === impl PoolInner ===

impl PoolInner {
    /// Passes an input to the placement machine, and performs its outputs.
    fn update<T>(self: &Arc<Self>, input: impl FnOnce(&mut Placement<Arc<Subscriber>>) -> T) -> T {
        let mut state = self.state.lock();
        let result = input(&mut state.placement);
        self.perform(&mut state);
        result
    }

    fn perform(self: &Arc<Self>, state: &mut PoolState) {
        while let Some(output) = state.placement.poll_output() {
            match output {
                Output::Connect(id) => {
                    let driver = self.connect(id);
                    state.drivers.insert(id, driver);
                }
                Output::Subscribe(id, key, subscriber) => {
                    let command = Command::Subscribe(key, subscriber);
                    let driver = state.drivers.get(&id);
                    if driver.is_none_or(|driver| driver.try_send(command).is_err()) {
                        state.placement.handle_rejected(Instant::now(), id, key);
                    }
                }
                Output::Stop(id, key) => {
                    if let Some(driver) = state.drivers.get(&id) {
                        // If the driver has ended, its connection is closed, and so is the subscription.
                        let _ = driver.try_send(Command::Stop(key));
                    }
                }
                Output::Gap(subscriptions) => {
                    self.metrics().realtime_gaps.inc_by(subscriptions as u64);
                    warn!(subscriptions, "events may have been lost");
                }
                Output::End(subscriber, why) => subscriber.end(why),
            }
        }
        self.schedule(state);
    }

    /// Spawns the driver of a new connection, and returns the sender of its commands.
    fn connect(self: &Arc<Self>, id: ConnectionId) -> mpsc::Sender<Command> {
        // At most three commands for each slot are unread: the `Stop` of a subscription that has ended
        // upstream meanwhile, and `Subscribe` and `Stop` of the next one. Then the slot is not free until
        // the driver has read them.
        let (driver, commands) = mpsc::channel(self.config.subscriptions * 3 + 1);
        let reporter = Reporter {
            pool: Arc::clone(self),
            id,
        };
        let connector = Arc::clone(&self.connector);
        // On the heap, because the futures around it would contain it several times.
        let running = Box::pin(Driver::new(connector, self.config, reporter, commands).run());
        let pool = Arc::clone(self);
        let task = caught(Task::Realtime, async move {
            let ended = caught(Task::Realtime, running).await;
            pool.handle_closed(id, ended);
        });
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
        driver
    }

    /// Reports the end of a connection to the log, the metrics and the placement machine.
    fn handle_closed(self: &Arc<Self>, id: ConnectionId, ended: Result<ConnectionEnd, Panicked>) {
        let (is_ready, subscriptions) = {
            let mut state = self.state.lock();
            state.drivers.remove(&id);
            (state.placement.is_ready(id), state.placement.count(id))
        };
        let ending = match ended {
            Ok(ending) => ending,
            Err(_) if is_ready => ConnectionEnd::Panicked,
            Err(panicked) => {
                let message = panicked.to_string();
                ConnectionEnd::Unreachable(GraphqlError::coded(message, Code::Internal, Sent::No))
            }
        };
        match &ending {
            ConnectionEnd::Idle => {}
            ConnectionEnd::Lost(reason) => {
                self.metrics().realtime_losses.inc();
                // Without subscriptions nobody has missed an event.
                if subscriptions == 0 {
                    info!(reason, subscriptions, "realtime connection lost");
                } else {
                    warn!(reason, subscriptions, "realtime connection lost");
                }
            }
            ConnectionEnd::Panicked => {
                self.metrics().realtime_losses.inc();
                warn!(subscriptions, "realtime connection ended by a panic");
            }
            ConnectionEnd::Refused(..) => self.metrics().realtime_connect("refused"),
            ConnectionEnd::Unreachable(_) => self.metrics().realtime_connect("unreachable"),
        }
        self.update(|placement| {
            placement.handle_closed(Instant::now(), id, ending, fastrand::f64());
        });
    }

    /// Makes sure that the timer's task wakes the machine in time.
    fn schedule(self: &Arc<Self>, state: &mut PoolState) {
        let Some(at) = state.placement.poll_timeout() else {
            return;
        };
        // What has just become due is not late.
        let at = at.max(Instant::now());
        if state.wakes_at.is_some_and(|wakes_at| wakes_at <= at) {
            return;
        }
        state.wakes_at = Some(at);
        if state.has_timer {
            self.rescheduled.notify_one();
            return;
        }
        state.has_timer = true;
        let pool = Arc::clone(self);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(pool.wake_on_time()).await;
        });
    }

    /// Wakes the machine whenever it is due, until it has nothing to wait for.
    async fn wake_on_time(self: &Arc<Self>) {
        while let Some(at) = self.next_wake() {
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {
                    let woken = caught(Task::Realtime, async { self.wake() }).await;
                    if woken.is_err() {
                        self.update(|placement| placement.abandon_due(Instant::now()));
                    }
                }
                () = self.rescheduled.notified() => {}
            }
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        state.has_timer = state.wakes_at.is_some();
        state.wakes_at
    }

    fn wake(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if let Some(at) = state.wakes_at.take() {
            let late = now.saturating_duration_since(at);
            state.placement.postpone_if_late(late);
        }
        for _ in 0..state.placement.due(now) {
            self.metrics().realtime_reconnects.inc();
            info!("realtime reconnecting");
        }
        state.placement.handle_timeout(now);
        self.perform(&mut state);
    }

    fn metrics(&self) -> &RouteMetrics {
        self.connector.upstream.metrics()
    }
}
