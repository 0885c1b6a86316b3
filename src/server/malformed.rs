//! Responses to requests whose head hyper cannot parse.
//!
//! hyper answers such a head itself, with a status and without a body, and calls no service. These
//! responses are replaced by errors of countersign, which are explained, logged and counted. A client
//! that begins HTTP/2 receives frames of HTTP/2.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::framing::Framing;
use crate::guard::Refusal;
use crate::proxy::{Body, Error};

/// A response that hyper has made itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AutomaticResponse<'a> {
    status: StatusCode,
    /// The header lines, without the length.
    headers: Vec<&'a str>,
}

/// The maximum number of headers of a request.
pub(super) const MAX_HEADERS: usize = 2_048;

/// The answer to a client that begins HTTP/2: SETTINGS without settings, and GOAWAY with
/// `HTTP_1_1_REQUIRED` and a text (RFC 9113, sections 6.5, 6.8 and 7).
pub(super) const HTTP2_GOAWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x41\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d\
    this port serves HTTP/1.1 only, not HTTP/2: use HTTP/1.1.";

impl<'a> AutomaticResponse<'a> {
    /// Returns the response if hyper has made it: its status is one of a head that cannot be parsed, and
    /// it has only the headers that hyper sets. Every response of countersign has others.
    pub(super) fn parse(written: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(written.strip_prefix(b"HTTP/1.1 4")?).ok()?;
        let (status, headers) = text.strip_suffix("\r\n\r\n")?.split_once("\r\n")?;
        let status = match status.get(..2)? {
            "00" => StatusCode::BAD_REQUEST,
            "14" => StatusCode::URI_TOO_LONG,
            "31" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => return None,
        };
        let mut kept = Vec::new();
        for line in headers.split("\r\n") {
            match line.split_once(':')? {
                ("connection" | "date", _) => kept.push(line),
                ("content-length", length) if length.trim() == "0" => {}
                _ => return None,
            }
        }
        let headers = kept;
        Some(Self { status, headers })
    }

    /// Returns why hyper has rejected the head.
    pub(super) fn error(&self, framing: &Framing, max_head: usize) -> Error {
        if framing.is_http2() {
            return Error::Http2;
        }
        match self.status {
            StatusCode::URI_TOO_LONG => Error::TargetTooLong,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if framing.headers() > MAX_HEADERS => {
                Refusal::TooManyHeaders(MAX_HEADERS).into()
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Refusal::HeadTooLarge(max_head).into(),
            _ if !framing.request_line().is_ascii() => Error::TargetNotAscii,
            _ => Error::Head,
        }
    }

    /// Returns the bytes of `response`, with the headers that hyper adds to every response. The response to
    /// a `HEAD` has no body.
    pub(super) fn replace(&self, response: Response<Body>, is_head: bool) -> Bytes {
        let (head, body) = response.into_parts();
        let status = head.status;
        let reason = status.canonical_reason().unwrap_or_default();
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in &head.headers {
            if name != http::header::CONNECTION {
                bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
            }
        }
        for line in &self.headers {
            bytes.extend([line.as_bytes(), b"\r\n"].concat());
        }
        // The body of an error is complete from the start.
        let collected = body.collect().now_or_never();
        let body = match collected {
            Some(Ok(collected)) => collected.to_bytes(),
            Some(Err(_)) | None => Bytes::new(),
        };
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        if !is_head {
            bytes.extend_from_slice(&body);
        }
        Bytes::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: Option<u16>) {
        let found = AutomaticResponse::parse(written.as_bytes());
        let found = found.map(|found| found.status.as_u16());
        assert_eq!(found, expected, "{written:?}");
    }

    #[test]
    fn only_responses_of_hyper_are_recognized() {
        let headers = "connection: close\r\ncontent-length: 0\r\ndate: Mon, 1 Jan\r\n\r\n";
        for (status, expected) in [
            ("400 Bad Request", Some(400)),
            ("414 URI Too Long", Some(414)),
            ("431 Request Header Fields Too Large", Some(431)),
            ("404 Not Found", None),
            ("4", None),
            ("200 OK", None),
        ] {
            check(&format!("HTTP/1.1 {status}\r\n{headers}"), expected);
        }
        for rest in [
            "",
            "\r\n",
            "\r\n\r\n",
            "\r\ncontent-length: 1\r\n\r\n",
            "\r\ncontent-length: 0\r\n\r\nx",
            "\r\ncontent-length: 0\r\nx-a: b\r\n\r\n",
        ] {
            check(&format!("HTTP/1.1 400 Bad Request{rest}"), None);
        }
    }

    #[test]
    fn frames_of_http2_have_their_lengths() {
        let (settings, goaway) = HTTP2_GOAWAY.split_at(9);
        assert_eq!(settings, b"\0\0\0\x04\0\0\0\0\0");
        let length = u32::from_be_bytes([0, goaway[0], goaway[1], goaway[2]]);
        assert_eq!(length as usize, goaway.len() - 9);
        assert_eq!(goaway[3..9], *b"\x07\0\0\0\0\0");
        assert_eq!(goaway[9..17], *b"\0\0\0\0\0\0\0\x0d");
    }
}
