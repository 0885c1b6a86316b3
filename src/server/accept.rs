//! The accept loop of every listener, and the slots of accepted connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::eviction::Evictions;

/// Limits the number of open connections.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlots {
    permits: Arc<Semaphore>,
    limit: usize,
    /// For connections beyond the limit, whose request is answered with 503.
    spare: Arc<Semaphore>,
    evictions: Evictions,
}

/// The slot of a connection.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) permit: OwnedSemaphorePermit,
    /// Whether the connection is beyond the limit, so that its request is refused.
    pub(super) is_spare: bool,
}

/// How long to wait for a slot before another connection is evicted.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);
/// How long a connection waits for a slot before its request is refused. The next ones wait for
/// [`CROWDED_INTERVAL`] while no slot becomes free.
const SLOT_WAIT: Duration = Duration::from_secs(1);
const CROWDED_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait after an accept error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl ConnectionSlots {
    /// Allows `limit` connections, and `spare` ones whose requests are refused.
    pub(crate) fn new(limit: usize, spare: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
            spare: Arc::new(Semaphore::new(spare)),
            evictions: Evictions::default(),
        }
    }

    pub(crate) fn evictions(&self) -> &Evictions {
        &self.evictions
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the number of slots in use.
    pub(super) fn taken(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }

    /// Takes a spare slot, for a connection that loses its own.
    pub(super) fn spare(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.spare).try_acquire_owned().ok()?;
        Some(Slot {
            permit,
            is_spare: true,
        })
    }

    /// Takes a slot. While none is free, evicts connections that wait for a request; if that does not
    /// help, takes a spare slot. `is_crowded` is whether the last connection took a spare one.
    async fn acquire(&self, is_crowded: &mut bool) -> Option<Slot> {
        let of_permit = |permit| Slot {
            permit,
            is_spare: false,
        };
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            *is_crowded = false;
            return Some(of_permit(permit));
        }
        let begun = Instant::now();
        let mut interval = if *is_crowded {
            CROWDED_INTERVAL
        } else {
            EVICTION_INTERVAL
        };
        let slot = loop {
            // In a loop, because another listener may take the slot that an eviction has freed.
            self.evictions.evict_one();
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(interval, freed).await {
                *is_crowded = false;
                break permit.ok().map(of_permit);
            }
            if *is_crowded || begun.elapsed() >= SLOT_WAIT {
                if let Some(spare) = self.spare() {
                    *is_crowded = true;
                    break Some(spare);
                }
                interval = EVICTION_INTERVAL;
            }
        };
        // If a connection ended by itself, the last eviction is not needed.
        self.evictions.cancel();
        slot
    }
}

/// Accepts connections until the future is dropped. `next` waits for a connection, and returns `None`
/// for one that must not be served; `serve` must not wait. `kind` names the listener in the log.
pub(crate) async fn accept<C, F>(
    kind: &'static str,
    slots: &ConnectionSlots,
    next: impl Fn() -> F,
    serve: impl Fn(C, Slot),
) where
    F: Future<Output = io::Result<Option<C>>>,
{
    let mut is_crowded = false;
    loop {
        match next().await {
            Ok(None) => {}
            Ok(Some(connection)) => {
                let Some(slot) = slots.acquire(&mut is_crowded).await else {
                    return;
                };
                serve(connection, slot);
            }
            Err(error) => {
                warn!(
                    exception.message = error.to_string(),
                    listener = kind,
                    "connection not accepted"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
