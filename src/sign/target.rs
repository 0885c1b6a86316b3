//! Normalizes the request target, which is then signed and sent byte for byte.
//!
//! The path is never decoded. The query is decoded and strictly re-encoded in the client's order, so
//! that the sent query and the canonical query differ only in the order of parameters. A target for
//! which AWS could compute another signature is rejected.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A normalized path and query, as they are signed and sent: `/path[?name=value&…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget(String);

/// How to handle a path with empty segments (`//`) or dot segments (`odd_paths`). AWS services normalize
/// such paths differently, and therefore expect different signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathHandling {
    /// Rejects the request.
    #[default]
    Refuse,
    /// Normalizes the path that is signed and sent (RFC 3986, section 5.2.4, and `//` to `/`), and
    /// rejects dot segments behind escaped slashes. The result stays below the route's target.
    Collapse,
    /// Signs and sends the path unchanged.
    Keep,
}

/// Why AWS could compute another signature for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the path contains a '.' or '..' segment")]
    DotSegment,
    #[error("the path contains an empty segment ('//')")]
    EmptySegment,
    #[error("the target is not a valid request target")]
    Invalid,
    #[error("the query contains a parameter without a name")]
    NamelessParameter,
    #[error("the query contains an escape that is not UTF-8")]
    NotUtf8,
    #[error("the path does not begin with '/'")]
    Relative,
    #[error("the target is longer than {MAX_TARGET} bytes")]
    TooLong,
}

/// The maximum length of a target, in bytes: the longest URL that API Gateway accepts for any type of
/// endpoint ("Amazon API Gateway quotas").
const MAX_TARGET: usize = 10_240;

/// Query parameters that authenticate a request. They are removed from requests of clients.
const AUTH_PARAMETERS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-region-set",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

impl RequestTarget {
    /// Normalizes `path` and `query`. Rejects empty and dot segments.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn new(path: &str, query: Option<&str>) -> Result<Self, TargetError> {
        Self::below("", path, query, PathHandling::Refuse)
    }

    /// Appends `path` to `base`, either of which may be empty, and normalizes the result with `query`.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn below(
        base: &str,
        path: &str,
        query: Option<&str>,
        paths: PathHandling,
    ) -> Result<Self, TargetError> {
        let path = paths.apply(path)?;
        let path = match (base, path.as_ref()) {
            ("", "") => Cow::Borrowed("/"),
            ("", _) => path,
            (base, rest) => Cow::Owned(format!("{base}{rest}")),
        };
        if !path.starts_with('/') {
            return Err(TargetError::Relative);
        }
        let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 8);
        push_path(&mut target, path.as_bytes());
        if let Some(query) = query {
            push_query(&mut target, query)?;
        }
        if target.len() > MAX_TARGET {
            return Err(TargetError::TooLong);
        }
        Ok(Self(target))
    }

    /// Returns the path and query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathHandling {
    /// Returns the path to sign and send for `path`.
    ///
    /// # Errors
    /// [`TargetError::DotSegment`] or [`TargetError::EmptySegment`].
    pub fn apply(self, path: &str) -> Result<Cow<'_, str>, TargetError> {
        if is_plain(path) {
            return Ok(Cow::Borrowed(path));
        }
        let path = match self {
            Self::Keep => return Ok(Cow::Borrowed(path)),
            Self::Collapse => collapse(path),
            Self::Refuse if path.contains("//") => return Err(TargetError::EmptySegment),
            Self::Refuse => Cow::Borrowed(path),
        };
        // `collapse` does not remove dot segments next to an escaped slash or a backslash.
        if has_dot_segment(&path) {
            Err(TargetError::DotSegment)
        } else {
            Ok(path)
        }
    }
}

/// Returns whether a path has neither empty nor dot segments, nor escapes that could become one.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_odd = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    !bytes.starts_with(b".")
        && !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\'))
        && !bytes.windows(2).any(is_odd)
}

