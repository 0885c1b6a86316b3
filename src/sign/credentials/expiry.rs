//! Parses the time at which credentials expire.
//!
//! Providers write it in many forms, which botocore passes to dateutil. The forms of ISO 8601 and of
//! HTTP are accepted here. A time without a zone is rejected, as botocore does.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::sign::clock::system_time;

/// Returns the time that `text` names; `None` if it is not a time.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim().to_ascii_uppercase();
    if !text.is_ascii() {
        return None;
    }
    match rfc3339(&text) {
        Some(time) => {
            let time = OffsetDateTime::parse(&time, &Rfc3339).ok()?;
            // Programs write the year 1 for none. It is long ago, and so is the epoch.
            Some(system_time(time).unwrap_or(UNIX_EPOCH))
        }
        None => {
            let is_http = text.ends_with(" GMT") || text.ends_with(" UTC");
            let text = text.replace(" UTC", " GMT");
            httpdate::parse_http_date(&title_case(&text))
                .ok()
                .filter(|_| is_http)
        }
    }
}

/// Rewrites a form of ISO 8601 as RFC 3339.
fn rfc3339(text: &str) -> Option<String> {
    let (date, rest) = match text.split_at_checked(10) {
        Some((date, rest)) if date.as_bytes().get(4) == Some(&b'-') => (date.to_owned(), rest),
        Some(_) | None => {
            let (date, rest) = text.split_at_checked(8)?;
            is_digits(date).then(|| {
                let (year, day) = date.split_at(4);
                let (month, day) = day.split_at(2);
                (format!("{year}-{month}-{day}"), rest)
            })?
        }
    };
    let rest = match rest.strip_prefix('T') {
        Some(rest) => rest,
        None => rest.strip_prefix(' ')?.trim_start(),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ','))?;
    let (clock, zone) = rest.split_at(end);
    Some(format!(
        "{date}T{}{}",
        time_of_day(clock)?,
        offset(zone.trim())?
    ))
}

/// Returns `15`, `15:04`, `1504`, `15:04:05`, `150405` or `15:04:05.678` as `15:04:05.678`.
fn time_of_day(text: &str) -> Option<String> {
    let (clock, fraction) = match text.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let parts: Vec<&str> = if clock.contains(':') {
        clock.split(':').collect()
    } else {
        let pairs = (0..clock.len()).step_by(2);
        pairs
            .map(|at| clock.get(at..at + 2))
            .collect::<Option<_>>()?
    };
    let is_pair = |part: &&str| part.len() == 2 && is_digits(part);
    if !parts.iter().all(is_pair) {
        return None;
    }
    let clock = match parts.as_slice() {
        [hour] => format!("{hour}:00:00"),
        [hour, minute] => format!("{hour}:{minute}:00"),
        [hour, minute, second] => format!("{hour}:{minute}:{second}"),
        _ => return None,
    };
    match fraction {
        None => Some(clock),
        // A fraction of a minute is not used by anybody.
        Some(fraction) => (parts.len() == 3 && is_digits(fraction))
            .then(|| format!("{clock}.{}", fraction.get(..9).unwrap_or(fraction))),
    }
}

/// Returns `Z`, `UTC`, `+01:00`, `+0100` or `+01` as RFC 3339 writes it.
fn offset(text: &str) -> Option<String> {
    if matches!(text, "Z" | "UTC" | "GMT") {
        return Some("Z".to_owned());
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let digits = rest.replacen(':', "", 1);
    if !matches!(sign, "+" | "-") || !is_digits(&digits) {
        return None;
    }
    match digits.len() {
        2 => Some(format!("{sign}{digits}:00")),
        4 => Some(format!("{sign}{}:{}", &digits[..2], &digits[2..])),
        _ => None,
    }
}

/// Returns `THU, 01 JAN` as `Thu, 01 Jan`. The zone stays in capitals.
fn title_case(text: &str) -> String {
    let words = text.split(' ').map(|word| match word {
        "GMT" => word.to_owned(),
        word => match word.split_at_checked(1) {
            Some((first, rest)) => format!("{first}{}", rest.to_ascii_lowercase()),
            None => String::new(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_year_one_is_a_time_long_ago() {
        let time = parse("0001-01-01T00:00:00Z").unwrap();
        assert!(time <= UNIX_EPOCH, "{time:?}");
    }

    fn check(text: &str, expected: Option<u64>) {
        let found = parse(text).map(|time| time.duration_since(UNIX_EPOCH).unwrap());
        assert_eq!(found.map(|time| time.as_secs()), expected, "{text}");
    }

    #[test]
    fn every_form_of_a_time_is_parsed() {
        for text in [
            "2030-01-01T00:00:00Z",
            "2030-01-01t00:00:00z",
            "2030-01-01T00:00:00+00:00",
            "2030-01-01T00:00:00+0000",
            "2030-01-01T01:00:00+01:00",
            "2029-12-31T16:00:00-08",
            "2030-01-01 00:00:00Z",
            "2030-01-01 00:00:00+00:00",
            "2030-01-01  00:00:00 UTC",
            "2030-01-01T00:00:00UTC",
            "2030-01-01T00:00:00 GMT",
            "20300101T000000Z",
            "20300101T0000Z",
            "2030-01-01T000000Z",
            "2030-01-01T00:00Z",
            "2030-01-01T00Z",
            "2030-01-01T00:00:00.123456789012Z",
            "2030-01-01T00:00:00,5Z",
            "  2030-01-01T00:00:00Z\n",
            "Tue, 01 Jan 2030 00:00:00 GMT",
            "Tue, 01 Jan 2030 00:00:00 UTC",
        ] {
            check(text, Some(1_893_456_000));
        }
        for text in [
            "",
            "soonish",
            "1893456000",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-13-01T00:00:00Z",
            "2030-01-01T25:00:00Z",
            "2030-01-01T0:00:00Z",
            "2030-01-01T00:00:00+1",
            "2030-01-01T00:00:00+00:00Z",
            "2030-01-01T00:00:00 PST",
            "2030-01-01T.5Z",
            "2030-01-01T:Z",
            "2030-01-01TZ",
            "２030-01-01T00:00:00Z",
            "Tue, 01 Jan 2030 00:00:00",
        ] {
            check(text, None);
        }
        let fraction = parse("2030-01-01T00:00:00.25Z").unwrap();
        let whole = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
        assert_eq!(fraction, whole + Duration::from_millis(250));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in "[0-9TZ:.,+ UTCGMé-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
