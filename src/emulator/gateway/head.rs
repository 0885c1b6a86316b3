//! The head of a request, byte for byte as it was received.
//!
//! Over HTTP/1.1 it is read from the socket without an HTTP library, because libraries reject or
//! normalize bytes that a signature covers: `<`, `>`, a backtick, bytes that are not UTF-8 and fragments in a
//! target, and the order and case of header names. An HTTP/2 request has passed through `http::Uri`,
//! which rejects or truncates such targets and leaves all others unchanged.

use std::str;

use http::header::HeaderName;
use http::{Method, Version, request};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// The second word of the request line, or the `:path` of HTTP/2.
    pub(crate) target: Vec<u8>,
    /// Headers in the order of arrival. HTTP/1.1 names keep their case; a value that was folded over
    /// several lines is joined, with a space for each line break.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) version: Version,
    /// The received bytes up to the empty line. Empty for HTTP/2.
    pub(crate) raw: Vec<u8>,
}

/// The reason why a request is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedRequest(pub(crate) &'static str);

/// How the end of the body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

// === impl Head ===

impl Head {
    /// Parses a head. `raw` ends with the empty line.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, MalformedRequest> {
        let text = raw
            .strip_suffix(b"\r\n\r\n")
            .ok_or(MalformedRequest("head without end"))?;
        let mut lines = lines(text).into_iter();
        let line = lines.next().unwrap_or_default();
        let (method, target, version) = request_line(line)?;
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for line in lines {
            if line.iter().any(|byte| is_control(*byte)) {
                return Err(MalformedRequest("control character in a header"));
            }
            if let [b' ' | b'\t', ..] = line {
                let (_, value) = headers
                    .last_mut()
                    .ok_or(MalformedRequest("space before headers"))?;
                value.push(b' ');
                value.extend(line.trim_ascii());
                continue;
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) =
                line.split_at(colon.ok_or(MalformedRequest("header without colon"))?);
            HeaderName::from_bytes(name).map_err(|_| MalformedRequest("bad header name"))?;
            let name = String::from_utf8_lossy(name).into_owned();
            headers.push((name, value[1..].trim_ascii().to_vec()));
        }
        let head = Self {
            method,
            target: target.to_vec(),
            headers,
            version,
            raw: raw.to_vec(),
        };
        match head.values("host").count() {
            1 => Ok(head),
            0 => Err(MalformedRequest("no host")),
            _ => Err(MalformedRequest("more than one host")),
        }
    }

    /// Returns the head of an HTTP/2 request. Its `:authority` becomes the `host`.
    pub(crate) fn from_parts(parts: &request::Parts) -> Self {
        let host = parts.uri.authority().map(|authority| {
            let value = authority.as_str().as_bytes().to_vec();
            ("host".to_owned(), value)
        });
        let has_authority = host.is_some();
        let received = parts
            .headers
            .iter()
            .filter(|(name, _)| !has_authority || *name != http::header::HOST)
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        Self {
            method: parts.method.clone(),
            target: target.as_bytes().to_vec(),
            headers: host.into_iter().chain(received).collect(),
            version: parts.version,
            raw: Vec::new(),
        }
    }

    pub(crate) fn host(&self) -> String {
        self.text("host").unwrap_or_default()
    }

    /// Returns path and query, still encoded. For a target in absolute form, these follow the
    /// authority.
    pub(super) fn path_and_query(&self) -> (&[u8], &[u8]) {
        let target = origin_form(&self.target);
        match target.iter().position(|byte| *byte == b'?') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, b""),
        }
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// Returns all values of a name, trimmed, with runs of spaces collapsed, joined by commas.
    pub(super) fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<Vec<u8>> = self
            .values(name)
            .map(|value| {
                let mut single: Vec<u8> = value.trim_ascii().to_vec();
                single.dedup_by(|b, a| *a == b' ' && *b == b' ');
                single
            })
            .collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.joined(name)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Returns the items of a header that is a list.
    pub(super) fn items(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let items = text.split(',').map(str::trim);
        items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn has_item(&self, name: &str, expected: &str) -> bool {
        let items = self.items(name);
        items.iter().any(|item| item.eq_ignore_ascii_case(expected))
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.version == Version::HTTP_11
            && self.method == Method::GET
            && self.has_item("upgrade", "websocket")
            && self.has_item("connection", "upgrade")
    }

    pub(super) fn framing(&self) -> Result<Framing, MalformedRequest> {
        let lengths: Vec<&[u8]> = self.values("content-length").collect();
        match (self.text("transfer-encoding"), &lengths[..]) {
            (Some(coding), []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (None, []) => Ok(Framing::Length(0)),
            (None, [length]) if length.iter().all(u8::is_ascii_digit) => {
                let length = str::from_utf8(length)
                    .ok()
                    .and_then(|text| text.parse().ok());
                length
                    .map(Framing::Length)
                    .ok_or(MalformedRequest("bad length"))
            }
            _ => Err(MalformedRequest("framing is not clear")),
        }
    }
}

/// Parses a request line into its three words.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), MalformedRequest> {
    let (method, rest) = split_at_byte(line, b' ').ok_or(MalformedRequest("no target"))?;
    let (target, version) = split_at_byte(rest, b' ').ok_or(MalformedRequest("no version"))?;
    let method = Method::from_bytes(method).map_err(|_| MalformedRequest("bad method"))?;
    if target.is_empty() || target.iter().any(|byte| is_control(*byte)) {
        return Err(MalformedRequest("bad target"));
    }
    match version {
        b"HTTP/1.1" => Ok((method, target, Version::HTTP_11)),
        _ => Err(MalformedRequest("not HTTP/1.1")),
    }
}