fn has_dot_segment(path: &str) -> bool {
    let may_have = path.contains(['%', '\\']) || path.contains("/.") || path.starts_with('.');
    may_have && path.split('/').any(is_dot_segment)
}

/// Returns whether a segment is, or contains after decoding, `.` or `..`, which the next hop may resolve.
fn is_dot_segment(segment: &str) -> bool {
    let slashes = ["%2f", "%2F", "%5c", "%5C", "\\"];
    let segment = slashes.iter().fold(segment.to_owned(), |segment, slash| {
        segment.replace(slash, "/")
    });
    let mut parts = segment.split('/');
    parts.any(|part| matches!(plain_dots(part).as_str(), "." | ".."))
}

/// Decodes escaped dots.
fn plain_dots(segment: &str) -> String {
    segment.replace("%2e", ".").replace("%2E", ".")
}

/// Returns an absolute path without empty or dot segments. A trailing slash is kept.
fn collapse(path: &str) -> Cow<'_, str> {
    if path.is_empty() || !(path.contains("//") || has_dot_segment(path)) {
        return Cow::Borrowed(path);
    }
    let mut kept = Vec::new();
    let mut is_directory = false;
    for segment in path.split('/') {
        let plain = plain_dots(segment);
        is_directory = matches!(plain.as_str(), "" | "." | "..");
        match plain.as_str() {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut path = String::new();
    for segment in &kept {
        path.push('/');
        path.push_str(segment);
    }
    if is_directory {
        path.push('/');
    }
    Cow::Owned(path)
}

fn push_path(out: &mut String, path: &[u8]) {
    for (at, byte) in path.iter().enumerate() {
        let keep = match byte {
            b'%' => is_escape(&path[at..]),
            b'/' | b'@' | b':' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
            | b';' | b'=' => true,
            byte => is_unreserved(*byte),
        };
        push_byte(out, *byte, keep);
    }
}

fn push_query(out: &mut String, query: &str) -> Result<(), TargetError> {
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if name.is_empty() {
            return Err(TargetError::NamelessParameter);
        }
        if AUTH_PARAMETERS
            .iter()
            .any(|auth| name.eq_ignore_ascii_case(auth))
        {
            continue;
        }
        out.push(separator);
        separator = '&';
        push_strictly(out, &name);
        out.push('=');
        push_strictly(out, &value);
    }
    Ok(())
}

/// Appends `text`, and escapes all characters except the unreserved ones of RFC 3986, as in a canonical
/// query string.
pub(crate) fn push_strictly(out: &mut String, text: &str) {
    for byte in text.bytes() {
        push_byte(out, byte, is_unreserved(byte));
    }
}

/// Decodes a name or value of a query. As in AWS, `+` is a space.
pub(crate) fn decode(text: &str) -> Result<String, TargetError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' && is_escape(&bytes[at..]) {
            out.push(hex(bytes[at + 1]) * 16 + hex(bytes[at + 2]));
            at += 3;
            continue;
        }
        out.push(if *byte == b'+' { b' ' } else { *byte });
        at += 1;
    }
    String::from_utf8(out).map_err(|_| TargetError::NotUtf8)
}

