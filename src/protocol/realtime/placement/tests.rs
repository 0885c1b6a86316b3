//! Transcripts, and random schedules whose outcome is checked against the rules of a pool.
//!
//! A transcript's lines: `.` is an input or time that passes, `!` an output. Outputs follow the
//! input that caused them. Subscriptions and connections are numbered in the order in which they
//! are created. The jitter is 1, which makes each pause as long as it can be.

use proptest::prelude::*;

use super::*;

mod schedules;

struct Bench {
    machine: Placement<u64>,
    now: Instant,
    last_subscriber: u64,
    shown: Vec<String>,
}

const PATIENCE: Duration = Duration::from_secs(300);

impl Bench {
    /// Two subscriptions on a connection, three connections.
    fn new(on_loss: OnLoss) -> Self {
        Self::sized(on_loss, 2, 3)
    }

    fn sized(on_loss: OnLoss, subscriptions: usize, connections: usize) -> Self {
        let now = Instant::now();
        let config = PlacementConfig {
            on_loss,
            subscriptions,
            connections,
            patience: PATIENCE,
        };
        Self {
            machine: Placement::new(config, now),
            now,
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
            "ready" => self.machine.handle_ready(self.now, ConnectionId(number())),
            "acknowledged" => {
                let id = ConnectionId(number());
                self.machine.handle_acknowledged(id, Key(number()));
            }
            "complete" => {
                let id = ConnectionId(number());
                let key = Key(number());
                self.machine.handle_ended(id, key, Event::Complete);
            }
            "interrupted" => {
                let id = ConnectionId(number());
                let key = Key(number());
                let event = Event::Error(vec![GraphqlError::new("throttled")]);
                self.machine
                    .handle_interrupted(self.now, id, key, event, 1.0);
            }
            "unanswered" => {
                let id = ConnectionId(number());
                let key = Key(number());
                let event = Event::Error(vec![GraphqlError::new("not acknowledged")]);
                self.machine
                    .handle_unanswered(self.now, id, key, event, 1.0);
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
                self.machine.handle_full(self.now, id, Key(number()));
            }
            "rejected" => {
                let id = ConnectionId(number());
                self.machine.handle_rejected(self.now, id, Key(number()));
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
            // The pool wakes the machine late.
            "late" => {
                let due_at = self.machine.poll_timeout().unwrap().max(self.now);
                self.now += humantime::parse_duration(words.next().unwrap()).unwrap();
                self.machine.postpone_if_late(self.now - due_at);
                self.machine.handle_timeout(self.now);
            }
            "abandon" => self.machine.abandon_due(self.now),
            verb => {
                let refused = |refusal| {
                    let errors = vec![GraphqlError::new("refused")];
                    ConnectionEnd::Refused(refusal, errors)
                };
                let ending = match verb {
                    "idle" => ConnectionEnd::Idle,
                    "lost" => ConnectionEnd::Lost("closed"),
                    "panicked" => ConnectionEnd::Panicked,
                    "refused" => refused(Refusal::Permanent),
                    "throttled" => refused(Refusal::Transient),
                    "renewed" => refused(Refusal::Renewed),
                    "unreachable" => ConnectionEnd::Unreachable(GraphqlError::new("unreachable")),
                    _ => panic!("unknown line: {line}"),
                };
                let id = ConnectionId(number());
                self.machine.handle_closed(self.now, id, ending, 1.0);
            }
        }
    }

    /// Time passes as it does for a pool, which wakes the machine when it is due.
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

    /// Plays lines, and returns the outputs.
    fn played(&mut self, lines: &[&str]) -> Vec<String> {
        for line in lines {
            self.play(line);
            self.drain();
        }
        std::mem::take(&mut self.shown)
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
                SubscriptionEnd::Upstream(_) => "upstream".to_owned(),
                SubscriptionEnd::Overflow => "overflow".to_owned(),
                SubscriptionEnd::Lost => "lost".to_owned(),
                SubscriptionEnd::Refused(_) => "refused".to_owned(),
                SubscriptionEnd::Unreachable(_) => "unreachable".to_owned(),
                SubscriptionEnd::NotResumed { patience, cause } => {
                    let cause = cause.as_ref().map_or("-", |error| error.message.as_str());
                    format!("not resumed in {patience:?}: {cause}")
                }
                SubscriptionEnd::Full => "full".to_owned(),
                SubscriptionEnd::TooManyConnections => "too many connections".to_owned(),
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

/// The same after subscription 1 has become live on connection 1, which proved itself.
#[track_caller]
fn check_live(on_loss: OnLoss, transcript: &str) {
    let live = "
        . subscribe 1
        ! connect 1
        . ready 1
        ! subscribe 1 1
        . acknowledged 1 1
        . wait 10s
    ";
    check(on_loss, &format!("{live}{transcript}"));
}

const BOTH: [OnLoss; 2] = [OnLoss::Close, OnLoss::Resume];

#[test]
fn subscriptions_of_one_owner_stay_together_while_there_is_a_free_slot() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . subscribe 2
        . subscribe 2
        ! connect 2
        . ready 1
        ! subscribe 1 1
        ! subscribe 1 2
        . ready 2
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
        . ready 1
        ! subscribe 1 1
        . subscribe 2
        ! subscribe 1 2
        . subscribe 3
        ! connect 2
        . ready 2
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
        . ready 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . release 1
        ! stop 1 1
        . release 1
        . subscribe 1
        ! connect 2
        . released 1 1
        ! subscribe 1 3
        . ready 2
        . subscribe 2
        ! subscribe 2 4
        ",
    );
}

#[test]
fn an_overflow_ends_one_subscription_once_and_keeps_its_slot() {
    check_live(
        OnLoss::Resume,
        "
        . subscribe 1
        ! subscribe 1 2
        . acknowledged 1 2
        . overflow 1 1
        ! end 1 overflow
        . overflow 1 1
        . release 1
        . subscribe 1
        ! connect 2
        . lost 1
        ! gap 1
        . released 1 1
        . ready 2
        ! subscribe 2 2
        ! subscribe 2 3
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
            . ready 1
            ! subscribe 1 1
            . subscribe 1
            ! subscribe 1 2
            . subscribe 1
            ! connect 2
            . subscribe 1
            . subscribe 1
            ! connect 3
            . subscribe 1
            . subscribe 1
            ! end 7 too many connections
            . release 7
            . ready 2
            ! subscribe 2 3
            ! subscribe 2 4
            . subscribe 1
            ! end 8 too many connections
            . ready 3
            ! subscribe 3 5
            ! subscribe 3 6
            . released 2 4
            . subscribe 1
            ! subscribe 2 9
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
        . ready 1
        ! subscribe 1 1
        . full 1 1
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . full 2 1
        ! connect 3
        . ready 3
        ! subscribe 3 1
        . full 3 1
        ! end 1 too many connections
        . idle 1
        . subscribe 1
        ! connect 4
        . ready 4
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
        . ready 1
        ! subscribe 1 1
        . full 1 1
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . idle 1
        . full 2 1
        ! connect 3
        . ready 3
        ! subscribe 3 1
        . idle 2
        . full 3 1
        ! connect 4
        . ready 4
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
        . ready 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . full 1 2
        ! connect 2
        . ready 2
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
        . ready 1
        ! subscribe 1 1
        . subscribe 1
        ! subscribe 1 2
        . rejected 1 2
        ! connect 2
        . ready 2
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
    check_live(
        OnLoss::Close,
        "
        . subscribe 2
        ! subscribe 1 2
        . lost 1
        ! end 1 lost
        ! end 2 lost
        . availability
        ! up
        . wait 100ms
        ! connect 2
        . subscribe 1
        . ready 2
        ! subscribe 2 3
        . wait 10s
        . lost 2
        ! end 3 lost
        . subscribe 1
        . wait 100ms
        ! connect 3
        . wait 1s
        . ready 3
        ! subscribe 3 4
        ",
    );
    // Another connection is open: nothing needs a reconnect.
    check_live(
        OnLoss::Close,
        "
        . subscribe 1
        ! subscribe 1 2
        . subscribe 1
        ! connect 2
        . ready 2
        ! subscribe 2 3
        . lost 1
        ! end 1 lost
        ! end 2 lost
        . wait 1h
        ",
    );
}

#[test]
fn resumed_subscriptions_share_the_reconnect_with_new_ones() {
    check_live(
        OnLoss::Resume,
        "
        . subscribe 2
        ! subscribe 1 2
        . release 2
        ! stop 1 2
        . lost 1
        ! gap 1
        . subscribe 3
        . wait 100ms
        ! connect 2
        . ready 2
        ! subscribe 2 1
        ! subscribe 2 3
        ",
    );
}

#[test]
fn a_resumed_subscription_takes_a_free_slot_of_another_connection() {
    check_live(
        OnLoss::Resume,
        "
        . subscribe 2
        ! subscribe 1 2
        . subscribe 3
        ! connect 2
        . ready 2
        ! subscribe 2 3
        . acknowledged 1 2
        . lost 1
        ! gap 2
        ! subscribe 2 1
        . wait 100ms
        ! connect 3
        . ready 3
        ! subscribe 3 2
        ",
    );
}

/// An upstream that acknowledged connections and closed them was dialled a hundred times a second.
#[test]
fn a_connection_that_lives_briefly_counts_as_a_failure() {
    let mut bench = Bench::new(OnLoss::Resume);
    bench.played(&[". subscribe 1", ". ready 1", ". acknowledged 1 1"]);
    for (round, pause) in [100, 200, 400, 800, 1_000, 1_000].into_iter().enumerate() {
        let id = round + 1;
        let [ready, acknowledged] =
            [". ready", ". acknowledged"].map(|verb| format!("{verb} {id}"));
        if round > 0 {
            bench.played(&[&ready, &format!("{acknowledged} 1")]);
        }
        bench.played(&[&format!(". lost {id}")]);
        assert_eq!(bench.played(&[&format!(". wait {}ms", pause - 1)]), [""; 0]);
        let connect = format!("! connect {}", id + 1);
        assert_eq!(bench.played(&[". wait 1ms"]), [connect]);
    }
    // A connection that lives for a while ends the series of failures.
    bench.played(&[". ready 7", ". wait 10s", ". lost 7"]);
    assert_eq!(bench.played(&[". wait 100ms"]), ["! connect 8"]);
    bench.played(&[". unreachable 8"]);
    assert_eq!(bench.played(&[". wait 100ms"]), ["! connect 9"]);
}

/// Only its end counted, so one that failed beside it was dialled without a growing pause.
#[test]
fn an_old_connection_does_not_hide_that_new_ones_fail() {
    let mut bench = Bench::new(OnLoss::Resume);
    bench.played(&[". subscribe 1", ". ready 1", ". subscribe 1", ". wait 1m"]);
    assert_eq!(bench.played(&[". subscribe 1"]), ["! connect 2"]);
    for id in 2..12 {
        bench.played(&[&format!(". unreachable {id}"), ". subscribe 1"]);
        let connect = format!("! connect {}", id + 1);
        assert_eq!(bench.played(&[". wait 1s"]), [connect]);
    }
    bench.played(&[". unreachable 12", ". subscribe 1"]);
    assert_eq!(bench.played(&[". wait 999ms"]), [""; 0]);
}

/// With `close`, clients of a flapping upstream return; when they have left, nothing is dialled.
#[test]
fn nothing_is_dialled_when_nobody_waits() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . ready 1
        ! subscribe 1 1
        . lost 1
        ! end 1 lost
        . wait 100ms
        ! connect 2
        . ready 2
        . lost 2
        . wait 1h
        . subscribe 1
        . wait 0s
        ! connect 3
        . release 2
        . ready 3
        . lost 3
        . wait 1h
        ",
    );
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        . ready 1
        ! subscribe 1 1
        . lost 1
        . release 1
        . wait 1h
        ",
    );
}

