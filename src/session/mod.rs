//! Joins a client socket, its dialect and its operations.
//!
//! A session is one client socket: a dialect machine and the driver ([`websocket`]) that owns the
//! I/O. Queries and mutations go to the [`Api`] by signed HTTP, subscriptions to its realtime
//! pool; everything comes back through the session's one outbox.

mod api;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use api::Api;

use crate::graphql::outbox::Budget;
use crate::realtime::Owner;

/// Bounds and times of a client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Bytes of a client's message.
    pub message: usize,
    pub subscriptions: usize,
    pub operations: usize,
    /// Bytes of events that may wait.
    pub outbox: usize,
    pub init: Duration,
    pub ping: Duration,
    pub write: Duration,
    /// Over which closes after a loss are spread.
    pub spread: Duration,
}

/// All client sockets of the process.
#[derive(Debug)]
pub struct Sessions {
    config: SessionConfig,
    budget: Arc<Budget>,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
    last_owner: AtomicU64,
}

/// What a client socket asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    TransportWs,
    /// None that we speak: the socket is closed with the code that says so.
    Unknown,
}

impl Sessions {
    /// Sessions take no new operations once `draining` is cancelled, and end with `expired`.
    pub fn new(
        config: SessionConfig,
        budget: Arc<Budget>,
        tasks: TaskTracker,
        draining: CancellationToken,
        expired: CancellationToken,
    ) -> Self {
        Self {
            config,
            budget,
            tasks,
            draining,
            expired,
            last_owner: AtomicU64::new(0),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Serves a socket once it is upgraded. `headers` go with each of its operations.
    pub fn serve(
        &self,
        upgrade: OnUpgrade,
        protocol: Protocol,
        api: Arc<Api>,
        headers: HeaderMap,
        route: &str,
        permit: Arc<OwnedSemaphorePermit>,
    ) {
        let context = websocket::Context {
            config: self.config,
            budget: Arc::clone(&self.budget),
            tasks: self.tasks.clone(),
            draining: self.draining.clone(),
            expired: self.expired.clone(),
            owner: Owner(self.last_owner.fetch_add(1, Ordering::Relaxed)),
            headers: Arc::new(headers),
            route: route.to_owned(),
            api,
            _permit: permit,
        };
        self.tasks.spawn(context.serve(upgrade, protocol));
    }
}
