//! Creates one presigned URL without starting the proxy.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::routes::credential_source;
use crate::config::RouteConfig;
use crate::lifecycle::BackgroundTasks;
use crate::sign::credentials::CredentialsError;
use crate::sign::{RequestTarget, SignError, Signable, Signer, TargetError, clock};

/// A request to presign.
#[derive(Clone, Debug)]
pub struct Presign {
    /// `https` or `wss`; not part of the signature.
    pub scheme: String,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    /// The client must send exactly these headers.
    pub headers: Vec<(HeaderName, String)>,
}

/// A URL that is valid without further credentials, and therefore secret.
pub struct Presigned {
    pub url: String,
    /// Headers that the client must send with it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the credentials remain valid, and the URL with them; `None` if they do not expire.
    pub credentials_left: Option<Duration>,
}

/// Why the URL could not be created.
#[derive(Debug, thiserror::Error)]
pub enum PresignError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("the URL cannot be signed as it is: {0}")]
    Target(#[from] TargetError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl std::fmt::Debug for Presigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presigned")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Presigns a request for the route's host, with the route's credentials and signing style.
///
/// # Errors
/// See [`PresignError`].
pub async fn presign(route: &RouteConfig, request: &Presign) -> Result<Presigned, PresignError> {
    let target = RequestTarget::new(&request.path, request.query.as_deref())?;
    let background = BackgroundTasks::default();
    let credentials = &route.credentials;
    let source = credential_source(credentials, credentials.name(), &background);
    let endpoint = &route.endpoint;
    let signer = Signer::new(
        endpoint.signing_scope(),
        endpoint.style,
        endpoint.wire_host.clone(),
        Arc::new(source),
    );
    let now = clock::now();
    let credentials = signer.credentials(now).await?;
    background.stop.cancel();
    let headers = request.headers.iter();
    let headers: Vec<(&str, &str)> = headers
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let signable = Signable {
        method: request.method.as_str(),
        target: target.as_str(),
        headers: &headers,
        body: &[],
    };
    let signed = signer.sign(&credentials, &signable, now)?;
    Ok(Presigned {
        url: format!(
            "{}://{}{}",
            request.scheme,
            endpoint.wire_host,
            signed.target(&target)
        ),
        headers: signed.headers,
        credentials_left: credentials
            .expires()
            .map(|expires| expires.duration_since(now).unwrap_or_default()),
    })
}
