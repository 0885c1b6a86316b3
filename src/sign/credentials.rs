//! Loads AWS credentials from the provider chain, and refreshes them in the background.
//!
//! One task per [`CredentialSource`] loads credentials through the providers of `aws-config`,
//! publishes them as an immutable [`Snapshot`], and refreshes them before they expire. Requests read
//! the snapshot, and wait for the task only if the snapshot is missing or has expired. Each load creates
//! new providers, because a provider of `aws-config` parses the profile files only once.

mod chain;
mod config;
mod endpoints;
mod environment;
mod error;
mod expiry;
mod file_watcher;
mod http;
mod keys;
mod locations;
mod outline;
mod process;
mod profiles;
mod roles;
mod snapshot;
mod sts;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::clock::{self, ClockJumps};
use chain::Chain;
pub use config::CredentialSourceConfig;
pub use error::CredentialsError;
use file_watcher::ProfileFileWatcher;
pub use snapshot::Snapshot;
use snapshot::format_time;

use crate::lifecycle::BackgroundTasks;
use crate::telemetry::metrics::{IdentityOutcomeLabels, metrics};
use crate::telemetry::tasks::{Task, supervised};

/// A source of credentials that a background task refreshes.
#[derive(Debug)]
pub struct CredentialSource {
    name: String,
    state: watch::Receiver<LoadState>,
    /// Requests a load from the background task; `None` for fixed credentials.
    wake: Option<Arc<Notify>>,
}

#[derive(Clone, Debug, Default)]
struct LoadState {
    snapshot: Option<Arc<Snapshot>>,
    /// Why the last load failed, and when.
    failure: Option<(Arc<CredentialsError>, SystemTime)>,
    /// Whether a load is running.
    loading: bool,
}

/// How long a request waits for a running load.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// How long a load may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long before they expire credentials are refreshed, or a quarter of the remaining lifetime if that
/// is less.
const REFRESH_LEAD: Duration = Duration::from_secs(300);
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The time after a failed load before a request without valid credentials starts another one.
const RETRY_PAUSE: Duration = Duration::from_secs(3);
/// How often the profile files are checked for changes.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

// === impl CredentialSource ===

impl CredentialSource {
    /// Creates a source, and spawns its task in `background`. `name` identifies the source in the log and
    /// in metrics.
    pub fn spawn(
        name: String,
        config: CredentialSourceConfig,
        background: &BackgroundTasks,
    ) -> Self {
        let (publish, state) = watch::channel(LoadState {
            loading: true,
            ..LoadState::default()
        });
        let wake = Arc::new(Notify::new());
        let refresher = Refresher {
            name: name.clone(),
            chain: Chain::new(config),
            publish,
            wake: Arc::clone(&wake),
        };
        let stop = background.stop.clone();
        background.tracker.spawn(async move {
            let refreshing = supervised(Task::Credentials, || refresher.run());
            stop.run_until_cancelled(refreshing).await;
        });
        let wake = Some(wake);
        Self { name, state, wake }
    }

    /// Returns a source of fixed credentials, for tests.
    pub fn fixed(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::to_owned);
        Self::from_credentials(Credentials::new(
            access_key, secret_key, token, None, "fixed",
        ))
    }

    /// Returns a source of credentials that never change, for the demo.
    pub fn from_credentials(credentials: Credentials) -> Self {
        let name = "fixed".to_owned();
        let snapshot = Snapshot::new(credentials, name.clone());
        let (_, state) = watch::channel(LoadState {
            snapshot: Some(Arc::new(snapshot)),
            ..LoadState::default()
        });
        let wake = None;
        Self { name, state, wake }
    }

    /// Returns the name that identifies the source in the log and in metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns credentials that are valid at `now`. If there are none, waits for a load, at most
    /// [`LOAD_WAIT`]. All waiting requests share one load.
    ///
    /// # Errors
    /// [`CredentialsError`] when there are no valid credentials.
    pub async fn current(&self, now: SystemTime) -> Result<Arc<Snapshot>, CredentialsError> {
        let lookup = |state: &LoadState| state.lookup(now, self.wake.is_some());
        if let Some(found) = lookup(&self.state.borrow()) {
            return found;
        }
        if let Some(wake) = &self.wake {
            wake.notify_one();
        }
        let mut state = self.state.clone();
        let decided = state.wait_for(|state| lookup(state).is_some());
        match tokio::time::timeout(LOAD_WAIT, decided).await {
            Ok(Ok(state)) => lookup(&state).unwrap_or_else(|| Err(state.error())),
            Ok(Err(_)) | Err(_) => Err(self.state.borrow().error()),
        }
    }

    /// Returns why there are no valid credentials at `now`; `None` if there are.
    pub fn failure(&self, now: SystemTime) -> Option<CredentialsError> {
        match self.remaining(now) {
            Some(_) => None,
            None => Some(self.state.borrow().error()),
        }
    }

    /// Waits until credentials have been loaded for the first time.
    pub async fn loaded(&self) {
        let mut state = self.state.clone();
        // The background task ends with the process.
        let _ = state.wait_for(|state| state.snapshot.is_some()).await;
    }

    /// Returns the remaining lifetime of the credentials at `now`: `Some(None)` if they do not expire;
    /// `None` if there are no valid credentials.
    pub fn remaining(&self, now: SystemTime) -> Option<Option<Duration>> {
        let state = self.state.borrow();
        let snapshot = state.snapshot.as_ref()?;
        match snapshot.expires() {
            None => Some(None),
            Some(expires) => match expires.duration_since(now) {
                Ok(left) if !left.is_zero() => Some(Some(left)),
                Ok(_) | Err(_) => None,
            },
        }
    }
}

// === impl LoadState ===

