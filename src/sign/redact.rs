//! Takes session tokens out of texts that AWS echoes.
//!
//! On a signature mismatch AWS answers with the canonical request it computed, and that holds the
//! line `x-amz-security-token:<token>`. A client that can make a request fail must not get the
//! token by it.

use std::borrow::Cow;

const NAME: &[u8] = b"x-amz-security-token";
const MASK: &str = "[redacted]";

/// `text` with the value of every echoed `x-amz-security-token` replaced by `[redacted]`: in
/// header form (`name:value`), in query form (`name=value`), in plain text or inside JSON.
pub fn tokens(text: &str) -> Cow<'_, str> {
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
        .position(|window| window.eq_ignore_ascii_case(NAME))
        .map(|found| from + found)
}

/// Where the value begins, if the name is followed by `:`, `=`, or (in JSON) `":"`.
fn value_start(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    while matches!(bytes.get(at), Some(b'"' | b'\\' | b' ')) {
        at += 1;
    }
    if !matches!(bytes.get(at), Some(b':' | b'=')) {
        return None;
    }
    at += 1;
    while matches!(bytes.get(at), Some(b'"' | b'\\' | b' ')) {
        at += 1;
    }
    (at < bytes.len()).then_some(at)
}

/// Where the value ends: at the line's end (`\n`, or its JSON escape), a quote or an ampersand.
/// A JSON escape of one of the token's own characters (`\/`, `\u002b`) does not end it.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' | b'\r' | b'"' | b'\'' | b'&' | b' ' => break,
            b'\\' if matches!(bytes.get(at + 1), Some(b'n' | b'r' | b'"')) => break,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(tokens(text), expected);
    }

    #[test]
    fn echoed_tokens_are_replaced() {
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
}
