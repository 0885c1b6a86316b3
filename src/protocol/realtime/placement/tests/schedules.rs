//! Random schedules.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::realtime::placement::dialling::{INTEREST, SLOW};
use crate::realtime::placement::pacing::STABLE;

/// An input. Its numbers select among the existing items.
#[derive(Clone, Debug)]
enum Step {
    Subscribe(u64),
    Release(usize),
    Availability,
    /// A report of a driver about one of its subscriptions.
    Report(Report, usize, usize),
    Ready(usize),
    Retire(usize),
    Closed(usize, ConnectionEndKind, f64),
    /// From now on, a driver accepts no commands, like one that has ended without a report so far.
    Deaf(usize),
    Wait(u64),
    Abandon,
}

#[derive(Clone, Copy, Debug)]
enum Report {
    Acknowledged,
    Complete,
    Interrupted,
    Unanswered,
    Overflow,
    Released,
    Full,
}

#[derive(Clone, Copy, Debug)]
enum ConnectionEndKind {
    Idle,
    Lost,
    Panicked,
    Refused,
    Throttled,
    Renewed,
    Unreachable,
}

fn step() -> impl Strategy<Value = Step> {
    let report = prop_oneof![
        4 => Just(Report::Acknowledged),
        2 => Just(Report::Complete),
        2 => Just(Report::Interrupted),
        1 => Just(Report::Unanswered),
        1 => Just(Report::Overflow),
        6 => Just(Report::Released),
        1 => Just(Report::Full),
    ];
    let kind = prop_oneof![
        1 => Just(ConnectionEndKind::Idle),
        4 => Just(ConnectionEndKind::Lost),
        1 => Just(ConnectionEndKind::Panicked),
        1 => Just(ConnectionEndKind::Refused),
        1 => Just(ConnectionEndKind::Throttled),
        1 => Just(ConnectionEndKind::Renewed),
        4 => Just(ConnectionEndKind::Unreachable),
    ];
    let any = 0..64_usize;
    prop_oneof![
        12 => (0..4_u64).prop_map(Step::Subscribe),
        5 => any.clone().prop_map(Step::Release),
        1 => Just(Step::Availability),
        12 => (report, any.clone(), any.clone()).prop_map(|(report, c, s)| Step::Report(report, c, s)),
        3 => any.clone().prop_map(Step::Ready),
        2 => any.clone().prop_map(Step::Retire),
        5 => (any.clone(), kind, 0.0..1.0).prop_map(|(c, kind, jitter)| Step::Closed(c, kind, jitter)),
        1 => any.prop_map(Step::Deaf),
        4 => (0..40_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Abandon),
    ]
}

const SUBSCRIPTIONS: usize = 3;
const CONNECTIONS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// The shortest pause after a failure.
const PAUSE: Duration = Duration::from_millis(50);

/// The position of a subscription according to the outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whereabouts {
    On(u64),
    Waiting,
}

#[derive(Debug)]
struct Subscribed {
    owner: u64,
    whereabouts: Option<Whereabouts>,
    /// Its session has not released it.
    is_held: bool,
    has_ended: bool,
    /// When its connection was lost, unless it has been live again.
    lost_at: Option<Instant>,
}

/// A driver as the pool sees it.
#[derive(Debug)]
struct Driven {
    /// What the pool may place here.
    capacity: usize,
    is_deaf: bool,
    dialled_at: Instant,
    ready_at: Option<Instant>,
    /// The subscriptions on it, and whether they are stopping.
    subscriptions: BTreeMap<u64, bool>,
}

/// A pool with its drivers and sessions, and the state that the rules need.
struct World {
    machine: Placement<u64>,
    on_loss: OnLoss,
    now: Instant,
    subscriptions: BTreeMap<u64, Subscribed>,
    drivers: BTreeMap<u64, Driven>,
    /// When attempts last failed, unless one has succeeded or credentials were renewed since.
    failed_at: Option<Instant>,
    /// When a failure was last counted, and when a connection was last acknowledged.
    counted_at: Option<Instant>,
    succeeded_at: Option<Instant>,
    /// When an attempt was repeated with renewed credentials, unless one has succeeded since.
    renewed_at: Option<Instant>,
    /// When a client was last heard of.
    interest_at: Option<Instant>,
    /// The reason of the ending that is being performed.
    closed: Option<ConnectionEndKind>,
}

