//! A stored part of a body, query or frame.

/// The first bytes of a body, query or frame, and its whole size.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    /// The whole size in bytes.
    pub(super) size: usize,
    pub(super) stored: Vec<u8>,
}

/// Returns the memory that an allocation of this capacity occupies: allocators add a header, and round up.
pub(super) const fn allocation(capacity: usize) -> usize {
    match capacity {
        0 => 0,
        1..=24 => 32,
        capacity => (capacity + 8).next_multiple_of(16),
    }
}

impl Payload {
    /// Copies at most `limit` bytes. A slice of a larger buffer would keep all of it in memory.
    pub(super) fn of(bytes: &[u8], limit: usize) -> Self {
        Self {
            size: bytes.len(),
            stored: bytes[..bytes.len().min(limit)].to_vec(),
        }
    }

    /// Appends bytes, as far as `limit` allows.
    pub(super) fn append(&mut self, bytes: &[u8], limit: usize) {
        // Nothing is stored after a gap.
        if !self.is_truncated() {
            let left = limit.saturating_sub(self.stored.len());
            self.stored
                .extend_from_slice(&bytes[..bytes.len().min(left)]);
        }
        self.size += bytes.len();
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.stored.len() < self.size
    }

    /// Returns the memory that the stored part occupies.
    pub(super) fn cost(&self) -> usize {
        allocation(self.stored.capacity())
    }

    /// Drops the stored part, and keeps the size.
    pub(super) fn forget(&mut self) {
        self.stored = Vec::new();
    }
}
