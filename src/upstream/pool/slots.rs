//! Decides which connection carries a request, and how many connections to dial. Without I/O and
//! without a clock.
//!
//! A slot is the right to one request on a connection: an HTTP/1.1 connection has one, an HTTP/2
//! connection has as many as it may have streams.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The connections of a pool, and the requests that wait for a slot on one.
///
/// `C` is a handle of a connection, `W` a handle of a waiting request.
#[derive(Debug)]
pub(super) struct ConnectionSlots<C, W> {
    /// In the order of their numbers.
    connections: Vec<Entry<C>>,
    /// The connections with free slots, sorted by [`Entry::key`]. The last one is taken first.
    free: Vec<Id>,
    waiting: VecDeque<Waiting<W>>,
    dialling: usize,
    /// The slots of the connection that was opened last; the next one is expected to have as many.
    usual_slots: Option<usize>,
    last_id: u64,
}

/// The number of a connection in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

/// A connection that was opened.
#[derive(Debug)]
pub(super) struct Opened<C> {
    pub(super) connection: C,
    /// When its dial started.
    pub(super) dialled: Instant,
    /// When it stops taking requests.
    pub(super) expires: Instant,
}

/// A slot on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConnectionSlot<C> {
    pub(super) id: Id,
    pub(super) connection: C,
}

/// The result of a check whether a connection is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    CheckAt(Instant),
    Removed,
}

#[derive(Debug)]
struct Entry<C> {
    id: Id,
    opened: Opened<C>,
    /// How many requests it carries at a time, as far as known: never fewer than it does.
    slots: usize,
    in_flight: usize,
    last_used: Instant,
}

#[derive(Debug)]
struct Waiting<W> {
    handle: W,
    /// The dial of the connection must have started later.
    after: Option<Instant>,
    since: Instant,
}

impl<C, W> Default for ConnectionSlots<C, W> {
    fn default() -> Self {
        Self {
            connections: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            dialling: 0,
            usual_slots: None,
            last_id: 0,
        }
    }
}

impl<C: Clone, W> ConnectionSlots<C, W> {
    /// Takes a slot on the connection that carries the most requests, and of equals on the one that
    /// was used last, so that the others become idle and are closed. With `after`, the dial of the
    /// connection must have started later. `slots` returns how many requests a connection carries at a
    /// time, `None` if it is closed.
    pub(super) fn take(
        &mut self,
        after: Option<Instant>,
        now: Instant,
        slots: impl Fn(&C) -> Option<usize>,
    ) -> Option<ConnectionSlot<C>> {
        // Asks few connections, because the processor's caches do not hold all of them. What the loop takes out
        // of the list is at `place`, so the ones before it stay where they are.
        for place in (0..self.free.len()).rev() {
            let id = self.free[place];
            let Some(entry) = self.entry(id) else {
                continue;
            };
            let is_new_enough = after.is_none_or(|after| entry.opened.dialled > after);
            if !is_new_enough || now >= entry.opened.expires {
                continue;
            }
            let connection = entry.opened.connection.clone();
            let Some(carried) = slots(&connection) else {
                self.remove(id);
                continue;
            };
            let is_taken = self.change(id, |entry| {
                entry.slots = carried;
                let is_free = entry.is_free();
                if is_free {
                    entry.in_flight += 1;
                    entry.last_used = now;
                }
                is_free
            });
            if is_taken == Some(true) {
                return Some(ConnectionSlot { id, connection });
            }
        }
        None
    }

    /// Sets how many requests a connection carries at a time. Must be called when there are more than before,
    /// because a connection without a free slot is not asked. [`Self::take`] notices when there are fewer.
    pub(super) fn set_slots(&mut self, id: Id, slots: usize) {
        self.change(id, |entry| entry.slots = slots);
    }

    /// Adds a request that waits for a slot.
    pub(super) fn wait(&mut self, handle: W, after: Option<Instant>, now: Instant) {
        self.waiting.push_back(Waiting {
            handle,
            after,
            since: now,
        });
    }

    /// Returns how many more dials the waiting requests need, and counts them as started. While it is
    /// unknown how many requests a connection carries, one dial is enough to learn it.
    pub(super) fn dials_needed(&mut self, is_gone: impl Fn(&W) -> bool) -> usize {
        self.waiting.retain(|waiting| !is_gone(&waiting.handle));
        let needed = match self.usual_slots {
            Some(slots) => self.waiting.len().div_ceil(slots.max(1)),
            None => self.waiting.len().min(1),
        };
        let more = needed.saturating_sub(self.dialling);
        self.dialling += more;
        more
    }

    /// Adds the connection of a dial that succeeded, which carries `slots` requests at a time.
    pub(super) fn opened(&mut self, opened: Opened<C>, slots: usize, now: Instant) -> Id {
        self.dialling = self.dialling.saturating_sub(1);
        self.usual_slots = Some(slots);
        self.last_id += 1;
        let id = Id(self.last_id);
        self.connections.push(Entry {
            id,
            opened,
            slots: 0,
            in_flight: 0,
            last_used: now,
        });
        // Adds it to the free ones.
        self.set_slots(id, slots);
        id
    }

