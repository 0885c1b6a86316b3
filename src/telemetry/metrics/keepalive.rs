//! Measures how long the open realtime connections of a route have been silent.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::kinds::FloatGauge;

/// The open realtime connections of a route.
#[derive(Debug)]
pub(super) struct Keepalives {
    age: FloatGauge,
    heard: Mutex<Vec<Weak<LastHeard>>>,
}

/// The time at which a realtime connection last received something.
#[derive(Debug)]
pub struct LastHeard(Mutex<Instant>);

impl Keepalives {
    /// `age` is the gauge of the longest silence.
    pub(super) fn new(age: FloatGauge) -> Self {
        Self {
            age,
            heard: Mutex::default(),
        }
    }

    /// Includes a connection until the returned value is dropped.
    pub(super) fn listen(&self) -> Arc<LastHeard> {
        let heard = Arc::new(LastHeard(Mutex::new(Instant::now())));
        self.heard.lock().push(Arc::downgrade(&heard));
        heard
    }

    /// Updates the gauge.
    pub(super) fn observe(&self) {
        let mut heard = self.heard.lock();
        heard.retain(|heard| heard.strong_count() > 0);
        let ages = heard.iter().filter_map(Weak::upgrade);
        let ages = ages.map(|heard| heard.0.lock().elapsed().as_secs_f64());
        self.age.set(ages.fold(0.0, f64::max));
    }
}

impl LastHeard {
    /// Sets the time to `now`.
    pub fn now(&self, now: Instant) {
        *self.0.lock() = now;
    }
}