#[test]
fn an_unreachable_upstream_is_dialled_for_ten_seconds_after_the_last_client() {
    let mut bench = Bench::new(OnLoss::Close);
    bench.played(&[". subscribe 1", ". release 1"]);
    let mut id = 1;
    let mut seconds = 0;
    while seconds < 60 {
        bench.played(&[&format!(". unreachable {id}")]);
        if bench.played(&[". wait 1s"]).is_empty() {
            break;
        }
        id += 1;
        seconds += 1;
    }
    assert_eq!(seconds, 9);
    assert_eq!(bench.played(&[". wait 1h"]), [""; 0]);
    // A client that comes back is served by the next attempt, which it causes.
    let shown = bench.played(&[". unreachable 1", ". subscribe 1", ". wait 0s"]);
    assert_eq!(shown, [format!("! connect {}", id + 1)]);
}

/// Newcomers waited for the next attempt, up to half a minute after upstream was well.
#[test]
fn a_newcomer_leads_to_an_attempt() {
    let mut bench = Bench::new(OnLoss::Close);
    bench.played(&[". subscribe 1", ". ready 1", ". lost 1"]);
    let mut id = 1;
    while bench.played(&[". wait 1s"]) != [""; 0] {
        id += 1;
        bench.played(&[&format!(". unreachable {id}")]);
    }
    bench.played(&[". wait 25s"]);
    let shown = bench.played(&[". availability", ". wait 0s"]);
    let connect = format!("! connect {}", id + 1);
    assert_eq!(shown, ["! down".to_owned(), connect]);
    let ready = format!(". ready {}", id + 1);
    let shown = bench.played(&[&ready, ". availability", ". subscribe 1"]);
    let subscribe = format!("! subscribe {} 2", id + 1);
    assert_eq!(shown, ["! up".to_owned(), subscribe]);
}

