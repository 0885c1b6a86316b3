//! The outcome of the loads of one credential source, and what AWS said about its keys.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use countersign_protocol::error_code::Code;

use super::error::CredentialsError;
use super::snapshot::Snapshot;

#[derive(Clone, Debug, Default)]
pub(super) struct LoadState {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// When the keys of the snapshot last changed.
    pub(super) changed: Option<Instant>,
    /// Why the last load failed, and when.
    pub(super) failure: Option<(Arc<CredentialsError>, Instant)>,
    /// Whether a load is running.
    pub(super) loading: bool,
    /// How many loads have ended, and when the last one did.
    pub(super) loads: u64,
    pub(super) loaded: Option<Instant>,
    /// AWS has rejected the keys of the snapshot.
    pub(super) rejection: Option<Rejection>,
    /// A rejection, or the expiry by AWS's clock, requires a load.
    pub(super) is_reload_needed: bool,
    /// When AWS last accepted keys that it had rejected for another request.
    pub(super) refuted: Option<Instant>,
    /// The number of required loads in the current series, and when the last one began.
    pub(super) series: u32,
    pub(super) forced: Option<Instant>,
}

/// A rejection of the keys by AWS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rejection {
    code: Code,
    at: Instant,
}

/// What a rejected request has to do to obtain other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The keys have changed since it was signed.
    Changed,
    /// Wait for the end of the load after this number of loads.
    AfterLoads(u64),
    /// The last load was too recent: later requests may have other keys.
    TooSoon,
}

/// The time after a failed load before a request without valid credentials starts another one.
const RETRY_PAUSE: Duration = Duration::from_secs(3);
/// The time after a load before a request whose credentials were rejected starts another one.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
/// After this number of required loads in a series, the time doubles with each, up to [`MAX_RELOAD_PAUSE`]:
/// other keys do not help. A series ends when no load was required for [`SERIES_END`], not when the keys
/// change or AWS accepts a request, because each load of an assumed role has other keys, and AWS may reject
/// requests of only one route.
const QUICK_LOADS: u32 = 15;
const MAX_RELOAD_PAUSE: Duration = Duration::from_secs(30);
const SERIES_END: Duration = Duration::from_secs(120);
/// The time after AWS accepted rejected keys in which another rejection does not count: it concerns some
/// requests only.
const REFUTATION_LIFETIME: Duration = Duration::from_secs(60);
/// The same for a request that was rejected without a reason.
const SUSPICION_PAUSE: Duration = Duration::from_secs(10);
/// How long a rejection counts when no request confirms it. Without this limit, a process that gets no
/// requests because it is not ready would not become ready when AWS accepts the keys again.
const REJECTION_LIFETIME: Duration = Duration::from_secs(300);

impl LoadState {
    /// Returns the credentials for a request at `now`, or why there are none; `None` if the request has
    /// to wait for a load.
    pub(super) fn lookup(
        &self,
        now: SystemTime,
        can_reload: bool,
    ) -> Option<Result<Arc<Snapshot>, CredentialsError>> {
        match &self.snapshot {
            Some(snapshot) if snapshot.is_valid(now) => Some(Ok(Arc::clone(snapshot))),
            Some(_) | None if self.loading => None,
            Some(_) | None if can_reload && self.is_load_due() => None,
            Some(_) | None => Some(Err(self.error())),
        }
    }

    /// Returns whether a request without valid credentials starts a load: if no load has failed yet, or
    /// if the last one failed at least [`RETRY_PAUSE`] ago.
    fn is_load_due(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_none_or(|(_, failed)| failed.elapsed() >= RETRY_PAUSE)
    }

    /// Returns whether the last load failed for the same reason.
    pub(super) fn has_failed_with(&self, error: &CredentialsError) -> bool {
        let last = self.failure.as_ref();
        last.is_some_and(|(last, _)| last.tried == error.tried && last.remedy == error.remedy)
    }

