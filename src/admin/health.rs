//! The conditions under which the process is ready, each reported by its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::Connections;
use crate::sign::clock;
use crate::sign::credentials::CredentialSource;
use crate::telemetry::metrics::{IdentityLabel, metrics};
use crate::upstream::Upstream;

/// Evaluates the readiness of the process.
#[derive(Debug)]
pub struct Health {
    sources: HealthSources,
    has_started: AtomicBool,
    last_dial: Mutex<Option<(Instant, Dial)>>,
}

/// Whether each route's upstream was reached. Concurrent requests share one dial.
type Dial = Shared<BoxFuture<'static, Vec<(String, bool)>>>;

/// The conditions of readiness.
#[derive(Clone, Debug)]
pub struct HealthSources {
    /// The addresses that are bound.
    pub listeners: Vec<String>,
    pub identities: Vec<Arc<CredentialSource>>,
    /// By route.
    pub upstreams: Vec<(String, Arc<Upstream>)>,
    pub connections: Connections,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
}

/// The state of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub listeners: Vec<String>,
    pub is_draining: bool,
    /// By identity, why there are no valid credentials; `None` if there are.
    pub credentials: Vec<(String, Option<String>)>,
    /// By identity, the provider of the credentials, and when they expire, if they do.
    pub providers: Vec<(String, String, Option<String>)>,
    /// Open client connections.
    pub connections: usize,
    pub connections_limit: usize,
    /// Requests are refused because memory is short.
    pub is_memory_short: bool,
    /// By route, whether its upstream was reached; empty if none was dialled.
    pub upstreams: Vec<(String, bool)>,
}

/// The minimum time between two dials of the upstreams.
const DIAL_INTERVAL: Duration = Duration::from_secs(10);

// === impl Health ===

impl Health {
    pub fn new(sources: HealthSources) -> Self {
        Self {
            sources,
            has_started: AtomicBool::new(false),
            last_dial: Mutex::new(None),
        }
    }

    /// Returns whether the process has been ready at least once.
    pub fn has_started(&self) -> bool {
        self.current().is_ready() || self.has_started.load(Ordering::Relaxed)
    }

    /// Returns the state of the process. With `is_deep`, upstreams are dialled, too: TCP and TLS,
    /// without a request.
    pub async fn readiness(&self, is_deep: bool) -> Readiness {
        let mut readiness = self.current();
        if is_deep {
            readiness.upstreams = self.dial().await;
        }
        readiness
    }

    /// Updates the gauges that are computed at a scrape.
    pub fn observe(&self) {
        let readiness = self.current();
        let metrics = metrics();
        metrics.ready.set(i64::from(readiness.is_ready()));
        metrics.draining.set(i64::from(readiness.is_draining));
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.client_connections.set(count(readiness.connections));
        let limit = count(readiness.connections_limit);
        metrics.client_connections_limit.set(limit);
        let now = clock::now();
        for identity in &self.sources.identities {
            let remaining = match identity.remaining(now) {
                None => 0.0,
                Some(None) => f64::INFINITY,
                Some(Some(remaining)) => remaining.as_secs_f64(),
            };
            let identity = identity.name().to_owned();
            let gauges = &metrics.credentials_remaining_seconds;
            let gauge = gauges.get_or_create_owned(&IdentityLabel { identity });
            gauge.set(remaining);
        }
    }

    /// Returns the state of the process. Nothing is dialled.
    pub fn current(&self) -> Readiness {
        let HealthSources {
            listeners,
            identities,
            connections,
            stopping,
            upstreams: _,
        } = &self.sources;
        let now = clock::now();
        let credentials = identities.iter().map(|identity| {
            let failure = identity.failure(now);
            let failure = failure.map(|error| error.explanation());
            (identity.name().to_owned(), failure)
        });
        let providers = identities.iter().filter_map(|identity| {
            let (provider, expires) = identity.origin()?;
            Some((identity.name().to_owned(), provider, expires))
        });
        let readiness = Readiness {
            listeners: listeners.clone(),
            is_draining: stopping.is_cancelled(),
            credentials: credentials.collect(),
            providers: providers.collect(),
            connections: connections.open(),
            connections_limit: connections.limit(),
            is_memory_short: connections.is_memory_short(),
            upstreams: Vec::new(),
        };
        if readiness.is_ready() {
            self.has_started.store(true, Ordering::Relaxed);
        }
        readiness
    }

    fn dial(&self) -> Dial {
        let mut last = self.last_dial.lock();
        if let Some((begun, dial)) = &*last
            && begun.elapsed() < DIAL_INTERVAL
        {
            return dial.clone();
        }
        let upstreams = self.sources.upstreams.clone();
        let dials = upstreams.into_iter().map(|(route, upstream)| async move {
            let reached = upstream.check_reachable().await;
            (route, reached.is_ok())
        });
        let dial = join_all(dials).boxed().shared();
        *last = Some((Instant::now(), dial.clone()));
        dial
    }
}

// === impl Readiness ===

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Returns why the process is not ready; the log has the details.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_draining {
            reasons.push("a stop was requested".to_owned());
        }
        let credentials = self.credentials.iter();
        let missing =
            credentials.filter_map(|(identity, failure)| Some((identity, failure.as_ref()?)));
        reasons.extend(missing.map(|(identity, failure)| {
            format!("no valid credentials are held ({identity}): {failure}")
        }));
        if self.connections >= self.connections_limit {
            reasons
                .push("the limit of client connections is reached (limits.connections)".to_owned());
        }
        if self.is_memory_short {
            reasons.push("memory is short (limits.memory)".to_owned());
        }
        let unreached = self.upstreams.iter().filter(|(_, is_reached)| !is_reached);
        reasons.extend(
            unreached.map(|(route, _)| format!("the upstream of {route} cannot be reached")),
        );
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut Readiness), reason: Option<&str>) {
        let mut readiness = Readiness {
            listeners: vec!["127.0.0.1:4100".to_owned()],
            is_draining: false,
            credentials: vec![("default chain".to_owned(), None)],
            providers: Vec::new(),
            connections: 9,
            connections_limit: 10,
            is_memory_short: false,
            upstreams: vec![("graphql".to_owned(), true)],
        };
        change(&mut readiness);
        let reasons = readiness.reasons();
        assert_eq!(readiness.is_ready(), reason.is_none());
        match reason {
            Some(reason) => assert!(
                reasons.len() == 1 && reasons[0].contains(reason),
                "{reasons:?}"
            ),
            None => assert!(reasons.is_empty(), "{reasons:?}"),
        }
    }

    #[test]
    fn each_condition_can_make_the_process_not_ready() {
        check(|_| {}, None);
        check(
            |found| found.is_draining = true,
            Some("a stop was requested"),
        );
        check(
            |found| found.credentials[0].1 = Some("the profile is gone".to_owned()),
            Some("(default chain): the profile is gone"),
        );
        check(|found| found.connections = 10, Some("limits.connections"));
        check(|found| found.is_memory_short = true, Some("limits.memory"));
        check(|found| found.upstreams[0].1 = false, Some("graphql"));
    }
}
