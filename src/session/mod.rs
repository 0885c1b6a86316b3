//! Connects a client to its operations, through the protocol that the client uses.
//!
//! A session is one client socket ([`websocket`]) or one streamed HTTP response ([`stream`]): a
//! protocol machine, and the driver that owns the I/O. Queries, mutations and publishes go to the
//! [`AppSyncApi`] by signed HTTP, subscriptions to its realtime pool; all results come back through the
//! session's one outbox. A [`tunnel`] has no protocol machine: it relays bytes.

mod context;
mod failure;
mod operations;
mod reserved;
mod stream;
mod tunnel;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use context::SessionConfig;
use context::SessionContext;
use countersign_protocol::dialect::{Close, StreamDialect};
use countersign_protocol::graphql::Documents;
use countersign_protocol::realtime::placement::Owner;
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
pub use reserved::{ClientConnection, OpenOutcome, ReservedStreams, StreamOwner, StreamToken};
pub use stream::{OpenedStream, Piece, StreamOperation};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
pub use tunnel::{Keepalive, Tunnel};

use crate::guard::{Admission, OperationPolicies};
use crate::inspector::Inspector;
use crate::lifecycle::ClientTasks;
use crate::memory::{Memory, Share};
use crate::operation::AppSyncApi;
use crate::outbox::OutboxBudget;
use crate::telemetry::RequestId;
use crate::telemetry::metrics::{DialectLabel, GaugeGuard, metrics};
use crate::telemetry::tasks::{Task, caught};

/// All client sockets and streams of the process.
#[derive(Debug)]
pub struct Sessions {
    config: SessionConfig,
    budget: Arc<OutboxBudget>,
    memory: Memory,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
    last_owner: AtomicU64,
    reserved: ReservedStreams,
    documents: Documents,
    inspector: Inspector,
}

/// The client that a session serves.
#[derive(Debug)]
pub struct SessionClient {
    pub api: Arc<AppSyncApi>,
    /// The name of the route.
    pub route: String,
    /// The client's headers, which are sent with each of its operations.
    pub headers: HeaderMap,
    /// The policies that must all allow an operation.
    pub policies: OperationPolicies,
    /// Counts the client's connection against the limit.
    pub permit: Arc<OwnedSemaphorePermit>,
    pub connection: ClientConnection,
    /// The connection's part of the memory for buffered responses.
    pub share: Share,
    pub admission: Admission,
    /// The address of the client; `None` on a unix socket.
    pub address: Option<SocketAddr>,
    /// The id of the request that starts the session.
    pub request_id: RequestId,
}

impl Sessions {
    /// Returns the sessions of a process. They start no operations after the drain has begun, and end at
    /// its deadline.
    pub fn new(
        config: SessionConfig,
        budget: Arc<OutboxBudget>,
        memory: Memory,
        tasks: ClientTasks,
    ) -> Self {
        let ClientTasks {
            tracker,
            draining,
            expired,
        } = tasks;
        Self {
            config,
            budget,
            memory,
            tasks: tracker,
            draining,
            expired,
            last_owner: AtomicU64::new(0),
            reserved: ReservedStreams::default(),
            documents: Documents::default(),
            inspector: Inspector::default(),
        }
    }

    /// Shows every operation to `inspector`.
    pub fn with_inspector(mut self, inspector: Inspector) -> Self {
        self.inspector = inspector;
        self
    }

    /// Returns whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Returns whether the drain's deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.expired.is_cancelled()
    }

    /// Serves a socket once it is upgraded, in the client protocol that `protocol` names.
    pub fn serve(&self, upgrade: OnUpgrade, protocol: Option<&'static str>, client: SessionClient) {
        let context = Arc::new(self.context("WS", protocol.unwrap_or("none"), client));
        let served = websocket::serve(context, upgrade, protocol);
        self.tasks.spawn(caught(Task::Socket, served));
    }

    /// Closes a socket once it is upgraded. The permit counts its connection until then.
    pub fn close(&self, upgrade: OnUpgrade, permit: Arc<OwnedSemaphorePermit>, close: Close) {
        let closed = async move {
            let _permit = permit;
            websocket::close(upgrade, close).await;
        };
        self.tasks.spawn(caught(Task::Socket, closed));
    }

    /// Spawns a task that is aborted when the returned handle is dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.tasks.spawn(task))
    }

    /// Relays the bytes of a tunnel until it ends.
    pub fn tunnel(&self, tunnel: Tunnel) {
        let (draining, expired) = (self.draining.clone(), self.expired.clone());
        let served = tunnel::serve(tunnel, draining, expired);
        self.tasks.spawn(caught(Task::Tunnel, served));
    }

    /// Runs an operation until its response ends.
    ///
    /// Resolves with the operation's first event, so that a subscription is live when the client
    /// receives the response's head. Returns `None` if a shutdown or a panic ended the operation before.
    pub async fn stream<M: StreamDialect + 'static>(
        &self,
        machine: M,
        work: StreamOperation,
        client: SessionClient,
    ) -> Option<OpenedStream> {
        let is_multipart = machine.content_type().starts_with("multipart");
        let dialect = if is_multipart { "multipart" } else { "sse" };
        let context = self.context("STREAM", dialect, client);
        let (stream, opened) = stream::distinct(context, machine, work);
        self.tasks.spawn(caught(Task::Stream, stream));
        opened.await.ok()
    }

    /// Reserves a stream, on which other requests start operations. The client must open it within
    /// the timeout of a socket's `connection_init`, or shortly after the connection that reserved it
    /// has ended, if that is earlier. Returns `None` if too many streams are reserved and not open.
    pub fn reserve(&self, client: SessionClient) -> Option<StreamToken> {
        let owner = StreamOwner::new(&client.route, &client.admission);
        let (token, reservation) = self.reserved.add(owner, client.connection.clone())?;
        let mut context = self.context("STREAM", "sse-single", client);
        // The connection may end before the stream is opened. The one that opens it is counted itself.
        context._permit = None;
        let served = reserved::serve(context, reservation);
        self.tasks.spawn(caught(Task::Stream, served));
        Some(token)
    }

    /// Returns the cache of documents, which serves all protocols.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Returns the reserved streams.
    pub fn reserved(&self) -> &ReservedStreams {
        &self.reserved
    }

    fn context(
        &self,
        method: &'static str,
        dialect: &'static str,
        client: SessionClient,
    ) -> SessionContext {
        let sessions = &metrics().sessions;
        SessionContext {
            _counted: GaugeGuard::new(&sessions.get_or_create(&DialectLabel { dialect })),
            config: self.config,
            budget: Arc::clone(&self.budget),
            documents: self.documents.clone(),
            memory: self.memory.clone(),
            tasks: self.tasks.clone(),
            draining: self.draining.clone(),
            expired: self.expired.clone(),
            owner: Owner(self.last_owner.fetch_add(1, Ordering::Relaxed)),
            method,
            dialect,
            inspector: self.inspector.clone(),
            headers: client.headers,
            route: client.route,
            api: client.api,
            admission: client.admission,
            policies: client.policies,
            share: client.share,
            client_address: client.address,
            request_id: client.request_id,
            _permit: Some(client.permit),
        }
    }
}
