//! The canonical request of all services but AppSync, from raw bytes.
//!
//! The path is encoded again as received, so existing escapes are encoded twice. The query is decoded,
//! strictly encoded, then sorted.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>

use super::super::error::GatewayError;
use super::super::head::Head;

/// A decoded name and its decoded value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Returns the canonical request. `path` is as received, `pairs` are decoded, `payload` is the
/// last line.
pub(super) fn request(
    head: &Head,
    path: &[u8],
    pairs: &[&Pair],
    signed_headers: &[String],
    payload: &str,
) -> Vec<u8> {
    let mut canonical =
        format!("{}\n{}\n{}\n", head.method, self::path(path), query(pairs)).into_bytes();
    for name in signed_headers {
        canonical.extend(name.as_bytes());
        canonical.push(b':');
        canonical.extend(head.joined(name).unwrap_or_default());
        canonical.push(b'\n');
    }
    canonical.push(b'\n');
    canonical.extend(signed_headers.join(";").as_bytes());
    canonical.push(b'\n');
    canonical.extend(payload.as_bytes());
    canonical
}

/// Splits a query. Rejects invalid escapes, because it is not known how AWS reads them.
pub(super) fn pairs(raw: &[u8], splits_at_semicolons: bool) -> Result<Vec<Pair>, GatewayError> {
    raw.split(|byte| *byte == b'&' || (splits_at_semicolons && *byte == b';'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Normalizes a path: removes empty and dot segments.
pub(super) fn normalized(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    for segment in &segments {
        match *segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let is_directory = segments
        .last()
        .is_some_and(|last| matches!(*last, b"" | b"." | b".."));
    let mut normalized = b"/".to_vec();
    normalized.extend(kept.join(&b'/'));
    if is_directory && !kept.is_empty() {
        normalized.push(b'/');
    }
    normalized
}

fn path(raw: &[u8]) -> String {
    if raw.is_empty() {
        return "/".to_owned();
    }
    encode(raw, true)
}

fn query(pairs: &[&Pair]) -> String {
    let mut encoded: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| (encode(name, false), encode(value, false)))
        .collect();
    encoded.sort_unstable();
    let encoded: Vec<String> = encoded
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    encoded.join("&")
}

/// Decodes a query component, in which a plus is a space.
fn decode(text: &[u8]) -> Result<Vec<u8>, GatewayError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        decoded.push(match first {
            b'%' => {
                let [high, low, behind @ ..] = rest else {
                    return Err(malformed(
                        "Incomplete trailing escape % sequence".to_owned(),
                    ));
                };
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    let digits = String::from_utf8_lossy(&rest[..2]).into_owned();
                    return Err(malformed(format!(
                        "Illegal hex character in escape % pattern: %{digits}"
                    )));
                };
                rest = behind;
                // Two hexadecimal digits fit in one byte.
                (high << 4 | low).to_le_bytes()[0]
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    Ok(decoded)
}

fn malformed(text: String) -> GatewayError {
    GatewayError::BadRequest(text)
}

fn encode(bytes: &[u8], keeps_slashes: bool) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        let is_unreserved =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if is_unreserved || (keeps_slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_again() {
        for (raw, expected) in [
            ("", "/"),
            ("/", "/"),
            // Taken from the canonical strings that execute-api returns.
            ("/test/@connections/abc=", "/test/%40connections/abc%3D"),
            (
                "/dev/%40connections/abc%3D",
                "/dev/%2540connections/abc%253D",
            ),
            ("/a+b", "/a%2Bb"),
            ("/a%2fb", "/a%252fb"),
            ("/~%7E", "/~%257E"),
            ("/é", "/%C3%A9"),
            ("//a/./../b/", "//a/./../b/"),
            ("/a;b|c", "/a%3Bb%7Cc"),
        ] {
            assert_eq!(path(raw.as_bytes()), expected, "{raw}");
        }
        assert_eq!(path(b"/\xff"), "/%FF");
    }

    #[test]
    fn queries_are_decoded_encoded_and_sorted() {
        for (raw, expected) in [
            ("", ""),
            ("a=1+2", "a=1%202"),
            ("a=1%2B2", "a=1%2B2"),
            ("flag", "flag="),
            ("b=2&a=2&a=1&A=0&a-b=1&a=", "A=0&a=&a=1&a=2&a-b=1&b=2"),
            ("x=%2f", "x=%2F"),
            ("x=a=b", "x=a%3Db"),
            ("x=é", "x=%C3%A9"),
            ("x=%FF%FE", "x=%FF%FE"),
            ("&&y=&=v", "=v&y="),
            ("x=~%7e!*'()", "x=~~%21%2A%27%28%29"),
            ("x=a;b", "x=a%3Bb"),
        ] {
            let pairs = pairs(raw.as_bytes(), false).unwrap();
            let all: Vec<&Pair> = pairs.iter().collect();
            assert_eq!(query(&all), expected, "{raw}");
        }
        let pairs = pairs(b"b=a;a=b", true).unwrap();
        assert_eq!(query(&pairs.iter().collect::<Vec<_>>()), "a=b&b=a");
    }

    #[test]
    fn invalid_escapes_are_rejected() {
        for (raw, expected) in [
            ("x=%zz", "Illegal hex character in escape % pattern: %zz"),
            ("x=%2", "Incomplete trailing escape % sequence"),
            ("%", "Incomplete trailing escape % sequence"),
        ] {
            let error = pairs(raw.as_bytes(), false).unwrap_err();
            assert_eq!(error.to_string(), expected, "{raw}");
        }
    }

    #[test]
    fn paths_are_normalized() {
        for (raw, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("//a//", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/b/../..", "/"),
            ("/a/b/..", "/a/"),
            ("/../a", "/a"),
            ("/./", "/"),
        ] {
            assert_eq!(normalized(raw.as_bytes()), expected.as_bytes(), "{raw}");
        }
    }
}
