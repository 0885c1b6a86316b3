//! What is known about a rejected request.
//!
//! Only the answer is required. Each further part lets more causes be distinguished.

use std::fmt;
use std::time::SystemTime;

/// What is known about a request that AWS rejected.
#[derive(Clone, Default)]
pub struct Evidence {
    pub answer: Answer,
    /// The request as it was sent: an HTTP request, a WebSocket handshake or a realtime message.
    pub request: Option<Request>,
    /// The canonical request that the signer computed.
    pub canonical_request: Option<String>,
    /// The string that the signer signed.
    pub string_to_sign: Option<String>,
    /// When the answer arrived, by a clock that is right. A `date` header of the answer takes precedence.
    pub answered_at: Option<SystemTime>,
    /// The credentials that should have signed the request.
    pub credentials: Option<Credentials>,
    /// Whether countersign signed the request. The canonical request is then the one that follows from
    /// `request`.
    pub is_own: bool,
}

/// AWS's answer, or as much of it as is known.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    /// The body of a response, the JSON of a realtime message, or a pasted text in which either occurs.
    pub body: String,
}

/// A request as it was sent.
#[derive(Clone, Default)]
pub struct Request {
    /// Empty for a realtime message.
    pub method: String,
    /// The path and query, or the whole URL, as in the request line; empty for a realtime message.
    pub target: String,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// `None` if the body is not known; empty if there was none.
    pub body: Option<Vec<u8>>,
}

/// Credentials, to compare with those of a request. No diagnosis contains the secrets.
#[derive(Clone, Default)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

// === impl Evidence ===

/// Shows which parts are known, but not the canonical request, which can contain a session token.
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("answer", &self.answer)
            .field("request", &self.request)
            .field("canonical_request", &self.canonical_request.is_some())
            .field("string_to_sign", &self.string_to_sign.is_some())
            .field("answered_at", &self.answered_at)
            .field("credentials", &self.credentials)
            .field("is_own", &self.is_own)
            .finish()
    }
}

// === impl Answer ===

impl Answer {
    /// Returns the first value of a header. `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// Shows no body, which can echo session tokens.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

// === impl Request ===

impl Request {
    /// Returns a realtime message: the JSON of a `start`, `subscribe` or `publish`.
    pub fn message(json: &str) -> Self {
        Self {
            body: Some(json.as_bytes().to_vec()),
            ..Self::default()
        }
    }
}

/// Shows neither headers, target nor body, which contain signatures and tokens.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

// === impl Credentials ===

/// Shows neither the secret nor the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Returns the first value of a header whose name is `name`, in lower case.
pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers
        .iter()
        .filter(|(candidate, _)| candidate.trim().eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}
