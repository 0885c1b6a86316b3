//! Transcripts, and random schedules whose outcome is checked against the rules of a pool.
//!
//! A transcript's lines: `.` is an input or time that passes, `!` an output. Outputs follow the
//! input that caused them. Subscriptions and connections are numbered in the order in which they
//! are created. The jitter is 1, which makes each pause as long as it can be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

struct Bench {
    machine: Placement<u64>,
    now: Instant,
    last_subscriber: u64,
    shown: Vec<String>,
}

impl Bench {
    /// Two subscriptions on a connection, three connections.
    fn new(on_loss: OnLoss) -> Self {
        Self {
            machine: Placement::new(PlacementConfig {
                on_loss,
                subscriptions: 2,
                connections: 3,
            }),
            now: Instant::now(),
            last_subscriber: 0,
            shown: Vec::new(),
        }
    }

    fn play(&mut self, line: &str) {
        let mut words = line.trim_start_matches(". ").split(' ');
        let verb = words.next().unwrap_or_default();
        let mut number = || -> u64 { words.next().unwrap().parse().unwrap() };
        match verb {
            "subscribe" => {
                self.last_subscriber += 1;
                let owner = Owner(number());
                let key = self
                    .machine
                    .subscribe(self.now, owner, self.last_subscriber);
                assert_eq!(key, Key(self.last_subscriber));
            }
            "release" => self.machine.release(Key(number())),
            "ready" => self.machine.handle_ready(ConnectionId(number())),
            "acknowledged" => {
                let id = ConnectionId(number());
                self.machine.handle_acknowledged(id, Key(number()));
            }
            "complete" => {
                let id = ConnectionId(number());
                let key = Key(number());
                self.machine.handle_ended(id, key, Event::Complete);
            }
            "overflow" => {
                let id = ConnectionId(number());
                self.machine.handle_overflow(id, Key(number()));
            }
            "released" => {
                let id = ConnectionId(number());
                self.machine.handle_released(id, Key(number()));
            }
            "full" => {
                let id = ConnectionId(number());
                self.machine.handle_full(id, Key(number()));
            }
            "rejected" => {
                let id = ConnectionId(number());
                self.machine.handle_rejected(id, Key(number()));
            }
            "retire" => {
                let retired = self.machine.retire(ConnectionId(number()));
                self.shown.push(format!("! retired {retired}"));
            }
            "availability" => {
                let availability = self.machine.availability(self.now);
                self.shown
                    .push(format!("! {availability:?}").to_lowercase());
            }
            "wait" => self.wait(humantime::parse_duration(words.next().unwrap()).unwrap()),
            "abandon" => self.machine.abandon_due(self.now),
            verb => {
                let ending = match verb {
                    "idle" => ConnectionEnd::Idle,
                    "lost" => ConnectionEnd::Lost("closed"),
                    "panicked" => ConnectionEnd::Panicked,
                    "refused" => ConnectionEnd::Refused(
                        Refusal::Permanent,
                        vec![GraphqlError::new("refused")],
                    ),
                    "unreachable" => ConnectionEnd::Unreachable(GraphqlError::new("unreachable")),
                    _ => panic!("unknown line: {line}"),
                };
                let id = ConnectionId(number());
                self.machine.handle_closed(self.now, id, ending, 1.0);
            }
        }
    }

    /// Time passes as it does for a pool, which wakes the machine when a retry is due.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "woken in a loop");
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.shown.push(show(&output));
        }
    }
}

fn show(output: &Output<u64>) -> String {
    match output {
        Output::Connect(ConnectionId(id)) => format!("! connect {id}"),
        Output::Subscribe(ConnectionId(id), Key(key), subscriber) => {
            assert_eq!(key, subscriber);
            format!("! subscribe {id} {key}")
        }
        Output::Stop(ConnectionId(id), Key(key)) => format!("! stop {id} {key}"),
        Output::Gap(count) => format!("! gap {count}"),
        Output::End(subscriber, why) => {
            let why = match why {
                SubscriptionEnd::Upstream(_) => "upstream",
                SubscriptionEnd::Overflow => "overflow",
                SubscriptionEnd::Lost => "lost",
                SubscriptionEnd::Refused(_) => "refused",
                SubscriptionEnd::Unreachable(_) => "unreachable",
                SubscriptionEnd::Full => "full",
                SubscriptionEnd::TooManyConnections => "too many connections",
            };
            format!("! end {subscriber} {why}")
        }
    }
}

