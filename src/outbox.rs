//! The queue of events for one session, bounded in bytes.
//!
//! Upstream readers [`offer`](Outbox::offer) events without waiting. If an event does not fit, its
//! subscription ends, and the others continue. The event that ends an operation ([`Outbox::end`]) is
//! always accepted, because each operation has exactly one. The session takes events from the [`Inbox`],
//! and reports when their bytes have been written.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use countersign_protocol::graphql::{Event, OperationKey};
use parking_lot::{Mutex, MutexGuard};
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
    /// The task that waits for an event.
    reader: Option<Waker>,
}

/// Bytes that are counted for an event in addition to its payload, to bound the number of small events.
const OVERHEAD: usize = 64;

/// Returns the two ends of a queue that holds at most `limit` bytes of events.
pub fn outbox(limit: usize, budget: Arc<OutboxBudget>) -> (Outbox, Inbox) {
    let inner = Arc::new(OutboxInner {
        queue: Mutex::default(),
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
        let queue = self.0.queue.lock();
        if queue.is_closed {
            return Ok(());
        }
        let fits = queue.bytes + size <= self.0.limit && self.0.budget.fits(size);
        if queue.bytes > 0 && !fits {
            return Err(Overflow);
        }
        self.0.push(queue, key, event, size);
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
        let queue = self.0.queue.lock();
        if queue.is_closed {
            return;
        }
        let size = ending.size() + OVERHEAD;
        self.0.push(queue, key, ending, size);
    }
}

// === impl OutboxInner ===

impl OutboxInner {
    /// Queues an event, and wakes the task that waits for one after the lock is released.
    fn push(&self, mut queue: MutexGuard<'_, Queue>, key: OperationKey, event: Event, size: usize) {
        queue.bytes += size;
        self.budget.used.fetch_add(size, Ordering::Relaxed);
        queue.events.push_back((key, event));
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

// === impl Inbox ===

impl Inbox {
    /// Waits for the next event. Its bytes count until [`Inbox::written`] is called. Cancel safe.
    pub async fn next(&mut self) -> (OperationKey, Event) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<(OperationKey, Event)> {
        let mut queue = self.0.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(event);
        }
        let is_known = |reader: &Waker| reader.will_wake(cx.waker());
        if !queue.reader.as_ref().is_some_and(is_known) {
            queue.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns the next event if one is queued. Its bytes count until [`Inbox::written`] is called.
    pub fn try_next(&mut self) -> Option<(OperationKey, Event)> {
        self.0.queue.lock().events.pop_front()
    }

    /// Releases the bytes of events that [`Inbox::next`] returned. `size` is that of all of them.
    pub fn written(&mut self, events: usize, size: usize) {
        let mut queue = self.0.queue.lock();
        queue.release(size + events * OVERHEAD, &self.0.budget);
        drop(queue);
        self.0.released.notify_waiters();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.is_closed = true;
        queue.events.clear();
        queue.reader = None;
        let rest = queue.bytes;
        queue.release(rest, &self.0.budget);
        drop(queue);
        self.0.released.notify_waiters();
    }
}

// === impl Queue ===

impl Queue {
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
        inbox.written(1, 500);
        assert_eq!(budget.used(), OVERHEAD);
        inbox.written(1, 0);
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
