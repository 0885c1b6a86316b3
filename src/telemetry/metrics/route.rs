//! Metrics of one route that have other labels, too.

use std::sync::Arc;

use super::keepalive::LastHeard;
use super::labels::{HandshakeLabels, ReplayLabels, RouteOutcomeLabels};
use super::{RouteMetrics, metrics};

impl RouteMetrics {
    /// Counts a dial. `outcome` is `ok` or the step that failed.
    pub fn dialled(&self, outcome: &'static str) {
        let labels = self.outcome(outcome);
        metrics().upstream_dials.get_or_create(&labels).inc();
    }

    /// Counts a TLS handshake. `kind` is `full` or `resumed`.
    pub fn count_tls_handshake(&self, kind: &'static str) {
        let route = Arc::clone(&self.name);
        let labels = HandshakeLabels { route, kind };
        let handshakes = &metrics().upstream_tls_handshakes;
        handshakes.get_or_create(&labels).inc();
    }

    /// Counts an attempt to open a realtime connection. `outcome` is `ok`, `refused` or `unreachable`.
    pub fn realtime_connect(&self, outcome: &'static str) {
        let labels = self.outcome(outcome);
        metrics().realtime_connects.get_or_create(&labels).inc();
    }

    /// Counts a request that is signed and sent again. `reason` is what was renewed after a rejection,
    /// `credentials` or `clock`, or why the attempt before failed: `unprocessed` or `lost`.
    pub fn replayed(&self, reason: &'static str) {
        let route = Arc::clone(&self.name);
        let labels = ReplayLabels { route, reason };
        metrics().upstream_replays.get_or_create(&labels).inc();
    }

    /// Includes a realtime connection in the keepalive age until the returned value is dropped.
    pub fn listen(&self) -> Arc<LastHeard> {
        self.keepalives.listen()
    }

    fn outcome(&self, outcome: &'static str) -> RouteOutcomeLabels {
        RouteOutcomeLabels {
            route: Arc::clone(&self.name),
            outcome,
        }
    }
}
