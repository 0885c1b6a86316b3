//! Measures the clock skew to upstream from the `Date` header of responses (RFC 9110, section 6.6.1).

use std::time::{Duration, Instant};

use http::header::{DATE, HeaderMap};
use parking_lot::Mutex;

use crate::sign::clock;

/// Measures the clock skew at most once per [`INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct ClockSkew {
    measured: Mutex<Option<Instant>>,
}

const INTERVAL: Duration = Duration::from_secs(10);

impl ClockSkew {
    /// Returns upstream's clock minus the local clock in seconds, if a measurement is due. The result is
    /// too low by up to a second, because a `Date` has whole seconds, and by the network latency.
    pub(super) fn measure(&self, headers: &HeaderMap) -> Option<f64> {
        let now = Instant::now();
        let mut measured = self.measured.lock();
        if measured.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        let date = headers.get(DATE)?.to_str().ok()?;
        let theirs = httpdate::parse_http_date(date).ok()?;
        *measured = Some(now);
        Some(match theirs.duration_since(clock::now()) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn skew_is_measured_once_per_interval() {
        let clock_skew = ClockSkew::default();
        let mut headers = HeaderMap::new();
        assert_eq!(clock_skew.measure(&headers), None);
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(clock_skew.measure(&headers), None);
        let hour = clock::now() + Duration::from_secs(3_600);
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(hour)).unwrap();
        headers.insert(DATE, date);
        let offset = clock_skew.measure(&headers).unwrap();
        assert!((3_590.0..=3_601.0).contains(&offset), "{offset}");
        assert_eq!(
            clock_skew.measure(&headers),
            None,
            "the interval has not passed"
        );
    }
}