#[test]
fn an_upstream_does_not_count_as_down_for_longer_than_a_minute() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . release 1
        . wait 11s
        . unreachable 1
        . wait 59s
        . availability
        ! down
        . wait 0s
        ! connect 2
        . wait 1s
        . availability
        ! up
        ",
    );
}

/// The attempt held the subscriptions, so that they waited until it had timed out.
#[test]
fn an_attempt_that_hangs_does_not_delay_the_next_one() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . wait 1999ms
        . wait 1ms
        ! connect 2
        . wait 2s
        ! connect 3
        . ready 3
        ! subscribe 3 1
        . wait 1h
        ",
    );
}

#[test]
fn one_attempt_is_made_at_a_time_while_attempts_fail() {
    let mut bench = Bench::sized(OnLoss::Resume, 100, 256);
    let mut lines = vec![". subscribe 1"; 700];
    let shown = bench.played(&lines);
    assert_eq!(shown.len(), 7);
    lines.clear();
    let ready: Vec<String> = (1..=7).map(|id| format!(". ready {id}")).collect();
    assert_eq!(
        bench
            .played(&ready.iter().map(String::as_str).collect::<Vec<_>>())
            .len(),
        700
    );
    for key in 1..=700 {
        let id = (key - 1) / 100 + 1;
        bench.played(&[&format!(". acknowledged {id} {key}")]);
    }
    bench.played(&[". wait 1m"]);

    // All are lost, and seven attempts fail together: that is one failure.
    let lost: Vec<String> = (1..=7).map(|id| format!(". lost {id}")).collect();
    let shown = bench.played(&lost.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(shown, ["! gap 100"; 7]);
    assert_eq!(bench.played(&[". wait 100ms"]).len(), 7);
    for id in 8..=14 {
        bench.played(&[&format!(". unreachable {id}")]);
    }
    assert_eq!(bench.played(&[". wait 99ms"]), [""; 0]);
    assert_eq!(bench.played(&[". wait 1ms"]), ["! connect 15"]);
    bench.played(&[". unreachable 15"]);
    assert_eq!(bench.played(&[". wait 199ms"]), [""; 0]);
    assert_eq!(bench.played(&[". wait 1ms"]), ["! connect 16"]);

    // Each success serves a hundred. As many attempts are made as connections are open.
    for (id, expected) in (16..=22).zip([1, 2, 2, 1, 0, 0, 0]) {
        let shown = bench.played(&[&format!(". ready {id}"), ". wait 0s"]);
        let connects = shown.iter().filter(|line| line.contains("connect"));
        let (connects, others) = (connects.count(), shown.len() - 100);
        assert_eq!((connects, others), (expected, expected), "{id}");
    }
}

/// Each acknowledgement let it dial all missing connections at once, about 40 times a second.
#[test]
fn a_flapping_upstream_is_not_dialled_for_all_subscriptions_at_once() {
    let mut bench = Bench::sized(OnLoss::Resume, 1, 26);
    bench.played(&[". subscribe 1"; 26]);
    let mut open: Vec<u64> = (1..=26).collect();
    let (mut opening, mut connects) = (Vec::new(), 0);
    for id in &open {
        bench.played(&[
            &format!(". ready {id}"),
            &format!(". acknowledged {id} {id}"),
        ]);
    }
    // Each connection is acknowledged after 50 ms, and lives for as long.
    for _ in 0..100 {
        for id in open.drain(..) {
            bench.played(&[&format!(". lost {id}")]);
        }
        for id in &opening {
            bench.played(&[&format!(". ready {id}")]);
        }
        open.append(&mut opening);
        for line in bench.played(&[". wait 50ms"]) {
            if let Some(id) = line.strip_prefix("! connect ") {
                opening.push(id.parse().unwrap());
                connects += 1;
            }
        }
    }
    assert!((6..=20).contains(&connects), "{connects}");

    // Once they live for longer, all are opened soon.
    for _ in 0..40 {
        for id in &opening {
            bench.played(&[&format!(". ready {id}")]);
        }
        open.append(&mut opening);
        for line in bench.played(&[". wait 50ms"]) {
            if let Some(id) = line.strip_prefix("! connect ") {
                opening.push(id.parse().unwrap());
            }
        }
    }
    assert_eq!(open.len(), 26);
}

/// It was acknowledged after the failure was counted, so its loss counted as another one.
#[test]
fn attempts_that_began_before_a_failure_belong_to_its_round() {
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        . subscribe 1
        . subscribe 1
        ! connect 2
        . unreachable 1
        . wait 50ms
        . ready 2
        ! subscribe 2 1
        ! subscribe 2 2
        . lost 2
        . wait 50ms
        ! connect 3
        ",
    );
}

