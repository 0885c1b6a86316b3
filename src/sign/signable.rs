//! What is signed, the result, and errors.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_sigv4::http_request::SigningError;
use http::header::{HeaderName, HeaderValue};

use super::credentials::{CredentialsError, Snapshot};
use super::style::SigningStyle;
use super::target::RequestTarget;

/// The value of `x-amz-content-sha256`, and the hash in the canonical request, if the signature does not
/// cover the body.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The credential scope of a signature: `{date}/{region}/{service}/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub region: String,
    pub service: String,
}

/// What determines a signature, apart from the request and the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) scope: &'a Scope,
    pub(super) style: SigningStyle,
    pub(super) host: &'a str,
    pub(super) credentials: &'a Arc<Snapshot>,
}

/// The final bytes of a request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    pub method: &'a str,
    /// The normalized path and query ([`RequestTarget`]).
    pub target: &'a str,
    /// Headers to sign in addition to `host`, with lower-case names. Each must be sent with this value.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// The headers of a signature, with lower-case names. Secret values are marked as sensitive.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

/// The parts of a signature to add to a request.
#[derive(Clone)]
pub struct Signed {
    /// `authorization`, `x-amz-date`, for temporary credentials `x-amz-security-token`, and
    /// `x-amz-content-sha256` where [`PayloadSigning`](super::PayloadSigning) requires it.
    pub headers: SignedHeaders,
    /// Parameters to append to the query of the target, `name=value&…`; only for
    /// [`SignaturePlacement::Query`](super::SignaturePlacement::Query).
    pub query: Option<String>,
}

/// Why a request could not be signed. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(
        "the credentials cannot be sent in a header: the access key or session token contains an invalid byte"
    )]
    Header(#[from] http::header::InvalidHeaderValue),
    #[error("the request cannot be signed")]
    Sigv4(#[from] SigningError),
    #[error("the signing parameters are incomplete")]
    Params(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Signed ===

impl Signed {
    /// Returns `target` with the query parameters of the signature.
    pub fn target<'a>(&self, target: &'a RequestTarget) -> Cow<'a, str> {
        let target = target.as_str();
        match &self.query {
            None => Cow::Borrowed(target),
            Some(query) if target.contains('?') => Cow::Owned(format!("{target}&{query}")),
            Some(query) => Cow::Owned(format!("{target}?{query}")),
        }
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
