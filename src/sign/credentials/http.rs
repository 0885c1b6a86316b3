//! The HTTP clients of the SDK's providers.

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::{expiry, snapshot::format_time};
use crate::net::{self, Resolver};

/// The HTTP clients, which keep connections open between loads.
#[derive(Debug)]
pub(super) struct HttpClients {
    /// For STS and SSO.
    pub(super) aws: SharedHttpClient,
    /// For metadata services.
    pub(super) metadata: SharedHttpClient,
    /// Why the certificate authorities of the environment cannot be used. Then none is trusted.
    pub(super) untrusted: Option<String>,
}

impl HttpClients {
    pub(super) fn new() -> Self {
        let (trust, untrusted) = match net::pem_of_environment() {
            Ok(None) => (TrustStore::default(), None),
            Ok(Some(pem)) => (TrustStore::empty().with_pem_certificate(pem), None),
            Err(error) => (TrustStore::empty(), Some(error.to_string())),
        };
        let mut builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        if let Ok(context) = TlsContext::builder().with_trust_store(trust).build() {
            builder = builder.tls_context(context);
        }
        let aws = builder.build_with_resolver(SdkResolver(Resolver::system()));
        let metadata = SharedHttpClient::new(Rewriting(aws.clone()));
        Self {
            aws,
            metadata,
            untrusted,
        }
    }
}

/// Resolves names for the HTTP client of the SDK, which tries the addresses of one family in turn.
#[derive(Clone, Debug)]
struct SdkResolver(Resolver);

impl ResolveDns for SdkResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = self.0.reachable_first(name, HTTPS).await;
            found.map_err(ResolveDnsError::new)
        })
    }
}

/// The port of AWS endpoints. The SDK does not pass an endpoint's own port to the resolver.
const HTTPS: u16 = 443;

/// Rewrites the expiry of credentials from metadata services, of which the SDK reads one form only.
#[derive(Debug)]
struct Rewriting<T>(T);

/// Credentials are at most a few KiB.
const MAX_RESPONSE: usize = 64 * 1024;

impl HttpClient for Rewriting<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.0.http_connector(settings, components);
        SharedHttpConnector::new(Rewriting(connector))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for Rewriting<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let responded = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut response: HttpResponse = responded.await?;
            let body = Limited::new(response.take_body(), MAX_RESPONSE).collect();
            let body = body.await.map_err(ConnectorError::io)?.to_bytes();
            let body = match rewritten(&body) {
                Some(body) => {
                    let length = body.len().to_string();
                    response.headers_mut().insert("content-length", length);
                    Bytes::from(body)
                }
                None => body,
            };
            *response.body_mut() = SdkBody::from(body);
            Ok(response)
        })
    }
}

/// Returns the response with its expiry in the one form that the SDK reads, if it has another.
fn rewritten(body: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return None;
    };
    let is_expiry = |name: &str| {
        name.eq_ignore_ascii_case("Expiration") || name.eq_ignore_ascii_case("ExpiresAt")
    };
    let (_, expiry) = members.iter_mut().find(|(name, _)| is_expiry(name))?;
    *expiry = format_time(expiry::parse(expiry.as_str()?)?).into();
    serde_json::to_vec(&members).ok()
}
