//! Who may use the inspector's API.
//!
//! The admin listener's access rules have been applied before: `Host`, `Origin` and fetch metadata. In
//! addition, each request must have a header that no page of another origin can send without a preflight,
//! and preflights are not granted. On an address that is not loopback, and if clients of the proxied port
//! need a token, the header must contain a key.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use super::respond::ApiError;
use crate::guard::Guard;

/// The header of each request to the API. It contains the key if there is one.
const HEADER: HeaderName = HeaderName::from_static("x-countersign-inspector");
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-countersign-token");

/// Decides who may use the API.
#[derive(Debug)]
pub(super) struct Access {
    guard: Guard,
    key: Option<Key>,
}

/// The key of the URL that is printed at the start.
pub(super) struct Key(String);

impl Access {
    /// `needs_key`: the address is not loopback, or clients of the proxied port need a token.
    pub(super) fn new(guard: Guard, needs_key: bool) -> Self {
        Self {
            guard,
            key: needs_key.then(Key::random),
        }
    }

    /// Returns the fragment of the page's URL: `#key=…`, or nothing.
    pub(super) fn fragment(&self) -> String {
        let key = self.key.as_ref();
        key.map_or_else(String::new, |Key(key)| format!("#key={key}"))
    }

    /// Checks the header of a request.
    ///
    /// # Errors
    /// If it is missing, or its key is not valid.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut values = headers.get_all(HEADER).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ApiError::HeaderMissing);
        };
        let Some(Key(key)) = &self.key else {
            return Ok(());
        };
        let is_key = !key.is_empty() && bool::from(key.as_bytes().ct_eq(value.as_bytes()));
        if is_key || self.is_token(value) {
            return Ok(());
        }
        if value.len() < SHORTEST_KEY {
            return Err(ApiError::KeyMissing);
        }
        Err(ApiError::KeyWrong)
    }

    /// Returns whether a value is a token of `guard.token_file`.
    fn is_token(&self, value: &HeaderValue) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, value.clone());
        self.guard.has_unrestricted_token(&headers)
    }
}

/// Shorter values are not keys.
const SHORTEST_KEY: usize = 16;

impl Key {
    /// Returns a new key. Without randomness it is empty, and then no key is valid.
    fn random() -> Self {
        let mut bytes = [0_u8; 24];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            return Self(String::new());
        }
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        Self(hex.collect())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardConfig;

    fn check(access: &Access, value: Option<&str>, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(HEADER, value.parse().unwrap());
        }
        let found = access.check(&headers).err();
        let found = found.map(|error| format!("{error:?}"));
        assert_eq!(found.as_deref(), expected, "{value:?}");
    }

    #[test]
    fn each_request_needs_the_header_and_elsewhere_the_key() {
        let guard = || Guard::new(GuardConfig::default()).unwrap();
        let local = Access::new(guard(), false);
        assert_eq!(local.fragment(), "");
        check(&local, None, Some("HeaderMissing"));
        check(&local, Some("1"), None);
        let remote = Access::new(guard(), true);
        let fragment = remote.fragment();
        let key = fragment.strip_prefix("#key=").unwrap();
        assert_eq!(key.len(), 48);
        check(&remote, Some(key), None);
        check(&remote, Some("1"), Some("KeyMissing"));
        check(&remote, Some(&"0".repeat(48)), Some("KeyWrong"));
        check(&remote, Some(""), Some("KeyMissing"));
        assert_ne!(Access::new(guard(), true).fragment(), fragment);
        assert!(!format!("{remote:?}").contains(key));
    }
}
