//! The accept loop of every listener, and the slots of accepted connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::eviction::Evictions;

/// Limits the number of open connections.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlots {
    permits: Arc<Semaphore>,
    limit: usize,
    evictions: Evictions,
}

/// How long to wait for a slot before another connection is evicted.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait after an accept error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl ConnectionSlots {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
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

    /// Takes a slot. While none is free, evicts connections that wait for a request.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let permit = loop {
            // In a loop, because another listener may take the slot that an eviction has freed.
            self.evictions.evict_one();
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICTION_INTERVAL, freed).await {
                break permit.ok();
            }
        };
        // If a connection ended by itself, the last eviction is not needed.
        self.evictions.cancel();
        permit
    }
}

/// Accepts connections until the future is dropped. `next` waits for a connection, and returns `None`
/// for one that must not be served; `serve` must not wait. `kind` names the listener in the log.
pub(crate) async fn accept<C, F>(
    kind: &'static str,
    slots: &ConnectionSlots,
    next: impl Fn() -> F,
    serve: impl Fn(C, OwnedSemaphorePermit),
) where
    F: Future<Output = io::Result<Option<C>>>,
{
    loop {
        match next().await {
            Ok(None) => {}
            Ok(Some(connection)) => {
                let Some(permit) = slots.acquire().await else {
                    return;
                };
                serve(connection, permit);
            }
            Err(error) => {
                warn!(%error, listener = kind, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
