//! The entries in memory, bounded in bytes.
//!
//! One lock protects all entries. Every change has a number, its revision, by which pages that follow the
//! store find what they have not seen. Nothing is queued for a page, so a slow page delays nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::entry::Entry;
use crate::sign::clock;

/// The stored entries.
#[derive(Debug)]
pub(super) struct Store {
    limit: usize,
    state: Mutex<State>,
    is_paused: AtomicBool,
    /// Replays whose requests may arrive, by the address of their connection.
    replays: Mutex<HashMap<SocketAddr, ReplayState>>,
    revision: watch::Sender<u64>,
}

/// A replay whose request may arrive, or has arrived.
#[derive(Clone, Copy, Debug)]
struct ReplayState {
    /// The entry that it repeats, or 0.
    of: u64,
    /// Its own entry.
    id: Option<u64>,
}

/// A replay. Its request is recognized until this is dropped.
#[derive(Debug)]
pub(super) struct ExpectedReplay {
    store: Arc<Store>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct State {
    /// Each entry is an allocation of its own: nodes of the map are partly empty, and an entry is large.
    entries: BTreeMap<u64, Box<Entry>>,
    finished: BTreeSet<u64>,
    /// Entries by the revision of their last change.
    changes: BTreeMap<u64, u64>,
    /// The latest evicted entries, each with its revision.
    evictions: VecDeque<(u64, u64)>,
    /// Pages that have seen only earlier revisions must fetch the list again.
    oldest_known: u64,
    last_id: u64,
    revision: u64,
    cost: usize,
    evicted: u64,
}

/// The changes since a revision.
#[derive(Debug)]
pub(super) enum Changes<T> {
    /// The changed entries, the ids of evicted ones, and the revision that this reaches.
    Some {
        entries: Vec<T>,
        evicted: Vec<u64>,
        revision: u64,
    },
    /// Too much has changed: the list must be fetched again, and followed from this revision.
    Unknown(u64),
}

/// What the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) is_paused: bool,
    pub(super) limit: usize,
    pub(super) used: usize,
    pub(super) entries: usize,
    pub(super) evicted: u64,
}

/// The largest stored part of a body or frame.
const MAX_PART: usize = 1024 * 1024;
/// A body, or the frames of one operation, may take this part of the memory.
const PART: usize = 16;
/// How many evictions are remembered for the pages that follow the store.
const EVICTIONS: usize = 4096;

