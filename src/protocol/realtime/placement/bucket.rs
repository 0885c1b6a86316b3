//! A token bucket that limits how often a pool connects, whatever the reason.

use std::time::{Duration, Instant};

/// The tokens of a full bucket: enough to open all connections of a pool at once.
pub(super) const BURST: u32 = 256;
/// The time in which the bucket gains a token, so 20 connects a second. AppSync allows 2,000 a second
/// for each API ("AWS AppSync endpoints and quotas" in the AWS General Reference), which all processes
/// share that use the API. A pool takes a hundredth of them, and with its first burst 13 % of those of one
/// second.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// The bucket. It is full initially.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket will be full; `None` if it always was.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token. The caller checks [`Bucket::available`] first.
    pub(super) fn take(&mut self, now: Instant) {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(full_at + INTERVAL);
    }

    /// Returns the number of tokens.
    pub(super) fn available(&self, now: Instant) -> usize {
        let until_full = self
            .full_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let missing = until_full.as_nanos().div_ceil(INTERVAL.as_nanos());
        let available = u128::from(BURST).saturating_sub(missing);
        usize::try_from(available).unwrap_or(0)
    }

    /// Returns when there is a token; `None` if there has been one since the start.
    pub(super) fn next(&self) -> Option<Instant> {
        self.full_at?.checked_sub(INTERVAL * (BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_twenty_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let mut taken = Vec::new();
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            while bucket.available(now) > 0 {
                assert!(bucket.next().is_none_or(|next| next <= now));
                bucket.take(now);
                taken.push(ms);
            }
            assert!(bucket.next().is_some_and(|next| next > now), "{ms}");
        }
        let at_once = taken.iter().filter(|ms| **ms == 0).count();
        assert_eq!((at_once, taken.len()), (256, 256 + 199));
    }

    #[test]
    fn an_unused_bucket_fills_again() {
        let now = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..BURST {
            bucket.take(now);
        }
        let available = |seconds| bucket.available(now + Duration::from_secs(seconds));
        assert_eq!([available(0), available(1), available(12)], [0, 20, 240]);
        assert_eq!([available(13), available(3_600)], [256, 256]);
    }
}
