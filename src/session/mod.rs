//! Joins a client, its dialect and its operations.
//!
//! A session is one client socket ([`websocket`]) or one HTTP response that lasts ([`stream`]): a
//! dialect machine and the driver that owns the I/O. Queries, mutations and publishes go to the
//! [`Api`] by signed HTTP, subscriptions to its realtime pool; everything comes back through the
//! session's one outbox. A [`tunnel`] knows no dialect: it passes bytes.

mod api;
mod operations;
mod reserved;
mod stream;
mod tunnel;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use api::{Api, failures, unread};
use countersign_protocol::dialect::{Limits, Streamed};
use countersign_protocol::realtime::placement::Owner;
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
pub use reserved::{Holder, Opening, Origin, Reserved, Token};
pub use stream::{Opened, Piece, Work};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
pub use tunnel::{Keepalive, Tunnel};

use crate::graphql::outbox::Budget;
use crate::guard::{Admission, OperationPolicies};
use crate::memory::{Memory, Share};
use crate::telemetry::metrics::{DialectLabel, Held, RouteMetrics, metrics};
use crate::telemetry::tasks::{Task, caught};

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

/// All client sockets and streams of the process.
#[derive(Debug)]
pub struct Sessions {
    config: SessionConfig,
    budget: Arc<Budget>,
    memory: Memory,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
    last_owner: AtomicU64,
    reserved: Reserved,
}

/// The client a session is for.
#[derive(Debug)]
pub struct Client {
    pub api: Arc<Api>,
    /// The name of its route.
    pub route: String,
    /// They go with each of its operations.
    pub headers: HeaderMap,
    /// Each of its operations must be allowed by them.
    pub policies: OperationPolicies,
    /// Counts its connection.
    pub permit: Arc<OwnedSemaphorePermit>,
    pub origin: Origin,
    /// Of its connection: the room that answers take.
    pub share: Share,
    pub admission: Admission,
}

/// Everything a session needs of the process.
struct Context {
    config: SessionConfig,
    budget: Arc<Budget>,
    /// While it is short, no operation is begun.
    memory: Memory,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
    owner: Owner,
    /// How its operations are named in the log.
    method: &'static str,
    headers: HeaderMap,
    route: String,
    api: Arc<Api>,
    admission: Admission,
    policies: OperationPolicies,
    share: Share,
    /// Counts its connection; a stream that is only reserved has none.
    _permit: Option<Arc<OwnedSemaphorePermit>>,
    _counted: Held,
}

impl Context {
    /// Of its route.
    fn metrics(&self) -> &Arc<RouteMetrics> {
        self.api.metrics()
    }
}

impl SessionConfig {
    fn limits(&self) -> Limits {
        Limits {
            subscriptions: self.subscriptions,
            operations: self.operations,
        }
    }
}

impl Sessions {
    /// Sessions take no new operations once `draining` is cancelled, and end with `expired`.
    pub fn new(
        config: SessionConfig,
        budget: Arc<Budget>,
        memory: Memory,
        tasks: TaskTracker,
        draining: CancellationToken,
        expired: CancellationToken,
    ) -> Self {
        Self {
            config,
            budget,
            memory,
            tasks,
            draining,
            expired,
            last_owner: AtomicU64::new(0),
            reserved: Reserved::default(),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether the drain's deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.expired.is_cancelled()
    }

    /// Serves a socket once it is upgraded, in the dialect that `protocol` names.
    pub fn serve(&self, upgrade: OnUpgrade, protocol: Option<&'static str>, client: Client) {
        let context = self.context("WS", protocol.unwrap_or("none"), client);
        let served = websocket::serve(context, upgrade, protocol);
        self.tasks.spawn(caught(Task::Socket, served));
    }

    /// Runs a task that ends when what is returned is dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.tasks.spawn(task))
    }

    /// Passes a tunnel's bytes until it ends.
    pub fn tunnel(&self, tunnel: Tunnel) {
        let (draining, expired) = (self.draining.clone(), self.expired.clone());
        let served = tunnel::serve(tunnel, draining, expired);
        self.tasks.spawn(caught(Task::Tunnel, served));
    }

    /// Runs `work` for as long as its response lasts.
    ///
    /// Resolves with the operation's first event, so that a response's head tells that a
    /// subscription is live; `None` if the process, or a panic, ended it before.
    pub async fn stream<F: Streamed + 'static>(
        &self,
        form: F,
        work: Work,
        client: Client,
    ) -> Option<Opened> {
        let is_multipart = form.content_type().starts_with("multipart");
        let dialect = if is_multipart { "multipart" } else { "sse" };
        let context = self.context("STREAM", dialect, client);
        let (stream, opened) = stream::distinct(context, form, work);
        self.tasks.spawn(caught(Task::Stream, stream));
        opened.await.ok()
    }

    /// Reserves a stream for operations that other requests start on it; it is kept for the
    /// time that a socket has for its `connection_init`, or for a moment after the end of the
    /// connection that reserved it. `None` if too many are reserved and not opened.
    pub fn reserve(&self, client: Client) -> Option<Token> {
        let holder = Holder::new(&client.route, &client.admission);
        let (token, reservation) = self.reserved.add(holder, client.origin.clone())?;
        let mut context = self.context("STREAM", "sse-single", client);
        // Its connection may end before; the one that opens it counts itself.
        context._permit = None;
        let served = reserved::serve(context, reservation);
        self.tasks.spawn(caught(Task::Stream, served));
        Some(token)
    }

    /// The reserved streams.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    fn context(&self, method: &'static str, dialect: &'static str, client: Client) -> Context {
        let sessions = &metrics().sessions;
        Context {
            _counted: Held::new(&sessions.get_or_create(&DialectLabel { dialect })),
            config: self.config,
            budget: Arc::clone(&self.budget),
            memory: self.memory.clone(),
            tasks: self.tasks.clone(),
            draining: self.draining.clone(),
            expired: self.expired.clone(),
            owner: Owner(self.last_owner.fetch_add(1, Ordering::Relaxed)),
            method,
            headers: client.headers,
            route: client.route,
            api: client.api,
            admission: client.admission,
            policies: client.policies,
            share: client.share,
            _permit: Some(client.permit),
        }
    }
}