fn push_byte(out: &mut String, byte: u8, keep: bool) {
    if keep {
        out.push(char::from(byte));
    } else {
        // Writing to a String cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn hex(digit: u8) -> u8 {
    let value = char::from(digit).to_digit(16);
    value
        .and_then(|value| u8::try_from(value).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, query: Option<&str>, expected: Result<&str, TargetError>) {
        let target = RequestTarget::new(path, query);
        assert_eq!(
            target.as_ref().map(RequestTarget::as_str),
            expected.as_ref().map(|text| *text),
            "{path}?{query:?}"
        );
    }

    #[test]
    fn targets_are_normalized_or_rejected() {
        check("/", None, Ok("/"));
        check("/a/", None, Ok("/a/"));
        check("/t/@connections/a=", None, Ok("/t/@connections/a="));
        check("/t/%40c/a%3D%2f", None, Ok("/t/%40c/a%3D%2f"));
        check("/é|{}^\\%zz%", None, Ok("/%C3%A9%7C%7B%7D%5E%5C%25zz%25"));
        check("/a+b", None, Ok("/a+b"));
        check("/", Some("b=2&a=1&a=0"), Ok("/?b=2&a=1&a=0"));
        check("/", Some("a=1+2%2B3"), Ok("/?a=1%202%2B3"));
        check("/", Some("flag&&x="), Ok("/?flag=&x="));
        check("/", Some("x=a=b;c%2f'"), Ok("/?x=a%3Db%3Bc%2F%27"));
        check("/", Some("x=é%zz"), Ok("/?x=%C3%A9%25zz"));
        check("/", Some(""), Ok("/"));
        check(
            "/",
            Some("a=1&X-Amz-Signature=abc&x%2Damz-date=1"),
            Ok("/?a=1"),
        );
        check("/", Some("X-Amz-ChannelARN=a"), Ok("/?X-Amz-ChannelARN=a"));
        check("/", Some("x=%FF"), Err(TargetError::NotUtf8));
        check("/", Some("=v"), Err(TargetError::NamelessParameter));
        check("/a//b", None, Err(TargetError::EmptySegment));
        check("/a/./b", None, Err(TargetError::DotSegment));
        check("/a/%2e%2E/b", None, Err(TargetError::DotSegment));
        for path in [
            "/a/..%2fb",
            "/a/x%5C.%2e",
            "/a/.\\b",
            "/a/%2e%2e%2F",
            "/a%2f.%5cb",
        ] {
            check(path, None, Err(TargetError::DotSegment));
        }
        check("/a/...%2f.b/c..%5cd", None, Ok("/a/...%2f.b/c..%5cd"));
        check("a", None, Err(TargetError::Relative));
        check("/", Some("a=%41%62%c3%A9"), Ok("/?a=Ab%C3%A9"));
        let longest = format!("/{}", "a".repeat(MAX_TARGET - 1));
        check(&longest, None, Ok(&longest));
        check(&format!("{longest}a"), None, Err(TargetError::TooLong));
    }

    #[track_caller]
    fn check_below(
        base: &str,
        path: &str,
        paths: PathHandling,
        expected: Result<&str, TargetError>,
    ) {
        let target = RequestTarget::below(base, path, None, paths);
        assert_eq!(
            target.as_ref().map(RequestTarget::as_str),
            expected.as_ref().map(|text| *text),
            "{base} {path} {paths:?}"
        );
    }

    #[test]
    fn paths_stay_below_their_base() {
        use PathHandling::{Collapse, Keep, Refuse};
        for paths in [Refuse, Collapse, Keep] {
            check_below("", "", paths, Ok("/"));
            check_below("", "/", paths, Ok("/"));
            check_below("/prod", "", paths, Ok("/prod"));
            check_below("/prod", "/", paths, Ok("/prod/"));
            check_below("/prod", "/a%2F/", paths, Ok("/prod/a%2F/"));
            check_below("", "a", paths, Err(TargetError::Relative));
        }
        check_below(
            "/prod",
            "//x/./y/../z/",
            Refuse,
            Err(TargetError::EmptySegment),
        );
        check_below("/prod", "/../admin", Refuse, Err(TargetError::DotSegment));
        check_below("/prod", "//x/./y/../z/", Collapse, Ok("/prod/x/z/"));
        check_below("/prod", "/../../admin", Collapse, Ok("/prod/admin"));
        check_below("/prod", "/%2E./admin/.", Collapse, Ok("/prod/admin/"));
        check_below("/prod", "/..", Collapse, Ok("/prod/"));
        check_below("", "//", Collapse, Ok("/"));
        check_below(
            "/prod",
            "/a/..%2f..%2Fadmin",
            Collapse,
            Err(TargetError::DotSegment),
        );
        check_below(
            "/prod",
            "//a/..\\admin",
            Collapse,
            Err(TargetError::DotSegment),
        );
        check_below("/prod", "//x/./y/../z/", Keep, Ok("/prod//x/./y/../z/"));
    }
}
