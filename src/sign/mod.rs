//! Signs requests with AWS Signature Version 4.
//!
//! A [`Signer`] belongs to one route. It has a [`Scope`], the wire host, and a [`CredentialSource`]
//! whose credentials a background task refreshes. It signs the final bytes of a request, with a minimal
//! set of headers: `host`, `x-amz-date`, `x-amz-security-token` for temporary credentials, and the
//! headers that the caller lists. It opens no socket and reads no clock: the caller passes the time.

pub mod clock;
pub mod credentials;
pub mod redact;
mod signable;
mod style;
mod target;
mod v4;
mod v4a;

use std::sync::Arc;
use std::time::SystemTime;

use tracing::trace;

use credentials::{CredentialSource, CredentialsError, Snapshot};
use signable::Context;
pub use signable::{Scope, SignError, Signable, Signed, SignedHeaders};
pub use style::{Algorithm, PayloadSigning, SignaturePlacement, SigningStyle, TokenMode};
pub use target::{PathHandling, RequestTarget, TargetError};
pub(crate) use target::{decode, push_strictly};
use v4::SigningKey;

/// Signs the requests of one route.
#[derive(Clone, Debug)]
pub struct Signer {
    scope: Scope,
    style: SigningStyle,
    host: String,
    credentials: Arc<CredentialSource>,
    key: Arc<SigningKey>,
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
            key: Arc::default(),
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

    /// Returns the same signer for presigned URLs, which are valid for five minutes.
    #[must_use]
    pub fn presigning(&self) -> Self {
        let mut signer = self.clone();
        signer.style.placement = SignaturePlacement::PRESIGNED;
        signer
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
        credentials: &Arc<Snapshot>,
        request: &Signable<'_>,
        now: SystemTime,
    ) -> Result<Signed, SignError> {
        trace!(service = self.scope.service, "signing");
        let context = Context {
            scope: &self.scope,
            style: self.style,
            host: &self.host,
            credentials,
        };
        match self.style.algorithm {
            Algorithm::V4 => v4::sign(&context, &self.key, request, now),
            Algorithm::V4a => v4a::sign(&context, request, now),
        }
    }
}

#[cfg(test)]
mod tests;
