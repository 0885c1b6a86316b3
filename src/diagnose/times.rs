//! Times as Signature Version 4 writes them, and the differences between them.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Parses a time as Signature Version 4 writes it, such as `20260115T120000Z`.
pub fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let time = PrimitiveDateTime::parse(text, BASIC_FORMAT).ok()?;
    Some(time.assume_utc())
}

/// Returns the seconds from one time to another.
pub(super) fn seconds_between(from: &str, to: &str) -> Option<i64> {
    Some((parse_time(to)? - parse_time(from)?).whole_seconds())
}

/// Returns how far a signature is from AWS's time, and whether that is an error of the time zone.
pub(super) fn clock_detail(seconds: i64) -> String {
    let (amount, side) = (
        seconds.unsigned_abs(),
        if seconds < 0 { "behind" } else { "ahead" },
    );
    let (hours, minutes, rest) = (amount / 3600, amount / 60 % 60, amount % 60);
    let mut parts = Vec::new();
    for (number, unit) in [(hours, "h"), (minutes, "min"), (rest, "s")] {
        if number > 0 {
            parts.push(format!("{number} {unit}"));
        }
    }
    if parts.is_empty() {
        return "both times are equal.".to_owned();
    }
    let quarter = amount.div_ceil(10) * 10 % 900;
    let is_zone = (1800..=14 * 3600 + 10).contains(&amount) && quarter <= 10;
    let zone = if is_zone {
        ", which looks like local time instead of UTC"
    } else {
        ""
    };
    format!("{} {side}{zone}.", parts.join(" "))
}

/// Writes a time as Signature Version 4 does.
pub(super) fn format_time(at: OffsetDateTime) -> String {
    at.format(BASIC_FORMAT).unwrap_or_default()
}

const BASIC_FORMAT: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
