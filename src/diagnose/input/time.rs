//! Reads a time in the forms in which logs and headers show it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::InputError;

/// Reads RFC 3339, the basic form of SigV4, the form of a `date` header, or seconds since 1970.
pub fn read_time(text: &str) -> Result<SystemTime, InputError> {
    let text = text.trim();
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    let spaced = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let offset = |time: OffsetDateTime| SystemTime::from(time);
    let utc = |time: PrimitiveDateTime| SystemTime::from(time.assume_utc());
    let seconds = |text: &str| {
        let seconds: u64 = text.parse().ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(253_402_300_799)))
    };
    let found = OffsetDateTime::parse(text, &Rfc3339).ok().map(offset);
    let found = found.or_else(|| PrimitiveDateTime::parse(text, basic).ok().map(utc));
    let found = found.or_else(|| PrimitiveDateTime::parse(text, spaced).ok().map(utc));
    let found = found.or_else(|| httpdate::parse_http_date(text).ok());
    let found = found.or_else(|| OffsetDateTime::parse(text, &Rfc2822).ok().map(offset));
    found.or_else(|| seconds(text)).ok_or(InputError::NotTime)
}