    /// Returns the rejection of the keys by AWS, if it still counts.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        self.rejection
            .filter(|rejection| rejection.at.elapsed() < REJECTION_LIFETIME)
    }

    /// Handles the rejection of a request that was signed at `signed_at`. Without `code`, AWS gave no
    /// reason, and the credentials may not be the cause.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        signed_at: Instant,
        code: Option<Code>,
    ) -> Renewal {
        if self.has_changed_since(signed_at) {
            return Renewal::Changed;
        }
        if let Some(code) = code {
            let is_refuted = |at| now < at + REFUTATION_LIFETIME;
            if !self.refuted.is_some_and(is_refuted) {
                self.rejection = Some(Rejection { code, at: now });
            }
        }
        let pause = match code {
            Some(_) => self.reload_pause(),
            None => SUSPICION_PAUSE,
        };
        if self.loading {
            return Renewal::AfterLoads(self.loads);
        }
        let is_too_soon = self.loaded.is_some_and(|loaded| now < loaded + pause);
        self.is_reload_needed |= code.is_some() || !is_too_soon;
        if is_too_soon {
            Renewal::TooSoon
        } else {
            Renewal::AfterLoads(self.loads)
        }
    }

    /// Returns when the load that a rejection requires may begin; `None` if none is required.
    pub(super) fn reload_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let at = self
            .loaded
            .map_or(now, |loaded| loaded + self.reload_pause());
        self.is_reload_needed.then_some(at)
    }

    fn reload_pause(&self) -> Duration {
        let doublings = self.series.saturating_sub(QUICK_LOADS).min(5);
        (RELOAD_PAUSE * (1 << doublings)).min(MAX_RELOAD_PAUSE)
    }

    pub(super) fn has_changed_since(&self, instant: Instant) -> bool {
        self.changed.is_some_and(|changed| changed > instant)
    }

    /// Handles the acceptance of a request that was signed at `signed_at`. Returns whether it refutes a
    /// rejection.
    pub(super) fn accept(&mut self, signed_at: Instant) -> bool {
        let is_refuted = |rejection: &mut Rejection| rejection.at < signed_at;
        let is_first = self.rejection.take_if(is_refuted).is_some();
        if is_first || self.refuted.is_some() {
            self.refuted = Some(Instant::now());
        }
        is_first
    }

    /// Publishes loaded credentials. Returns the rejection of the previous keys if these are others.
    pub(super) fn loaded(&mut self, snapshot: Snapshot) -> Option<Rejection> {
        let previous = self.snapshot.as_deref();
        let is_same = previous.is_some_and(|previous| previous.has_keys_of(&snapshot));
        self.snapshot = Some(Arc::new(snapshot));
        self.failure = None;
        self.end_load();
        if is_same {
            return None;
        }
        self.changed = Some(Instant::now());
        self.refuted = None;
        self.rejection.take()
    }

    /// Publishes the failure of a load. The previous snapshot stays in use.
    pub(super) fn failed(&mut self, error: CredentialsError) {
        self.failure = Some((Arc::new(error), Instant::now()));
        self.end_load();
    }

    /// Returns whether a rejection, or the expiry by AWS's clock, requires the load.
    pub(super) fn begin_load(&mut self, now: Instant) -> bool {
        self.loading = true;
        let is_forced = std::mem::take(&mut self.is_reload_needed);
        if is_forced {
            let continues = |last| now < last + SERIES_END;
            let is_in_series = self.forced.is_some_and(continues);
            self.series = if is_in_series { self.series } else { 0 };
            self.series = self.series.saturating_add(1);
            self.forced = Some(now);
        }
        is_forced
    }

    /// Requires a load if the credentials have expired at a caller's `now`, which may be ahead of the local
    /// clock.
    pub(super) fn expire(&mut self, now: SystemTime) {
        let is_expired = |snapshot: &Arc<Snapshot>| !snapshot.is_valid(now);
        self.is_reload_needed |= !self.loading && self.snapshot.as_ref().is_some_and(is_expired);
    }

    fn end_load(&mut self) {
        self.loading = false;
        self.loads += 1;
        self.loaded = Some(Instant::now());
    }

    /// Returns why there are no valid credentials.
    pub(super) fn error(&self) -> CredentialsError {
        let failure = self.failure.as_ref().map(|(failure, _)| failure.as_ref());
        match (self.rejection(), failure, &self.snapshot) {
            (Some(rejection), failure, Some(snapshot)) => rejection.error(snapshot, failure),
            (_, Some(failure), _) => failure.clone(),
            (_, None, Some(snapshot)) => snapshot.expired(),
            (_, None, None) => CredentialsError {
                tried: "the first load is still running".to_owned(),
                remedy: "Try again in a moment.".to_owned(),
            },
        }
    }
}

impl Rejection {
    /// Returns the code of AWS's reason.
    pub(super) fn code(self) -> Code {
        self.code
    }