impl Store {
    /// Returns a store that occupies at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
            is_paused: AtomicBool::new(false),
            replays: Mutex::default(),
            revision: watch::Sender::new(0),
        }
    }

    /// Returns the largest stored part of a body or frame, in bytes.
    pub(super) fn part_limit(&self) -> usize {
        (self.limit / PART).min(MAX_PART)
    }

    /// Returns how many bytes the frames of one operation may take, so that no operation displaces all
    /// others.
    pub(super) fn frames_limit(&self) -> usize {
        self.limit / PART
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Recognizes the request from a client's address as the replay of an entry.
    pub(super) fn expect_replay(self: &Arc<Self>, address: SocketAddr, of: u64) -> ExpectedReplay {
        let state = ReplayState { of, id: None };
        self.replays.lock().insert(address, state);
        ExpectedReplay {
            store: Arc::clone(self),
            address,
        }
    }

    /// Returns the entry that a request from this address repeats.
    pub(super) fn replay_of(&self, address: SocketAddr) -> Option<u64> {
        self.replays.lock().get(&address).map(|replay| replay.of)
    }

    /// Reports the entry of a replay.
    pub(super) fn replayed(&self, address: SocketAddr, id: u64) {
        if let Some(replay) = self.replays.lock().get_mut(&address) {
            replay.id = Some(id);
        }
    }

    /// Adds an entry, and returns its id.
    pub(super) fn add(&self, protocol: &'static str, fill: impl FnOnce(&mut Entry)) -> u64 {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        let mut entry = Box::new(Entry::new(id, protocol, clock::now()));
        fill(&mut entry);
        entry.measure();
        state.cost += entry.cost;
        state.entries.insert(id, entry);
        state.touch(id);
        self.evict(&mut state);
        self.revision.send_replace(state.revision);
        id
    }

    /// Changes an entry, unless it was evicted.
    pub(super) fn update(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(&id) else {
            return;
        };
        let before = entry.cost;
        change(entry);
        entry.measure();
        let (after, is_live) = (entry.cost, entry.is_live());
        state.cost = state.cost - before + after;
        if !is_live {
            state.finished.insert(id);
        }
        state.touch(id);
        self.evict(&mut state);
        self.revision.send_replace(state.revision);
    }

    /// Reads an entry.
    pub(super) fn read<T>(&self, id: u64, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.state.lock().entries.get(&id).map(|entry| read(entry))
    }

    /// Returns what `read` returns for the entries before `before`, newest first, at most `limit`. Whether
    /// there are more is the second part, the current revision the third.
    pub(super) fn list<T>(
        &self,
        before: Option<u64>,
        limit: usize,
        mut read: impl FnMut(&Entry) -> Option<T>,
    ) -> (Vec<T>, bool, u64) {
        let state = self.state.lock();
        let entries = state.entries.range(..before.unwrap_or(u64::MAX)).rev();
        let mut found = entries.filter_map(|(_, entry)| read(entry));
        let list: Vec<T> = found.by_ref().take(limit).collect();
        let has_more = found.next().is_some();
        (list, has_more, state.revision)
    }

    /// Returns what has changed since the revision `seen`, at most `limit` entries, oldest change first.
    pub(super) fn changes<T>(
        &self,
        seen: u64,
        limit: usize,
        read: impl Fn(&Entry) -> T,
    ) -> Changes<T> {
        let state = self.state.lock();
        if seen < state.oldest_known || seen > state.revision {
            return Changes::Unknown(state.revision);
        }
        let mut changed = state.changes.range(seen + 1..);
        let mut revision = state.revision;
        let mut entries = Vec::new();
        for (at, id) in changed.by_ref().take(limit) {
            entries.extend(state.entries.get(id).map(|entry| read(entry)));
            revision = *at;
        }
        if changed.next().is_none() {
            revision = state.revision;
        }
        let evictions = state.evictions.iter();
        let evicted = evictions
            .filter(|(at, _)| *at > seen && *at <= revision)
            .map(|(_, id)| *id);
        Changes::Some {
            entries,
            evicted: evicted.collect(),
            revision,
        }
    }

    /// Returns a receiver that is notified of every change.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(super) fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    /// Removes all finished entries.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        for id in std::mem::take(&mut state.finished) {
            state.remove(id);
        }
        state.evictions.clear();
        state.evicted = 0;
        state.revision += 1;
        state.oldest_known = state.revision;
        self.revision.send_replace(state.revision);
    }

    pub(super) fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage {
            is_paused: self.is_paused(),
            limit: self.limit,
            used: state.cost,
            entries: state.entries.len(),
            evicted: state.evicted,
        }
    }

    /// Evicts entries until the rest fits: the oldest finished ones, then the frames and bodies of the
    /// oldest live ones, then these.
    fn evict(&self, state: &mut State) {
        while state.cost > self.limit
            && let Some(id) = state.finished.pop_first()
        {
            state.evict(id);
        }
        if state.cost <= self.limit {
            return;
        }
        // More than needed, so that this is not repeated at each change.
        let enough = self.limit / 4 * 3;
        let live: Vec<u64> = state.entries.keys().copied().collect();
        for id in &live {
            if state.cost <= enough {
                return;
            }
            if let Some(entry) = state.entries.get_mut(id) {
                let before = entry.cost;
                entry.strip();
                state.cost = state.cost - before + entry.cost;
            }
        }
        for id in live {
            if state.cost <= enough {
                return;
            }
            state.evict(id);
        }
    }
}

impl ExpectedReplay {
    /// Returns the id of its entry, once the request has arrived.
    pub(super) fn id(&self) -> Option<u64> {
        self.store.replays.lock().get(&self.address)?.id
    }
}

impl Drop for ExpectedReplay {
    fn drop(&mut self) {
        self.store.replays.lock().remove(&self.address);
    }
}

impl State {
    /// Gives an entry the next revision.
    fn touch(&mut self, id: u64) {
        self.revision += 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.changes.remove(&entry.revision);
            entry.revision = self.revision;
            self.changes.insert(self.revision, id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.changes.remove(&entry.revision);
            self.cost -= entry.cost;
        }
    }

    fn evict(&mut self, id: u64) {
        self.remove(id);
        self.evicted += 1;
        self.revision += 1;
        if self.evictions.len() == EVICTIONS
            && let Some((revision, _)) = self.evictions.pop_front()
        {
            self.oldest_known = revision;
        }
        self.evictions.push_back((self.revision, id));
    }
}

#[cfg(test)]
mod tests;