/// The pool connected for a client that had released its subscription.
#[test]
fn the_loss_of_released_subscriptions_leads_to_no_connect() {
    for on_loss in BOTH {
        check_live(
            on_loss,
            "
            . release 1
            ! stop 1 1
            . lost 1
            . wait 1h
            ",
        );
    }
}

#[test]
fn connects_are_limited_to_the_rate_of_the_token_bucket() {
    let mut bench = Bench::sized(OnLoss::Resume, 1, 1_000);
    let shown = bench.played(&vec![". subscribe 1"; 300]);
    assert_eq!(shown.len(), 256);
    assert_eq!(bench.played(&[". wait 1s"]).len(), 20);
    assert_eq!(bench.played(&[". wait 1s"]).len(), 20);
    assert_eq!(bench.played(&[". wait 10s"]).len(), 4 + 4);
}

#[test]
fn an_unreachable_upstream_ends_new_subscriptions_after_a_second() {
    for on_loss in BOTH {
        check(
            on_loss,
            "
            . subscribe 1
            ! connect 1
            . unreachable 1
            . wait 100ms
            ! connect 2
            . unreachable 2
            . wait 200ms
            ! connect 3
            . wait 500ms
            . subscribe 1
            . wait 200ms
            . unreachable 3
            ! end 1 unreachable
            . wait 400ms
            ! connect 4
            . unreachable 4
            . wait 800ms
            ! connect 5
            . ready 5
            ! subscribe 5 2
            ",
        );
    }
}

