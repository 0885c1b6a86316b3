//! The providers, asked one by one so that a failure can name each of them.
//!
//! The order is that of the AWS SDKs: environment, profile, web identity, container endpoint,
//! instance metadata. "Not set up" moves on to the next; any other failure ends the search,
//! because the user meant that provider.

use std::fmt;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
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

use super::{CredentialsError, IdentityConfig};
use crate::net::Resolver;
use crate::sign::redact;
use crate::telemetry::error_chain;

/// The providers of one identity.
#[derive(Debug)]
pub(super) struct Chain {
    config: IdentityConfig,
    http: SharedHttpClient,
}

impl Chain {
    pub(super) fn new(config: IdentityConfig) -> Self {
        let http = HttpClient::new()
            .tls_provider(Tls::Rustls(CryptoMode::Ring))
            .build_with_resolver(Names(Resolver::system()));
        Self { config, http }
    }

    /// Asks the providers; answers the credentials and who gave them.
    pub(super) async fn load(&self) -> Result<(Credentials, String), CredentialsError> {
        let (credentials, provider) = self.find().await?;
        let Some(role) = &self.config.assume_role else {
            return Ok((credentials, provider));
        };
        let assumed = AssumeRoleProvider::builder(role)
            .session_name("countersign")
            .configure(&self.sdk_config(credentials).await)
            .build()
            .await;
        match assumed.provide_credentials().await {
            Ok(credentials) => Ok((credentials, format!("role {role}, assumed with {provider}"))),
            Err(error) => Err(CredentialsError {
                tried: format!("role {role}, assumed with {provider}: {}", reason(&error)),
                remedy:
                    "Check the role's trust policy and that the source may call sts:AssumeRole."
                        .to_owned(),
            }),
        }
    }

    pub(super) fn timed_out(&self, after: Duration) -> CredentialsError {
        CredentialsError {
            tried: format!("{} gave no answer within {}s", self.config, after.as_secs()),
            remedy: "Check the credential process or the endpoint it asks.".to_owned(),
        }
    }

    async fn find(&self) -> Result<(Credentials, String), CredentialsError> {
        let providers = self.provider_config();
        let mut profile = ProfileFileCredentialsProvider::builder().configure(&providers);
        if let Some(name) = &self.config.profile {
            profile = profile.profile_name(name);
        }
        let profile = SharedCredentialsProvider::new(profile.build());
        let steps = if self.config.profile.is_some() {
            vec![(Step::Profile, profile)]
        } else {
            let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&providers);
            let container = EcsCredentialsProvider::builder().configure(&providers);
            let instance = ImdsCredentialsProvider::builder().configure(&providers);
            let environment = EnvironmentVariableCredentialsProvider::new();
            vec![
                (
                    Step::Environment,
                    SharedCredentialsProvider::new(environment),
                ),
                (Step::Profile, profile),
                (
                    Step::WebIdentity,
                    SharedCredentialsProvider::new(web_identity.build()),
                ),
                (
                    Step::Container,
                    SharedCredentialsProvider::new(container.build()),
                ),
                (
                    Step::Instance,
                    SharedCredentialsProvider::new(instance.build()),
                ),
            ]
        };
        let mut tried = Vec::new();
        for (step, provider) in steps {
            let name = self.name(step);
            match provider.provide_credentials().await {
                Ok(credentials) => return Ok((credentials, name)),
                Err(error) => {
                    let not_set_up = matches!(error, SdkError::CredentialsNotLoaded(_));
                    tried.push(format!("{name}: {}", reason(&error)));
                    if !not_set_up {
                        return Err(CredentialsError {
                            tried: tried.join("; "),
                            remedy: self.remedy(step, &error),
                        });
                    }
                }
            }
        }
        Err(CredentialsError {
            tried: tried.join("; "),
            remedy: self.nothing_found(),
        })
    }

    fn name(&self, step: Step) -> String {
        match step {
            Step::Environment => "environment".to_owned(),
            Step::Profile => match &self.config.profile {
                Some(profile) => format!("profile {profile:?}"),
                None => "profile (AWS_PROFILE or default)".to_owned(),
            },
            Step::WebIdentity => "web identity token".to_owned(),
            Step::Container => "container endpoint".to_owned(),
            Step::Instance => "instance metadata".to_owned(),
        }
    }

    fn profile_option(&self) -> String {
        match &self.config.profile {
            Some(profile) => format!(" --profile {profile}"),
            None => String::new(),
        }
    }

    fn remedy(&self, step: Step, error: &SdkError) -> String {
        match step {
            Step::Environment => {
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY together.".to_owned()
            }
            Step::Profile if is_sso_login(&reason(error)) => {
                format!("Run `aws sso login{}`.", self.profile_option())
            }
            Step::Profile => format!(
                "Check the profile with `aws sts get-caller-identity{}`.",
                self.profile_option()
            ),
            Step::WebIdentity => {
                "Check AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN and the role's trust policy."
                    .to_owned()
            }
            Step::Container => {
                "Check AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI and its agent."
                    .to_owned()
            }
            Step::Instance => {
                "Check the instance profile, and in a container the metadata hop limit (2)."
                    .to_owned()
            }
        }
    }

    fn nothing_found(&self) -> String {
        match &self.config.profile {
            Some(profile) => format!("Run `aws configure --profile {profile}`."),
            None => "Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY."
                .to_owned(),
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

    /// What the environment and the profile say about STS, its endpoint above all.
    async fn sdk_config(&self, credentials: Credentials) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(self.region())
            .http_client(self.http.clone())
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        if let Some(profile) = &self.config.profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await
    }
}

/// Resolves names for the SDK's client, which tries the addresses of a family one after another.
#[derive(Clone, Debug)]
struct Names(Resolver);

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = self.0.reachable_first(name, HTTPS).await;
            found.map_err(ResolveDnsError::new)
        })
    }
}

/// The port of AWS's endpoints; the SDK does not pass on the one of an endpoint.
const HTTPS: u16 = 443;

#[derive(Clone, Copy)]
enum Step {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
}

/// A token that is missing, expired, or not accepted by the portal.
fn is_sso_login(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("sso") || reason.contains("session token not found or invalid")
}

/// The causes without the type names that the SDK puts before them, without what a credential
/// process wrote to its standard error (that may hold anything), and without a token that STS
/// echoes.
fn reason(error: &SdkError) -> String {
    let chain = match std::error::Error::source(error) {
        Some(source) => error_chain(source),
        None => error.to_string(),
    };
    let shown = chain.split(" Stderr: ").next().unwrap_or_default();
    let shown = redact::tokens(shown);
    match shown.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

// === impl IdentityConfig ===

impl fmt::Display for IdentityConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.profile {
            Some(profile) => write!(f, "profile {profile}")?,
            None => f.write_str("default chain")?,
        }
        match &self.assume_role {
            Some(role) => write!(f, ", role {role}"),
            None => Ok(()),
        }
    }
}
