//! The difference between upstream's clock and the local one: measured from the `Date` header of responses
//! (RFC 9110, section 6.6.1), and corrected in signatures when upstream rejects one because of its time.
//!
//! Each upstream has its own correction, so that none can change the time of signatures for another. It
//! changes only after a rejection, which came over a verified TLS connection, as everything from
//! upstream does. If the rejection may be an application's own, it changes only after a request that was
//! signed with it has succeeded.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, DATE, HeaderMap};
use parking_lot::Mutex;

use super::Error;
use crate::sign::clock;

/// Measures the clock skew at most once per [`INTERVAL`], and corrects the time of signatures.
#[derive(Debug, Default)]
pub(super) struct ClockSkew {
    measured: Mutex<Option<Instant>>,
    /// What to add to the local clock for signatures, in seconds.
    correction: AtomicI64,
    corrected: Mutex<Option<Instant>>,
    /// When a correction was last tried that has not succeeded.
    tried: Mutex<Option<Instant>>,
}

const INTERVAL: Duration = Duration::from_secs(10);
/// The largest correction, in seconds. With a larger one, a signature would be valid on another day.
const MAX_CORRECTION: u64 = 24 * 3_600;
/// AWS accepts five minutes. A correction by less than this would not help.
const MIN_CORRECTION: u64 = 60;
/// A request that was rejected without a reason was rejected because of its time if the clocks differ by
/// this much. AWS accepts less.
pub(super) const CERTAIN_SKEW: u64 = 5 * 60 + 5;

impl ClockSkew {
    /// Returns upstream's clock minus the local clock in seconds, if a measurement is due. The result is
    /// too low by up to a second, because a `Date` has whole seconds, and by the network latency.
    pub(super) fn measure(&self, headers: &HeaderMap) -> Option<f64> {
        let now = Instant::now();
        let mut measured = self.measured.lock();
        if measured.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        let theirs = current_date(headers)?;
        *measured = Some(now);
        Some(match theirs.duration_since(clock::now()) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        })
    }

    /// Returns the time for a signature.
    pub(super) fn now(&self) -> SystemTime {
        shift(clock::now(), self.correction.load(Ordering::Relaxed))
    }

    /// Returns the time for a signature with another correction.
    pub(super) fn now_with(correction: i64) -> SystemTime {
        shift(clock::now(), correction)
    }

    /// Returns the correction to try because upstream may have rejected the time of a signature at its time
    /// `theirs`; `None` if it would change nothing, is too large, or if another one was tried in vain
    /// within [`INTERVAL`].
    pub(super) fn attempt(&self, theirs: SystemTime) -> Option<i64> {
        let offset = seconds_between(clock::now(), theirs);
        let is_too_large = offset.unsigned_abs() > MAX_CORRECTION;
        if is_too_large || offset.abs_diff(self.correction()) < CERTAIN_SKEW {
            return None;
        }
        let now = Instant::now();
        let mut tried = self.tried.lock();
        if tried.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        *tried = Some(now);
        Some(offset)
    }

    /// Sets the correction because a request that was signed with it has succeeded.
    pub(super) fn adopt(&self, correction: i64) {
        let mut corrected = self.corrected.lock();
        self.correction.store(correction, Ordering::Relaxed);
        *corrected = Some(Instant::now());
        *self.tried.lock() = None;
    }

    /// Returns the correction in seconds.
    pub(super) fn correction(&self) -> i64 {
        self.correction.load(Ordering::Relaxed)
    }

    /// Corrects the clock because upstream, at its time `theirs`, rejected the time of a signature that was
    /// made at `signed_at`. Returns whether the request can be signed again with another time.
    ///
    /// # Errors
    /// When the clocks differ by more than [`MAX_CORRECTION`].
    pub(super) fn correct(&self, signed_at: Instant, theirs: SystemTime) -> Result<bool, Error> {
        let mut corrected = self.corrected.lock();
        if corrected.is_some_and(|at| at > signed_at) {
            return Ok(true);
        }
        let ours = clock::now();
        let offset = seconds_between(ours, theirs);
        if offset.unsigned_abs() > MAX_CORRECTION {
            return Err(Error::ClockSkew { ours, theirs });
        }
        if offset.abs_diff(self.correction()) < MIN_CORRECTION {
            return Ok(false);
        }
        self.correction.store(offset, Ordering::Relaxed);
        *corrected = Some(Instant::now());
        Ok(true)
    }
}

