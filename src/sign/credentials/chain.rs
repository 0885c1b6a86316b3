//! The provider chain: loads credentials from the first provider that is configured.
//!
//! The order is that of the AWS SDKs: environment, profile, web identity, container endpoint, instance
//! metadata. This module determines from the environment and the profile files which providers are
//! configured, because the providers of aws-config report some configuration errors as "not configured".
//! If a configured provider fails, the load fails: another provider could return credentials that the
//! user did not intend.

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as SdkError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::{Provider as Tls, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use parking_lot::Mutex;

use super::config::CredentialSourceConfig;
use super::error::CredentialsError;
use super::profiles::{self, Profiles, SelectedProfile};
use super::{environment, keys};
use crate::net::Resolver;
use crate::sign::redact;
use crate::telemetry::error_chain;
use crate::telemetry::tasks::{Task, caught};

/// The provider chain of one credential source.
#[derive(Debug)]
pub(super) struct Chain {
    config: CredentialSourceConfig,
    http: SharedHttpClient,
    /// The provider that was tried last.
    current: Mutex<String>,
}

impl Chain {
    pub(super) fn new(config: CredentialSourceConfig) -> Self {
        let http = HttpClient::new()
            .tls_provider(Tls::Rustls(CryptoMode::Ring))
            .build_with_resolver(SdkResolver(Resolver::system()));
        let current = Mutex::new(config.to_string());
        Self {
            config,
            http,
            current,
        }
    }

    /// Loads credentials, and returns them with the name of their provider. A panic in a provider is
    /// returned as an error.
    pub(super) async fn load(&self) -> Result<(Credentials, String), CredentialsError> {
        // Each load creates its own providers, so no provider is used after it has panicked.
        match caught(Task::Credentials, self.load_once()).await {
            Ok(loaded) => loaded,
            // The message of the panic is omitted, because it may contain a key.
            Err(_) => Err(CredentialsError {
                tried: format!("{} panicked", self.current.lock()),
                remedy: "This is a bug in countersign or in the AWS SDK. Check the output of the \
                         provider for line ends and control characters."
                    .to_owned(),
            }),
        }
    }

    async fn load_once(&self) -> Result<(Credentials, String), CredentialsError> {
        let selected = match &self.config.profile {
            Some(name) => SelectedProfile {
                name: name.clone(),
                named_by: Some(profiles::SETTING),
            },
            None => environment::profile()?,
        };
        let (credentials, provider) = self.find(&selected).await?;
        keys::check(&credentials, &provider)?;
        let Some(role) = &self.config.assume_role else {
            return Ok((credentials, provider));
        };
        let provider = format!("role {role}, assumed with {provider}");
        provider.clone_into(&mut self.current.lock());
        let assumed = AssumeRoleProvider::builder(role)
            .session_name("countersign")
            .configure(&self.sdk_config(credentials, &selected).await)
            .build()
            .await;
        match assumed.provide_credentials().await {
            Ok(credentials) => {
                keys::check(&credentials, &provider)?;
                Ok((credentials, provider))
            }
            Err(error) => Err(CredentialsError {
                tried: format!("{provider}: {}", reason(&error)),
                remedy:
                    "Check the role's trust policy and that the source may call sts:AssumeRole."
                        .to_owned(),
            }),
        }
    }

    /// Returns the error for a load that took longer than `after`.
    pub(super) fn timed_out(&self, after: Duration) -> CredentialsError {
        let (current, after) = (self.current.lock(), after.as_secs());
        CredentialsError {
            tried: format!("{current} did not respond within {after}s"),
            remedy: "Check the provider's endpoint or its credential_process, which was killed."
                .to_owned(),
        }
    }

    /// Loads credentials from the first provider that is configured.
    ///
    /// # Errors
    /// When this provider fails; no other provider is tried then.
    async fn find(
        &self,
        selected: &SelectedProfile,
    ) -> Result<(Credentials, String), CredentialsError> {
        let is_default_chain = self.config.profile.is_none();
        if is_default_chain {
            if let Some(credentials) = environment::keys()? {
                // As in botocore, a profile that is named must exist even if it is not used.
                if selected.named_by.is_some() {
                    Profiles::read(selected.clone()).await?.check_name()?;
                }
                return Ok((credentials, "environment".to_owned()));
            }
            environment::check_web_identity()?;
        }
        let providers = self.provider_config();
        let profiles = Profiles::read(selected.clone()).await?;
        if profiles.provides_credentials()? {
            let (files, processes) = profiles.with_processes_replaced();
            let mut profile = ProfileFileCredentialsProvider::builder()
                .configure(&providers)
                .profile_name(&selected.name)
                .profile_files(files);
            for (name, process) in processes {
                profile = profile.with_custom_provider(name, process);
            }
            return self
                .ask(ProviderKind::Profile, selected, profile.build())
                .await;
        }
        if environment::has_web_identity()? {
            let provider = WebIdentityTokenCredentialsProvider::builder().configure(&providers);
            return self
                .ask(ProviderKind::WebIdentity, selected, provider.build())
                .await;
        }
        if environment::has_container()? {
            let provider = EcsCredentialsProvider::builder().configure(&providers);
            return self
                .ask(ProviderKind::Container, selected, provider.build())
                .await;
        }
        let provider = ImdsCredentialsProvider::builder().configure(&providers);
        let loaded = self
            .ask(ProviderKind::Instance, selected, provider.build())
            .await;
        loaded.map_err(|error| {
            let not_configured = "environment, profile, web identity token and container endpoint: not \
                              configured";
            CredentialsError {
                tried: format!("{not_configured}; {}", error.tried),
                remedy: error.remedy,
            }
        })
    }

    async fn ask(
        &self,
        kind: ProviderKind,
        selected: &SelectedProfile,
        provider: impl ProvideCredentials,
    ) -> Result<(Credentials, String), CredentialsError> {
        let name = name(kind, selected);
        name.clone_into(&mut self.current.lock());
        match provider.provide_credentials().await {
            Ok(credentials) => Ok((credentials, name)),
            Err(error) => Err(CredentialsError {
                tried: format!("{name}: {}", reason(&error)),
                remedy: self.remedy(kind, &error),
            }),
        }
    }

    fn profile_option(&self) -> String {
        match &self.config.profile {
            Some(profile) => format!(" --profile {profile}"),
            None => String::new(),
        }
    }

    fn remedy(&self, kind: ProviderKind, error: &SdkError) -> String {
        match kind {
            ProviderKind::Profile if needs_sso_login(&reason(error)) => {
                format!("Run `aws sso login{}`.", self.profile_option())
            }
            ProviderKind::Profile => format!(
                "Check the profile with `aws sts get-caller-identity{}`.",
                self.profile_option()
            ),
            ProviderKind::WebIdentity => {
                "Check AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN and the role's trust policy."
                    .to_owned()
            }
            ProviderKind::Container => {
                "Check AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI and its agent."
                    .to_owned()
            }
            ProviderKind::Instance if matches!(error, SdkError::CredentialsNotLoaded(_)) => {
                "Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY."
                    .to_owned()
            }
            ProviderKind::Instance => {
                "Check the instance profile, and in a container the metadata hop limit (2)."
                    .to_owned()
            }
        }
    }

    fn region(&self) -> Region {
        Region::new(self.config.region.clone())
    }

    fn provider_config(&self) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(Some(self.region()))
            .with_http_client(self.http.clone())
    }

    /// Returns the configuration for STS, such as its endpoint, from the environment and the profile.
    async fn sdk_config(&self, credentials: Credentials, selected: &SelectedProfile) -> SdkConfig {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(self.region())
            .http_client(self.http.clone())
            .profile_name(&selected.name)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        loader.load().await
    }
}

/// Resolves names for the SDK's HTTP client, which tries the addresses of one family after another.
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

#[derive(Clone, Copy)]
enum ProviderKind {
    Profile,
    WebIdentity,
    Container,
    Instance,
}

fn name(kind: ProviderKind, selected: &SelectedProfile) -> String {
    match kind {
        ProviderKind::Profile => format!("profile {:?}", selected.name),
        ProviderKind::WebIdentity => "web identity token".to_owned(),
        ProviderKind::Container => "container endpoint".to_owned(),
        ProviderKind::Instance => "instance metadata".to_owned(),
    }
}

/// Returns whether `aws sso login` fixes an error: the SSO token is missing, expired, or was rejected.
fn needs_sso_login(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("sso") || reason.contains("session token not found or invalid")
}

/// Returns the causes of an error in at most 300 characters. Omits the type names that the SDK prepends
/// and the standard error of a credential process, which may contain secrets. Masks tokens that STS
/// echoes.
fn reason(error: &SdkError) -> String {
    let chain = match std::error::Error::source(error) {
        Some(source) => error_chain(source),
        None => error.to_string(),
    };
    let shown = chain.split(" Stderr: ").next().unwrap_or_default();
    let shown = redact::mask_tokens(shown);
    match shown.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}
