//! The pauses between attempts to connect.

use std::time::Duration;

/// The pause after one failed attempt. It doubles with each further one, up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Returns the pause before a retry: none without failures, then doubling up to [`MAX_BACKOFF`].
/// The pause is between a half (`jitter` 0) and the whole (`jitter` 1) of that.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doublings = failures.saturating_sub(1).min(6);
    let base = (FIRST_BACKOFF * (1 << doublings)).min(MAX_BACKOFF);
    base.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}