/// Returns the length of the head in `buffer`, if it is complete.
pub(super) fn end(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

fn origin_form(target: &[u8]) -> &[u8] {
    let schemes: [&[u8]; 4] = [b"https://", b"http://", b"wss://", b"ws://"];
    let rest = schemes
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme));
    let Some(rest) = rest else {
        return target;
    };
    let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    &rest[path.unwrap_or(rest.len())..]
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|candidate| *candidate == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

fn is_control(byte: u8) -> bool {
    byte != b'\t' && byte.is_ascii_control()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn head_keeps_its_bytes() {
        let raw = b"GET //a/../b;c|{d}\"<\xc3\xa9\xff?x=%zz&&y=^` HTTP/1.1\r\nHOST: h\r\nx-B:  1  2 \r\nX-a:\r\nx-b: 3\r\n\r\n";
        let head = Head::parse(raw).unwrap();
        let target: &[u8] = b"//a/../b;c|{d}\"<\xc3\xa9\xff?x=%zz&&y=^`";
        assert_eq!(head.target, target);
        let names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HOST", "x-B", "X-a", "x-b"]);
        assert_eq!(head.headers[1].1, b"1  2");
        assert_eq!(head.joined("X-B").unwrap(), b"1 2,3");
        assert_eq!(head.joined("x-a").unwrap(), b"");
        assert_eq!(head.joined("x-c"), None);
        assert_eq!(head.raw, raw);
        let (path, query) = head.path_and_query();
        assert_eq!(path, b"//a/../b;c|{d}\"<\xc3\xa9\xff");
        assert_eq!(query, b"x=%zz&&y=^`");
    }

    /// Shows why the gateway does not read requests with hyper.
    #[test]
    fn http_library_rejects_or_changes_some_targets() {
        let parsed = |target: &'static [u8]| http::Uri::from_maybe_shared(target);
        let refused: [&[u8]; 6] = [b"/<t>", b"/`", b"/a?x=\"", b"/a?x=<>", b"/\xff", b"/a?\xff"];
        for target in refused {
            assert!(parsed(target).is_err(), "{target:?}");
        }
        assert_eq!(parsed(b"/a#b").unwrap().to_string(), "/a");
        let kept: [&[u8]; 5] = [
            b"//a/./../b",
            b"/a|b{c}^\\\"",
            b"/a;b?c;d",
            b"/\xc3\xa9",
            b"/a?x=%zz&&",
        ];
        for target in kept {
            assert_eq!(parsed(target).unwrap().to_string().as_bytes(), target);
        }
    }

    #[test]
    fn targets_in_absolute_form_are_split() {
        for (target, expected) in [
            ("https://h/a?b", ("/a", "b")),
            ("https://h", ("", "")),
            ("https://h?a=/", ("", "a=/")),
            ("/https://h/a", ("/https://h/a", "")),
        ] {
            let raw = format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n");
            let head = Head::parse(raw.as_bytes()).unwrap();
            let (path, query) = head.path_and_query();
            assert_eq!(
                (path, query),
                (expected.0.as_bytes(), expected.1.as_bytes()),
                "{target}"
            );
        }
    }

    #[track_caller]
    fn check_bad(head: &str, reason: &'static str) {
        assert_eq!(
            Head::parse(head.as_bytes()),
            Err(MalformedRequest(reason)),
            "{head:?}"
        );
    }

    #[test]
    fn malformed_heads_are_rejected() {
        check_bad("GET / HTTP/1.1\r\nhost: h\r\n", "head without end");
        check_bad("GET /\r\nhost: h\r\n\r\n", "no version");
        check_bad("GET / HTTP/1.0\r\nhost: h\r\n\r\n", "not HTTP/1.1");
        check_bad("GET /a b HTTP/1.1\r\nhost: h\r\n\r\n", "not HTTP/1.1");
        check_bad("G\u{e9}T / HTTP/1.1\r\nhost: h\r\n\r\n", "bad method");
        check_bad("GET /\u{1} HTTP/1.1\r\nhost: h\r\n\r\n", "bad target");
        check_bad("GET / HTTP/1.1\r\na: b\r\n\r\n", "no host");
        check_bad(
            "GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n",
            "more than one host",
        );
        check_bad("GET / HTTP/1.1\r\nhost : a\r\n\r\n", "bad header name");
        check_bad("GET / HTTP/1.1\r\nhost\r\n\r\n", "header without colon");
        check_bad(
            "GET / HTTP/1.1\r\nhost: a\nb: c\r\n\r\n",
            "control character in a header",
        );
    }

    #[test]
    fn folded_header_lines_are_joined() {
        let raw = b"GET / HTTP/1.1\r\nhost: h\r\na: 1\r\n  2\r\n\t3\r\n\r\n";
        let head = Head::parse(raw).unwrap();
        assert_eq!(head.joined("a").unwrap(), b"1 2 3");
    }

    #[test]
    fn ambiguous_framing_is_rejected() {
        let framing = |headers: &str| {
            let raw = format!("POST / HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
            Head::parse(raw.as_bytes()).unwrap().framing()
        };
        assert_eq!(framing(""), Ok(Framing::Length(0)));
        assert_eq!(framing("content-length: 7\r\n"), Ok(Framing::Length(7)));
        assert_eq!(
            framing("transfer-encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        for unclear in [
            "content-length: 7\r\ncontent-length: 7\r\n",
            "content-length: 7\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "content-length: +7\r\n",
        ] {
            assert_eq!(
                framing(unclear),
                Err(MalformedRequest("framing is not clear")),
                "{unclear}"
            );
        }
    }
}
