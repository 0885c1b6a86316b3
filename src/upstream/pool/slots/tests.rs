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
        self.open_until(600, connection, slots, dialled);
    }

    fn open_until(&mut self, expires: u64, connection: char, slots: usize, dialled: u64) {
        let opened = Opened {
            connection,
            dialled: self.at(dialled),
            expires: self.at(expires),
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

    /// The list has each connection that seems to have a free slot, and no other, in the order of the keys.
    fn check_free(&self) {
        let ConnectionSlots {
            connections, free, ..
        } = &self.slots;
        let keys = free.iter().map(|id| self.slots.entry(*id).unwrap().key());
        assert!(keys.is_sorted(), "{free:?} of {connections:?}");
        let mut listed = free.clone();
        listed.sort();
        let free = connections.iter().filter(|entry| entry.is_free());
        assert_eq!(listed, Vec::from_iter(free.map(|entry| entry.id)));
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
fn closed_connection_is_asked_once() {
    let mut pool = Pool::new();
    pool.open('a', HTTP1, 1);
    pool.carried.insert('a', None);
    assert_eq!(pool.take(2), None);
    assert!(pool.slots.connections.is_empty() && pool.slots.free.is_empty());
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

#[test]
fn connections_with_requests_do_not_count_as_idle() {
    let mut pool = Pool::new();
    for connection in ['a', 'b', 'c'] {
        pool.open(connection, 2, 1);
    }
    let taken: Vec<_> = (2..7).map(|second| pool.take(second)).collect();
    assert_eq!(taken, ['c', 'c', 'b', 'b', 'a'].map(Some));
    pool.release('c', 7, 1);
    pool.release('b', 8, 1);
    pool.release('b', 9, 1);
    assert_eq!(pool.slots.connections.len(), 3, "only b is idle");
    pool.release('a', 10, 1);
    assert_eq!(pool.take(11), Some('c'), "it has a request");
    let idle = (12..15).map(|second| pool.take(second));
    assert_eq!(Vec::from_iter(idle), [Some('a'), Some('a'), None]);
}

/// The same choice as a search of all connections, in random schedules.
#[test]
fn best_connection_is_taken_in_any_order_of_events() {
    for seed in 0..1_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pool = Pool::new();
        // For each connection: the requests on it, its last use, its dial and its end.
        let mut used = BTreeMap::new();
        for second in 1..200 {
            let name = random.char('a'..='z');
            let open = used.get(&name).copied();
            let is_new = !pool.ids.contains_key(&name);
            match (random.u8(0..16), open) {
                (0 | 1, None) if is_new => {
                    let expires = second + random.u64(20..200);
                    pool.open_until(expires, name, random.usize(0..4), second);
                    used.insert(name, (0, second, second, expires));
                }
                // A request ends on a connection that was closed or removed.
                (2, None) if !is_new => pool.release(name, second, 100),
                (3, Some(_)) => {
                    pool.carried.insert(name, None);
                    used.remove(&name);
                }
                (4, Some(_)) => {
                    pool.slots.remove(pool.ids[&name]);
                    used.remove(&name);
                }
                (5, Some(_)) => {
                    pool.slots.remove_if(|other| *other == name);
                    used.remove(&name);
                }
                (6 | 7, Some(_)) => {
                    let slots = random.usize(0..4);
                    // As `Io::run`, which reports only when there are more.
                    if pool.carried.insert(name, Some(slots)).flatten() < Some(slots) {
                        pool.slots.set_slots(pool.ids[&name], slots);
                    }
                }
                (8..=11, Some((in_flight, _, dialled, expires))) if in_flight > 0 => {
                    pool.release(name, second, 100);
                    if in_flight == 1 && second >= expires {
                        used.remove(&name);
                    } else {
                        used.insert(name, (in_flight - 1, second, dialled, expires));
                    }
                }
                _ => {
                    let after = random.bool().then(|| random.u64(0..second));
                    let fits = |(name, used): &(&char, &(usize, u64, u64, u64))| {
                        let (in_flight, _, dialled, expires) = **used;
                        let is_free = pool.carried[name].is_some_and(|slots| in_flight < slots);
                        is_free && after.is_none_or(|after| dialled > after) && second < expires
                    };
                    let fitting = used.iter().filter(fits);
                    let best = fitting.max_by_key(|(_, (in_flight, last, ..))| (*in_flight, *last));
                    let best = best.map(|(name, _)| *name);
                    let taken = pool.take_after(after, second);
                    assert_eq!(taken, best, "seed {seed}, second {second}");
                    if let Some((in_flight, last, ..)) = best.and_then(|best| used.get_mut(&best)) {
                        (*in_flight, *last) = (*in_flight + 1, second);
                    }
                }
            }
            pool.check_free();
        }
    }
}

#[test]
fn nothing_is_dialled_for_requests_that_are_gone() {
    let mut pool = Pool::new();
    pool.wait(0..3);
    assert_eq!(pool.slots.dials_needed(|_| true), 0);
}
