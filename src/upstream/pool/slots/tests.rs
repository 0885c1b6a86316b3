//! Each rule of the slots, without I/O and at seconds that the tests choose.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;

const HTTP1: usize = 1;
const HTTP2: usize = 100;
const IDLE: Duration = Duration::from_secs(60);

/// A pool whose connections are named by letters.
struct Pool {
    slots: ConnectionSlots<char, u32>,
    started: Instant,
    /// How many requests each connection carries at a time.
    carried: BTreeMap<char, Option<usize>>,
    ids: BTreeMap<char, Id>,
}

impl Pool {
    fn new() -> Self {
        Self {
            slots: ConnectionSlots::default(),
            started: Instant::now(),
            carried: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    fn at(&self, second: u64) -> Instant {
        self.started + Duration::from_secs(second)
    }

    fn open(&mut self, connection: char, slots: usize, dialled: u64) {
        let opened = Opened {
            connection,
            dialled: self.at(dialled),
            expires: self.at(600),
        };
        let id = self.slots.opened(opened, slots, self.at(dialled));
        self.ids.insert(connection, id);
        self.carried.insert(connection, Some(slots));
    }

    fn take(&mut self, second: u64) -> Option<char> {
        self.take_after(None, second)
    }

    fn take_after(&mut self, after: Option<u64>, second: u64) -> Option<char> {
        let after = after.map(|after| self.at(after));
        let now = self.at(second);
        let slot = self.slots.take(after, now, |name| self.carried[name]);
        slot.map(|slot| slot.connection)
    }

    fn wait(&mut self, requests: std::ops::Range<u32>) {
        for request in requests {
            self.slots.wait(request, None, self.started);
        }
    }

    fn dials(&mut self) -> usize {
        self.slots.dials_needed(|_| false)
    }

    /// A dial fails that started at `second`.
    fn fail(&mut self, second: u64) -> Vec<u32> {
        self.slots.dial_failed(Some(self.at(second)))
    }

    fn serve(&mut self) -> Vec<(u32, char)> {
        let now = self.at(1);
        let served = self.slots.serve(now, |name| self.carried[name]);
        let pairs = served.into_iter();
        pairs
            .map(|(request, slot)| (request, slot.connection))
            .collect()
    }

    fn release(&mut self, connection: char, second: u64, max_idle: usize) {
        let now = self.at(second);
        self.slots.release(self.ids[&connection], now, max_idle);
    }
}

#[test]
fn one_dial_shows_the_protocol_and_http2_needs_few_connections() {
    let mut pool = Pool::new();
    pool.wait(0..300);
    assert_eq!(pool.dials(), 1);
    assert_eq!(pool.dials(), 0, "a dial is in progress");
    pool.open('a', HTTP2, 1);
    assert_eq!(pool.serve().len(), 100);
    assert_eq!(pool.dials(), 2);
    for connection in ['b', 'c'] {
        pool.open(connection, HTTP2, 2);
        assert_eq!(pool.serve().len(), 100);
    }
    assert_eq!(pool.dials(), 0);
    assert_eq!(pool.take(3), None, "all slots are taken");
}

#[test]
fn http1_needs_a_connection_for_each_request() {
    let mut pool = Pool::new();
    pool.wait(0..5);
    assert_eq!(pool.dials(), 1);
    pool.open('a', HTTP1, 1);
    assert_eq!(pool.serve(), [(0, 'a')]);
    assert_eq!(pool.dials(), 4);
    pool.release('a', 2, 8);
    assert_eq!(
        pool.serve(),
        [(1, 'a')],
        "a connection that becomes free is used"
    );
    for connection in ['b', 'c', 'd', 'e'] {
        pool.open(connection, HTTP1, 2);
    }
    assert_eq!(pool.serve().len(), 3);
    assert_eq!(pool.take(3), Some('b'), "one dial was not needed");
    assert_eq!(pool.take(3), None);
}

#[test]
fn upstreams_with_few_streams_get_more_connections() {
    let mut pool = Pool::new();
    pool.wait(0..30);
    assert_eq!(pool.dials(), 1);
    pool.open('a', 10, 1);
    assert_eq!(pool.serve().len(), 10);
    assert_eq!(pool.dials(), 2);
    pool.open('b', 5, 2);
    assert_eq!(pool.serve().len(), 5);
    assert_eq!(pool.dials(), 2, "15 wait, and one dial of 3 is in progress");
}

#[test]
fn the_fullest_connection_is_taken_so_that_the_others_become_idle() {
    let mut pool = Pool::new();
    for connection in ['a', 'b'] {
        pool.open(connection, 2, 1);
    }
    let taken: Vec<_> = (2..7).map(|second| pool.take(second)).collect();
    assert_eq!(taken, [Some('b'), Some('b'), Some('a'), Some('a'), None]);
    pool.release('a', 7, 8);
    assert_eq!(pool.take(8), Some('a'));
}

#[test]
fn repeated_requests_get_a_connection_that_was_dialled_later() {
    let mut pool = Pool::new();
    pool.open('a', HTTP1, 1);
    assert_eq!(pool.take_after(Some(2), 3), None);
    pool.slots.wait(7, Some(pool.at(2)), pool.at(2));
    assert_eq!(pool.dials(), 1);
    assert_eq!(pool.serve(), [], "the first connection is too old");
    pool.open('b', HTTP1, 3);
    assert_eq!(pool.serve(), [(7, 'b')]);
}

#[test]
fn connections_end_when_they_are_closed_expired_silent_or_unused() {
    let mut pool = Pool::new();
    for connection in ['a', 'b', 'c', 'd'] {
        pool.open(connection, HTTP1, 1);
    }
    pool.carried.insert('a', None);
    pool.slots.remove_if(|name| *name == 'b');
    assert_eq!(pool.take(2), Some('d'));
    pool.release('d', 3, 8);
    assert_eq!(pool.take(600), None, "they have expired");
    let (c, d) = (pool.ids[&'c'], pool.ids[&'d']);
    let check = pool.slots.remove_unused(d, pool.at(62), IDLE);
    assert_eq!(check, Unused::CheckAt(pool.at(63)));
    let check = pool.slots.remove_unused(c, pool.at(62), IDLE);
    assert_eq!(check, Unused::Removed);
    assert_eq!(pool.take(62), Some('d'));
    let check = pool.slots.remove_unused(d, pool.at(580), IDLE);
    assert_eq!(check, Unused::CheckAt(pool.at(600)), "it expires sooner");
    let check = pool.slots.remove_unused(d, pool.at(700), IDLE);
    assert_eq!(check, Unused::CheckAt(pool.at(760)), "it is in use");
    pool.release('d', 701, 8);
    assert_eq!(
        pool.slots.remove_unused(d, pool.at(701), IDLE),
        Unused::Removed
    );
}

#[test]
fn idle_connections_beyond_the_limit_are_removed() {
    let mut pool = Pool::new();
    for (second, connection) in [(1, 'a'), (2, 'b'), (3, 'c')] {
        pool.open(connection, HTTP1, second);
        assert_eq!(pool.take(4), Some(connection));
    }
    for (second, connection) in [(5, 'a'), (6, 'b'), (7, 'c')] {
        pool.release(connection, second, 2);
    }
    assert_eq!(
        [pool.take(8), pool.take(8), pool.take(8)],
        [Some('c'), Some('b'), None]
    );
}

#[test]
fn a_failed_dial_fails_the_requests_that_no_other_dial_serves() {
    let mut pool = Pool::new();
    pool.wait(0..3);
    assert_eq!(pool.dials(), 1);
    assert_eq!(pool.fail(0), [0, 1, 2]);
    pool.open('a', HTTP1, 1);
    pool.wait(3..6);
    assert_eq!(pool.serve(), [(3, 'a')]);
    assert_eq!(pool.dials(), 2);
    assert_eq!(pool.fail(1), [4]);
    assert_eq!(pool.fail(1), [5]);
}

#[test]
fn failed_dial_fails_no_request_that_came_later() {
    let mut pool = Pool::new();
    pool.wait(0..2);
    assert_eq!(pool.dials(), 1);
    pool.slots.wait(2, Some(pool.at(2)), pool.at(2));
    pool.slots.wait(3, None, pool.at(3));
    assert_eq!(pool.dials(), 0, "a dial is in progress");
    assert_eq!(pool.fail(1), [0, 1]);
    assert_eq!(pool.dials(), 1);
    assert_eq!(pool.slots.dial_failed(None), [2, 3]);
}

#[test]
fn only_a_connection_that_seems_to_fit_is_asked() {
    let mut pool = Pool::new();
    for connection in 'a'..='z' {
        pool.open(connection, HTTP1, 1);
        pool.take(2);
    }
    pool.slots.wait(1_000, Some(pool.at(2)), pool.at(2));
    pool.wait(0..1_000);
    pool.open('A', HTTP1, 1);
    let asked = Cell::new(0);
    let slots = |_: &char| {
        asked.set(asked.get() + 1);
        Some(HTTP1)
    };
    let served = pool.slots.serve(pool.at(3), slots);
    let served: Vec<_> = served.iter().map(|(request, _)| *request).collect();
    assert_eq!(served, [0], "request 1000 needs a newer connection");
    assert_eq!(asked.get(), 1);
    pool.open('B', HTTP1, 3);
    assert_eq!(pool.serve(), [(1_000, 'B')], "the order is kept");
    pool.slots.dials_needed(|_| true);
    for connection in 'a'..='z' {
        pool.release(connection, 4, 100);
    }
    assert!(pool.slots.take(None, pool.at(5), slots).is_some());
    assert_eq!(asked.get(), 2, "one of many");
}

#[test]
fn connection_that_may_have_no_requests_at_the_moment_is_kept() {
    let mut pool = Pool::new();
    pool.open('a', 0, 1);
    assert_eq!(pool.take(2), None);
    pool.carried.insert('a', Some(HTTP2));
    pool.slots.set_slots(pool.ids[&'a'], HTTP2);
    assert_eq!(pool.take(3), Some('a'));
}

#[test]
fn connection_that_carries_fewer_requests_than_it_did_is_taken_when_it_carries_more() {
    let mut pool = Pool::new();
    pool.open('a', 2, 1);
    assert_eq!(pool.take(2), Some('a'));
    pool.carried.insert('a', Some(1));
    assert_eq!(pool.take(3), None);
    pool.carried.insert('a', Some(2));
    pool.slots.set_slots(pool.ids[&'a'], 2);
    assert_eq!(pool.take(4), Some('a'));
}

/// The same choice as a search of all connections, in random schedules.
#[test]
fn best_connection_is_taken_in_any_order_of_events() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pool = Pool::new();
        // For each connection: the requests on it and its last use.
        let mut used = BTreeMap::new();
        for second in 1..200 {
            let name = random.char('a'..='z');
            let open = used.get(&name).copied();
            match (random.u8(0..8), open) {
                (0, None) if !pool.ids.contains_key(&name) => {
                    pool.open(name, random.usize(0..4), second);
                    used.insert(name, (0, second));
                }
                (1, Some(_)) => {
                    used.remove(&name);
                    pool.carried.insert(name, None);
                }
                (2, Some(_)) => {
                    let slots = random.usize(0..4);
                    pool.carried.insert(name, Some(slots));
                    pool.slots.set_slots(pool.ids[&name], slots);
                }
                (3 | 4, Some((in_flight, _))) if in_flight > 0 => {
                    used.insert(name, (in_flight - 1, second));
                    pool.release(name, second, 100);
                }
                _ => {
                    let free = |(name, (in_flight, _)): &(&char, &(usize, u64))| {
                        pool.carried[name].is_some_and(|slots| *in_flight < slots)
                    };
                    let best = used.iter().filter(free).max_by_key(|(_, used)| **used);
                    let best = best.map(|(name, _)| *name);
                    assert_eq!(pool.take(second), best, "seed {seed}, second {second}");
                    if let Some((in_flight, last)) = best.and_then(|best| used.get_mut(&best)) {
                        (*in_flight, *last) = (*in_flight + 1, second);
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_is_dialled_for_requests_that_are_gone() {
    let mut pool = Pool::new();
    pool.wait(0..3);
    assert_eq!(pool.slots.dials_needed(|_| true), 0);
}
