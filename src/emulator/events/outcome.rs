//! The outcome of a publish for each of its events.

use serde::Serialize;

/// The events of one publish that failed, and those that succeeded.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(super) failed: Vec<Failed>,
    pub(super) successful: Vec<Successful>,
}

#[derive(Debug, Serialize)]
pub(super) struct Successful {
    pub(super) identifier: String,
    pub(super) index: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) identifier: String,
    pub(super) index: usize,
    pub(super) code: u16,
    pub(super) message: String,
}
