//! The accept loop of every listener, and the slots of the connections that it accepts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::eviction::Evictions;

/// Bounds how many connections are open.
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

    /// Returns how many are taken.
    pub(super) fn taken(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }

    /// Takes a slot; while there is none, connections that wait for a request are evicted.
    async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let permit = loop {
            // Repeatedly: another listener may take the slot that an eviction has freed.
            self.evictions.evict_one();
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICTION_INTERVAL, freed).await {
                break permit.ok();
            }
        };
        // If a connection ended by itself, none needs to be evicted any more.
        self.evictions.cancel();
        permit
    }
}

/// Accepts connections until it is dropped. `next` waits for one, and returns `None` for one that is
/// not served; `serve` must not wait. `kind` names the connections in the log.
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
