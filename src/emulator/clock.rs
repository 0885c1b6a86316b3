//! The emulator's clock: the system clock plus a skew that tests set.
//!
//! No other code in the emulator reads the time of day. Code that checks a date takes the time as an
//! argument.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

#[derive(Debug, Default)]
pub(super) struct Clock {
    skew_s: AtomicI64,
}

// === impl Clock ===

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the emulator shares neither code nor clock with the signer"
    )]
    pub(super) fn now(&self) -> OffsetDateTime {
        let now = OffsetDateTime::from(SystemTime::now());
        let skew = Duration::seconds(self.skew_s.load(Ordering::Relaxed));
        now.checked_add(skew).unwrap_or(now)
    }

    /// Returns the value of the `Date` header
    /// ([RFC 9110, 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)), from which clients
    /// compute their own clock skew.
    pub(super) fn http_date(&self) -> String {
        self.now().format(IMF_FIXDATE).unwrap_or_default()
    }

    pub(super) fn set_skew(&self, seconds: i64) {
        self.skew_s.store(seconds, Ordering::Relaxed);
    }
}

const IMF_FIXDATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
