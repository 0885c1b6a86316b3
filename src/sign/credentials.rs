//! Loads AWS credentials from the provider chain, and refreshes them in the background.
//!
//! One task per [`CredentialSource`] loads credentials through the providers of `aws-config`,
//! publishes them as an immutable [`Snapshot`], and refreshes them before they expire. Requests read
//! the snapshot, and wait for the task only if the snapshot is missing or has expired. Each load creates
//! new providers, because a provider of `aws-config` parses the profile files only once.

mod caller;
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
mod pauses;
mod process;
mod profiles;
mod remedies;
mod roles;
mod snapshot;
mod state;
mod sts;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use countersign_protocol::error_code::Code;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::clock::{self, ClockJumps};
pub use caller::{CallerError, caller};
use chain::Chain;
pub use config::CredentialSourceConfig;
pub use environment::ENVIRONMENT;
pub use error::CredentialsError;
use file_watcher::ProfileFileWatcher;
pub use snapshot::Snapshot;
use snapshot::format_time;
use state::{LoadState, Renewal};

use crate::lifecycle::BackgroundTasks;
use crate::telemetry::metrics::{IdentityLabel, IdentityOutcomeLabels, metrics};
use crate::telemetry::tasks::{Task, supervised};

/// A source of credentials that a background task refreshes.
#[derive(Debug)]
pub struct CredentialSource {
    name: String,
    state: watch::Sender<LoadState>,
    /// Requests a load from the background task; `None` for fixed credentials.
    wake: Option<Arc<Notify>>,
}

