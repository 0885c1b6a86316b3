//! The queue of events for one session, bounded in bytes.
//!
//! Upstream readers [`offer`](Outbox::offer) events without waiting. If an event does not fit, its
//! subscription ends, and the others continue. The event that ends an operation ([`Outbox::end`]) is
//! always accepted, because each operation has exactly one. The session takes events from the [`Inbox`],
//! and reports when their bytes have been written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_protocol::graphql::{Event, OperationKey};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The event did not fit, and was not queued.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client reads too slowly: its queue is full")]
pub struct Overflow;

/// The bytes in all outboxes of the process (`limits.outbox_total`).
#[derive(Debug)]
pub struct OutboxBudget {
    used: AtomicUsize,
    limit: usize,
}

/// The sending end of the queue.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<OutboxInner>);

/// The receiving end of the queue, which the session owns.
#[derive(Debug)]
pub struct Inbox(Arc<OutboxInner>);

#[derive(Debug)]
struct OutboxInner {
    queue: Mutex<Queue>,
    /// Notified when an event is queued.
    queued: Notify,
    /// Notified when bytes are released.
    released: Notify,
    budget: Arc<OutboxBudget>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<(OperationKey, Event)>,
    /// The bytes of queued events, and of events that are being written.
    bytes: usize,
    is_closed: bool,
}

/// Bytes that are counted for an event in addition to its payload, to bound the number of small events.
const OVERHEAD: usize = 64;

/// Returns the two ends of a queue that holds at most `limit` bytes of events.
pub fn outbox(limit: usize, budget: Arc<OutboxBudget>) -> (Outbox, Inbox) {
    let inner = Arc::new(OutboxInner {
        queue: Mutex::default(),
        queued: Notify::new(),
        released: Notify::new(),
        budget,
        limit,
    });
    (Outbox(Arc::clone(&inner)), Inbox(inner))
}

// === impl Outbox ===

impl Outbox {
    /// Queues `event` if it fits. An empty queue accepts one event of any size, so that slow clients,
    /// which use up the budget, do not end the subscriptions of a client that reads in time. After the
    /// [`Inbox`] is dropped, events are discarded.
    ///
    /// # Errors
    /// [`Overflow`] when the limit of the session or the budget of the process is reached.
    pub fn offer(&self, key: OperationKey, event: Event) -> Result<(), Overflow> {
        let size = event.size() + OVERHEAD;
        let mut queue = self.0.queue.lock();
        if queue.is_closed {
            return Ok(());
        }
        let fits = queue.bytes + size <= self.0.limit && self.0.budget.fits(size);
        if queue.bytes > 0 && !fits {
            return Err(Overflow);
        }
        queue.push(key, event, size, &self.0.budget);
        drop(queue);
        self.0.queued.notify_one();
        Ok(())
    }

    /// Waits until `event` fits, and queues it.
    pub async fn send(&self, key: OperationKey, event: Event) {
        loop {
            let released = self.0.released.notified();
            if self.offer(key, event.clone()).is_ok() {
                return;
            }
            released.await;
        }
    }

    /// Queues the event that ends an operation, regardless of the limits.
    pub fn end(&self, key: OperationKey, ending: Event) {
        let mut queue = self.0.queue.lock();
        if queue.is_closed {
            return;
        }
        let size = ending.size() + OVERHEAD;
        queue.push(key, ending, size, &self.0.budget);
        drop(queue);
        self.0.queued.notify_one();
    }
}

// === impl Inbox ===

impl Inbox {
    /// Waits for the next event. Its bytes count until [`Inbox::written`] is called. Cancel safe.
    pub async fn next(&mut self) -> (OperationKey, Event) {
        loop {
            let queued = self.0.queued.notified();
            if let Some(event) = self.0.queue.lock().events.pop_front() {
                return event;
            }
            queued.await;
        }
    }

    /// Releases the bytes of an event that [`Inbox::next`] returned. `size` is that of the event.
    pub fn written(&mut self, size: usize) {
        let mut queue = self.0.queue.lock();
        queue.release(size + OVERHEAD, &self.0.budget);
        drop(queue);
        self.0.released.notify_waiters();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.is_closed = true;
        queue.events.clear();
        let rest = queue.bytes;
        queue.release(rest, &self.0.budget);
        drop(queue);
        self.0.released.notify_waiters();
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
    /// Allows `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    /// Returns the bytes in all outboxes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn fits(&self, size: usize) -> bool {
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
    async fn overflowing_event_is_not_queued_but_an_ending_is() {
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
    async fn empty_queue_accepts_one_event_of_any_size() {
        let (outbox, _inbox) = outbox(10, OutboxBudget::new(0));
        outbox.offer(KEY, next(5_000)).unwrap();
        assert_eq!(outbox.offer(KEY, next(10)), Err(Overflow));
    }

    #[tokio::test]
    async fn dropped_inbox_releases_its_bytes() {
        let budget = OutboxBudget::new(usize::MAX);
        let (outbox, inbox) = outbox(1_000, Arc::clone(&budget));
        outbox.offer(KEY, next(100)).unwrap();
        drop(inbox);
        assert_eq!(budget.used(), 0);
        assert_eq!(outbox.offer(KEY, next(100)), Ok(()));
        assert_eq!(budget.used(), 0);
    }
}
