//! The one place that reads the wall clock; everything else is given the time.

use std::time::SystemTime;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