    /// Counts a dial that failed, and removes and returns the requests that no other dial serves and that
    /// have waited since the dial `started`. After a dial for which `started` is `None`, no other follows.
    pub(super) fn dial_failed(&mut self, started: Option<Instant>) -> Vec<W> {
        self.dialling = self.dialling.saturating_sub(1);
        let slots = self.usual_slots.unwrap_or(usize::MAX);
        let served = self.dialling.saturating_mul(slots);
        let unserved = self.waiting.len().saturating_sub(served);
        let is_older = |waiting: &Waiting<W>| started.is_none_or(|at| waiting.since <= at);
        // The requests wait in the order in which they came.
        let older = self.waiting.partition_point(is_older);
        let failed = self.waiting.drain(..unserved.min(older));
        failed.map(|waiting| waiting.handle).collect()
    }

    /// Gives free slots to the waiting requests, in the order in which they came.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        slots: impl Fn(&C) -> Option<usize>,
    ) -> Vec<(W, ConnectionSlot<C>)> {
        let mut served = Vec::new();
        let mut unserved = Vec::new();
        while let Some(waiting) = self.waiting.pop_front() {
            match self.take(waiting.after, now, &slots) {
                Some(slot) => served.push((waiting.handle, slot)),
                None => {
                    // No slot at all is free if none is for a request that takes any.
                    let is_full = waiting.after.is_none();
                    unserved.push(waiting);
                    if is_full {
                        break;
                    }
                }
            }
        }
        for waiting in unserved.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        served
    }

    /// Frees a slot. A connection that has expired is removed with its last request. Of more than
    /// `max_idle` connections without requests, the one that was used least recently is removed. One that
    /// may have no requests at the moment does not count.
    pub(super) fn release(&mut self, id: Id, now: Instant, max_idle: usize) {
        let expires = self.change(id, |entry| {
            entry.in_flight = entry.in_flight.saturating_sub(1);
            entry.last_used = now;
            (entry.in_flight == 0).then_some(entry.opened.expires)
        });
        match expires.flatten() {
            Some(expires) if now >= expires => self.remove(id),
            Some(_) => self.limit_idle(max_idle),
            None => {}
        }
    }

    /// Removes the connection that was used least recently, if more than `max_idle` have no requests.
    fn limit_idle(&mut self, max_idle: usize) {
        // The free connections without requests come first.
        let excess = self.free.get(max_idle).and_then(|id| self.entry(*id));
        if excess.is_some_and(|entry| entry.in_flight == 0)
            && let Some(oldest) = self.free.first()
        {
            self.remove(*oldest);
        }
    }

    /// Removes a connection. It completes its requests and takes no others.
    pub(super) fn remove(&mut self, id: Id) {
        self.connections.retain(|entry| entry.id != id);
        self.free.retain(|free| *free != id);
    }

    /// Removes the connections for which `is_dead` returns `true`.
    pub(super) fn remove_if(&mut self, is_dead: impl Fn(&C) -> bool) {
        self.connections
            .retain(|entry| !is_dead(&entry.opened.connection));
        let connections = &self.connections;
        self.free.retain(|id| position(connections, *id).is_some());
    }

    /// Removes a connection without requests if its last one ended `idle` ago, or if it has expired.
    pub(super) fn remove_unused(&mut self, id: Id, now: Instant, idle: Duration) -> Unused {
        let Some(entry) = self.entry(id) else {
            return Unused::Removed;
        };
        let expires = entry.opened.expires;
        if entry.in_flight > 0 {
            let next = now + idle;
            // When it has expired, the end of its last request removes it.
            return Unused::CheckAt(if now < expires {
                next.min(expires)
            } else {
                next
            });
        }
        let until = expires.min(entry.last_used + idle);
        if now < until {
            return Unused::CheckAt(until);
        }
        self.remove(id);
        Unused::Removed
    }

    /// Changes a connection, and with it the order of the free ones.
    fn change<T>(&mut self, id: Id, change: impl FnOnce(&mut Entry<C>) -> T) -> Option<T> {
        let entry = self.entry_mut(id)?;
        let was_free = entry.is_free();
        let changed = change(entry);
        let (is_free, key) = (entry.is_free(), entry.key());
        // From the end, where those that were used last are.
        if was_free && let Some(place) = self.free.iter().rposition(|free| *free == id) {
            self.free.remove(place);
        }
        if is_free {
            let is_before = |free: &Id| self.entry(*free).is_none_or(|entry| entry.key() <= key);
            let place = self.free.iter().rposition(is_before);
            self.free.insert(place.map_or(0, |place| place + 1), id);
        }
        Some(changed)
    }

    fn entry(&self, id: Id) -> Option<&Entry<C>> {
        position(&self.connections, id).map(|place| &self.connections[place])
    }

    fn entry_mut(&mut self, id: Id) -> Option<&mut Entry<C>> {
        position(&self.connections, id).map(|place| &mut self.connections[place])
    }
}

fn position<C>(connections: &[Entry<C>], id: Id) -> Option<usize> {
    connections.binary_search_by_key(&id, |entry| entry.id).ok()
}

impl<C> Entry<C> {
    fn is_free(&self) -> bool {
        self.in_flight < self.slots
    }

    /// Of the free connections, the one with the greatest key is taken first.
    fn key(&self) -> (usize, Instant) {
        (self.in_flight, self.last_used)
    }
}

#[cfg(test)]
mod tests;
