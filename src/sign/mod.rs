//! SigV4: what signs, with what, and when.
//!
//! A [`Signer`] belongs to one route: it has a [`Scope`], the wire host and an
//! [`Identity`] whose credentials a background task keeps fresh. It signs
//! final bytes, last, over a minimal header set: `host`, `x-amz-date`, `x-amz-security-token`
//! when the credentials have one, and the headers the caller names. It opens no socket and reads
//! no clock: the time is passed in.

pub mod clock;
pub mod credentials;
pub mod redact;
mod target;

use std::sync::Arc;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningError, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use credentials::{CredentialsError, Identity, Snapshot};
pub(crate) use target::decode;
pub use target::{Refusal, Target};

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
    host: String,
    identity: Arc<Identity>,
}

/// The final bytes of a request, as they go on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    pub method: &'a str,
    /// Path and query, normalised ([`Target`]).
    pub target: &'a str,
    /// Headers to sign beside `host`, lower case; each must go out with this value.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// The headers that a signature adds: `authorization`, `x-amz-date` and, for temporary
/// credentials, `x-amz-security-token`. Secret values are marked sensitive.
pub type SignedHeaders = Vec<(HeaderName, HeaderValue)>;

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
    Params(#[source] v4::signing_params::BuildError),
}

// === impl Signer ===

impl Signer {
    /// `host` is the wire Host: with its port, unless that is 443.
    pub fn new(scope: Scope, host: String, identity: Arc<Identity>) -> Self {
        Self {
            scope,
            host,
            identity,
        }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
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
    ) -> Result<SignedHeaders, SignError> {
        let mut settings = SigningSettings::default();
        // The wire target is normalised before signing, so both must agree as they are.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        // The callers name what is to be signed; nothing else reaches the crate.
        settings.excluded_headers = None;
        let params = v4::SigningParams::builder()
            .identity(credentials.identity())
            .region(&self.scope.region)
            .name(&self.scope.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(SignError::Params)?
            .into();
        let uri = format!("https://{}{}", self.host, request.target);
        let headers =
            std::iter::once(("host", self.host.as_str())).chain(request.headers.iter().copied());
        let signable = SignableRequest::new(
            request.method,
            uri,
            headers,
            SignableBody::Bytes(request.body),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let (headers, _) = instructions.into_parts();
        headers
            .into_iter()
            .map(|header| {
                let name = HeaderName::from_static(header.name());
                let mut value = HeaderValue::from_str(header.value())?;
                // The crate does not mark `authorization`; its Debug would print the signature.
                value.set_sensitive(header.sensitive() || name == AUTHORIZATION);
                Ok((name, value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
