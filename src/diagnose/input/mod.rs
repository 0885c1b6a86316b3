//! Reads what users paste: answers of AWS, requests, canonical requests and strings to sign.
//!
//! Each reader accepts the forms in which terminals, logs, browsers and programming languages show these
//! texts. Readers neither do I/O nor read a clock, and no input makes them panic.

mod answer;
mod canonical;
mod curl;
mod curl_signing;
mod har;
mod http_text;
mod json_errors;
mod literal;
mod request;
mod shell;
mod terminal;
#[cfg(test)]
mod tests;
mod time;
mod url;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encode::decode as percent_decode;
use super::unescape::unescape;

pub use answer::{ReadAnswer, read_answer};
pub use canonical::{read_canonical_request, read_string_to_sign};
pub use curl_signing::{CurlSigning, read_curl_signing};
pub use request::read_request;
pub use time::read_time;

/// The maximum size of one input, in bytes.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;

/// One of so many bytes of a text may be invalid.
const MAX_INVALID: usize = 4;

/// Names and values of headers, in their order.
type Headers = Vec<(String, String)>;

/// Why an input cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {} MiB: cut it to the request that failed", MAX_INPUT / 1024 / 1024)]
    TooLarge,
    #[error("is not text: it contains bytes that are neither UTF-8 nor UTF-16")]
    Binary,
    #[error(
        "has no request: it must be HTTP text (POST /path HTTP/1.1 and the headers), a curl command, a HAR \
         file or entry, or a realtime frame"
    )]
    NoRequest,
    #[error(
        "is a HAR file without entries: reload the page with the network panel open, and save again"
    )]
    EmptyHar,
    #[error("has a curl command with an unclosed quote: copy the whole command")]
    OpenQuote,
    #[error("is a request, not an answer: give it with --request, and AWS's answer with --answer")]
    NotAnswer,
    #[error("has a curl command without a URL")]
    NoUrl,
    #[error(
        "has a curl command with the shell variable {0}: replace it by its value (secrets are masked in the \
         output), or give the output of curl -v"
    )]
    Variable(String),
    #[error(
        "has a curl command with --aws-sigv4, and curl signs it only when it runs: give the output of curl -v, \
         which shows the headers that curl sent"
    )]
    SignedByCurl,
    #[error(
        "is AWS's answer, with what AWS computed: print the canonical request and the string to sign that your own \
         code computes, before the signature"
    )]
    OfAws,
    #[error("is a string to sign: give it with --string-to-sign")]
    NotCanonical,
    #[error(
        "is not a string to sign, which has four lines: AWS4-HMAC-SHA256, the time, the scope, and the hash of \
         the canonical request"
    )]
    NotStringToSign,
    #[error(
        "is not a time: use a form such as 2026-01-15T12:00:00Z, 20260115T120000Z or 1768478400"
    )]
    NotTime,
}

/// Returns the text of a file: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it. Bytes that
/// are not UTF-8 are read as Latin-1, which old programs write.
pub fn decode(bytes: &[u8]) -> Result<String, InputError> {
    if bytes.len() > MAX_INPUT {
        return Err(InputError::TooLarge);
    }
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        let text = String::from_utf16_lossy(&units);
        odd.is_empty().then_some(text).ok_or(InputError::Binary)
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
        bytes => utf8(bytes)?,
    };
    if text.contains('\0') {
        return Err(InputError::Binary);
    }
    if text.trim().is_empty() {
        return Err(InputError::Empty);
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<String, InputError> {
    let mut text = String::with_capacity(bytes.len());
    let mut invalid = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        invalid += chunk.invalid().len();
        // 0x80 to 0x9f are control characters.
        text.extend(chunk.invalid().iter().map(|byte| match byte {
            0xa0.. => char::from(*byte),
            _ => char::REPLACEMENT_CHARACTER,
        }));
    }
    if invalid * MAX_INVALID > bytes.len() {
        return Err(InputError::Binary);
    }
    Ok(text)
}

/// Returns a text without the encodings of URLs, JSON and HTML, each of which is removed once.
pub fn decoded(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    if text.contains('%') {
        text = String::from_utf8_lossy(&percent_decode(&text))
            .into_owned()
            .into();
    }
    if text.contains('\\') {
        text = unescape(&text).into();
    }
    for (entity, char) in [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ] {
        if text.contains(entity) {
            text = text.replace(entity, char).into();
        }
    }
    text.into_owned()
}

/// Decodes base64 in the usual alphabet, if it is that of a text.
pub fn decoded_base64(text: &[u8]) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// Returns the value of a header.
fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
