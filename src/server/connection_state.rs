//! The state that the stream of a connection and its requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the requests of a connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    /// The number of requests that have begun.
    begun: AtomicUsize,
    /// Notified when the first request begins.
    first: Notify,
    in_progress: AtomicUsize,
    /// Whether the connection was upgraded to another protocol.
    is_upgraded: AtomicBool,
    /// Whether the connection is beyond the limit of connections.
    is_spare: bool,
    /// Whether a request gave its length more than once.
    is_ambiguous: AtomicBool,
}

/// A request that is in progress until this is dropped.
#[derive(Debug)]
pub(super) struct InProgress(Arc<ConnectionState>);

impl ConnectionState {
    /// Returns the state of a new connection, which may be beyond the limit of connections.
    pub(super) fn new(is_spare: bool) -> Self {
        Self {
            is_spare,
            ..Self::default()
        }
    }

    pub(super) fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.notify_one();
        }
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Waits for the first request. Supports one caller at a time.
    pub(super) async fn has_begun(&self) {
        if self.begun() == 0 {
            self.first.notified().await;
        }
    }

    /// Returns the number of requests that have begun.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Returns whether no request is in progress and another one may follow.
    pub(super) fn is_idle(&self) -> bool {
        self.in_progress.load(Ordering::Relaxed) == 0 && !self.is_upgraded()
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// Marks the connection as upgraded to another protocol.
    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous.load(Ordering::Relaxed)
    }

    pub(super) fn set_ambiguous(&self, is_ambiguous: bool) {
        self.is_ambiguous.store(is_ambiguous, Ordering::Relaxed);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}
