//! Normalizes the headers that determine where the body of a response ends (RFC 9112, section 6.3).
//!
//! hyper applies these rules when it reads a body, but leaves the headers unchanged. If a `Content-Length`
//! beside the chunked coding, or one with several values, were relayed, the client could read another
//! length.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Response, StatusCode};

/// Why the end of a response body cannot be determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("its Content-Length is not a single number")]
    Length,
    #[error("its Transfer-Encoding is not chunked")]
    Coding,
    #[error("it switches to a protocol that was not requested")]
    Switch,
}

/// What the headers of a response mean for its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NormalizedFraming {
    /// Whether the status excludes a body, regardless of the headers.
    pub(super) is_bodiless: bool,
    /// Whether HTTP implementations may disagree about the end of the response. Its connection must then
    /// not be reused.
    pub(super) is_ambiguous: bool,
}

/// Reduces the `Content-Length` headers of a response to at most one, which is the length of the body.
///
/// # Errors
/// When the end of the body cannot be determined.
pub(super) fn normalize<B>(response: &mut Response<B>) -> Result<NormalizedFraming, FramingError> {
    let status = response.status();
    let headers = response.headers_mut();
    if status.is_informational() {
        return Err(FramingError::Switch);
    }
    // RFC 9110, sections 8.6 and 15.3.6. After 205, browsers read no body, not even the last chunk of an
    // empty one.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        let has_length = headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|value| value != "0");
        let is_ambiguous = has_length || headers.contains_key(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        if status == StatusCode::RESET_CONTENT {
            headers.insert(CONTENT_LENGTH, 0.into());
        }
        return Ok(NormalizedFraming {
            is_bodiless: true,
            is_ambiguous,
        });
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        // Requests are sent without TE, so upstream must not use another coding (RFC 9112, section 7.4).
        if !is_chunked_once(headers) {
            return Err(FramingError::Coding);
        }
        return Ok(NormalizedFraming {
            is_bodiless: false,
            is_ambiguous: headers.remove(CONTENT_LENGTH).is_some(),
        });
    }
    let is_list = headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some();
    if let Some(length) = length(headers)?
        && (is_list || !is_shortest(headers))
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(NormalizedFraming {
        is_bodiless: false,
        is_ambiguous: is_list,
    })
}

fn is_chunked_once(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = values.next();
    coding.is_some_and(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    }) && values.next().is_none()
}

/// Returns the length, if all values of all `Content-Length` headers agree on it.
fn length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let values = headers.get_all(CONTENT_LENGTH).iter();
    let members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut found = None;
    for member in members {
        let length = number(member.trim_ascii()).ok_or(FramingError::Length)?;
        if found.is_some_and(|known| known != length) {
            return Err(FramingError::Length);
        }
        found = Some(length);
    }
    Ok(found)
}

/// Returns whether the length is one number without leading zeros.
fn is_shortest(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    value.is_some_and(|digits| match digits {
        [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    })
}

/// Parses a number that consists of digits only, because `str::parse` also accepts a sign.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], length: Option<&str>, is_ambiguous: bool) {
        let mut response = response(status, headers);
        let normalized = normalize(&mut response).unwrap();
        assert_eq!(normalized.is_ambiguous, is_ambiguous, "{headers:?}");
        let is_bodiless = matches!(status, 204 | 205);
        assert_eq!(normalized.is_bodiless, is_bodiless, "{status}");
        let remaining: Vec<_> = response.headers().get_all(CONTENT_LENGTH).iter().collect();
        let expected: Vec<_> = length.into_iter().collect();
        assert_eq!(remaining, expected, "{headers:?}");
    }

    #[test]
    fn responses_have_at_most_one_content_length() {
        let length = |value| ("content-length", value);
        let chunked = ("transfer-encoding", "Chunked ");
        check(200, &[], None, false);
        check(200, &[length("2")], Some("2"), false);
        check(200, &[length("002")], Some("2"), false);
        check(200, &[length("2, 2,\t2")], Some("2"), false);
        check(200, &[length("2"), length("02,2")], Some("2"), true);
        check(200, &[chunked], None, false);
        check(200, &[length("1"), chunked], None, true);
        check(200, &[length("x"), chunked, length("0")], None, true);
        check(304, &[length("5, 5")], Some("5"), false);
        for (status, length_left) in [(204, None), (205, Some("0"))] {
            check(status, &[], length_left, false);
            check(status, &[length("0")], length_left, false);
            check(status, &[length("5")], length_left, true);
            check(status, &[length("x"), length("0")], length_left, true);
            check(status, &[("transfer-encoding", "gzip")], length_left, true);
        }
    }

    #[test]
    fn responses_with_ambiguous_framing_are_rejected() {
        for value in [
            "",
            " ",
            ",",
            "2,",
            ",2",
            "2,,2",
            "2, 3",
            "+2",
            "-2",
            "2.0",
            "0x2",
            "2 2",
            "2;",
            "two",
            "\u{b2}",
            "18446744073709551616",
        ] {
            for status in [200, 304, 404] {
                let found = normalize(&mut response(status, &[("content-length", value)]));
                assert_eq!(found, Err(FramingError::Length), "{value:?}");
            }
        }
        let differ = [("content-length", "2"), ("content-length", "3")];
        assert_eq!(
            normalize(&mut response(200, &differ)),
            Err(FramingError::Length)
        );
        for value in [
            "",
            "gzip",
            "identity",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "chunked;x=y",
            "xchunked",
            "\"chunked\"",
        ] {
            let found = normalize(&mut response(200, &[("transfer-encoding", value)]));
            assert_eq!(found, Err(FramingError::Coding), "{value:?}");
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(
            normalize(&mut response(200, &twice)),
            Err(FramingError::Coding)
        );
        for status in [100, 101, 103] {
            let found = normalize(&mut response(status, &[("upgrade", "websocket")]));
            assert_eq!(found, Err(FramingError::Switch), "{status}");
        }
    }
}
