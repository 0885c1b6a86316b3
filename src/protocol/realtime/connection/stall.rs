//! Times in which the process did not run.

use std::time::Duration;

use super::{Connection, Phase};

impl<S> Connection<S> {
    /// Moves all deadlines by this time, because the process did not run when one of them passed: what
    /// would have met it may be waiting to be read.
    pub fn postpone(&mut self, by: Duration) {
        if let Phase::Acking { deadline } = &mut self.phase {
            *deadline += by;
        }
        self.heard += by;
        self.subscriptions.postpone(by);
    }
}
