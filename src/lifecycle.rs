//! The tasks of the process, and the signals that end them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Work for clients: their connections, sessions and operations.
#[derive(Clone, Debug, Default)]
pub struct ClientTasks {
    pub tracker: TaskTracker,
    /// Cancelled when no new work is accepted.
    pub draining: CancellationToken,
    /// Cancelled at the drain's deadline: work ends at once.
    pub expired: CancellationToken,
}

/// Work that outlives single clients: upstream connections, credential refreshers, the admin
/// listener.
#[derive(Clone, Debug, Default)]
pub struct BackgroundTasks {
    pub tracker: TaskTracker,
    /// Cancelled when all clients have ended.
    pub stop: CancellationToken,
}
