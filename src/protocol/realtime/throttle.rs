//! After `LimitExceededError`, starts wait, longer each time.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Throttle {
    until: Option<Instant>,
    times: u32,
}

const FIRST_WAIT_MS: u64 = 500;
const MAX_TIMES: u32 = 6;

impl Throttle {
    /// Starts have been refused; `false` once they have been too often.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if self.times == MAX_TIMES {
            return false;
        }
        self.until = Some(now + Duration::from_millis(FIRST_WAIT_MS << self.times));
        self.times += 1;
        true
    }

    /// A start has been taken: the next wait is a short one.
    pub(super) fn forgive(&mut self) {
        self.times = 0;
    }

    /// When starts may go on, if they wait.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the wait ends with `now`.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }
}
