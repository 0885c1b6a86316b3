//! The pauses between attempts.

use std::time::Duration;

/// The pause after one failed attempt to connect. It doubles with each further one, up to
/// [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Short, because attempts are made only while somebody waits, and then one at a time.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The pause after one failed start of a subscription. It doubles with each further one, up to
/// [`MAX_START_PAUSE`].
const FIRST_START_PAUSE: Duration = Duration::from_millis(500);
const MAX_START_PAUSE: Duration = Duration::from_secs(5);

/// Returns the pause before the next attempt to connect. `failures` is at least 1.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    doubled(FIRST_BACKOFF, MAX_BACKOFF, failures, jitter)
}

/// Returns the pause before a subscription is started again. `failures` is at least 1.
pub(super) fn start_pause(failures: u32, jitter: f64) -> Duration {
    doubled(FIRST_START_PAUSE, MAX_START_PAUSE, failures, jitter)
}

/// Returns between a half (`jitter` 0) and the whole (`jitter` 1) of the pause.
fn doubled(first: Duration, max: Duration, failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    let base = (first * (1 << doublings)).min(max);
    base.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}
