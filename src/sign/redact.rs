//! Masks session tokens in responses of AWS.
//!
//! On a signature mismatch, AWS responds with the canonical request that it computed, which contains
//! the line `x-amz-security-token:<token>`. A client that can make a request fail must not obtain the
//! token in this way. The tokens that countersign holds are masked wherever they occur, in every
//! encoding ([`mask_known()`]); other tokens are recognized by the name before them.

mod held_tokens;

use std::borrow::Cow;

pub use held_tokens::{
    MaskingStream, mask_headers, mask_known, mask_known_body, mask_known_text, register,
};

const NAME: &[u8] = b"x-amz-security-token";
const MASK: &str = "[redacted]";

/// Replaces the value of every `x-amz-security-token` in `text` by `[redacted]`: in header form
/// (`name:value`) and in query form (`name=value`), in plain text and in JSON. Tokens that
/// [`mask_known()`] finds are masked wherever they occur.
pub fn mask_tokens(text: &str) -> Cow<'_, str> {
    match mask_known_text(text) {
        Cow::Borrowed(text) => mask_named(text),
        Cow::Owned(text) => Cow::Owned(mask_named(&text).into_owned()),
    }
}

/// Masks the values that follow the name of the token.
fn mask_named(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(start) = find(bytes, at) {
        at = start + NAME.len();
        let Some(value) = value_start(bytes, at) else {
            continue;
        };
        let end = value_end(bytes, value);
        if end == value {
            continue;
        }
        out.push_str(&text[copied..value]);
        out.push_str(MASK);
        copied = end;
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

fn find(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..]
        .windows(NAME.len())
        // Few bytes pass the first test, which is quick.
        .position(|window| window[1] == b'-' && window.eq_ignore_ascii_case(NAME))
        .map(|found| from + found)
}

/// Returns where the value begins, if `:` or `=` follows the name. In JSON, a quote follows the name
/// first, and the value is a string, or the first string of an array.
fn value_start(bytes: &[u8], at: usize) -> Option<usize> {
    let separator = skip(bytes, at, |byte| matches!(byte, b'"' | b'\\' | b' '));
    if !matches!(bytes.get(separator), Some(b':' | b'=')) {
        return None;
    }
    let is_member = bytes[at..separator].contains(&b'"');
    let start = if is_member {
        skip(bytes, separator + 1, |byte| {
            byte.is_ascii_whitespace() || byte == b'['
        })
    } else {
        skip(bytes, separator + 1, |byte| byte == b' ')
    };
    match (opening_quote(bytes, start), is_member) {
        (Some(quoted), _) => Some(quoted),
        (None, true) => None,
        (None, false) => Some(start),
    }
}

/// Returns the position after the quote that opens a value, escaped or not. Returns `None` without a
/// quote, or if the character after it cannot be part of a value, because the quote then closes a string.
fn opening_quote(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = skip(bytes, at, |byte| byte == b'\\');
    let is_quote = matches!(bytes.get(quote), Some(b'"' | b'\''));
    let can_begin = |byte: u8| {
        byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"+/=%-._~\\".contains(&byte)
    };
    let is_opening = is_quote && bytes.get(quote + 1).is_some_and(|byte| can_begin(*byte));
    is_opening.then_some(quote + 1)
}

/// Returns where the value ends: at the end of the line (`\n`, or its JSON escape), a quote or an
/// ampersand. A JSON escape of a character of the token (`\/`, `\u002b`) does not end the value, and is
/// never split.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' | b'\r' | b'"' | b'\'' | b'&' | b' ' => break,
            b'\\' => {
                let escaped = skip(bytes, at, |byte| byte == b'\\');
                if matches!(bytes.get(escaped), Some(b'n' | b'r' | b'"' | b'\'')) {
                    break;
                }
                at = escaped;
            }
            _ => at += 1,
        }
    }
    at
}

fn skip(bytes: &[u8], from: usize, is_skipped: impl Fn(u8) -> bool) -> usize {
    let rest = bytes[from..].iter();
    from + rest.take_while(|byte| is_skipped(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(mask_tokens(text), expected);
    }

    #[test]
    fn echoed_tokens_are_masked() {
        check("nothing here", "nothing here");
        check(
            "host:h\nx-amz-security-token:AQ/+oD==\n\nhost;x-amz-security-token\nabc",
            "host:h\nx-amz-security-token:[redacted]\n\nhost;x-amz-security-token\nabc",
        );
        check(
            r#"{"message":"'POST\nX-Amz-Security-Token:AQ\/\u002bD=\n\nhost;x-amz-security-token\n'"}"#,
            r#"{"message":"'POST\nX-Amz-Security-Token:[redacted]\n\nhost;x-amz-security-token\n'"}"#,
        );
        check(
            "GET /?X-Amz-Security-Token=AQ%2F&X-Amz-Date=1",
            "GET /?X-Amz-Security-Token=[redacted]&X-Amz-Date=1",
        );
        check(
            r#"{"x-amz-security-token": "AQoD","a":1}"#,
            r#"{"x-amz-security-token": "[redacted]","a":1}"#,
        );
        check(
            r#"{"x-amz-security-token":"/Q==","a":"é"}"#,
            r#"{"x-amz-security-token":"[redacted]","a":"é"}"#,
        );
        check(
            "x-amz-security-token:one\nx-amz-security-token:two",
            "x-amz-security-token:[redacted]\nx-amz-security-token:[redacted]",
        );
        check("x-amz-security-token", "x-amz-security-token");
        check("x-amz-security-token:", "x-amz-security-token:");
        check(
            "é x-amz-security-token:é\né",
            "é x-amz-security-token:[redacted]\né",
        );
    }

    /// An escape at the beginning of a token was split, and empty values were masked.
    #[test]
    fn masked_json_stays_valid() {
        check(
            r#"{"message":"x-amz-security-token:\/AQ==\nx"}"#,
            r#"{"message":"x-amz-security-token:[redacted]\nx"}"#,
        );
        for untouched in [
            r#"{"message":"x-amz-security-token:\n\n"}"#,
            r#"{"message":"x-amz-security-token:","a":"b"}"#,
            r#"{"x-amz-security-token":"","a":"b"}"#,
            r#"{"x-amz-security-token":null,"a":"b"}"#,
        ] {
            check(untouched, untouched);
        }
        check(
            r#"{"message":"x-amz-security-token:AQ\\"}"#,
            r#"{"message":"x-amz-security-token:[redacted]\\"}"#,
        );
    }

    /// Only the bracket was masked.
    #[test]
    fn tokens_in_arrays_are_masked() {
        check(
            "{\"x-amz-security-token\": [\n\"AQoD\"]}",
            "{\"x-amz-security-token\": [\n\"[redacted]\"]}",
        );
        check(
            r#"{"body":"{\"x-amz-security-token\":[\"AQoD\"]}"}"#,
            r#"{"body":"{\"x-amz-security-token\":[\"[redacted]\"]}"}"#,
        );
        check(
            "x-amz-security-token='AQoD'",
            "x-amz-security-token='[redacted]'",
        );
    }
}
