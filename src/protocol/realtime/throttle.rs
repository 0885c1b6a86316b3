//! The pauses of starts after AppSync's `LimitExceededError`; they double each time.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Throttle {
    until: Option<Instant>,
    pauses: u32,
}

const FIRST_PAUSE_MS: u64 = 500;
const MAX_PAUSES: u32 = 6;

impl Throttle {
    /// Starts a pause because starts were throttled. Returns `false` after too many pauses in a row, which
    /// ends these starts; the next pause is for others, and short again.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if self.pauses == MAX_PAUSES {
            self.reset();
            return false;
        }
        self.until = Some(now + Duration::from_millis(FIRST_PAUSE_MS << self.pauses));
        self.pauses += 1;
        true
    }

    /// Makes the next pause short again.
    pub(super) fn reset(&mut self) {
        self.pauses = 0;
    }

    /// Returns when the pause ends, if there is one.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the pause if it is over at `now`, and returns whether it did.
    pub(super) fn end_if_due(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }
}
