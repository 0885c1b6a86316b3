//! Rejects requests whose length is ambiguous, beyond those that hyper rejects.
//!
//! When two servers disagree about the length of a request, another request can be smuggled in its
//! body. countersign reads every body to its end and frames it itself, so nothing reaches upstream
//! that way. Ambiguous requests are rejected nevertheless, and their connections are closed. hyper
//! hides some of them: it keeps one of two equal lengths, and none beside `Transfer-Encoding`. Therefore
//! [`Framing`] reads the bytes, too, and [`check`] evaluates the head.

use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Version};
use hyper::body::{Body as _, Incoming};

use crate::guard::is_same_header;
use crate::proxy::Error;

/// Follows the requests of a connection through its bytes.
#[derive(Debug, Default)]
pub(super) struct Framing {
    at: At,
    /// The start of the current line.
    line: Vec<u8>,
    /// The start of the latest request line that is complete.
    request_line: Vec<u8>,
    /// The number of header lines in the latest head.
    headers: usize,
    is_http2: bool,
    /// The number of headers in the current head that give a length, and the value of the last one.
    lengths: usize,
    length: u64,
    is_chunked: bool,
    is_ambiguous: bool,
    /// The number of heads that are complete.
    heads: usize,
    /// Whether the current head has the header `Upgrade`.
    has_upgrade: bool,
    /// Whether hyper is prepared for every head.
    is_prepared: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a request line.
    #[default]
    Start,
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    /// Before the line end that follows a chunk.
    ChunkEnd,
    Trailers,
    /// hyper rejects what was read.
    Invalid,
}

/// The number of bytes of a line that are kept. Every valid line with a length is shorter.
const MAX_LINE: usize = 128;
/// The number of headers for which hyper has room without an allocation.
const FEW_HEADERS: usize = 100;
/// The start of the preface of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2";

impl Framing {
    /// Follows `bytes`, and returns how many of them hyper can read: before the others, it must be prepared
    /// for more than [`FEW_HEADERS`], or for an upgrade.
    pub(super) fn read(&mut self, all: &[u8]) -> usize {
        let mut bytes = all;
        while let [next, ..] = bytes {
            if self.needs_preparation(*next) {
                return all.len() - bytes.len();
            }
            bytes = match self.at {
                At::Invalid => break,
                At::Body(remaining) => {
                    let (skipped, rest) = skip(bytes, remaining);
                    self.at = match remaining - skipped {
                        0 => At::Start,
                        remaining => At::Body(remaining),
                    };
                    rest
                }
                At::Chunk(remaining) => {
                    let (skipped, rest) = skip(bytes, remaining);
                    self.at = match remaining - skipped {
                        0 => At::ChunkEnd,
                        remaining => At::Chunk(remaining),
                    };
                    rest
                }
                At::Start | At::Head | At::ChunkSize | At::ChunkEnd | At::Trailers => {
                    let end = memchr::memchr(b'\n', bytes);
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    let space = MAX_LINE - self.line.len();
                    let line = line.get(..space).unwrap_or(line);
                    self.line.extend_from_slice(line);
                    if end.is_some() {
                        self.at = self.line();
                        self.line.clear();
                    }
                    rest
                }
            };
        }
        all.len()
    }

    /// Returns whether hyper must be prepared for the head whose next byte is `next`.
    fn needs_preparation(&self, next: u8) -> bool {
        let is_between_lines = self.at == At::Head && self.line.is_empty();
        let is_another_header = !matches!(next, b'\r' | b'\n');
        is_between_lines
            && !self.is_prepared
            && (self.has_upgrade || (self.headers >= FEW_HEADERS && is_another_header))
    }

    /// Begins the current head again, for which hyper is prepared now.
    pub(super) fn prepared(&mut self) {
        self.is_prepared = true;
        self.at = At::Start;
        self.lengths = 0;
        self.is_chunked = false;
    }

    /// Returns whether no byte of the next request has arrived.
    pub(super) fn is_between_requests(&self) -> bool {
        self.at == At::Start && self.line.is_empty()
    }

    /// Returns the number of heads that have arrived completely.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// Returns the start of the latest request line, which may be incomplete.
    pub(super) fn request_line(&self) -> &[u8] {
        if self.at == At::Start && !self.line.is_empty() {
            &self.line
        } else {
            &self.request_line
        }
    }

    /// Returns the number of header lines in the latest head.
    pub(super) fn headers(&self) -> usize {
        self.headers
    }

