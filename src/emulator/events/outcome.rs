//! The outcome of a publish for each of its events.

use serde::Serialize;

/// The events of one publish that failed, and those that succeeded.
#[derive(Debug, Serialize)]
pub(crate) struct PublishOutcome {
    pub(super) failed: Vec<FailedEvent>,
    pub(super) successful: Vec<SuccessfulEvent>,
}

#[derive(Debug, Serialize)]
pub(super) struct SuccessfulEvent {
    pub(super) identifier: String,
    pub(super) index: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct FailedEvent {
    pub(super) identifier: String,
    pub(super) index: usize,
    pub(super) code: u16,
    pub(super) message: String,
}