/// Three moves ended it, whatever their reason, and however long ago.
#[test]
fn a_lost_subscription_is_resumed_after_any_number_of_short_outages() {
    let mut bench = Bench::new(OnLoss::Resume);
    bench.played(&[
        ". subscribe 1",
        ". ready 1",
        ". acknowledged 1 1",
        ". wait 10s",
    ]);
    let mut id = 1;
    for _ in 0..20 {
        assert_eq!(bench.played(&[&format!(". lost {id}")]), ["! gap 1"]);
        for _ in 0..6 {
            id += 1;
            let connect = bench.played(&[". wait 1s"]);
            assert_eq!(connect, [format!("! connect {id}")]);
            bench.played(&[&format!(". unreachable {id}")]);
        }
        id += 1;
        bench.played(&[". wait 1s"]);
        let [ready, acknowledged] = [format!(". ready {id}"), format!(". acknowledged {id} 1")];
        let shown = bench.played(&[&ready, &acknowledged, ". wait 10s"]);
        assert_eq!(shown, [format!("! subscribe {id} 1")]);
    }
}

#[test]
fn a_lost_subscription_ends_when_its_patience_is_over() {
    let mut bench = Bench::new(OnLoss::Resume);
    bench.played(&[
        ". subscribe 1",
        ". ready 1",
        ". acknowledged 1 1",
        ". lost 1",
    ]);
    let started = bench.now;
    let mut id = 2;
    let end = loop {
        let shown = bench.played(&[". wait 1s"]);
        if let [end] = shown.as_slice()
            && end.contains("end")
        {
            break end.clone();
        }
        bench.played(&[&format!(". unreachable {id}")]);
        id += 1;
    };
    assert_eq!(end, "! end 1 not resumed in 300s: unreachable");
    assert_eq!(bench.now - started, PATIENCE);
    // It ends on time also if an attempt hangs, and its patience is not renewed by a connection on
    // which it does not become live.
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . wait 299s
        . lost 2
        . wait 899ms
        ! connect 3
        . wait 1ms
        ! end 1 not resumed in 300s: -
        ",
    );
}