/// How long a request waits for a running load.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// How long a load may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
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
        let state = watch::Sender::new(LoadState {
            loading: true,
            ..LoadState::default()
        });
        // Prometheus detects an increase only if the series existed before it.
        let label = IdentityLabel {
            identity: name.clone(),
        };
        let _ = metrics().credentials_forced_loads.get_or_create(&label);
        let wake = Arc::new(Notify::new());
        let refresher = Refresher {
            name: name.clone(),
            chain: Chain::new(config),
            publish: state.clone(),
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
        let state = watch::Sender::new(LoadState {
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
            // The task cannot know the caller's time.
            self.state.send_if_modified(|state| {
                state.expire(now);
                false
            });
            wake.notify_one();
        }
        let mut state = self.state.subscribe();
        let decided = state.wait_for(|state| lookup(state).is_some());
        match tokio::time::timeout(LOAD_WAIT, decided).await {
            Ok(Ok(state)) => lookup(&state).unwrap_or_else(|| Err(state.error())),
            Ok(Err(_)) | Err(_) => Err(self.state.borrow().error()),
        }
    }

    /// Loads credentials again because AWS rejected a request that was signed with them at `signed_at`.
    /// All rejected requests share one load. Without `code`, AWS gave no reason. Returns whether there are
    /// other keys now, with which the request can be signed again.
    pub async fn renew(&self, signed_at: std::time::Instant, code: Option<Code>) -> bool {
        let renewal = self.report(signed_at, code);
        let (Renewal::AfterLoads(loads), Some(_)) = (renewal, &self.wake) else {
            return renewal == Renewal::Changed;
        };
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| state.loads > loads);
        let _ = tokio::time::timeout(LOAD_WAIT, ended).await;
        self.state.borrow().has_changed_since(signed_at)
    }

    /// Does the same as [`CredentialSource::renew`] without waiting for the load.
    pub fn reject(&self, signed_at: std::time::Instant, code: Option<Code>) {
        self.report(signed_at, code);
    }

    fn report(&self, signed_at: std::time::Instant, code: Option<Code>) -> Renewal {
        let mut renewal = Renewal::TooSoon;
        self.state.send_modify(|state| {
            renewal = state.reject(std::time::Instant::now(), signed_at, code);
        });
        if let Some(wake) = &self.wake {
            wake.notify_one();
        }
        renewal
    }

    /// Reports that AWS accepted a request that was signed at `signed_at`.
    pub fn accepted(&self, signed_at: std::time::Instant) {
        let state = self.state.borrow();
        let is_disputed = state.rejection.is_some() || state.refuted.is_some();
        drop(state);
        if is_disputed {
            self.state.send_if_modified(|state| state.accept(signed_at));
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
        let mut state = self.state.subscribe();
        // The background task ends with the process.
        let _ = state.wait_for(|state| state.snapshot.is_some()).await;
    }

    /// Waits until the load that is running has ended, successfully or not. It takes at most
    /// [`LOAD_TIMEOUT`].
    pub async fn settled(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| !state.loading).await;
    }

    /// Returns the provider of the credentials, and when they expire, if they do; `None` if none have
    /// been loaded.
    pub fn origin(&self) -> Option<(String, Option<String>)> {
        let state = self.state.borrow();
        let snapshot = state.snapshot.as_ref()?;
        let expires = snapshot.expires().map(format_time);
        Some((snapshot.provider().to_owned(), expires))
    }

    /// Returns the credentials that were loaded last, even if they have expired.
    pub fn held(&self) -> Option<Arc<Snapshot>> {
        self.state.borrow().snapshot.clone()
    }

    /// Returns the remaining lifetime of the credentials at `now`: `Some(None)` if they do not expire;
    /// `None` if there are no valid credentials, or if AWS has rejected them.
    pub fn remaining(&self, now: SystemTime) -> Option<Option<Duration>> {
        let state = self.state.borrow();
        let snapshot = state.snapshot.as_ref()?;
        if state.rejection().is_some() {
            return None;
        }
        match snapshot.expires() {
            None => Some(None),
            Some(expires) => match expires.duration_since(now) {
                Ok(left) if !left.is_zero() => Some(Some(left)),
                Ok(_) | Err(_) => None,
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
        // Loads in a row that provided no credentials, or only those that AWS rejects.
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
                    let pause = self.loaded(snapshot, now, failures);
                    if self.publish.borrow().rejection().is_some() {
                        failures += 1;
                        let retry = pauses::backoff(failures);
                        Some(pause.map_or(retry, |pause| pause.min(retry)))
                    } else {
                        failures = 0;
                        pause
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.failed(error, failures);
                    Some(pauses::backoff(failures))
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
                    info!(source = self.name, seconds = jump.as_secs(), "wall clock jumped");
                }
                () = self.load_needed() => {}
            }
            let mut is_forced = false;
            self.publish
                .send_modify(|state| is_forced = state.begin_load(std::time::Instant::now()));
            if is_forced {
                let identity = self.name.clone();
                let loads = &metrics().credentials_forced_loads;
                loads.get_or_create(&IdentityLabel { identity }).inc();
            }
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
            let reload_at = self.publish.borrow().reload_at();
            if let Some(at) = reload_at {
                return sleep_until(at.into()).await;
            }
        }
    }

    /// Publishes the snapshot, and returns the pause before the refresh; `None` if the credentials do not
    /// expire. `failures` is the number of loads before it that did not help.
    fn loaded(&self, snapshot: Snapshot, now: SystemTime, failures: u32) -> Option<Duration> {
        let pause = snapshot.expires().map(|expires| {
            let left = expires.duration_since(now).unwrap_or_default();
            pauses::refresh_pause(left, fastrand::f64())
        });
        self.count("ok");
        let provider = snapshot.provider().to_owned();
        let expires = snapshot.expires().map(format_time);
        let mut rejection = None;
        self.publish
            .send_modify(|state| rejection = state.loaded(snapshot));
        let source = &self.name;
        if let Some(rejection) = rejection {
            let rejected = rejection.code().as_str();
            info!(
                source,
                provider, expires, rejected, "credentials replaced after a rejection"
            );
        } else if let Some(rejection) = self.publish.borrow().rejection() {
            let rejected = rejection.code().as_str();
            // Loads follow each other every second while requests are rejected.
            if failures == 0 {
                warn!(
                    source,
                    provider, rejected, "the provider returned the rejected credentials again"
                );
            } else {
                debug!(
                    source,
                    provider, rejected, "the provider returned the rejected credentials again"
                );
            }
        } else {
            info!(source, provider, expires, "credentials loaded");
        }
        pause
    }

    /// Publishes the failure of this number of loads. The previous snapshot stays in use.
    fn failed(&self, error: CredentialsError, failures: u32) {
        self.count("failed");
        // The first loads follow each other every few seconds.
        if pauses::is_growing(failures) && self.publish.borrow().has_failed_with(&error) {
            debug!(
                source = self.name,
                tried = error.tried,
                "credentials not loaded. {}",
                error.remedy
            );
        } else {
            warn!(
                source = self.name,
                tried = error.tried,
                "credentials not loaded. {}",
                error.remedy
            );
        }
        self.publish.send_modify(|state| state.failed(error));
    }

    fn count(&self, outcome: &'static str) {
        let identity = self.name.clone();
        let labels = IdentityOutcomeLabels { identity, outcome };
        let refreshes = &metrics().credentials_refreshes;
        refreshes.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS's clock, by which the caller's is corrected, is ahead of the local one.
    #[tokio::test]
    async fn credentials_that_have_expired_at_the_callers_time_are_loaded_again() {
        let expiring = |left| {
            let expires = Some(clock::now() + Duration::from_secs(left));
            let credentials = Credentials::new("AKID", "secret", None, expires, "x");
            Snapshot::new(credentials, "the process".to_owned())
        };
        let wake = Arc::new(Notify::new());
        let state = watch::Sender::new(LoadState::default());
        state.send_modify(|state| {
            state.loaded(expiring(300));
        });
        let source = CredentialSource {
            name: "x".to_owned(),
            state: state.clone(),
            wake: Some(Arc::clone(&wake)),
        };
        let refresher = Refresher {
            name: "x".to_owned(),
            chain: Chain::new(CredentialSourceConfig {
                profile: None,
                assume_role: None,
                region: String::new(),
            }),
            publish: state.clone(),
            wake,
        };
        let load = async {
            refresher.load_needed().await;
            state.send_modify(|state| {
                state.loaded(expiring(3_600));
            });
        };
        let later = clock::now() + Duration::from_secs(600);
        let (current, ()) = tokio::join!(source.current(later), load);
        assert!(current.unwrap().is_valid(later));
    }
}
