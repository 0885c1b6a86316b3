//! Credentials: the provider chain, refreshed in the background.
//!
//! One task per [`CredentialSource`] loads credentials through the providers of `aws-config`, publishes
//! them as an immutable [`Snapshot`] and refreshes them ahead of their expiry. The request path
//! reads the snapshot and waits for the task only while there is none that is valid. Providers
//! are built anew for every load, because `aws-config` parses profile files once per provider.

mod chain;
mod environment;
mod file_watcher;
mod keys;
mod locations;
mod outline;
mod process;
mod profiles;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity as SdkIdentity;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::clock::{self, ClockJumps};
use super::redact;
use chain::Chain;
use file_watcher::ProfileFileWatcher;

use crate::telemetry::metrics::{IdentityOutcomeLabels, metrics};
use crate::telemetry::tasks::{Task, supervised};

/// Which credentials a route signs with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialSourceConfig {
    /// A profile of `~/.aws/config`; without it the default provider chain.
    pub profile: Option<String>,
    /// The ARN of a role to assume with the credentials found.
    pub assume_role: Option<String>,
    /// The region of the STS endpoint, for `assume_role`.
    pub region: String,
}

/// Credentials that are kept fresh.
#[derive(Debug)]
pub struct CredentialSource {
    name: String,
    state: watch::Receiver<LoadState>,
    /// Asks the refresher for a load; fixed credentials have none.
    wake: Option<Arc<Notify>>,
}

/// Credentials as they were loaded once.
pub struct Snapshot {
    identity: SdkIdentity,
    expires: Option<SystemTime>,
    provider: String,
}

/// No credentials that are valid now. The text names what was tried and the command that helps.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no valid AWS credentials: {tried}. {remedy}")]
pub struct CredentialsError {
    pub tried: String,
    pub remedy: String,
}

#[derive(Clone, Debug, Default)]
struct LoadState {
    snapshot: Option<Arc<Snapshot>>,
    /// Of the last load, and when it failed.
    failure: Option<(Arc<CredentialsError>, SystemTime)>,
    /// A load is under way that may bring credentials soon.
    loading: bool,
}

/// How long a request waits for a load that is under way.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// A load that takes longer has failed.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Refresh this long before the expiry, or at a quarter of the lifetime if that is less.
const REFRESH_LEAD: Duration = Duration::from_secs(300);
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// While there are no valid credentials, a request asks for a load this long after one that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(3);
/// How often the profile files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

// === impl CredentialSource ===

impl CredentialSource {
    /// Starts the refresher; it ends with `stop`. By its name the log and the metrics know it.
    pub fn spawn(
        name: String,
        config: CredentialSourceConfig,
        tasks: &TaskTracker,
        stop: CancellationToken,
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
        tasks.spawn(async move {
            let refreshing = supervised(Task::Credentials, || refresher.run());
            stop.run_until_cancelled(refreshing).await;
        });
        let wake = Some(wake);
        Self { name, state, wake }
    }

