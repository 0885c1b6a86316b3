//! The metrics of one route, looked up once.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::keepalive::{Keepalives, LastHeard};
use super::kinds::Exact;
use super::labels::{HandshakeLabels, ReuseLabels, RouteLabel, RouteOutcomeLabels};
use super::metrics;

/// The metrics of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    /// Of the route.
    pub name: Arc<str>,
    pub signing: Histogram,
    pub connect: Histogram,
    pub first_byte: Histogram,
    pub in_flight: Gauge,
    pub tunnels: Gauge,
    pub upstream_connections: Gauge,
    pub requests_on_new: Counter,
    pub requests_on_reused: Counter,
    pub subscriptions: Gauge,
    pub subscription_start: Histogram,
    pub events_received: Counter,
    pub events_delivered: Counter,
    pub slow_consumers: Counter,
    pub realtime_connections: Gauge,
    pub realtime_losses: Counter,
    pub realtime_reconnects: Counter,
    pub realtime_gaps: Counter,
    pub clock_offset: Exact,
    keepalives: Arc<Keepalives>,
}

impl RouteMetrics {
    /// Returns the metrics of the route `name`. They start at zero and are exposed from then on.
    pub fn new(name: &str) -> Arc<Self> {
        let all = metrics();
        let name: Arc<str> = name.into();
        let label = RouteLabel {
            route: Arc::clone(&name),
        };
        let requests = |connection| {
            let route = Arc::clone(&name);
            let labels = ReuseLabels { route, connection };
            all.upstream_requests.get_or_create_owned(&labels)
        };
        Arc::new(Self {
            signing: all.signing_duration_seconds.get_or_create_owned(&label),
            connect: all
                .upstream_connect_duration_seconds
                .get_or_create_owned(&label),
            first_byte: all
                .upstream_first_byte_duration_seconds
                .get_or_create_owned(&label),
            in_flight: all.requests_in_flight.get_or_create_owned(&label),
            tunnels: all.tunnels.get_or_create_owned(&label),
            upstream_connections: all.upstream_connections.get_or_create_owned(&label),
            requests_on_new: requests("new"),
            requests_on_reused: requests("reused"),
            subscriptions: all.subscriptions.get_or_create_owned(&label),
            subscription_start: all
                .subscription_start_duration_seconds
                .get_or_create_owned(&label),
            events_received: all.events_received.get_or_create_owned(&label),
            events_delivered: all.events_delivered.get_or_create_owned(&label),
            slow_consumers: all.slow_consumers.get_or_create_owned(&label),
            realtime_connections: all.realtime_connections.get_or_create_owned(&label),
            realtime_losses: all.realtime_losses.get_or_create_owned(&label),
            realtime_reconnects: all.realtime_reconnects.get_or_create_owned(&label),
            realtime_gaps: all.realtime_gaps.get_or_create_owned(&label),
            clock_offset: all.clock_offset_seconds.get_or_create_owned(&label),
            keepalives: all.keepalives(&label),
            name,
        })
    }

    /// Counts a connection that was dialled: `ok`, or the step that failed.
    pub fn dialled(&self, outcome: &'static str) {
        let labels = self.outcome(outcome);
        metrics().upstream_dials.get_or_create(&labels).inc();
    }

    /// Counts a TLS handshake: `full` or `resumed`.
    pub fn count_tls_handshake(&self, kind: &'static str) {
        let route = Arc::clone(&self.name);
        let labels = HandshakeLabels { route, kind };
        let handshakes = &metrics().upstream_tls_handshakes;
        handshakes.get_or_create(&labels).inc();
    }

    /// Counts an attempt to open a realtime connection: `ok`, `refused` or `unreachable`.
    pub fn realtime_connect(&self, outcome: &'static str) {
        let labels = self.outcome(outcome);
        metrics().realtime_connects.get_or_create(&labels).inc();
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
