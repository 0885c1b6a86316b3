//! Times in which the process did not run.

use std::time::{Duration, Instant};

use super::{Connection, Phase};

/// If a deadline is noticed so late, the process was stopped or had no CPU.
pub(in crate::realtime) const STALL: Duration = Duration::from_secs(1);
/// The time in which it reads what has arrived in the meantime.
const GRACE: Duration = Duration::from_secs(2);
/// How often deadlines are postponed in a row. A process that is always late judges silent peers, too.
const MAX_POSTPONEMENTS: u32 = 4;

impl<S> Connection<S> {
    /// Moves the deadlines of the upstream if the process did not run when one of them passed: what
    /// would have met it may be waiting to be read. `of_driver` is a deadline of the upstream that the
    /// driver keeps. Returns by how much it moves, too. The times of this side, such as the end of
    /// throttling, are met late.
    pub fn postpone_if_late(
        &mut self,
        now: Instant,
        of_driver: Option<Instant>,
    ) -> Option<Duration> {
        let deadlines = [self.upstream_deadline(), of_driver];
        let due_at = deadlines.into_iter().flatten().min()?;
        let late = now.saturating_duration_since(due_at);
        if late < STALL || self.postponements >= MAX_POSTPONEMENTS {
            return None;
        }
        self.postponements += 1;
        let by = late + GRACE;
        self.postpone(by);
        Some(by)
    }

    /// Returns when the upstream must have acted.
    pub(super) fn upstream_deadline(&self) -> Option<Instant> {
        let of_phase = match self.phase {
            Phase::Acking { deadline } => deadline,
            Phase::Ready => self.heard + self.keepalive,
            Phase::Ended => return None,
        };
        let of_subscriptions = self.subscriptions.next_deadline();
        Some(of_subscriptions.map_or(of_phase, |at| at.min(of_phase)))
    }

    fn postpone(&mut self, by: Duration) {
        if let Phase::Acking { deadline } = &mut self.phase {
            *deadline += by;
        }
        self.heard += by;
        self.subscriptions.postpone(by);
    }
}
