//! The tasks of the process, and the tokens that end them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks that serve clients: their connections, sessions and operations.
#[derive(Clone, Debug, Default)]
pub struct ClientTasks {
    pub tracker: TaskTracker,
    /// Cancelled when the drain begins: no new work is accepted.
    pub draining: CancellationToken,
    /// Cancelled at the deadline of the drain: running work ends at once.
    pub expired: CancellationToken,
}

/// The tasks that do not belong to a client: upstream connections, credential refreshers, the admin
/// listener.
#[derive(Clone, Debug, Default)]
pub struct BackgroundTasks {
    pub tracker: TaskTracker,
    /// Cancelled when all client tasks have ended.
    pub stop: CancellationToken,
}
