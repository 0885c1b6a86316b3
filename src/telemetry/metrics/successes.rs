//! The metrics of successful requests, which most requests are.

use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// The metrics of the HTTP requests of a route that succeeded, by their operation. They are looked up when
/// the first one is counted, because a metric is exposed from then on.
#[derive(Debug, Default)]
pub(super) struct Successes([OnceLock<(Counter, Histogram)>; OPERATIONS.len()]);

const OPERATIONS: [&str; 3] = ["query", "mutation", "none"];
/// The status of a request that succeeded.
pub(super) const OK: u16 = 200;

impl Successes {
    /// Returns the number and the duration of requests with this outcome, or `None` if the outcome is another.
    pub(super) fn of(
        &self,
        status: u16,
        operation: &str,
    ) -> Option<&OnceLock<(Counter, Histogram)>> {
        let mut operations = OPERATIONS.iter().zip(&self.0);
        let found = operations.find(|(known, _)| status == OK && **known == operation);
        found.map(|(_, metrics)| metrics)
    }
}