/// Plays the inputs of a transcript, and compares the outputs.
#[track_caller]
fn check(on_loss: OnLoss, transcript: &str) {
    let mut bench = Bench::new(on_loss);
    let lines = || transcript.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut played = Vec::new();
    for line in lines().filter(|line| line.starts_with('.')) {
        played.push(line.to_owned());
        bench.play(line);
        bench.drain();
        played.append(&mut bench.shown);
    }
    let expected: Vec<&str> = lines().collect();
    assert_eq!(played.join("\n"), expected.join("\n"));
}

const BOTH: [OnLoss; 2] = [OnLoss::Close, OnLoss::Resume];

#[test]
fn subscriptions_of_one_owner_stay_together_while_there_is_a_free_slot() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 2
        ! subscribe 1 2
        . subscribe 2
        ! connect 2
        ! subscribe 2 3
        . released 1 1
        . subscribe 2
        ! subscribe 2 4
        . subscribe 2
        ! subscribe 1 5
        ",
    );
}

#[test]
fn fullest_connection_with_a_free_slot_is_used() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 2
        ! subscribe 1 2
        . subscribe 3
        ! connect 2
        ! subscribe 2 3
        . complete 1 1
        ! end 1 upstream
        . complete 1 2
        ! end 2 upstream
        . subscribe 4
        ! subscribe 2 4
        . subscribe 4
        ! subscribe 1 5
        ",
    );
}

#[test]
fn a_stopped_subscription_keeps_its_slot_until_the_upstream_confirms() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . release 1
        ! stop 1 1
        . release 1
        . subscribe 1
        ! connect 2
        ! subscribe 2 3
        . released 1 1
        . subscribe 2
        ! subscribe 2 4
        . subscribe 2
        ! subscribe 1 5
        ",
    );
}

#[test]
fn an_overflow_ends_one_subscription_once_and_keeps_its_slot() {
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . overflow 1 1
        ! end 1 overflow
        . overflow 1 1
        . release 1
        . subscribe 1
        ! connect 2
        ! subscribe 2 3
        . lost 1
        ! gap 1
        . released 1 1
        . wait 0s
        ! connect 3
        ! subscribe 3 2
        ",
    );
}

#[test]
fn connections_are_bounded() {
    for on_loss in BOTH {
        check(
            on_loss,
            "
            . subscribe 1
            ! connect 1
            ! subscribe 1 1
            . subscribe 1
            ! subscribe 1 2
            . subscribe 1
            ! connect 2
            ! subscribe 2 3
            . subscribe 1
            ! subscribe 2 4
            . subscribe 1
            ! connect 3
            ! subscribe 3 5
            . subscribe 1
            ! subscribe 3 6
            . subscribe 1
            ! end 7 too many connections
            . release 7
            . released 2 4
            . subscribe 1
            ! subscribe 2 8
            ",
        );
    }
}

#[test]
fn a_full_connection_moves_the_subscription_at_most_three_times() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . full 1 1
        ! connect 2
        ! subscribe 2 1
        . full 2 1
        ! connect 3
        ! subscribe 3 1
        . full 3 1
        ! end 1 too many connections
        . idle 1
        . subscribe 1
        ! connect 4
        ! subscribe 4 2
        . full 4 2
        ! end 2 too many connections
        ",
    );
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . full 1 1
        ! connect 2
        ! subscribe 2 1
        . idle 1
        . full 2 1
        ! connect 3
        ! subscribe 3 1
        . idle 2
        . full 3 1
        ! connect 4
        ! subscribe 4 1
        . full 4 1
        ! end 1 full
        ",
    );
}

#[test]
fn full_connection_keeps_its_subscriptions_and_takes_no_more() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . full 1 2
        ! connect 2
        ! subscribe 2 2
        . subscribe 1
        ! subscribe 2 3
        . released 1 1
        . subscribe 1
        ! subscribe 1 4
        . release 4
        ! stop 1 4
        . full 1 4
        ",
    );
}

#[test]
fn subscription_moves_from_a_driver_that_has_ended() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . rejected 1 2
        ! connect 2
        ! subscribe 2 2
        . subscribe 1
        ! subscribe 2 3
        . lost 1
        ! end 1 lost
        ",
    );
}