impl World {
    fn new(on_loss: OnLoss) -> Self {
        let now = Instant::now();
        let config = PlacementConfig {
            on_loss,
            subscriptions: SUBSCRIPTIONS,
            connections: CONNECTIONS,
            patience: PATIENCE,
        };
        Self {
            machine: Placement::new(config, now),
            on_loss,
            now,
            subscriptions: BTreeMap::new(),
            drivers: BTreeMap::new(),
            failed_at: None,
            counted_at: None,
            succeeded_at: None,
            renewed_at: None,
            interest_at: None,
            closed: None,
        }
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Subscribe(owner) => self.subscribe(owner),
            Step::Release(index) => {
                let held = self.subscriptions.iter().filter(|(_, s)| s.is_held);
                if let Some(key) = choose(held.map(|(key, _)| *key), index) {
                    self.release(key);
                }
            }
            Step::Availability => {
                self.interest_at = Some(self.now);
                self.machine.availability(self.now);
                self.perform(&BTreeSet::new());
            }
            Step::Report(report, connection, subscription) => {
                if let Some(id) = choose(self.drivers.keys().copied(), connection) {
                    self.report(report, id, subscription);
                }
            }
            Step::Ready(index) => {
                if let Some(id) = choose(self.drivers.keys().copied(), index) {
                    self.ready(id);
                }
            }
            // A connection is idle only once it is ready.
            Step::Retire(index) => {
                let ready = self.drivers.iter();
                let ready = ready.filter(|(_, driver)| driver.ready_at.is_some());
                if let Some(id) = choose(ready.map(|(id, _)| *id), index) {
                    let retired = self.machine.retire(ConnectionId(id));
                    assert_eq!(retired, self.drivers[&id].subscriptions.is_empty());
                    if retired {
                        self.drivers.remove(&id);
                        let ending = ConnectionEnd::Idle;
                        self.machine
                            .handle_closed(self.now, ConnectionId(id), ending, 0.0);
                    }
                    self.perform(&BTreeSet::new());
                }
            }
            Step::Closed(index, kind, jitter) => {
                if let Some(id) = choose(self.drivers.keys().copied(), index) {
                    self.closed(id, kind, jitter);
                }
            }
            Step::Deaf(index) => {
                if let Some(id) = choose(self.drivers.keys().copied(), index) {
                    self.drivers.get_mut(&id).unwrap().is_deaf = true;
                }
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(ms)),
            Step::Abandon => {
                let is_due = self.machine.due(self.now) > 0;
                self.machine.abandon_due(self.now);
                let waiting = self.waiting();
                self.perform(&waiting);
                assert!(!is_due || self.waiting().is_empty());
            }
        }
        self.check();
    }

    fn subscribe(&mut self, owner: u64) {
        self.interest_at = Some(self.now);
        let key = self.subscriptions.len() as u64 + 1;
        let subscribed = Subscribed {
            owner,
            whereabouts: Some(Whereabouts::Waiting),
            is_held: true,
            has_ended: false,
            lost_at: None,
        };
        self.subscriptions.insert(key, subscribed);
        assert_eq!(
            self.machine.subscribe(self.now, Owner(owner), key),
            Key(key)
        );
        self.perform(&BTreeSet::from([key]));
    }

    fn release(&mut self, key: u64) {
        let subscribed = self.subscriptions.get_mut(&key).unwrap();
        subscribed.is_held = false;
        if subscribed.whereabouts == Some(Whereabouts::Waiting) {
            subscribed.whereabouts = None;
        }
        self.machine.release(Key(key));
        self.perform(&BTreeSet::new());
        if let Some(Whereabouts::On(id)) = self.subscriptions[&key].whereabouts {
            let driver = &self.drivers[&id];
            assert!(driver.subscriptions[&key], "{key} was not stopped on {id}");
        }
    }

    fn ready(&mut self, id: u64) {
        self.failed_at = None;
        self.succeeded_at = Some(self.now);
        self.renewed_at = None;
        let now = self.now;
        let driver = self.drivers.get_mut(&id).unwrap();
        driver.ready_at.get_or_insert(now);
        self.machine.handle_ready(now, ConnectionId(id));
        self.perform(&BTreeSet::new());
        assert!(!self.machine.pacing.is_down(now));
    }

    fn report(&mut self, report: Report, id: u64, index: usize) {
        let driver = self.drivers.get_mut(&id).unwrap();
        let Some(key) = choose(driver.subscriptions.keys().copied(), index) else {
            return;
        };
        let is_stopping = driver.subscriptions[&key];
        let (connection, machine, now) = (ConnectionId(id), &mut self.machine, self.now);
        let subscribed = self.subscriptions.get_mut(&key).unwrap();
        let is_live = subscribed.is_held && !subscribed.has_ended;
        let waits = is_live.then_some(Whereabouts::Waiting);
        match report {
            Report::Acknowledged => {
                if !is_stopping {
                    subscribed.lost_at = None;
                }
                machine.handle_acknowledged(connection, Key(key));
            }
            Report::Complete => {
                driver.subscriptions.remove(&key);
                subscribed.whereabouts = None;
                machine.handle_ended(connection, Key(key), Event::Complete);
            }
            Report::Interrupted => {
                driver.subscriptions.remove(&key);
                subscribed.whereabouts = waits;
                let event = Event::Error(vec![GraphqlError::new("throttled")]);
                machine.handle_interrupted(now, connection, Key(key), event, 0.5);
            }
            Report::Unanswered => {
                driver.subscriptions.remove(&key);
                if subscribed.lost_at.is_some() {
                    driver.capacity = driver.subscriptions.len();
                }
                subscribed.whereabouts = waits;
                let event = Event::Error(vec![GraphqlError::new("not acknowledged")]);
                machine.handle_unanswered(now, connection, Key(key), event, 0.5);
            }
            Report::Overflow => {
                *driver.subscriptions.get_mut(&key).unwrap() = true;
                machine.handle_overflow(connection, Key(key));
            }
            // A driver reports it of a stopped subscription only.
            Report::Released if !is_stopping => return,
            Report::Released => {
                driver.subscriptions.remove(&key);
                subscribed.whereabouts = None;
                machine.handle_released(connection, Key(key));
            }
            Report::Full => {
                driver.subscriptions.remove(&key);
                driver.capacity = driver.subscriptions.len();
                subscribed.whereabouts = waits;
                machine.handle_full(now, connection, Key(key));
            }
        }
        let was_lost = subscribed.lost_at.is_some();
        self.perform(&BTreeSet::from([key]));
        let subscribed = &self.subscriptions[&key];
        let is_over = match report {
            Report::Complete | Report::Overflow | Report::Released => true,
            Report::Interrupted | Report::Unanswered => !was_lost,
            Report::Full => subscribed.whereabouts.is_none(),
            Report::Acknowledged => false,
        };
        assert!(!is_over || subscribed.has_ended || !subscribed.is_held);
    }

    fn closed(&mut self, id: u64, kind: ConnectionEndKind, jitter: f64) {
        let driver = self.drivers.remove(&id).unwrap();
        // What a connection can end with depends on whether it was open.
        let kind = match (driver.ready_at, kind) {
            (
                Some(_),
                ConnectionEndKind::Refused
                | ConnectionEndKind::Throttled
                | ConnectionEndKind::Renewed
                | ConnectionEndKind::Unreachable,
            ) => ConnectionEndKind::Lost,
            (
                None,
                ConnectionEndKind::Idle | ConnectionEndKind::Lost | ConnectionEndKind::Panicked,
            ) => ConnectionEndKind::Unreachable,
            (_, kind) => kind,
        };
        let shared: BTreeSet<u64> = driver.subscriptions.keys().copied().collect();
        let is_resumed = self.on_loss == OnLoss::Resume && matches!(kind, ConnectionEndKind::Lost);
        for key in &shared {
            let subscribed = self.subscriptions.get_mut(key).unwrap();
            let is_live = subscribed.is_held && !subscribed.has_ended;
            subscribed.whereabouts = is_live.then_some(Whereabouts::Waiting);
            if is_resumed {
                subscribed.lost_at.get_or_insert(self.now);
            }
        }
        let refused = |refusal| {
            let errors = vec![GraphqlError::new("refused")];
            ConnectionEnd::Refused(refusal, errors)
        };
        let lived = driver.ready_at.map(|at| self.now - at);
        let ending = match kind {
            ConnectionEndKind::Idle => ConnectionEnd::Idle,
            ConnectionEndKind::Lost => ConnectionEnd::Lost("closed"),
            ConnectionEndKind::Panicked => ConnectionEnd::Panicked,
            ConnectionEndKind::Refused => refused(Refusal::Permanent),
            ConnectionEndKind::Throttled => refused(Refusal::Transient),
            ConnectionEndKind::Renewed => refused(Refusal::Renewed),
            ConnectionEndKind::Unreachable => {
                ConnectionEnd::Unreachable(GraphqlError::new("unreachable"))
            }
        };
        let is_failure = match kind {
            ConnectionEndKind::Idle | ConnectionEndKind::Panicked => false,
            ConnectionEndKind::Lost => lived.is_some_and(|lived| lived < STABLE),
            ConnectionEndKind::Renewed => !self.renew(driver.dialled_at),
            ConnectionEndKind::Refused
            | ConnectionEndKind::Throttled
            | ConnectionEndKind::Unreachable => true,
        };
        let is_old = self.succeeded_at.is_some_and(|at| driver.dialled_at < at);
        let is_news = driver.ready_at.is_some() || !is_old;
        if is_failure && is_news && self.counted_at.is_none_or(|at| driver.dialled_at > at) {
            self.failed_at = Some(self.now);
            self.counted_at = self.failed_at;
        }
        let is_used = driver.subscriptions.values().any(|stopping| !stopping);
        if matches!(kind, ConnectionEndKind::Lost) && is_used {
            self.interest_at = Some(self.now);
        }
        let concerned = match kind {
            ConnectionEndKind::Idle | ConnectionEndKind::Lost | ConnectionEndKind::Panicked => {
                shared.clone()
            }
            ConnectionEndKind::Refused
            | ConnectionEndKind::Throttled
            | ConnectionEndKind::Renewed
            | ConnectionEndKind::Unreachable => self.waiting(),
        };
        self.closed = Some(kind);
        self.machine
            .handle_closed(self.now, ConnectionId(id), ending, jitter);
        self.perform(&concerned);
        self.closed = None;
        let waits = shared.iter().filter(|key| !self.is_over(**key)).count();
        assert!(is_resumed || waits == 0, "subscriptions were kept");
    }

    /// Returns whether the renewal of credentials allows an attempt at once.
    fn renew(&mut self, dialled_at: Instant) -> bool {
        match self.renewed_at {
            Some(at) if dialled_at < at => true,
            Some(_) => {
                self.renewed_at = None;
                false
            }
            None => {
                self.renewed_at = Some(self.now);
                self.failed_at = None;
                true
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let waiting = self.waiting();
            self.machine.due(self.now);
            // A driver that accepts no commands may lead to connects here.
            self.perform(&waiting);
            let due = self.machine.due(self.now);
            let before = self.drivers.len();
            self.machine.handle_timeout(self.now);
            self.perform(&waiting);
            assert_eq!(self.drivers.len() - before, due);
            self.check();
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "woken in a loop");
        }
        self.now = until;
    }

    /// Performs the outputs of the machine. Only the subscriptions in `concerned` may end.
    fn perform(&mut self, concerned: &BTreeSet<u64>) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Gap(count) => assert!(count > 0 && self.on_loss == OnLoss::Resume),
                Output::Connect(ConnectionId(id)) => self.connect(id),
                Output::Subscribe(ConnectionId(id), Key(key), subscriber) => {
                    assert_eq!(key, subscriber);
                    self.start(id, key);
                }
                Output::Stop(ConnectionId(id), Key(key)) => {
                    let driver = self.drivers.get_mut(&id).unwrap();
                    let was_stopping = driver.subscriptions.insert(key, true);
                    assert_eq!(
                        was_stopping,
                        Some(false),
                        "{key} is stopped once, where it is"
                    );
                }
                Output::End(key, why) => {
                    assert!(concerned.contains(&key), "{key} ended with others");
                    self.check_end(key, &why);
                    let subscribed = self.subscriptions.get_mut(&key).unwrap();
                    assert!(subscribed.is_held && !subscribed.has_ended, "{key}");
                    subscribed.has_ended = true;
                    if subscribed.whereabouts == Some(Whereabouts::Waiting) {
                        subscribed.whereabouts = None;
                    }
                }
            }
        }
    }

    /// A lost subscription ends only for its own reasons, when its patience is over, or when AppSync
    /// refuses connections for good.
    fn check_end(&self, key: u64, why: &SubscriptionEnd) {
        let lost_at = self.subscriptions[&key].lost_at;
        let waited = lost_at.map(|at| self.now - at);
        match why {
            SubscriptionEnd::NotResumed { .. } => assert!(waited >= Some(PATIENCE), "{key}"),
            SubscriptionEnd::Unreachable(_) => assert_eq!(waited, None, "{key}"),
            SubscriptionEnd::Refused(_) => assert!(
                waited.is_none() || matches!(self.closed, Some(ConnectionEndKind::Refused)),
                "{key}"
            ),
            SubscriptionEnd::Upstream(_)
            | SubscriptionEnd::Overflow
            | SubscriptionEnd::Lost
            | SubscriptionEnd::Full
            | SubscriptionEnd::TooManyConnections => {}
        }
    }

    /// The pool connects only for somebody; while attempts fail, only one at a time after a pause; then as
    /// many at a time as connections are open, until one has lived for a while.
    fn connect(&mut self, id: u64) {
        let is_recent = |at: Instant| self.now < at + INTEREST;
        let has_interest = self.interest_at.is_some_and(is_recent);
        assert!(
            !self.waiting().is_empty() || has_interest,
            "nobody waits for {id}"
        );
        if let Some(at) = self.failed_at {
            assert!(self.now >= at + PAUSE, "{id} follows at once");
            let opening = self.drivers.values().filter(|d| d.ready_at.is_none());
            let young = opening.filter(|driver| self.now < driver.dialled_at + SLOW);
            assert_eq!(young.count(), 0, "{id} is dialled beside another");
        } else if !self.machine.pacing.is_settled() {
            let (open, opening): (Vec<_>, Vec<_>) =
                self.drivers.values().partition(|d| d.ready_at.is_some());
            let young = opening.iter().filter(|d| self.now < d.dialled_at + SLOW);
            assert!(young.count() < open.len().max(1), "{id} is one too many");
        }
        let driven = Driven {
            capacity: SUBSCRIPTIONS,
            is_deaf: false,
            dialled_at: self.now,
            ready_at: None,
            subscriptions: BTreeMap::new(),
        };
        assert!(self.drivers.insert(id, driven).is_none());
        assert!(self.drivers.len() <= CONNECTIONS);
    }

    fn start(&mut self, id: u64, key: u64) {
        let subscribed = self.subscriptions.get_mut(&key).unwrap();
        assert!(subscribed.is_held && !subscribed.has_ended);
        assert_eq!(subscribed.whereabouts, Some(Whereabouts::Waiting), "{key}");
        let owner = subscribed.owner;
        let driver = self.drivers.get_mut(&id).unwrap();
        assert!(driver.ready_at.is_some(), "{id} is not ready for {key}");
        if driver.is_deaf {
            driver.capacity = 0;
            self.machine
                .handle_rejected(self.now, ConnectionId(id), Key(key));
            return;
        }
        assert!(driver.has_capacity(), "{id} has no room for {key}");
        let is_anyone_deaf = self.drivers.values().any(|driver| driver.is_deaf);
        let with_room = self
            .drivers
            .iter()
            .filter(|(_, driver)| driver.has_capacity());
        let mut together = with_room.filter(|(_, driver)| {
            let mut keys = driver.subscriptions.keys();
            keys.any(|key| self.subscriptions[key].owner == owner)
        });
        if !is_anyone_deaf && together.clone().next().is_some() {
            assert!(together.any(|(other, _)| *other == id), "{key} is apart");
        }
        let subscribed = self.subscriptions.get_mut(&key).unwrap();
        subscribed.whereabouts = Some(Whereabouts::On(id));
        let driver = self.drivers.get_mut(&id).unwrap();
        driver.subscriptions.insert(key, false);
    }

    /// Each subscription is at exactly one position, or has ended, and the machine agrees.
    fn check(&self) {
        for (key, subscribed) in &self.subscriptions {
            let on = self.drivers.iter();
            let on = on.filter(|(_, driver)| driver.subscriptions.contains_key(key));
            let on: Vec<u64> = on.map(|(id, _)| *id).collect();
            let phase = self.machine.phase(Key(*key));
            match subscribed.whereabouts {
                Some(Whereabouts::On(id)) => {
                    assert_eq!(on, [id]);
                    let is_stopping = self.drivers[&id].subscriptions[key];
                    assert_eq!(
                        phase == Some(SubscriptionPhase::Stopping),
                        is_stopping,
                        "{key}"
                    );
                    assert_eq!(is_stopping, self.is_over(*key), "{key}");
                    assert!(
                        !matches!(phase, None | Some(SubscriptionPhase::Waiting)),
                        "{key}"
                    );
                }
                Some(Whereabouts::Waiting) => {
                    assert_eq!(on, [0; 0]);
                    assert_eq!(phase, Some(SubscriptionPhase::Waiting), "{key}");
                    let is_overdue = subscribed
                        .lost_at
                        .is_some_and(|at| self.now >= at + PATIENCE);
                    let wakes_at = self.machine.poll_timeout();
                    let is_due = wakes_at.is_some_and(|at| at <= self.now);
                    assert!(!is_overdue || is_due, "{key} waits for too long");
                }
                None => {
                    assert_eq!(on, [0; 0]);
                    assert_eq!(phase, None, "{key}");
                    assert!(self.is_over(*key), "{key} was forgotten");
                }
            }
        }
        for (id, driver) in &self.drivers {
            let live = driver.subscriptions.values().filter(|stopping| !**stopping);
            assert_eq!(self.machine.count(ConnectionId(*id)), live.count());
            let is_ready = driver.ready_at.is_some();
            assert_eq!(self.machine.is_ready(ConnectionId(*id)), is_ready);
        }
        assert_eq!(self.machine.connections.len(), self.drivers.len());
        let bound = CONNECTIONS * SUBSCRIPTIONS;
        assert!(self.waiting().len() <= bound + self.drivers.len() * SUBSCRIPTIONS);
    }

    fn is_over(&self, key: u64) -> bool {
        let subscribed = &self.subscriptions[&key];
        subscribed.has_ended || !subscribed.is_held
    }

    fn waiting(&self) -> BTreeSet<u64> {
        let waiting = self
            .subscriptions
            .iter()
            .filter(|(_, s)| s.whereabouts == Some(Whereabouts::Waiting));
        waiting.map(|(key, _)| *key).collect()
    }

    /// Every attempt succeeds: soon, each subscription that could start has a connection.
    fn heal(&mut self) {
        for _ in 0..3 {
            for id in self.opening() {
                self.ready(id);
            }
            self.check();
            self.wait(Duration::from_secs(1));
        }
        for id in self.opening() {
            self.ready(id);
        }
        assert!(self.machine.eligible() == 0 || self.drivers.len() == CONNECTIONS);
    }

    fn opening(&self) -> Vec<u64> {
        let opening = self.drivers.iter().filter(|(_, d)| d.ready_at.is_none());
        opening.map(|(id, _)| *id).collect()
    }

    /// Every session releases its subscriptions, every driver confirms and becomes idle: nothing remains.
    fn settle(&mut self) {
        self.heal();
        let held = self.subscriptions.iter().filter(|(_, s)| s.is_held);
        let held: Vec<u64> = held.map(|(key, _)| *key).collect();
        for key in held {
            self.release(key);
        }
        self.check();
        for _ in 0..2 {
            for id in self.drivers.keys().copied().collect::<Vec<_>>() {
                self.ready(id);
                let keys = self.drivers[&id].subscriptions.keys();
                for _ in 0..keys.len() {
                    self.report(Report::Released, id, 0);
                }
            }
            for _ in 0..self.drivers.len() {
                self.play(&Step::Retire(0));
            }
            self.wait(Duration::from_secs(60));
        }
        assert!(self.machine.is_empty() && self.drivers.is_empty());
        assert!(self.machine.out.is_empty());
        assert_eq!(self.machine.poll_timeout(), None);
        assert_eq!(self.machine.availability(self.now), Availability::Up);
    }
}

