//! The slots of requests in flight.
//!
//! A request takes its slot when its body has arrived; otherwise a client could hold slots by sending
//! a single byte of each body. Requests whose bodies are awaited are counted separately. If there are
//! too many, a body must arrive within [`CROWDED`], so that clients that send theirs at once are served.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;

/// The slots for the requests of all connections.
#[derive(Clone, Debug)]
pub struct Slots {
    in_flight: Arc<Semaphore>,
    unread: Arc<Semaphore>,
    limit: usize,
}

/// The slot of the requests of one connection, which has one request at a time.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Releases the slot of a request when it is dropped.
#[derive(Debug)]
pub struct SlotGuard<'a>(&'a Slot);

/// How long a body may take while too many bodies are awaited.
const CROWDED: Duration = Duration::from_secs(1);

impl Slots {
    /// Allows `limit` requests in flight, and as many whose bodies are awaited.
    pub fn new(limit: usize) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(limit)),
            unread: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Returns the slot of a new connection, which is not taken.
    pub fn slot(&self) -> Slot {
        Slot {
            slots: self.clone(),
            permit: Mutex::default(),
        }
    }
}

impl Slot {
    /// Returns a guard that releases the slot. A request holds it until its response begins.
    pub fn guard(&self) -> SlotGuard<'_> {
        SlotGuard(self)
    }

    /// Takes the slot for a request, which holds a [`guard`](Self::guard).
    ///
    /// # Errors
    /// When no slot is free.
    pub(super) fn take(&self) -> Result<(), Error> {
        let free = Arc::clone(&self.slots.in_flight).try_acquire_owned();
        let permit = free.map_err(|_| Error::TooManyInFlight(self.slots.limit))?;
        *self.permit.lock() = Some(permit);
        Ok(())
    }

    /// Checks that a slot is free, without taking it.
    ///
    /// # Errors
    /// When no slot is free.
    pub fn check(&self) -> Result<(), Error> {
        match self.slots.in_flight.available_permits() {
            0 => Err(Error::TooManyInFlight(self.slots.limit)),
            _ => Ok(()),
        }
    }

    /// Counts a request whose body is awaited, until the permit is dropped. Returns the permit and the
    /// time that the body may take. If too many bodies are awaited, returns `None` and a shorter time.
    pub(super) fn wait(&self, total: Duration) -> (Option<OwnedSemaphorePermit>, Duration) {
        let permit = Arc::clone(&self.slots.unread).try_acquire_owned().ok();
        let time_limit = match permit {
            Some(_) => total,
            None => total.min(CROWDED),
        };
        (permit, time_limit)
    }

    /// Returns the error for a body that did not arrive in time.
    pub(super) fn late(&self, is_counted: bool, total: Duration) -> Error {
        if is_counted {
            Error::BodySlow(total)
        } else {
            Error::TooManyUnread(self.slots.limit)
        }
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        drop(self.0.permit.lock().take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(60);

    #[test]
    fn awaited_bodies_take_no_slot() {
        let slots = Slots::new(1);
        let (first, second) = (slots.slot(), slots.slot());
        let (counted, patience) = first.wait(TOTAL);
        assert!(counted.is_some());
        assert_eq!(patience, TOTAL);
        let (none, patience) = second.wait(TOTAL);
        assert!(none.is_none());
        assert_eq!(patience, CROWDED);
        assert!(first.check().is_ok());
        let request = second.guard();
        second.take().unwrap();
        assert!(first.check().is_err());
        assert!(first.take().is_err());
        drop(request);
        first.take().unwrap();
        drop(counted);
        assert!(first.wait(TOTAL).0.is_some());
    }
}
