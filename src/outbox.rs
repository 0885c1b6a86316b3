//! The queue between upstream and one session: bounded in bytes, never waited for.
//!
//! Upstream readers [`offer`](Outbox::offer) events and go on; what does not fit is refused, and
//! the refusal ends that one subscription. An ending ([`Outbox::end`]) always fits, because every
//! operation has exactly one. The session takes events from the [`Inbox`] and reports when their
//! bytes have been written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_protocol::graphql::{Event, OperationKey};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The event did not fit; nothing was queued.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client reads too slowly: its queue is full")]
pub struct Overflow;

/// Bytes held by all outboxes of the process together.
#[derive(Debug)]
pub struct OutboxBudget {
    used: AtomicUsize,
    limit: usize,
}

/// The sending end, which upstream readers hold.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

/// The receiving end, which the session holds.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
    freed: Notify,
    budget: Arc<OutboxBudget>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<(OperationKey, Event)>,
    bytes: usize,
    closed: bool,
}

/// Bytes that an event counts beside its payload, so that many small events are bounded, too.
const OVERHEAD: usize = 64;

/// Returns the two ends of a queue that holds at most `limit` bytes of events.
pub fn outbox(limit: usize, budget: Arc<OutboxBudget>) -> (Outbox, Inbox) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        arrived: Notify::new(),
        freed: Notify::new(),
        budget,
        limit,
    });
    (Outbox(Arc::clone(&shared)), Inbox(shared))
}

// === impl Outbox ===

impl Outbox {
    /// Queues `event`, if it fits. An empty queue takes one event of any size, so that a client
    /// that keeps up is not ended because others are slow.
    ///
    /// # Errors
    /// [`Overflow`] when the session's or the process's bound is reached.
    pub fn offer(&self, key: OperationKey, event: Event) -> Result<(), Overflow> {
        let size = event.size() + OVERHEAD;
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return Ok(());
        }
        let fits = queue.bytes + size <= self.0.limit && self.0.budget.has_room(size);
        if queue.bytes > 0 && !fits {
            return Err(Overflow);
        }
        queue.push(key, event, size, &self.0.budget);
        drop(queue);
        self.0.arrived.notify_one();
        Ok(())
    }

    /// Queues `event` as soon as it fits, for callers that may wait.
    pub async fn send(&self, key: OperationKey, event: Event) {
        loop {
            let freed = self.0.freed.notified();
            if self.offer(key, event.clone()).is_ok() {
                return;
            }
            freed.await;
        }
    }

    /// Queues the one event that ends an operation; it always fits.
    pub fn end(&self, key: OperationKey, ending: Event) {
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return;
        }
        let size = ending.size() + OVERHEAD;
        queue.push(key, ending, size, &self.0.budget);
        drop(queue);
        self.0.arrived.notify_one();
    }
}

// === impl Inbox ===

impl Inbox {
    /// Returns the next event. Its bytes stay counted until [`Inbox::written`]. Cancel safe.
    pub async fn next(&mut self) -> (OperationKey, Event) {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(found) = self.0.queue.lock().events.pop_front() {
                return found;
            }
            arrived.await;
        }
    }

    /// Stops counting the bytes of an event that was returned by [`Inbox::next`].
    pub fn written(&mut self, size: usize) {
        let mut queue = self.0.queue.lock();
        queue.release(size + OVERHEAD, &self.0.budget);
        drop(queue);
        self.0.freed.notify_waiters();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.events.clear();
        let rest = queue.bytes;
        queue.release(rest, &self.0.budget);
        drop(queue);
        self.0.freed.notify_waiters();
    }
}

// === impl Queue ===

impl Queue {
    fn push(&mut self, key: OperationKey, event: Event, size: usize, budget: &OutboxBudget) {
        self.bytes += size;
        budget.used.fetch_add(size, Ordering::Relaxed);
        self.events.push_back((key, event));
    }

    fn release(&mut self, size: usize, budget: &OutboxBudget) {
        let size = size.min(self.bytes);
        self.bytes -= size;
        budget.used.fetch_sub(size, Ordering::Relaxed);
    }
}

// === impl OutboxBudget ===

impl OutboxBudget {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn has_room(&self, size: usize) -> bool {
        self.used() + size <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use countersign_protocol::graphql::Json;

    use super::*;

    const KEY: OperationKey = OperationKey(1);

    fn next(size: usize) -> Event {
        let text = format!("\"{}\"", "x".repeat(size - 2));
        Event::Next(Json::parse(Bytes::from(text)).unwrap())
    }

    #[tokio::test]
    async fn an_overflow_queues_nothing_and_an_ending_always_fits() {
        let budget = OutboxBudget::new(usize::MAX);
        let (outbox, mut inbox) = outbox(1_000, Arc::clone(&budget));
        outbox.offer(KEY, next(500)).unwrap();
        assert_eq!(outbox.offer(KEY, next(500)), Err(Overflow));
        outbox.end(KEY, Event::Complete);

        let (_, first) = inbox.next().await;
        assert_eq!(first.size(), 500);
        assert!(matches!(inbox.next().await.1, Event::Complete));
        assert_eq!(budget.used(), 500 + 2 * OVERHEAD);
        inbox.written(500);
        inbox.written(0);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn an_empty_queue_takes_one_event_of_any_size() {
        let (outbox, _inbox) = outbox(10, OutboxBudget::new(0));
        outbox.offer(KEY, next(5_000)).unwrap();
        assert_eq!(outbox.offer(KEY, next(10)), Err(Overflow));
    }

    #[tokio::test]
    async fn a_dropped_inbox_releases_its_bytes() {
        let budget = OutboxBudget::new(usize::MAX);
        let (outbox, inbox) = outbox(1_000, Arc::clone(&budget));
        outbox.offer(KEY, next(100)).unwrap();
        drop(inbox);
        assert_eq!(budget.used(), 0);
        assert_eq!(outbox.offer(KEY, next(100)), Ok(()));
        assert_eq!(budget.used(), 0);
    }
}
