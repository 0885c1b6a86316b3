//! Shared by the behaviour tests: countersign with an emulator, plain HTTP and WebSocket clients,
//! files, and the scripts around other people's clients.

mod closed_port;
mod daemon;
mod request;
mod scratch;
mod scripts;
mod socket;
mod world;

use std::time::Duration;

pub use closed_port::ClosedPort;
pub use daemon::{Daemon, command, demo_key};
pub use request::{Answer, JSON, exchange, get, post, raw, raw_on};
pub use scratch::Scratch;
pub use scripts::{Checks, filter, node, passes, python};
pub use socket::Socket;
pub use world::{Builder, GATEWAY, QUIET, Running, World, flag};

/// The timeout of everything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `future`, and panics with `what` if it takes too long.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