#[test]
fn a_loss_ends_the_subscriptions_that_shared_the_connection_and_reconnects_once() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . ready 1
        . acknowledged 1 1
        . subscribe 2
        ! subscribe 1 2
        . lost 1
        ! end 1 lost
        ! end 2 lost
        . availability
        ! up
        . wait 0s
        ! connect 2
        . subscribe 1
        ! subscribe 2 3
        . ready 2
        . lost 2
        ! end 3 lost
        . subscribe 1
        ! connect 3
        ! subscribe 3 4
        . wait 0s
        ! connect 4
        ",
    );
    // Another connection is open: nothing needs a reconnect.
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . subscribe 1
        ! connect 2
        ! subscribe 2 3
        . lost 1
        ! end 1 lost
        ! end 2 lost
        . wait 1h
        ",
    );
}

#[test]
fn resumed_subscriptions_wait_for_the_reconnect() {
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . ready 1
        . subscribe 2
        ! subscribe 1 2
        . release 2
        ! stop 1 2
        . lost 1
        ! gap 1
        . subscribe 3
        ! connect 2
        ! subscribe 2 3
        . wait 0s
        ! connect 3
        ! subscribe 3 1
        ",
    );
}

/// A retry whose subscriptions had all been released did not connect, and counted as under way
/// forever.
#[test]
fn a_retry_connects_although_its_subscriptions_were_released() {
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . lost 1
        ! gap 1
        . release 1
        . wait 0s
        ! connect 2
        . unreachable 2
        . availability
        ! down
        . wait 500ms
        ! connect 3
        . ready 3
        . availability
        ! up
        ",
    );
}

/// No connection reports how such a retry ended.
#[test]
fn retry_ends_if_no_connection_may_be_opened() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . unreachable 1
        . subscribe 1
        ! connect 2
        ! subscribe 2 2
        . subscribe 1
        ! subscribe 2 3
        . subscribe 1
        ! connect 3
        ! subscribe 3 4
        . subscribe 1
        ! subscribe 3 5
        . subscribe 1
        ! connect 4
        ! subscribe 4 6
        . availability
        ! down
        . wait 500ms
        ! end 1 too many connections
        . availability
        ! up
        ",
    );
}

#[test]
fn the_pauses_between_retries_double_up_to_half_a_minute() {
    let mut bench = Bench::new(OnLoss::Close);
    bench.play(". subscribe 1");
    for (retry, pause) in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        .into_iter()
        .enumerate()
    {
        bench.play(&format!(". unreachable {}", retry + 1));
        bench.drain();
        bench.shown.clear();
        bench.play(". availability");
        bench.play(&format!(". wait {}ms", pause - 1));
        assert_eq!(bench.shown, ["! down"], "{pause}");
        bench.play(". wait 1ms");
        let connect = format!("! connect {}", retry + 2);
        assert!(bench.shown.contains(&connect), "{:?}", bench.shown);
    }
}

#[test]
fn an_unreachable_upstream_ends_subscriptions_after_their_retries() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . unreachable 1
        . wait 500ms
        ! connect 2
        ! subscribe 2 1
        . subscribe 1
        ! subscribe 2 2
        . unreachable 2
        ! end 1 unreachable
        . wait 1s
        ! connect 3
        ! subscribe 3 2
        ",
    );
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . unreachable 1
        . wait 500ms
        ! connect 2
        ! subscribe 2 1
        . unreachable 2
        . wait 1s
        ! connect 3
        ! subscribe 3 1
        . unreachable 3
        . wait 2s
        ! connect 4
        ! subscribe 4 1
        . unreachable 4
        ! end 1 unreachable
        ",
    );
}

#[test]
fn retries_stop_after_a_minute_without_clients() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . unreachable 1
        . wait 500ms
        ! connect 2
        ! subscribe 2 1
        . unreachable 2
        ! end 1 unreachable
        . wait 1s
        ! connect 3
        . wait 57s
        . unreachable 3
        . availability
        ! down
        . wait 2s
        ! connect 4
        . wait 1m
        . unreachable 4
        . availability
        ! up
        . wait 1h
        ",
    );
}

#[test]
fn a_refused_connection_ends_its_subscriptions_without_a_retry() {
    for on_loss in BOTH {
        check(
            on_loss,
            "
            . subscribe 1
            ! connect 1
            ! subscribe 1 1
            . subscribe 1
            ! subscribe 1 2
            . refused 1
            ! end 1 refused
            ! end 2 refused
            . availability
            ! up
            . wait 1h
            ",
        );
    }
}

