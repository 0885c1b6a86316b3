//! Metrics of one route that have other labels, too.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::keepalive::LastHeard;
use super::labels::{
    HandshakeLabels, OperationLabels, ReplayLabels, RequestLabels, RouteOutcomeLabels, Status,
};
use super::successes::OK;
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

    /// Counts a request over HTTP that ended with status 200 and without an error. Returns `false` if it does
    /// not count this kind of request.
    pub(in crate::telemetry) fn count_success(
        &self,
        status: u16,
        operation: &'static str,
        took: Duration,
    ) -> bool {
        let Some(metrics) = self.successes.of(status, operation) else {
            return false;
        };
        let (requests, durations) = metrics.get_or_init(|| self.success(operation));
        requests.inc();
        durations.observe(took.as_secs_f64());
        true
    }

    fn success(&self, operation: &'static str) -> (Counter, Histogram) {
        let route = || Arc::clone(&self.name);
        let all = metrics();
        let requests = all.requests.get_or_create_owned(&RequestLabels {
            route: route(),
            client: "http",
            operation,
            status: Status::of(OK),
            code: all.code(None),
        });
        let labels = OperationLabels {
            route: route(),
            operation,
        };
        let durations = all.request_duration_seconds.get_or_create_owned(&labels);
        (requests, durations)
    }

    fn outcome(&self, outcome: &'static str) -> RouteOutcomeLabels {
        RouteOutcomeLabels {
            route: Arc::clone(&self.name),
            outcome,
        }
    }
}