impl Driven {
    fn has_capacity(&self) -> bool {
        self.ready_at.is_some() && self.subscriptions.len() < self.capacity
    }
}

fn choose<T>(all: impl Iterator<Item = T>, index: usize) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    if all.is_empty() {
        return None;
    }
    let index = index % all.len();
    Some(all.swap_remove(index))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_subscription_ends_once_or_is_in_one_place(
        resumes in any::<bool>(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let on_loss = if resumes { OnLoss::Resume } else { OnLoss::Close };
        let mut world = World::new(on_loss);
        for step in &steps {
            world.play(step);
        }
        world.settle();
    }

    #[test]
    fn an_early_timeout_changes_nothing(
        steps in prop::collection::vec(step(), 0..60),
        early in 1..400_u64,
    ) {
        let mut world = World::new(OnLoss::Resume);
        for step in &steps {
            world.play(step);
            if let Some(at) = world.machine.poll_timeout() {
                let before = at - Duration::from_millis(early);
                let before = before.max(world.now);
                if before >= at {
                    continue;
                }
                prop_assert_eq!(world.machine.due(before), 0);
                world.machine.handle_timeout(before);
                prop_assert!(world.machine.poll_output().is_none());
                prop_assert_eq!(world.machine.poll_timeout(), Some(at));
            }
        }
    }
}