#[test]
fn a_panic_ends_its_subscriptions_without_a_retry() {
    for on_loss in BOTH {
        check(
            on_loss,
            "
            . subscribe 1
            ! connect 1
            ! subscribe 1 1
            . ready 1
            . panicked 1
            ! end 1 lost
            . wait 1h
            . subscribe 1
            ! connect 2
            ! subscribe 2 2
            ",
        );
    }
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . lost 1
        ! gap 1
        . abandon
        ! end 1 lost
        . wait 1h
        ",
    );
}

#[test]
fn an_idle_connection_retires_unless_a_subscription_was_placed_on_it() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        ! subscribe 1 1
        . retire 1
        ! retired false
        . complete 1 1
        ! end 1 upstream
        . retire 1
        ! retired true
        . idle 1
        . retire 1
        ! retired false
        . subscribe 1
        ! connect 2
        ! subscribe 2 2
        ",
    );
}

#[test]
fn reports_of_unknown_connections_and_subscriptions_are_ignored() {
    for report in [
        ". release 7",
        ". ready 7",
        ". acknowledged 1 7",
        ". complete 1 7",
        ". overflow 7 1",
        ". released 7 1",
        ". full 7 1",
        ". lost 7",
        ". unreachable 7",
        ". refused 7",
    ] {
        check(
            OnLoss::Close,
            &format!(
                "
                . subscribe 1
                ! connect 1
                ! subscribe 1 1
                {report}
                . availability
                ! up
                . wait 1h
                . complete 1 1
                ! end 1 upstream
                "
            ),
        );
    }
}

// === random schedules ===

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
    Unreachable,
}

