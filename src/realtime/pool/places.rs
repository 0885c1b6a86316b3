//! Which connection has room, and which subscription runs where.

use std::collections::HashMap;

use countersign_protocol::realtime::connection::Key;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Owner, Wanted};
use crate::realtime::driver::Command;

/// What the pool knows, under its lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) connections: Vec<Entry>,
    /// Where each subscription runs.
    pub(super) places: HashMap<Key, ConnectionId>,
    pub(super) last_id: u64,
    /// Failed attempts in a row.
    pub(super) failures: u32,
    /// When somebody last asked for upstream; redials go on only while somebody does.
    pub(super) wanted_at: Option<Instant>,
    pub(super) is_redialling: bool,
}

/// Names a connection of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::realtime) struct ConnectionId(pub(super) u64);

/// A connection, open or being opened.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ConnectionId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) capacity: usize,
    pub(super) owners: HashMap<Owner, usize>,
    pub(super) used: usize,
}

// === impl State ===

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn entry(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.connections.iter_mut().find(|entry| entry.id == id)
    }

    pub(super) fn room_for(&mut self, owner: Owner) -> Option<&mut Entry> {
        self.connections
            .iter_mut()
            .filter(|entry| entry.used < entry.capacity)
            .max_by_key(|entry| (entry.owners.contains_key(&owner), entry.used))
    }

    pub(super) fn connect(&mut self, id: ConnectionId, wanted: &Wanted) {
        self.places.insert(wanted.key, id);
        if let Some(entry) = self.entry(id) {
            entry.used += 1;
            *entry.owners.entry(wanted.owner).or_default() += 1;
        }
    }

    pub(super) fn release(&mut self, id: ConnectionId, wanted: &Wanted) {
        self.places.remove(&wanted.key);
        let Some(entry) = self.entry(id) else {
            return;
        };
        entry.used = entry.used.saturating_sub(1);
        if let Some(count) = entry.owners.get_mut(&wanted.owner) {
            *count -= 1;
            if *count == 0 {
                entry.owners.remove(&wanted.owner);
            }
        }
    }
}
