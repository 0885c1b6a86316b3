//! How far upstream's clock is from ours, by the `Date` of its answers (RFC 9110, section 6.6.1).

use std::time::{Duration, Instant};

use http::header::{DATE, HeaderMap};
use parking_lot::Mutex;

use crate::sign::clock;

/// Compares the clocks now and then.
#[derive(Debug, Default)]
pub(super) struct ClockSkew {
    compared: Mutex<Option<Instant>>,
}

const INTERVAL: Duration = Duration::from_secs(10);

impl ClockSkew {
    /// Upstream's clock minus ours in seconds, if it is time to look. A date has whole seconds, and
    /// has grown older on its way.
    pub(super) fn measure(&self, headers: &HeaderMap) -> Option<f64> {
        let now = Instant::now();
        let mut compared = self.compared.lock();
        if compared.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        let date = headers.get(DATE)?.to_str().ok()?;
        let theirs = httpdate::parse_http_date(date).ok()?;
        *compared = Some(now);
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
    fn clocks_are_compared_now_and_then() {
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
        assert_eq!(clock_skew.measure(&headers), None, "not so soon");
    }
}
