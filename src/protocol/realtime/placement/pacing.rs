//! Decides how soon a pool may connect again.
//!
//! Failures are counted in rounds: attempts that were under way when a failure was counted belong to its
//! round. An acknowledged connection ends a series of failures only after it has lived for a while,
//! because an upstream may acknowledge connections and then close them.

use std::time::{Duration, Instant};

use super::backoff::backoff;
use super::bucket::Bucket;

/// The state of a pool's attempts to connect.
#[derive(Debug)]
pub(super) struct Pacing {
    /// Failed rounds, in a row.
    failures: u32,
    /// When the latest round failed.
    failed_at: Option<Instant>,
    /// The latest attempt failed. Until one succeeds, one is made at a time.
    is_failing: bool,
    /// When a connection was last acknowledged.
    succeeded_at: Option<Instant>,
    /// When the upstream was last found to be unreachable. `None` once it is reached.
    down_at: Option<Instant>,
    /// When an attempt was repeated with renewed credentials. `None` once a connection is acknowledged.
    renewed_at: Option<Instant>,
    not_before: Instant,
    bucket: Bucket,
}

/// After this time, a connection proves that the upstream works.
pub(super) const STABLE: Duration = Duration::from_secs(10);
/// The longest pause before the reconnect after the loss of such a connection. It spreads the
/// reconnects of many processes.
const SPREAD: Duration = Duration::from_millis(100);
/// How long the upstream counts as unreachable if no further attempt is made.
const DOWN: Duration = Duration::from_secs(60);

impl Pacing {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            failures: 0,
            failed_at: None,
            is_failing: false,
            succeeded_at: None,
            down_at: None,
            renewed_at: None,
            not_before: now,
            bucket: Bucket::default(),
        }
    }

    /// Counts an attempt.
    pub(super) fn attempt(&mut self, now: Instant) {
        self.bucket.take(now);
    }

    /// Handles the acknowledgement of a connection.
    pub(super) fn succeed(&mut self, now: Instant) {
        self.is_failing = false;
        self.succeeded_at = Some(now);
        self.down_at = None;
        self.renewed_at = None;
    }

    /// Ends the series of failures if a connection that was acknowledged after them has proved that the
    /// upstream works.
    pub(super) fn settle(&mut self, now: Instant, ready_at: Option<Instant>) {
        let is_later = ready_at > self.failed_at;
        if is_later && is_stable(now, ready_at) {
            self.failures = 0;
        }
    }

    /// Handles a failed attempt, which began at `dialled_at`. Returns whether it is news: later attempts
    /// may have succeeded.
    pub(super) fn fail(&mut self, now: Instant, dialled_at: Instant, jitter: f64) -> bool {
        if self.succeeded_at.is_some_and(|at| dialled_at < at) {
            return false;
        }
        self.count_failure(now, dialled_at, jitter);
        true
    }

    /// Handles an attempt that did not reach the upstream. Returns whether it is news.
    pub(super) fn fail_to_reach(&mut self, now: Instant, dialled_at: Instant, jitter: f64) -> bool {
        let is_news = self.fail(now, dialled_at, jitter);
        if is_news {
            self.down_at = Some(now);
        }
        is_news
    }

    /// Handles the loss of a connection that was dialled and acknowledged at these times.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        dialled_at: Instant,
        ready_at: Option<Instant>,
        jitter: f64,
    ) {
        if is_stable(now, ready_at) {
            let spread = SPREAD.mul_f64(jitter.clamp(0.0, 1.0));
            self.not_before = self.not_before.max(now + spread);
        } else {
            self.count_failure(now, dialled_at, jitter);
        }
    }

    /// Counts a failure of an attempt that began at `dialled_at`, unless it belongs to a round that was
    /// counted.
    fn count_failure(&mut self, now: Instant, dialled_at: Instant, jitter: f64) {
        if self.failed_at.is_some_and(|at| dialled_at <= at) {
            return;
        }
        self.is_failing = true;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.not_before = now + backoff(self.failures, jitter);
    }

    /// Handles a refusal that led to new credentials. Returns whether the attempt may be repeated at
    /// once: the first time, and for attempts that were under way at that time.
    pub(super) fn renew(&mut self, now: Instant, dialled_at: Instant) -> bool {
        match self.renewed_at {
            Some(at) if dialled_at < at => true,
            Some(_) => {
                self.renewed_at = None;
                false
            }
            None => {
                self.renewed_at = Some(now);
                self.not_before = now;
                true
            }
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Returns whether no series of failures is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.failures == 0
    }

    /// Returns whether the latest attempt did not reach the upstream.
    pub(super) fn is_unreachable(&self) -> bool {
        self.down_at.is_some()
    }

    /// Returns whether that was so recently that it is probably still the case.
    pub(super) fn is_down(&self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < DOWN;
        self.down_at.is_some_and(is_recent)
    }

    /// Returns when the next attempt may begin.
    pub(super) fn next(&self) -> Instant {
        let token_at = self.bucket.next();
        token_at.map_or(self.not_before, |at| at.max(self.not_before))
    }

    /// Returns how many attempts may begin at once.
    pub(super) fn available(&self, now: Instant) -> usize {
        if now < self.not_before {
            return 0;
        }
        self.bucket.available(now)
    }
}

fn is_stable(now: Instant, ready_at: Option<Instant>) -> bool {
    ready_at.is_some_and(|at| now.saturating_duration_since(at) >= STABLE)
}
