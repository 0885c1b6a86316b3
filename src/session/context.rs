//! The context of a session: its settings, and the parts of the process and of its client that it uses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::dialect::Limits;
use countersign_protocol::graphql::Documents;
use countersign_protocol::realtime::placement::Owner;
use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::{Admission, OperationPolicies};
use crate::inspector::Inspector;
use crate::memory::{Memory, Share};
use crate::operation::AppSyncApi;
use crate::outbox::OutboxBudget;
use crate::telemetry::RequestId;
use crate::telemetry::metrics::{GaugeGuard, RouteMetrics};

/// Limits and timeouts of a client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The maximum size of a client's message, in bytes.
    pub message: usize,
    /// The maximum number of subscriptions of one client.
    pub subscriptions: usize,
    /// The maximum number of queries, mutations and publishes of one client that run at once.
    pub operations: usize,
    /// The maximum size of the events that wait for the client, in bytes.
    pub outbox: usize,
    /// How long a client may take to send its `connection_init`.
    pub init: Duration,
    /// The time between two pings.
    pub ping: Duration,
    /// How long a client may take to read a message.
    pub write: Duration,
    /// The period over which closes after a lost upstream connection are spread.
    pub spread: Duration,
}

/// The parts of the process and of the client that a session needs.
pub(super) struct SessionContext {
    pub(super) config: SessionConfig,
    pub(super) budget: Arc<OutboxBudget>,
    pub(super) documents: Documents,
    /// While memory is short, no operation is started.
    pub(super) memory: Memory,
    pub(super) tasks: TaskTracker,
    pub(super) draining: CancellationToken,
    pub(super) expired: CancellationToken,
    pub(super) owner: Owner,
    /// The value of `method` in the log lines of its operations.
    pub(super) method: &'static str,
    /// The client protocol.
    pub(super) dialect: &'static str,
    pub(super) inspector: Inspector,
    pub(super) headers: HeaderMap,
    pub(super) route: String,
    pub(super) api: Arc<AppSyncApi>,
    pub(super) admission: Admission,
    pub(super) policies: OperationPolicies,
    pub(super) share: Share,
    pub(super) client_address: Option<SocketAddr>,
    /// The id of the request that started the session.
    pub(super) request_id: RequestId,
    /// Counts the client's connection. A stream that is reserved and not open has none.
    pub(super) _permit: Option<Arc<OwnedSemaphorePermit>>,
    pub(super) _counted: GaugeGuard,
}

impl SessionConfig {
    /// Returns the limits that the protocol machines enforce.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            subscriptions: self.subscriptions,
            operations: self.operations,
        }
    }
}

impl SessionContext {
    /// Returns the metrics of the session's route.
    pub(super) fn metrics(&self) -> &Arc<RouteMetrics> {
        self.api.metrics()
    }
}