fn step() -> impl Strategy<Value = Step> {
    let report = prop_oneof![
        4 => Just(Report::Acknowledged),
        2 => Just(Report::Complete),
        1 => Just(Report::Overflow),
        6 => Just(Report::Released),
        1 => Just(Report::Full),
    ];
    let kind = prop_oneof![
        1 => Just(ConnectionEndKind::Idle),
        4 => Just(ConnectionEndKind::Lost),
        1 => Just(ConnectionEndKind::Panicked),
        1 => Just(ConnectionEndKind::Refused),
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
}

/// A driver as the pool sees it.
#[derive(Debug)]
struct Driven {
    /// What the pool may place here.
    capacity: usize,
    is_deaf: bool,
    is_ready: bool,
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
    failures: u32,
}

impl World {
    fn new(on_loss: OnLoss) -> Self {
        Self {
            machine: Placement::new(PlacementConfig {
                on_loss,
                subscriptions: SUBSCRIPTIONS,
                connections: CONNECTIONS,
            }),
            on_loss,
            now: Instant::now(),
            subscriptions: BTreeMap::new(),
            drivers: BTreeMap::new(),
            failures: 0,
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
                let ready = self.drivers.iter().filter(|(_, driver)| driver.is_ready);
                if let Some(id) = choose(ready.map(|(id, _)| *id), index) {
                    let retired = self.machine.retire(ConnectionId(id));
                    assert_eq!(retired, self.drivers[&id].subscriptions.is_empty());
                    if retired {
                        self.drivers.remove(&id);
                        self.machine.handle_closed(
                            self.now,
                            ConnectionId(id),
                            ConnectionEnd::Idle,
                            0.0,
                        );
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
                self.machine.abandon_due(self.now);
                let waiting = self.waiting();
                self.perform(&waiting);
            }
        }
        self.check();
    }

    fn subscribe(&mut self, owner: u64) {
        let Key(key) =
            self.machine
                .subscribe(self.now, Owner(owner), self.subscriptions.len() as u64 + 1);
        let subscribed = Subscribed {
            owner,
            whereabouts: None,
            is_held: true,
            has_ended: false,
        };
        self.subscriptions.insert(key, subscribed);
        self.perform(&BTreeSet::from([key]));
    }

    fn release(&mut self, key: u64) {
        self.subscriptions.get_mut(&key).unwrap().is_held = false;
        if self.subscriptions[&key].whereabouts == Some(Whereabouts::Waiting) {
            self.subscriptions.get_mut(&key).unwrap().whereabouts = None;
        }
        self.machine.release(Key(key));
        self.perform(&BTreeSet::new());
        if let Some(Whereabouts::On(id)) = self.subscriptions[&key].whereabouts {
            let driver = &self.drivers[&id];
            assert!(driver.subscriptions[&key], "{key} was not stopped on {id}");
        }
    }

    fn ready(&mut self, id: u64) {
        self.failures = 0;
        self.drivers.get_mut(&id).unwrap().is_ready = true;
        self.machine.handle_ready(ConnectionId(id));
        self.perform(&BTreeSet::new());
        assert_eq!(self.machine.availability(self.now), Availability::Up);
    }

    fn report(&mut self, report: Report, id: u64, index: usize) {
        let driver = self.drivers.get_mut(&id).unwrap();
        let Some(key) = choose(driver.subscriptions.keys().copied(), index) else {
            return;
        };
        let is_stopping = driver.subscriptions[&key];
        let (connection, machine) = (ConnectionId(id), &mut self.machine);
        match report {
            Report::Acknowledged => machine.handle_acknowledged(connection, Key(key)),
            Report::Complete => {
                driver.subscriptions.remove(&key);
                self.subscriptions.get_mut(&key).unwrap().whereabouts = None;
                machine.handle_ended(connection, Key(key), Event::Complete);
            }
            Report::Overflow => {
                *driver.subscriptions.get_mut(&key).unwrap() = true;
                machine.handle_overflow(connection, Key(key));
            }
            // A driver reports it of a stopped subscription only.
            Report::Released if !is_stopping => return,
            Report::Released => {
                driver.subscriptions.remove(&key);
                self.subscriptions.get_mut(&key).unwrap().whereabouts = None;
                machine.handle_released(connection, Key(key));
            }
            Report::Full => {
                driver.subscriptions.remove(&key);
                driver.capacity = driver.subscriptions.len();
                self.subscriptions.get_mut(&key).unwrap().whereabouts = None;
                machine.handle_full(connection, Key(key));
            }
        }
        self.perform(&BTreeSet::from([key]));
        let subscribed = &self.subscriptions[&key];
        let is_over = match report {
            Report::Complete | Report::Overflow | Report::Released => true,
            Report::Full => subscribed.whereabouts.is_none(),
            Report::Acknowledged => false,
        };
        assert!(!is_over || subscribed.has_ended || !subscribed.is_held);
    }

    fn closed(&mut self, id: u64, kind: ConnectionEndKind, jitter: f64) {
        let driver = self.drivers.remove(&id).unwrap();
        // What a connection can end with depends on whether it was open.
        let kind = match (driver.is_ready, kind) {
            (true, ConnectionEndKind::Refused | ConnectionEndKind::Unreachable) => {
                ConnectionEndKind::Lost
            }
            (
                false,
                ConnectionEndKind::Idle | ConnectionEndKind::Lost | ConnectionEndKind::Panicked,
            ) => ConnectionEndKind::Unreachable,
            (_, kind) => kind,
        };
        let shared: BTreeSet<u64> = driver.subscriptions.keys().copied().collect();
        for key in &shared {
            let subscribed = self.subscriptions.get_mut(key).unwrap();
            let is_live = subscribed.is_held && !subscribed.has_ended;
            subscribed.whereabouts = is_live.then_some(Whereabouts::Waiting);
        }
        let retry_before = self.machine.poll_timeout();
        let ending = match kind {
            ConnectionEndKind::Idle => ConnectionEnd::Idle,
            ConnectionEndKind::Lost => ConnectionEnd::Lost("closed"),
            ConnectionEndKind::Panicked => ConnectionEnd::Panicked,
            ConnectionEndKind::Refused => {
                ConnectionEnd::Refused(Refusal::Permanent, vec![GraphqlError::new("refused")])
            }
            ConnectionEndKind::Unreachable => {
                ConnectionEnd::Unreachable(GraphqlError::new("unreachable"))
            }
        };
        match kind {
            ConnectionEndKind::Unreachable => self.failures += 1,
            ConnectionEndKind::Refused => self.failures = 0,
            ConnectionEndKind::Idle | ConnectionEndKind::Lost | ConnectionEndKind::Panicked => {}
        }
        let retries_before = self.machine.retries.len();
        let was_retrying = self.machine.is_retrying;
        self.machine
            .handle_closed(self.now, ConnectionId(id), ending, jitter);
        self.perform(&shared);
        let scheduled = self.machine.retries.get(retries_before);
        let Some(retry) = scheduled else {
            assert_eq!(self.machine.poll_timeout(), retry_before);
            assert!(
                shared.iter().all(|key| self.is_over(*key)),
                "subscriptions were forgotten"
            );
            if self.machine.failures == 0 {
                self.failures = 0;
            }
            return;
        };
        assert_eq!(self.machine.retries.len(), retries_before + 1);
        assert!(matches!(
            kind,
            ConnectionEndKind::Lost | ConnectionEndKind::Unreachable
        ));
        if retry.subscriptions.is_empty() {
            assert!(self.drivers.is_empty(), "another connection is open");
            let is_first = matches!(kind, ConnectionEndKind::Unreachable) || !was_retrying;
            assert!(is_first, "another retry is due or under way");
        }
        let pause = retry.at - self.now;
        if self.failures == 0 {
            assert_eq!(pause, Duration::ZERO);
        } else {
            let doubled = 500 * 2_u64.pow((self.failures - 1).min(10));
            let longest = Duration::from_millis(doubled.min(30_000));
            assert!(pause <= longest && pause >= longest / 2, "{pause:?}");
        }
        let kept: Vec<u64> = retry.subscriptions.keys().map(|Key(key)| *key).collect();
        for key in kept {
            assert!(shared.contains(&key));
            let is_resumed = self.on_loss == OnLoss::Resume;
            assert!(
                is_resumed || matches!(kind, ConnectionEndKind::Unreachable),
                "{key}"
            );
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            let waiting = self.waiting();
            self.perform(&waiting);
            self.check();
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "woken in a loop");
        }
        self.now = until;
    }

    /// Performs the outputs of the machine. Only the subscriptions in `concerned` may end or move.
    fn perform(&mut self, concerned: &BTreeSet<u64>) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Gap(count) => assert!(count > 0 && self.on_loss == OnLoss::Resume),
                Output::Connect(ConnectionId(id)) => {
                    let driven = Driven {
                        capacity: SUBSCRIPTIONS,
                        is_deaf: false,
                        is_ready: false,
                        subscriptions: BTreeMap::new(),
                    };
                    assert!(self.drivers.insert(id, driven).is_none());
                    assert!(self.drivers.len() <= CONNECTIONS);
                }
                Output::Subscribe(ConnectionId(id), Key(key), subscriber) => {
                    assert_eq!(key, subscriber);
                    assert!(concerned.contains(&key), "{key} was moved");
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
                Output::End(key, _) => {
                    assert!(concerned.contains(&key), "{key} ended with others");
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

    fn start(&mut self, id: u64, key: u64) {
        let owner = self.subscriptions[&key].owner;
        let with_room = self
            .drivers
            .iter()
            .filter(|(_, driver)| driver.has_capacity());
        let mut together = with_room.filter(|(_, driver)| {
            let mut keys = driver.subscriptions.keys();
            keys.any(|key| self.subscriptions[key].owner == owner)
        });
        let is_new = self.subscriptions[&key].whereabouts != Some(Whereabouts::Waiting);
        if is_new && together.clone().next().is_some() {
            assert!(together.any(|(other, _)| *other == id), "{key} is apart");
        }
        let driver = self.drivers.get_mut(&id).unwrap();
        assert!(driver.has_capacity(), "{id} has no room for {key}");
        let subscribed = self.subscriptions.get_mut(&key).unwrap();
        assert!(subscribed.is_held && !subscribed.has_ended);
        assert!(
            !matches!(subscribed.whereabouts, Some(Whereabouts::On(_))),
            "{key} is on two"
        );
        if driver.is_deaf {
            driver.capacity = 0;
            subscribed.whereabouts = None;
            self.machine.handle_rejected(ConnectionId(id), Key(key));
            return;
        }
        subscribed.whereabouts = Some(Whereabouts::On(id));
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
            assert_eq!(self.machine.is_ready(ConnectionId(*id)), driver.is_ready);
        }
        assert_eq!(self.machine.connections.len(), self.drivers.len());
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

    /// Every session releases its subscriptions, every driver confirms and becomes idle: nothing remains.
    fn settle(&mut self) {
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
        self.subscriptions.len() < self.capacity
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
                prop_assert_eq!(world.machine.due(before), 0);
                world.machine.handle_timeout(before);
                prop_assert!(world.machine.poll_output().is_none());
                prop_assert_eq!(world.machine.poll_timeout(), Some(at));
            }
        }
    }
}