#[test]
fn a_start_that_fails_is_repeated_while_its_subscription_is_resumed() {
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . interrupted 2 1
        . subscribe 2
        ! subscribe 2 2
        . wait 499ms
        . wait 1ms
        ! subscribe 2 1
        . interrupted 2 1
        . interrupted 2 2
        ! end 2 upstream
        . wait 999ms
        . wait 1ms
        ! subscribe 2 1
        . acknowledged 2 1
        . interrupted 2 1
        ! end 1 upstream
        ",
    );
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . wait 299s
        . interrupted 2 1
        . wait 500ms
        ! subscribe 2 1
        . interrupted 2 1
        . wait 1s
        ! end 1 not resumed in 300s: throttled
        ",
    );
}

/// It was started on the same connection again and again.
#[test]
fn a_resumed_start_that_is_not_answered_moves_to_another_connection() {
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . ready 2
        ! subscribe 2 1
        . subscribe 1
        ! subscribe 2 2
        . acknowledged 2 2
        . unanswered 2 1
        . wait 499ms
        . wait 1ms
        ! connect 3
        . ready 3
        ! subscribe 3 1
        . complete 2 2
        ! end 2 upstream
        . subscribe 1
        ! subscribe 3 3
        ",
    );
    // A new one ends, and its connection serves others.
    check(
        OnLoss::Resume,
        "
        . subscribe 1
        ! connect 1
        . ready 1
        ! subscribe 1 1
        . unanswered 1 1
        ! end 1 upstream
        . subscribe 1
        ! subscribe 1 2
        ",
    );
}

