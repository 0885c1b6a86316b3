//! The id of a request: the name by which its client, the log and its errors refer to it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the id of a request, in the request and its response.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Id);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    /// It is written as 16 hexadecimal digits.
    Made(u64),
    /// The client chose it.
    Given(Arc<str>),
}

/// The maximum length of an id that a client chose, in bytes.
const MAX_LENGTH: usize = 128;
static KEY: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
static NEXT: AtomicU64 = AtomicU64::new(1);

impl RequestId {
    /// The length of an id that countersign made, in bytes.
    pub const LENGTH: usize = 16;
    /// The member of an error that contains the id.
    pub const MEMBER: &str = "requestId";

    /// Makes an id. No other in this process is the same, and those of other processes differ by a random
    /// key.
    #[expect(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        // The factor is odd, so that no product occurs twice; its bits make neighbours look different.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Id::Made(number.wrapping_mul(FACTOR) ^ *KEY))
    }

    /// Returns the id that a client sent, if it is short and consists of visible ASCII characters.
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(X_REQUEST_ID)?.to_str().ok()?;
        let is_sane = (1..=MAX_LENGTH).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_graphic());
        is_sane.then(|| Self(Id::Given(value.into())))
    }

    /// Returns whether the client chose the id.
    pub fn is_given(&self) -> bool {
        matches!(self.0, Id::Given(_))
    }

    /// Returns the id as text, which is in `buffer` if countersign made the id.
    pub fn text<'a>(&'a self, buffer: &'a mut [u8; Self::LENGTH]) -> &'a str {
        match &self.0 {
            Id::Given(text) => text,
            Id::Made(number) => {
                for (at, digit) in buffer.iter_mut().enumerate() {
                    let nibble = number >> (4 * (Self::LENGTH - 1 - at)) & 0xf;
                    *digit = b"0123456789abcdef"[nibble as usize];
                }
                std::str::from_utf8(buffer).unwrap_or_default()
            }
        }
    }

    /// Returns the id as the value of [`X_REQUEST_ID`].
    pub fn header_value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.text(&mut [0; Self::LENGTH])).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::LENGTH]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn made_ids_are_16_digits_and_differ() {
        let ids: HashSet<String> = (0..10_000).map(|_| RequestId::new().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        for id in &ids {
            assert!(
                id.len() == RequestId::LENGTH && id.bytes().all(is_digit),
                "{id}"
            );
        }
        let starts: HashSet<&str> = ids.iter().map(|id| &id[..4]).collect();
        assert!(starts.len() > 5_000, "{}", starts.len());
        let zero = RequestId(Id::Made(0xab)).to_string();
        assert_eq!(zero, "00000000000000ab");
    }

    #[test]
    fn only_short_visible_ids_of_clients_are_taken() {
        let long = "x".repeat(MAX_LENGTH);
        let too_long = "x".repeat(MAX_LENGTH + 1);
        for (value, is_taken) in [
            ("7f3c-Ab/9=\"", true),
            (&long, true),
            (&too_long, false),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("\u{e9}", false),
        ] {
            let mut headers = HeaderMap::new();
            let header = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.insert(X_REQUEST_ID, header);
            let given = RequestId::given(&headers).map(|id| id.to_string());
            assert_eq!(given, is_taken.then(|| value.to_owned()), "{value:?}");
        }
        assert_eq!(RequestId::given(&HeaderMap::new()), None);
    }
}