/// Returns upstream's time in the header `Date`; `None` if a cache has stored the response.
pub fn current_date(headers: &HeaderMap) -> Option<SystemTime> {
    if headers.contains_key(AGE) {
        return None;
    }
    date(headers)
}

/// Returns the time in the header `Date`, which is never before 1970.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let date = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// Returns `to - from` in whole seconds.
pub(super) fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |duration: Duration| {
        i64::try_from((duration + Duration::from_millis(500)).as_secs()).unwrap_or(i64::MAX)
    };
    match to.duration_since(from) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

fn shift(time: SystemTime, seconds: i64) -> SystemTime {
    let duration = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 {
        time.checked_sub(duration)
    } else {
        time.checked_add(duration)
    };
    shifted.unwrap_or(time)
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

    /// Upstream rejects a signature at its time, which is `ahead` seconds ahead of ours. `expected` is the
    /// correction, or `None` if the clocks differ too much.
    #[track_caller]
    fn check(clock_skew: &ClockSkew, ahead: i64, expected: Option<(bool, i64)>) {
        let corrected = clock_skew.correct(Instant::now(), shift(clock::now(), ahead));
        let correction = clock_skew.correction();
        match expected {
            Some((is_corrected, expected)) => {
                assert_eq!(corrected.ok(), Some(is_corrected), "{ahead}");
                assert!(correction.abs_diff(expected) <= 1, "{ahead}: {correction}");
                let shifted = seconds_between(clock::now(), clock_skew.now());
                assert!(shifted.abs_diff(expected) <= 2, "{ahead}: {shifted}");
            }
            None => assert!(corrected.is_err(), "{ahead}: {correction}"),
        }
    }

    #[test]
    fn the_correction_is_bounded_and_follows_each_rejection() {
        let clock_skew = ClockSkew::default();
        check(&clock_skew, 30, Some((false, 0)));
        check(&clock_skew, 600, Some((true, 600)));
        check(&clock_skew, 610, Some((false, 600)));
        check(&clock_skew, -600, Some((true, -600)));
        check(&clock_skew, 86_000, Some((true, 86_000)));
        check(&clock_skew, 86_500, None);
        check(&clock_skew, -86_500, None);
        check(&clock_skew, 0, Some((true, 0)));
    }

    #[test]
    fn a_correction_is_tried_before_it_is_adopted() {
        let clock_skew = ClockSkew::default();
        let theirs = |ahead| shift(clock::now(), ahead);
        assert_eq!(clock_skew.attempt(theirs(200)), None, "AWS accepts it");
        assert_eq!(clock_skew.attempt(theirs(86_500)), None, "too large");
        let offset = clock_skew.attempt(theirs(600)).unwrap();
        assert!(offset.abs_diff(600) <= 1, "{offset}");
        assert_eq!(clock_skew.correction(), 0);
        assert_eq!(clock_skew.attempt(theirs(600)), None, "it was in vain");
        clock_skew.adopt(offset);
        assert_eq!(clock_skew.correction(), offset);
        assert!(clock_skew.attempt(theirs(0)).is_some());
    }

    #[test]
    fn the_date_of_a_stored_response_or_before_1970_is_ignored() {
        let mut headers = HeaderMap::new();
        let before = HeaderValue::from_static("Wed, 31 Dec 1969 23:59:59 GMT");
        headers.insert(DATE, before);
        assert_eq!(current_date(&headers), None);
        let at = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:01 GMT");
        headers.insert(DATE, at);
        assert!(current_date(&headers).is_some());
        headers.insert(AGE, HeaderValue::from_static("60"));
        assert_eq!(current_date(&headers), None);
    }

    #[test]
    fn requests_that_were_signed_before_a_correction_do_not_change_it() {
        let clock_skew = ClockSkew::default();
        let signed_at = Instant::now();
        let theirs = shift(clock::now(), 600);
        assert!(clock_skew.correct(signed_at, theirs).unwrap());
        assert!(clock_skew.correct(signed_at, shift(theirs, 7_200)).unwrap());
        assert!(clock_skew.correction().abs_diff(600) <= 1);
    }
}
