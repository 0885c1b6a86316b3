//! The pauses between two loads of credentials.

use std::time::Duration;

/// How long before they expire credentials are refreshed, or a quarter of the remaining lifetime if that
/// is less.
const REFRESH_LEAD: Duration = Duration::from_secs(300);
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Returns the pause before a refresh of credentials with the remaining lifetime `left`. `jitter`, from 0
/// to 1, spreads the refreshes of sources that were loaded together.
pub(super) fn refresh_pause(left: Duration, jitter: f64) -> Duration {
    let lead = REFRESH_LEAD.min(left / 4);
    (left - lead.mul_f64(1.0 - jitter / 5.0)).max(MIN_PAUSE)
}

/// Returns the pause after this number of loads that did not help.
pub(super) fn backoff(failures: u32) -> Duration {
    backoff_base(failures).mul_f64(0.75 + fastrand::f64() / 4.0)
}

fn backoff_base(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(MAX_BACKOFF)
}

/// Returns whether the pauses still grow after this number of failed loads, so that the next load comes
/// soon after the last one.
pub(super) fn is_growing(failures: u32) -> bool {
    failures > 1 && backoff_base(failures) < MAX_BACKOFF
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
