//! Closes a connection that waits for a request when a new connection needs its slot.
//!
//! The connection that has waited longest is chosen. If it receives a request before it closes, another
//! connection is chosen instead.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The requested evictions, and the connections that can be evicted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evictions(Arc<Notify>);

/// A connection that may be evicted.
#[derive(Debug)]
pub(super) struct Candidate {
    evictions: Evictions,
    notified: Pin<Box<OwnedNotified>>,
    /// Whether the connection must close and has not closed yet.
    is_chosen: bool,
}

impl Evictions {
    /// Evicts the connection that has waited longest, or the next one that begins to wait.
    pub(super) fn evict_one(&self) {
        self.0.notify_one();
    }

    /// Cancels an eviction for which no connection has been chosen yet.
    pub(super) fn cancel(&self) {
        let _ = self.0.notified().now_or_never();
    }

    /// Resolves when the caller's connection must close.
    pub(crate) async fn chosen(&self) {
        self.0.notified().await;
    }

    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            evictions: self.clone(),
            notified: Box::pin(Arc::clone(&self.0).notified_owned()),
            is_chosen: false,
        }
    }
}

impl Candidate {
    /// Resolves when the connection must close.
    pub(super) fn poll_chosen(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_chosen = self.is_chosen || self.notified.as_mut().poll(cx).is_ready();
        if self.is_chosen {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Marks the connection as closed, so that no other connection is chosen instead.
    pub(super) fn close(mut self) {
        self.is_chosen = false;
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if self.is_chosen {
            self.evictions.evict_one();
        }
    }
}
