//! Signs requests with AWS Signature Version 4.
//!
//! A [`Signer`] belongs to one route. It has a [`Scope`], the wire host, and a [`CredentialSource`]
//! whose credentials a background task refreshes. It signs the final bytes of a request, with a minimal
//! set of headers: `host`, `x-amz-date`, `x-amz-security-token` for temporary credentials, and the
//! headers that the caller lists. It opens no socket and reads no clock: the caller passes the time.

pub mod clock;
pub mod credentials;
pub mod redact;
mod style;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningError, SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::{v4, v4a};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tracing::trace;

use credentials::{CredentialSource, CredentialsError, Snapshot};
pub use style::{Algorithm, PayloadSigning, SignaturePlacement, SigningStyle, TokenMode};
pub(crate) use target::decode;
use target::push_strictly;
pub use target::{PathHandling, RequestTarget, TargetError};

/// The credential scope of a signature: `{date}/{region}/{service}/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub region: String,
    pub service: String,
}

/// Signs the requests of one route.
#[derive(Clone, Debug)]
pub struct Signer {
    scope: Scope,
    style: SigningStyle,
    host: String,
    credentials: Arc<CredentialSource>,
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

/// The header that excludes the body from the signature (VPC Lattice user guide, "SIGv4 authenticated
/// requests").
const UNSIGNED_PAYLOAD: (&str, &str) = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");

/// The headers of a signature, with lower-case names. Secret values are marked as sensitive.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

/// The parts of a signature to add to a request.
#[derive(Clone)]
pub struct Signed {
    /// `authorization`, `x-amz-date`, for temporary credentials `x-amz-security-token`, and
    /// `x-amz-content-sha256` where the [`PayloadSigning`] requires it.
    pub headers: SignedHeaders,
    /// Parameters to append to the query of the target, `name=value&…`; only for
    /// [`SignaturePlacement::Query`].
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

// === impl Signer ===

impl Signer {
    /// Creates a signer. `host` is the `Host` header as it is sent: with the port, unless that is 443.
    pub fn new(
        scope: Scope,
        style: SigningStyle,
        host: String,
        credentials: Arc<CredentialSource>,
    ) -> Self {
        Self {
            scope,
            style,
            host,
            credentials,
        }
    }

    /// Returns the credential scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns how the service requires requests to be signed.
    pub fn style(&self) -> SigningStyle {
        self.style
    }

    /// Returns the wire host that signatures cover.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the source of the credentials.
    pub fn credential_source(&self) -> &CredentialSource {
        &self.credentials
    }

    /// Returns the credentials to sign with at `now`.
    ///
    /// # Errors
    /// [`CredentialsError`] when there are no valid credentials.
    pub async fn credentials(&self, now: SystemTime) -> Result<Arc<Snapshot>, CredentialsError> {
        self.credentials.current(now).await
    }

    /// Signs `request` at the time `now`.
    ///
    /// # Errors
    /// [`SignError`]; the request must then not be sent.
    pub fn sign(
        &self,
        credentials: &Snapshot,
        request: &Signable<'_>,
        now: SystemTime,
    ) -> Result<Signed, SignError> {
        trace!(service = self.scope.service, "signing");
        let identity = credentials.identity();
        let params: SigningParams<'_> = match self.style.algorithm {
            Algorithm::V4 => v4::SigningParams::builder()
                .identity(identity)
                .region(&self.scope.region)
                .name(&self.scope.service)
                .time(now)
                .settings(self.style.settings())
                .build()
                .map_err(|error| SignError::Params(error.into()))?
                .into(),
            Algorithm::V4a => v4a::SigningParams::builder()
                .identity(identity)
                .region_set(&self.scope.region)
                .name(&self.scope.service)
                .time(now)
                .settings(self.style.settings())
                .build()
                .map_err(|error| SignError::Params(error.into()))?
                .into(),
        };
        let uri = format!("https://{}{}", self.host, request.target);
        let (body, extra_header) = match (self.style.payload, self.style.placement) {
            (PayloadSigning::Hashed | PayloadSigning::HashedInHeader, _) => {
                (SignableBody::Bytes(request.body), None)
            }
            (PayloadSigning::Unsigned, SignaturePlacement::Headers) => {
                (SignableBody::UnsignedPayload, None)
            }
            // aws-sigv4 adds this header only when the signature is in the headers.
            (PayloadSigning::Unsigned, SignaturePlacement::Query { .. }) => {
                (SignableBody::UnsignedPayload, Some(UNSIGNED_PAYLOAD))
            }
        };
        let headers = std::iter::once(("host", self.host.as_str()))
            .chain(extra_header)
            .chain(request.headers.iter().copied());
        let signable = SignableRequest::new(request.method, uri, headers, body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let (headers, parameters) = instructions.into_parts();
        let mut signed = Signed {
            headers: Vec::with_capacity(headers.len() + 1),
            query: None,
        };
        for header in headers {
            let name = HeaderName::from_static(header.name());
            let mut value = HeaderValue::from_str(header.value())?;
            // aws-sigv4 does not mark `authorization` as sensitive, so Debug output would contain the
            // signature.
            value.set_sensitive(header.sensitive() || name == AUTHORIZATION);
            signed.headers.push((name, value));
        }
        if let Some((name, value)) = extra_header {
            let name = HeaderName::from_static(name);
            signed.headers.push((name, HeaderValue::from_static(value)));
        }
        for (name, value) in parameters {
            let query = signed.query.get_or_insert_default();
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            push_strictly(query, &value);
        }
        Ok(signed)
    }
}

// === impl SigningStyle ===

impl SigningStyle {
    fn settings(self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        // The target has already been normalized, and is sent as it is.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        // By default aws-sigv4 excludes some headers, which a caller may have listed.
        settings.excluded_headers = None;
        if let SignaturePlacement::Query { expires } = self.placement {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
        }
        settings.session_token_mode = match self.token {
            TokenMode::Signed => SessionTokenMode::Include,
            TokenMode::Appended => SessionTokenMode::Exclude,
        };
        settings.payload_checksum_kind = match self.payload {
            PayloadSigning::Hashed => PayloadChecksumKind::NoHeader,
            PayloadSigning::HashedInHeader | PayloadSigning::Unsigned => {
                PayloadChecksumKind::XAmzSha256
            }
        };
        settings
    }
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

#[cfg(test)]
mod tests;