impl LoadState {
    /// Returns the credentials for a request at `now`, or why there are none; `None` if the request has
    /// to wait for a load.
    fn lookup(
        &self,
        now: SystemTime,
        can_reload: bool,
    ) -> Option<Result<Arc<Snapshot>, CredentialsError>> {
        match &self.snapshot {
            Some(snapshot) if snapshot.is_valid(now) => Some(Ok(Arc::clone(snapshot))),
            Some(_) | None if self.loading => None,
            Some(_) | None if can_reload && self.is_load_due(now) => None,
            Some(_) | None => Some(Err(self.error())),
        }
    }

    /// Returns whether a request without valid credentials starts a load: if no load has failed yet, or
    /// if the last one failed at least [`RETRY_PAUSE`] ago.
    fn is_load_due(&self, now: SystemTime) -> bool {
        self.failure.as_ref().is_none_or(|(_, failed)| {
            let since = now.duration_since(*failed);
            since.is_ok_and(|since| since >= RETRY_PAUSE)
        })
    }

    fn error(&self) -> CredentialsError {
        match (&self.failure, &self.snapshot) {
            (Some((failure, _)), _) => failure.as_ref().clone(),
            (None, Some(snapshot)) => snapshot.expired(),
            (None, None) => CredentialsError {
                tried: "the first load is still running".to_owned(),
                remedy: "Try again in a moment.".to_owned(),
            },
        }
    }
}

/// The background task of one credential source.
struct Refresher {
    name: String,
    chain: Chain,
    publish: watch::Sender<LoadState>,
    wake: Arc<Notify>,
}

impl Refresher {
    async fn run(&self) {
        let mut files = ProfileFileWatcher::new();
        let mut jumps = ClockJumps::new();
        let mut failures = 0_u32;
        loop {
            let loaded = tokio::time::timeout(LOAD_TIMEOUT, self.chain.load()).await;
            let now = clock::now();
            let loaded = loaded
                .unwrap_or_else(|_| Err(self.chain.timed_out(LOAD_TIMEOUT)))
                .map(|(credentials, provider)| Snapshot::new(credentials, provider))
                .and_then(|snapshot| snapshot.checked(now));
            let pause = match loaded {
                Ok(snapshot) => {
                    failures = 0;
                    self.loaded(snapshot, now)
                }
                Err(error) => {
                    failures += 1;
                    self.failed(error);
                    Some(backoff(failures))
                }
            };
            if let Some(token) = self.chain.token_file() {
                files.add(token);
            }
            // A change of the files ends the pause, so that rotated keys and `aws sso login` take effect at
            // once. A clock jump ends it because the keys may have expired during a suspend.
            let until = pause.map(|pause| Instant::now() + pause);
            tokio::select! {
                () = files.wait_for_change(WATCH_INTERVAL, until) => {}
                jump = jumps.next(WATCH_INTERVAL) => {
                    info!(identity = self.name, seconds = jump.as_secs(), "wall clock jumped");
                }
                () = self.load_needed() => {}
            }
            self.publish.send_modify(|state| state.loading = true);
        }
    }

    /// Waits until a request needs a load.
    async fn load_needed(&self) {
        loop {
            self.wake.notified().await;
            // Another load may have succeeded since the notification.
            if self.publish.borrow().lookup(clock::now(), true).is_none() {
                return;
            }
        }
    }

    /// Publishes the snapshot, and returns the pause before the refresh; `None` if the credentials do not
    /// expire.
    fn loaded(&self, snapshot: Snapshot, now: SystemTime) -> Option<Duration> {
        let pause = snapshot.expires().map(|expires| {
            let left = expires.duration_since(now).unwrap_or_default();
            refresh_pause(left, fastrand::f64())
        });
        self.count("ok");
        info!(
            identity = self.name,
            provider = %snapshot.provider(),
            expires = snapshot.expires().map(format_time),
            "credentials loaded"
        );
        self.publish.send_replace(LoadState {
            snapshot: Some(Arc::new(snapshot)),
            failure: None,
            loading: false,
        });
        pause
    }

    /// Publishes the failure. The previous snapshot stays in use.
    fn failed(&self, error: CredentialsError) {
        self.count("failed");
        warn!(identity = self.name, tried = %error.tried, remedy = %error.remedy, "credentials not loaded");
        self.publish.send_modify(|state| {
            state.failure = Some((Arc::new(error), clock::now()));
            state.loading = false;
        });
    }

    fn count(&self, outcome: &'static str) {
        let identity = self.name.clone();
        let labels = IdentityOutcomeLabels { identity, outcome };
        let refreshes = &metrics().credentials_refreshes;
        refreshes.get_or_create(&labels).inc();
    }
}

/// Returns the pause before a refresh of credentials with the remaining lifetime `left`. `jitter`, from 0
/// to 1, spreads the refreshes of sources that were loaded together.
fn refresh_pause(left: Duration, jitter: f64) -> Duration {
    let lead = REFRESH_LEAD.min(left / 4);
    (left - lead.mul_f64(1.0 - jitter / 5.0)).max(MIN_PAUSE)
}

fn backoff(failures: u32) -> Duration {
    let base = Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(MAX_BACKOFF);
    base.mul_f64(0.75 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_refreshed_before_they_expire() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(refresh_pause(hour, 0.0), hour - REFRESH_LEAD);
        assert_eq!(refresh_pause(hour, 1.0), hour - REFRESH_LEAD.mul_f64(0.8));
        assert_eq!(
            refresh_pause(Duration::from_secs(40), 0.0),
            Duration::from_secs(30)
        );
        assert_eq!(refresh_pause(Duration::ZERO, 0.0), MIN_PAUSE);
        for failures in 1..100 {
            assert!(backoff(failures) <= MAX_BACKOFF);
        }
    }
}
