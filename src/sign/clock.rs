//! Reads the wall clock. All other code calls [`now()`], or receives the time as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

/// Returns the current time.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the wall clock"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns a time as the system represents it; `None` if it cannot. On Windows, it represents none before
/// the year 1601.
pub fn system_time(time: OffsetDateTime) -> Option<SystemTime> {
    let since = time - OffsetDateTime::UNIX_EPOCH;
    if since.is_negative() {
        UNIX_EPOCH.checked_sub(since.unsigned_abs())
    } else {
        UNIX_EPOCH.checked_add(since.unsigned_abs())
    }
}

/// Detects jumps of the wall clock relative to the monotonic clock. They happen when the wall clock is
/// set, and after a suspend, during which the monotonic clock stops.
#[derive(Debug)]
pub(super) struct ClockJumps<Wall = fn() -> SystemTime> {
    wall: Wall,
    seen: (SystemTime, Instant),
}

/// Smaller differences are ordinary corrections of the clock.
const MIN_JUMP: Duration = Duration::from_secs(5);

impl ClockJumps {
    pub(super) fn new() -> Self {
        Self::with_clock(now)
    }
}

impl<Wall: Fn() -> SystemTime> ClockJumps<Wall> {
    fn with_clock(wall: Wall) -> Self {
        let seen = (wall(), Instant::now());
        Self { wall, seen }
    }

    /// Waits for a jump, forward or back, and returns its size. A jump is detected within `interval`.
    pub(super) async fn next(&mut self, interval: Duration) -> Duration {
        loop {
            sleep(interval).await;
            let (wall, monotonic) = self.seen;
            self.seen = ((self.wall)(), Instant::now());
            let expected = wall + self.seen.1.duration_since(monotonic);
            let jump = match self.seen.0.duration_since(expected) {
                Ok(forward) => forward,
                Err(back) => back.duration(),
            };
            if jump >= MIN_JUMP {
                return jump;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_that_the_system_cannot_represent_do_not_panic() {
        let before = Duration::from_millis(1_500);
        for (time, expected) in [
            (datetime!(1970-01-01 00:00 UTC), Some(UNIX_EPOCH)),
            (
                datetime!(1969-12-31 23:59:58.5 UTC),
                Some(UNIX_EPOCH - before),
            ),
            (
                datetime!(2030-01-01 00:00 UTC),
                Some(UNIX_EPOCH + Duration::from_secs(1_893_456_000)),
            ),
        ] {
            assert_eq!(system_time(time), expected, "{time}");
        }
        let long_ago = system_time(datetime!(0001-01-01 00:00 UTC));
        assert_eq!(long_ago.is_none(), cfg!(windows));
    }

    /// Lets both clocks run for an hour at the same rate, then sets the wall clock `ahead` by that many
    /// seconds.
    async fn check(ahead: i64, expected: bool) {
        let second = Duration::from_secs(1);
        let started = Instant::now();
        let set = Cell::new(0_i64);
        let base = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let wall = || match u64::try_from(set.get()) {
            Ok(ahead) => base + started.elapsed() + Duration::from_secs(ahead),
            Err(_) => base + started.elapsed() - Duration::from_secs(set.get().unsigned_abs()),
        };
        let mut jumps = ClockJumps::with_clock(wall);
        let none = tokio::time::timeout(3_600 * second, jumps.next(2 * second)).await;
        assert!(none.is_err(), "{ahead}: {none:?} without a jump");
        set.set(ahead);
        let found = tokio::time::timeout(2 * second, jumps.next(2 * second)).await;
        let found = found
            .ok()
            .map(|jump| i64::try_from(jump.as_secs()).unwrap());
        assert_eq!(found, expected.then_some(ahead.abs()), "{ahead}");
    }

    #[tokio::test(start_paused = true)]
    async fn clock_jumps_of_five_seconds_are_detected() {
        for (ahead, expected) in [
            (7_200, true),
            (-7_200, true),
            (5, true),
            (-5, true),
            (4, false),
            (-4, false),
            (0, false),
        ] {
            check(ahead, expected).await;
        }
    }
}