/// All ended before an attempt was made.
#[test]
fn an_attempt_follows_a_stop_that_was_longer_than_the_patience() {
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . late 10m
        ! connect 2
        . wait 1s
        . ready 2
        ! subscribe 2 1
        ",
    );
}

#[test]
fn a_refusal_that_may_pass_ends_no_subscription_that_is_resumed() {
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . subscribe 2
        . throttled 2
        . wait 100ms
        ! connect 3
        . throttled 3
        . wait 1s
        ! connect 4
        . throttled 4
        ! end 2 refused
        . availability
        ! up
        . wait 1s
        ! connect 5
        . ready 5
        ! subscribe 5 1
        ",
    );
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . throttled 1
        ! end 1 refused
        . availability
        ! up
        . wait 1h
        ",
    );
}

#[test]
fn renewed_credentials_are_tried_at_once_and_once() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . renewed 1
        . wait 0s
        ! connect 2
        . renewed 2
        ! end 1 refused
        . subscribe 1
        . wait 100ms
        ! connect 3
        . renewed 3
        . wait 0s
        ! connect 4
        . ready 4
        ! subscribe 4 2
        . wait 1h
        . complete 4 2
        ! end 2 upstream
        . idle 4
        . subscribe 1
        ! connect 5
        . renewed 5
        . wait 0s
        ! connect 6
        ",
    );
    // Attempts that were under way at the renewal do not count as its failure.
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . subscribe 1
        . subscribe 1
        ! connect 2
        . wait 1ms
        . renewed 1
        . renewed 2
        . wait 0s
        ! connect 3
        ! connect 4
        . ready 3
        ! subscribe 3 1
        ! subscribe 3 2
        ",
    );
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . wait 100ms
        ! connect 2
        . renewed 2
        . wait 0s
        ! connect 3
        . renewed 3
        . wait 99ms
        . wait 1ms
        ! connect 4
        . ready 4
        ! subscribe 4 1
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
            . subscribe 1
            . refused 1
            ! end 1 refused
            ! end 2 refused
            . availability
            ! up
            . wait 1h
            ",
        );
        check_live(
            on_loss,
            "
            . subscribe 1
            ! subscribe 1 2
            . subscribe 1
            ! connect 2
            . refused 2
            ! end 3 refused
            . subscribe 1
            . wait 99ms
            . wait 1ms
            ! connect 3
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
            . ready 1
            ! subscribe 1 1
            . panicked 1
            ! end 1 lost
            . wait 1h
            . subscribe 1
            ! connect 2
            . ready 2
            ! subscribe 2 2
            ",
        );
    }
    check_live(
        OnLoss::Resume,
        "
        . lost 1
        ! gap 1
        . abandon
        . wait 99ms
        ",
    );
    let mut bench = Bench::new(OnLoss::Resume);
    bench.played(&[
        ". subscribe 1",
        ". ready 1",
        ". acknowledged 1 1",
        ". lost 1",
    ]);
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.played(&[". abandon"]), ["! end 1 lost"]);
    assert_eq!(bench.played(&[". wait 1h"]), [""; 0]);
}

#[test]
fn an_idle_connection_retires_unless_a_subscription_was_placed_on_it() {
    check(
        OnLoss::Close,
        "
        . subscribe 1
        ! connect 1
        . ready 1
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
        . ready 2
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
        ". interrupted 1 7",
        ". interrupted 7 1",
        ". overflow 7 1",
        ". released 7 1",
        ". full 7 1",
        ". rejected 7 1",
        ". lost 7",
        ". unreachable 7",
        ". refused 7",
        ". renewed 7",
    ] {
        check(
            OnLoss::Close,
            &format!(
                "
                . subscribe 1
                ! connect 1
                . ready 1
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
