//! Where the body of an answer ends (RFC 9112, section 6.3), and the headers that say so.
//!
//! hyper reads a body by these rules, but leaves the headers as they came: a `Content-Length` beside
//! the chunked coding, or one of several values, would give the relayed answer another length.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode};

/// An answer from which no body, or no certain body, can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("its Content-Length is not one number")]
    Length,
    #[error("its Transfer-Encoding is not chunked")]
    Coding,
    #[error("it switches to another protocol, which the request did not ask for")]
    Switch,
}

/// What is known about an answer once its headers are normalized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NormalizedFraming {
    /// The status excludes a body, whatever the headers announce.
    pub(super) is_bodiless: bool,
    /// Other HTTP implementations may see the end of the answer elsewhere, so its connection must
    /// not carry another request.
    pub(super) is_ambiguous: bool,
}

/// Leaves at most one `Content-Length` in the headers of an answer, and none that contradicts its
/// body.
///
/// # Errors
/// When the end of the body is not certain.
pub(super) fn normalize<B>(answer: &mut Response<B>) -> Result<NormalizedFraming, FramingError> {
    let status = answer.status();
    let headers = answer.headers_mut();
    if status.is_informational() {
        return Err(FramingError::Switch);
    }
    // RFC 9110, sections 8.6 and 15.3.6. Browsers read no body after 205, not even a last chunk.
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        let announces = headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|value| value != "0");
        let is_ambiguous = announces || headers.contains_key(TRANSFER_ENCODING);
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
        // A request asks for no other coding, because it has no TE (RFC 9112, section 7.4).
        if !is_chunked_once(headers) {
            return Err(FramingError::Coding);
        }
        return Ok(NormalizedFraming {
            is_bodiless: false,
            is_ambiguous: headers.remove(CONTENT_LENGTH).is_some(),
        });
    }
    let is_list = headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some();
    if let Some(length) = length(headers)? {
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

/// The value that all members of all `Content-Length` headers have.
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

/// Digits alone: `str::parse` takes a sign.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        answer.body(()).unwrap()
    }

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], length: Option<&str>, is_ambiguous: bool) {
        let mut answer = answer(status, headers);
        let normalized = normalize(&mut answer).unwrap();
        assert_eq!(normalized.is_ambiguous, is_ambiguous, "{headers:?}");
        let is_bodiless = matches!(status, 204 | 205);
        assert_eq!(normalized.is_bodiless, is_bodiless, "{status}");
        let left: Vec<_> = answer.headers().get_all(CONTENT_LENGTH).iter().collect();
        let expected: Vec<_> = length.into_iter().collect();
        assert_eq!(left, expected, "{headers:?}");
    }

    #[test]
    fn an_answer_has_one_length_or_none() {
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
        for (status, left) in [(204, None), (205, Some("0"))] {
            check(status, &[], left, false);
            check(status, &[length("0")], left, false);
            check(status, &[length("5")], left, true);
            check(status, &[length("x"), length("0")], left, true);
            check(status, &[("transfer-encoding", "gzip")], left, true);
        }
    }

    #[test]
    fn an_answer_without_a_certain_end_is_refused() {
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
                let found = normalize(&mut answer(status, &[("content-length", value)]));
                assert_eq!(found, Err(FramingError::Length), "{value:?}");
            }
        }
        let differ = [("content-length", "2"), ("content-length", "3")];
        assert_eq!(
            normalize(&mut answer(200, &differ)),
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
            let found = normalize(&mut answer(200, &[("transfer-encoding", value)]));
            assert_eq!(found, Err(FramingError::Coding), "{value:?}");
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(
            normalize(&mut answer(200, &twice)),
            Err(FramingError::Coding)
        );
        for status in [100, 101, 103] {
            let found = normalize(&mut answer(status, &[("upgrade", "websocket")]));
            assert_eq!(found, Err(FramingError::Switch), "{status}");
        }
    }
}
