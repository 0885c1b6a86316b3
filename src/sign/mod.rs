//! SigV4: what signs, with what, and when.
//!
//! A [`Signer`] belongs to one route: it has a [`Scope`], the wire host and an
//! [`CredentialSource`] whose credentials a background task keeps fresh. It signs
//! final bytes, last, over a minimal header set: `host`, `x-amz-date`, `x-amz-security-token`
//! when the credentials have one, and the headers the caller names. It opens no socket and reads
//! no clock: the time is passed in.

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
pub use style::{Algorithm, Payload, Placement, SigningStyle, TokenMode};
pub(crate) use target::decode;
use target::push_strictly;
pub use target::{PathHandling, RequestTarget, TargetError};

/// Where a signature is valid: `{date}/{region}/{service}/aws4_request`.
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
    identity: Arc<CredentialSource>,
}

/// The final bytes of a request, as they go on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    pub method: &'a str,
    /// Path and query, normalised ([`RequestTarget`]).
    pub target: &'a str,
    /// Headers to sign beside `host`, lower case; each must go out with this value.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// VPC Lattice user guide, "SIGv4 authenticated requests".
const UNSIGNED_PAYLOAD: (&str, &str) = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");

/// Names are lower case; secret values are marked sensitive.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

/// What a signature adds to a request.
#[derive(Clone)]
pub struct Signed {
    /// `authorization`, `x-amz-date`, for temporary credentials `x-amz-security-token`, and
    /// `x-amz-content-sha256` where the [`Payload`] wants it.
    pub headers: SignedHeaders,
    /// `name=value&…`, to be added to the target's query; for [`Placement::Query`] alone.
    pub query: Option<String>,
}

/// Why a request was not signed. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(
        "the credentials cannot be written as a header: the session token or key has a bad byte"
    )]
    Header(#[from] http::header::InvalidHeaderValue),
    #[error("the request cannot be signed")]
    Sigv4(#[from] SigningError),
    #[error("the signing parameters are incomplete")]
    Params(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Signer ===

impl Signer {
    /// `host` is the wire Host: with its port, unless that is 443.
    pub fn new(
        scope: Scope,
        style: SigningStyle,
        host: String,
        identity: Arc<CredentialSource>,
    ) -> Self {
        Self {
            scope,
            style,
            host,
            identity,
        }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn style(&self) -> SigningStyle {
        self.style
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// The credentials to sign with now.
    ///
    /// # Errors
    /// [`CredentialsError`] when there are none that are valid at `now`.
    pub async fn credentials(&self, now: SystemTime) -> Result<Arc<Snapshot>, CredentialsError> {
        self.identity.current(now).await
    }

    /// Signs `request` as it stands at `now`.
    ///
    /// # Errors
    /// [`SignError`]; then the request must not go out.
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
        let (body, marker) = match (self.style.payload, self.style.placement) {
            (Payload::Hashed | Payload::HashedInHeader, _) => {
                (SignableBody::Bytes(request.body), None)
            }
            (Payload::Unsigned, Placement::Headers) => (SignableBody::UnsignedPayload, None),
            // The crate adds this header to headers only.
            (Payload::Unsigned, Placement::Query { .. }) => {
                (SignableBody::UnsignedPayload, Some(UNSIGNED_PAYLOAD))
            }
        };
        let headers = std::iter::once(("host", self.host.as_str()))
            .chain(marker)
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
            // The crate does not mark `authorization`; its Debug would print the signature.
            value.set_sensitive(header.sensitive() || name == AUTHORIZATION);
            signed.headers.push((name, value));
        }
        if let Some((name, value)) = marker {
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
        // The wire target is normalised before signing, so both must agree as they are.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        // The callers name what is to be signed; nothing else reaches the crate.
        settings.excluded_headers = None;
        if let Placement::Query { expires } = self.placement {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
        }
        settings.session_token_mode = match self.token {
            TokenMode::Signed => SessionTokenMode::Include,
            TokenMode::Appended => SessionTokenMode::Exclude,
        };
        settings.payload_checksum_kind = match self.payload {
            Payload::Hashed => PayloadChecksumKind::NoHeader,
            Payload::HashedInHeader | Payload::Unsigned => PayloadChecksumKind::XAmzSha256,
        };
        settings
    }
}

// === impl Signed ===

impl Signed {
    /// `target` as it is to be sent.
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