    /// Fixed credentials, for tests.
    pub fn fixed(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::to_owned);
        Self::from_credentials(Credentials::new(
            access_key, secret_key, token, None, "fixed",
        ))
    }

    /// Credentials that are not loaded but known, for the demo.
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

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The credentials valid at `now`; waits a few seconds for a load, and never while the snapshot
    /// is valid. Credentials that have expired are loaded at once, once for all requests that wait.
    ///
    /// # Errors
    /// [`CredentialsError`] when there are none.
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

    /// Why there are no credentials that are valid at `now`; nothing if there are.
    pub fn failure(&self, now: SystemTime) -> Option<CredentialsError> {
        match self.remaining(now) {
            Some(_) => None,
            None => Some(self.state.borrow().error()),
        }
    }

    /// Resolves when there are credentials for the first time.
    pub async fn loaded(&self) {
        let mut state = self.state.clone();
        // The refresher ends with the process.
        let _ = state.wait_for(|state| state.snapshot.is_some()).await;
    }

    /// How long the credentials held are still valid at `now`, `Some(None)` if they do not expire;
    /// `None` if there are none that are.
    pub fn remaining(&self, now: SystemTime) -> Option<Option<Duration>> {
        let state = self.state.borrow();
        let snapshot = state.snapshot.as_ref()?;
        match snapshot.expires {
            None => Some(None),
            Some(expires) => match expires.duration_since(now) {
                Ok(left) if !left.is_zero() => Some(Some(left)),
                Ok(_) | Err(_) => None,
            },
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    fn new(credentials: Credentials, provider: String) -> Self {
        let expires = credentials.expiry();
        // An empty token must be left out: AWS answers one with UnrecognizedClientException.
        let credentials = match credentials.session_token() {
            Some("") => Credentials::new(
                credentials.access_key_id(),
                credentials.secret_access_key(),
                None,
                expires,
                "countersign",
            ),
            Some(_) | None => credentials,
        };
        if let Some(token) = credentials.session_token() {
            redact::register(token);
        }
        Self {
            identity: credentials.into(),
            expires,
            provider,
        }
    }

    /// When they end, if they do.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    pub(super) fn identity(&self) -> &SdkIdentity {
        &self.identity
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Credentials that come expired are a failure of their provider: they must not replace
    /// those that are still good.
    fn checked(self, now: SystemTime) -> Result<Self, CredentialsError> {
        if self.is_valid(now) {
            Ok(self)
        } else {
            Err(self.expired())
        }
    }

    fn expired(&self) -> CredentialsError {
        let at = self.expires.map(shown).unwrap_or_default();
        CredentialsError {
            tried: format!("those from {} expired at {at}", self.provider),
            remedy: "Renew them, and check the clock; countersign loads them again by itself."
                .to_owned(),
        }
    }
}

fn shown(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("provider", &self.provider)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

// === impl LoadState ===

impl LoadState {
    /// The credentials for a request at `now` or why there are none; nothing while it has to wait.
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

    /// Without valid credentials: nothing failed yet, or some time ago.
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
                tried: "the first load is still under way".to_owned(),
                remedy: "Try again in a moment.".to_owned(),
            },
        }
    }
}

/// The background task of one identity.
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
            // Files that change end the pause: rotated keys and `aws sso login` count at once. After a
            // suspend the pause would last as long as it had been planned, and the keys have expired.
            let until = pause.map(|pause| Instant::now() + pause);
            tokio::select! {
                () = files.wait_for_change(WATCH_INTERVAL, until) => {}
                jump = jumps.next(WATCH_INTERVAL) => {
                    info!(identity = self.name, seconds = jump.as_secs(), "wall clock jumped");
                }
                () = self.needed() => {}
            }
            self.publish.send_modify(|state| state.loading = true);
        }
    }

    /// Resolves when a request waits for a load.
    async fn needed(&self) {
        loop {
            self.wake.notified().await;
            // What it asked for may have come since.
            if self.publish.borrow().lookup(clock::now(), true).is_none() {
                return;
            }
        }
    }

    /// Publishes the snapshot and tells when to refresh it: never, if it does not expire.
    fn loaded(&self, snapshot: Snapshot, now: SystemTime) -> Option<Duration> {
        let pause = snapshot.expires.map(|expires| {
            let left = expires.duration_since(now).unwrap_or_default();
            refresh_pause(left, fastrand::f64())
        });
        self.count("ok");
        info!(
            identity = self.name,
            provider = %snapshot.provider,
            expires = snapshot.expires.map(shown),
            "credentials loaded"
        );
        self.publish.send_replace(LoadState {
            snapshot: Some(Arc::new(snapshot)),
            failure: None,
            loading: false,
        });
        pause
    }

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

/// `jitter` in 0..1 spreads refreshers that started together.
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
    fn refresh_comes_ahead_of_expiry() {
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

    #[test]
    fn a_snapshot_shows_no_secret() {
        let credentials = Credentials::new("AKID", "SECRET", Some("TOKEN".into()), None, "x");
        let shown = format!("{:?}", Snapshot::new(credentials, "environment".into()));
        for secret in ["AKID", "SECRET", "TOKEN"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