    /// Returns whether the connection begins with HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2 || self.begins_http2()
    }

    fn begins_http2(&self) -> bool {
        self.heads == 0 && self.at == At::Start && self.line.starts_with(HTTP2)
    }

    /// Returns whether a request of this connection gave its length more than once.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// Returns the state after a complete line.
    fn line(&mut self) -> At {
        let line = self.line.trim_ascii_end();
        match self.at {
            At::Start if line.is_empty() => At::Start,
            At::Start => {
                self.is_http2 |= self.begins_http2();
                self.headers = 0;
                self.has_upgrade = false;
                std::mem::swap(&mut self.line, &mut self.request_line);
                At::Head
            }
            At::Head if line.is_empty() => self.end_of_head(),
            At::Head => {
                self.headers += 1;
                self.header();
                At::Head
            }
            At::ChunkSize => {
                let digits = line.split(|byte| !byte.is_ascii_hexdigit()).next();
                if digits.is_some_and(|digits| digits.len() == MAX_LINE) {
                    self.is_ambiguous = true;
                    return At::Invalid;
                }
                let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
                match digits.map(|digits| u64::from_str_radix(digits, 16)) {
                    Some(Ok(0)) => At::Trailers,
                    Some(Ok(size)) => At::Chunk(size),
                    Some(Err(_)) | None => At::Invalid,
                }
            }
            At::ChunkEnd if line.is_empty() => At::ChunkSize,
            At::Trailers if line.is_empty() => At::Start,
            At::Trailers => At::Trailers,
            At::ChunkEnd | At::Body(_) | At::Chunk(_) | At::Invalid => At::Invalid,
        }
    }

    fn header(&mut self) {
        let mut parts = self.line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return;
        };
        if name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()) {
            let value = str::from_utf8(value.trim_ascii()).ok();
            // hyper rejects a value that is not a number.
            self.length = value.and_then(|text| text.parse().ok()).unwrap_or(0);
            self.lengths += 1;
            // hyper may have read more of the line.
            self.is_ambiguous |= self.line.len() == MAX_LINE;
        } else if name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str().as_bytes()) {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(UPGRADE.as_str().as_bytes()) {
            self.has_upgrade = true;
        }
    }

    fn end_of_head(&mut self) -> At {
        self.heads += 1;
        self.is_ambiguous |= self.lengths + usize::from(self.is_chunked) > 1;
        let length = std::mem::take(&mut self.length);
        self.lengths = 0;
        match (std::mem::take(&mut self.is_chunked), length) {
            (true, _) => At::ChunkSize,
            (false, 0) => At::Start,
            (false, length) => At::Body(length),
        }
    }
}

/// Skips at most `remaining` bytes. Returns the number of skipped bytes, and the rest.
fn skip(bytes: &[u8], remaining: u64) -> (u64, &[u8]) {
    let skipped =
        usize::try_from(remaining).map_or(bytes.len(), |remaining| remaining.min(bytes.len()));
    (skipped as u64, bytes.split_at(skipped).1)
}

/// Checks the framing of a request.
///
/// # Errors
/// When the framing is ambiguous. The connection must then be closed.
pub(super) fn check(request: &Request<Incoming>, is_ambiguous: bool) -> Result<(), Error> {
    if request.version() != Version::HTTP_11 {
        return Err(Error::HttpVersion);
    }
    if is_ambiguous {
        return Err(Error::Framing(
            "its length is given more than once, by Content-Length or Transfer-Encoding",
        ));
    }
    check_headers(request.headers())?;
    match *request.method() {
        Method::CONNECT | Method::TRACE => Err(Error::Method {
            method: request.method().to_string(),
            allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        }),
        _ => Ok(()),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    let mut codings = 0;
    for value in headers.get_all(TRANSFER_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            if !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Error::TransferCoding);
            }
            codings += 1;
        }
    }
    if codings > 1 {
        return Err(Error::Framing("it is chunked more than once"));
    }
    if headers
        .keys()
        .any(|name| is_framing_lookalike(name.as_str()))
    {
        return Err(Error::Framing(
            "some servers would read one of its headers as Content-Length or Transfer-Encoding",
        ));
    }
    let mut expectations = headers.get_all(EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Error::Expectation);
    }
    Ok(())
}

/// Returns whether a server could read a name such as `transfer_encoding` or `content--length` as a
/// framing header.
fn is_framing_lookalike(name: &str) -> bool {
    let is_same = |real: &str| name != real && is_same_header(name, real);
    is_same(TRANSFER_ENCODING.as_str()) || is_same(CONTENT_LENGTH.as_str())
}

/// Returns whether the request has a body where other servers expect none (RFC 9110, section 9.3.1). The
/// connection must then be closed.
pub(super) fn has_odd_body(request: &Request<Incoming>) -> bool {
    let is_bodiless = matches!(*request.method(), Method::GET | Method::HEAD);
    is_bodiless && !request.body().is_end_stream()
}

#[cfg(test)]
mod tests;
