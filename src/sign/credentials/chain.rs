//! The provider chain: loads credentials from the first provider that is configured.
//!
//! The order is that of the AWS SDKs: environment, profile, web identity, container endpoint, instance
//! metadata. This module determines from the environment and the profile files which providers are
//! configured, because the providers of aws-config report some configuration errors as "not configured".
//! If a configured provider fails, the load fails: another provider could return credentials that the
//! user did not intend.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::Region;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError as SdkError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use parking_lot::Mutex;

use super::config::CredentialSourceConfig;
use super::error::CredentialsError;
use super::http::HttpClients;
use super::outline::decode;
use super::profiles::{self, Profiles, SelectedProfile};
use super::remedies::{is_ec2, shell_word};
use super::roles::Base;
use super::sts::{Role, Sts, StsEndpoint, WebIdentity};
use super::{endpoints, environment, keys};
use crate::sign::redact;
use crate::telemetry::error_chain;
use crate::telemetry::tasks::{Task, caught};

/// The provider chain of one credential source.
#[derive(Debug)]
pub(super) struct Chain {
    config: CredentialSourceConfig,
    http: HttpClients,
    /// The provider that was tried last.
    current: Mutex<String>,
    /// The web identity token that was used last.
    token_file: Mutex<Option<PathBuf>>,
}

impl Chain {
    pub(super) fn new(config: CredentialSourceConfig) -> Self {
        let current = Mutex::new(config.to_string());
        Self {
            config,
            http: HttpClients::new(),
            current,
            token_file: Mutex::new(None),
        }
    }

    /// Returns the file of the web identity token that was used last.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.token_file.lock().clone()
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

    /// Returns STS in the region of the source, at the endpoint that the environment or the selected
    /// profile names.
    ///
    /// # Errors
    /// When a variable or a setting of the profile cannot be used.
    pub(super) async fn configured_sts(&self) -> Result<Sts, CredentialsError> {
        // Keys of the environment do not need the profile files.
        let profiles = Profiles::read(self.selected()?).await.ok();
        Ok(self.sts(endpoints::sts(profiles.as_ref())?))
    }

    fn selected(&self) -> Result<SelectedProfile, CredentialsError> {
        match &self.config.profile {
            Some(name) => Ok(SelectedProfile {
                name: name.clone(),
                named_by: Some(profiles::SETTING),
            }),
            None => environment::profile(),
        }
    }