    fn error(self, snapshot: &Snapshot, failure: Option<&CredentialsError>) -> CredentialsError {
        let mut tried = format!(
            "AWS rejects those from {} ({})",
            snapshot.provider(),
            self.code
        );
        if let Some(failure) = failure {
            tried.push_str(", and no others could be loaded: ");
            tried.push_str(&failure.tried);
        }
        CredentialsError {
            tried,
            remedy: failure.map_or_else(
                || {
                    format!(
                        "{} countersign then loads them automatically.",
                        self.code.remedy()
                    )
                },
                |failure| failure.remedy.clone(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    fn snapshot(id: &str) -> Snapshot {
        let credentials = Credentials::new(id, "secret", None, None, "x");
        Snapshot::new(credentials, "the process".to_owned())
    }

    #[test]
    fn a_rejection_holds_until_other_keys_are_loaded_or_aws_accepts_a_request() {
        let mut state = LoadState::default();
        assert!(state.loaded(snapshot("A")).is_none());
        let signed_at = Instant::now();
        let later = signed_at + RELOAD_PAUSE;
        let expired = Some(Code::TokenExpired);
        assert_eq!(
            state.reject(signed_at, signed_at, expired),
            Renewal::TooSoon
        );
        let reload_at = state.reload_at().unwrap();
        assert!(reload_at > signed_at, "the load is only deferred");
        assert_eq!(
            state.reject(later, signed_at, expired),
            Renewal::AfterLoads(1)
        );
        assert!(state.begin_load(later));
        assert!(!state.begin_load(later));
        assert!(
            !state.accept(signed_at),
            "it was signed before the rejection"
        );
        assert!(state.loaded(snapshot("A")).is_none());
        assert!(!state.has_changed_since(signed_at));
        let text = state.error().to_string();
        assert!(
            text.contains("AWS rejects those from the process (TOKEN_EXPIRED)"),
            "{text}"
        );

        let rejection = state.loaded(snapshot("B"));
        assert_eq!(rejection.map(Rejection::code), expired);
        assert!(state.rejection().is_none());
        assert_eq!(state.reject(later, signed_at, expired), Renewal::Changed);
        assert!(state.rejection().is_none(), "it concerns the old keys");

        let signed_at = Instant::now();
        state.reject(signed_at, signed_at, expired);
        assert!(state.accept(signed_at + Duration::from_millis(1)));
        assert!(state.rejection().is_none());
    }

    #[test]
    fn a_rejection_without_a_reason_loads_rarely_and_is_not_reported() {
        let mut state = LoadState::default();
        state.loaded(snapshot("A"));
        let now = Instant::now();
        assert_eq!(
            state.reject(now + RELOAD_PAUSE, now, None),
            Renewal::TooSoon
        );
        let later = now + SUSPICION_PAUSE;
        assert_eq!(state.reject(later, now, None), Renewal::AfterLoads(1));
        assert!(state.rejection().is_none());
    }

    #[test]
    fn a_route_that_is_always_rejected_causes_ever_fewer_loads() {
        let mut state = LoadState::default();
        state.loaded(snapshot("A"));
        let start = Instant::now();
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..25 {
            state.reject(now, now, Some(Code::TokenExpired));
            assert!(state.is_reload_needed);
            let pause = state.reload_pause();
            now += pause;
            assert!(state.begin_load(now));
            // AWS accepts requests of another route.
            state.accept(now + Duration::from_millis(1));
            state.loading = false;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses[..16], [1; 16]);
        assert_eq!(pauses[16..], [2, 4, 8, 16, 30, 30, 30, 30, 30]);
        now += SERIES_END;
        state.reject(now, now, Some(Code::TokenExpired));
        assert!(state.begin_load(now));
        assert_eq!(state.reload_pause(), RELOAD_PAUSE, "a new series");
    }

    #[test]
    fn a_rejection_of_keys_that_aws_accepts_elsewhere_does_not_count() {
        let mut state = LoadState::default();
        state.loaded(snapshot("A"));
        let now = Instant::now();
        let code = Some(Code::TokenInvalid);
        state.reject(now, now, code);
        assert!(state.rejection().is_some());
        assert!(state.accept(now + Duration::from_millis(1)));
        state.reject(now + Duration::from_secs(2), now, code);
        assert!(state.rejection().is_none());
        assert!(state.is_reload_needed, "other keys may still help");
        state.reject(Instant::now() + REFUTATION_LIFETIME, now, code);
        assert!(state.rejection().is_some(), "nothing was accepted since");
    }

    #[test]
    fn a_failed_load_is_reported_with_the_rejection() {
        let mut state = LoadState::default();
        state.loaded(snapshot("A"));
        let now = Instant::now();
        state.reject(now, now, Some(Code::TokenInvalid));
        state.failed(CredentialsError {
            tried: "the process exited".to_owned(),
            remedy: "Log in.".to_owned(),
        });
        let text = state.error().to_string();
        assert_eq!(
            text,
            "no valid AWS credentials. Log in. Tried: AWS rejects those from the process \
             (TOKEN_INVALID), and no others could be loaded: the process exited"
        );
    }
}
