//! Why an address cannot be listened on.

use std::io;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0}")]
    Tcp(#[source] io::Error),
    #[error("another process listens on it")]
    InUse,
    #[error("the path exists and is not a socket")]
    NotASocket,
    #[error("the inherited socket cannot be used: {0}")]
    Passed(#[source] io::Error),
    #[error("{step}: {source}")]
    Unix {
        step: &'static str,
        source: io::Error,
    },
}