    async fn load_once(&self) -> Result<(Credentials, String), CredentialsError> {
        let selected = self.selected()?;
        let (credentials, provider) = self.find(&selected).await?;
        keys::check(&credentials, &provider)?;
        let Some(role) = &self.config.assume_role else {
            return Ok((credentials, provider));
        };
        let source = provider;
        let provider = format!("role {role}, assumed with {source}");
        provider.clone_into(&mut self.current.lock());
        let sts = self.configured_sts().await?;
        let role = Role {
            arn: role.clone(),
            ..Role::default()
        };
        let assumed = sts.assume(credentials, &role).await;
        let credentials = assumed.map_err(|reason| CredentialsError {
            tried: format!("{provider}: {}", self.shown(&reason)),
            remedy: ROLE_REMEDY.to_owned(),
        })?;
        keys::check(&credentials, &provider)?;
        Ok((credentials, provider))
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
                return Ok((credentials, environment::ENVIRONMENT.to_owned()));
            }
            environment::check_web_identity()?;
        }
        let profiles = Profiles::read(selected.clone()).await?;
        if let Some((base, roles)) = profiles.source()? {
            return self.profile(selected, &profiles, base, roles).await;
        }
        if let Some(identity) = environment::web_identity()? {
            let sts = self.sts(endpoints::sts(Some(&profiles))?);
            let name = name(ProviderKind::WebIdentity, selected);
            name.clone_into(&mut self.current.lock());
            let assumed = self.web_identity(&sts, identity).await;
            let credentials = assumed.map_err(|reason| CredentialsError {
                tried: format!("{name}: {}", self.shown(&reason)),
                remedy: self.remedy(ProviderKind::WebIdentity, None, &reason),
            })?;
            return Ok((credentials, name));
        }
        let providers = self.provider_config(&self.http.metadata);
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

    /// Loads the credentials of a profile, and assumes its roles.
    async fn profile(
        &self,
        selected: &SelectedProfile,
        profiles: &Profiles,
        base: Base,
        roles: Vec<Role>,
    ) -> Result<(Credentials, String), CredentialsError> {
        let uses_sso = match &base {
            Base::Profile(base) => profiles.uses_sso(base),
            Base::WebIdentity(_) => false,
        };
        if uses_sso {
            endpoints::check_sso()?;
        }
        let uses_sts = !roles.is_empty() || matches!(base, Base::WebIdentity(_));
        let endpoint = if uses_sso || uses_sts {
            endpoints::sts(Some(profiles))?
        } else {
            StsEndpoint::default()
        };
        let http = if uses_sso {
            &self.http.aws
        } else {
            // For `credential_source`.
            &self.http.metadata
        };
        let providers = self
            .provider_config(http)
            .with_use_fips(Some(endpoint.is_fips))
            .with_use_dual_stack(Some(endpoint.is_dual_stack));
        let sts = self.sts(endpoint);
        let name = name(ProviderKind::Profile, selected);
        let mut credentials = match base {
            Base::WebIdentity(identity) => {
                name.clone_into(&mut self.current.lock());
                let assumed = self.web_identity(&sts, identity).await;
                assumed.map_err(|reason| CredentialsError {
                    tried: format!("{name}: {}", self.shown(&reason)),
                    remedy: self.remedy(ProviderKind::Profile, None, &reason),
                })?
            }
            Base::Profile(base) => {
                let (files, processes) = profiles.base_files();
                let mut provider = ProfileFileCredentialsProvider::builder()
                    .configure(&providers)
                    .profile_name(&base)
                    .profile_files(files);
                for (name, process) in processes {
                    provider = provider.with_custom_provider(name, process);
                }
                let asked = self.ask(ProviderKind::Profile, selected, provider.build());
                let (credentials, _) = asked.await.map_err(|error| CredentialsError {
                    tried: error.tried.replace(&base, &decode(&base)),
                    ..error
                })?;
                credentials
            }
        };
        for role in &roles {
            let assumed = sts.assume(credentials, role).await;
            credentials = assumed.map_err(|reason| CredentialsError {
                tried: format!("{name}: role {}: {}", role.arn, self.shown(&reason)),
                remedy: ROLE_REMEDY.to_owned(),
            })?;
        }
        Ok((credentials, name))
    }

    async fn web_identity(&self, sts: &Sts, identity: WebIdentity) -> Result<Credentials, String> {
        let assumed = sts.assume_with_web_identity(&identity).await;
        *self.token_file.lock() = Some(identity.token_file);
        assumed
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
            Err(error) => {
                let reason = reason(&error);
                Err(CredentialsError {
                    tried: format!("{name}: {}", self.shown(&reason)),
                    remedy: self.remedy(kind, Some(&error), &reason),
                })
            }
        }
    }

    /// Returns a reason as it may be shown: without the standard error of a credential process (which
    /// may contain secrets), and with the tokens that STS echoes masked.
    fn shown(&self, reason: &str) -> String {
        let shown = reason.split(" Stderr: ").next().unwrap_or_default();
        let shown = redact::mask_tokens(shown);
        let shown = match shown.char_indices().nth(300) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown.into_owned(),
        };
        match &self.http.untrusted {
            Some(untrusted) => format!("{shown}; {untrusted}"),
            None => shown,
        }
    }

    fn profile_option(&self) -> String {
        match &self.config.profile {
            Some(profile) => format!(" --profile {}", shell_word(profile)),
            None => String::new(),
        }
    }

    fn remedy(&self, kind: ProviderKind, error: Option<&SdkError>, reason: &str) -> String {
        match kind {
            // It accepted a connection, so it is there.
            ProviderKind::Instance | ProviderKind::Profile
                if reason.contains("IMDS")
                    && reason.contains("HTTP read timeout")
                    && (is_ec2() || environment::names_metadata_service()) =>
            {
                "The metadata service does not answer. In a container, allow one more network hop: \
                 aws ec2 modify-instance-metadata-options --instance-id ID \
                 --http-put-response-hop-limit 2"
                    .to_owned()
            }
            ProviderKind::Profile if needs_sso_login(reason) => {
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
            ProviderKind::Instance if matches!(error, Some(SdkError::CredentialsNotLoaded(_))) => {
                "Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY."
                    .to_owned()
            }
            ProviderKind::Instance if is_ec2() => {
                "Attach a role to the instance, or run `aws configure`.".to_owned()
            }
            ProviderKind::Instance => {
                "Run `aws configure` or `aws sso login`, or check the metadata service.".to_owned()
            }
        }
    }

    fn region(&self) -> Region {
        Region::new(self.config.region.clone())
    }

    fn provider_config(&self, http: &SharedHttpClient) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(Some(self.region()))
            .with_http_client(http.clone())
    }

    fn sts(&self, endpoint: StsEndpoint) -> Sts {
        Sts {
            http: self.http.aws.clone(),
            region: self.region(),
            endpoint,
        }
    }
}

const ROLE_REMEDY: &str =
    "Check the role's trust policy and that the source may call sts:AssumeRole.";

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

/// Returns the chain of causes, without the type names that the SDK prepends.
fn reason(error: &SdkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => error_chain(source),
        None => error.to_string(),
    }
}
