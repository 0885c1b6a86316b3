//! Assumes roles with STS.
//!
//! The providers of aws-config do not send the duration of a session, ignore FIPS and dual-stack
//! endpoints for web identities, and panic if the variable of the endpoint is empty.

use std::error::Error;
use std::path::PathBuf;
use std::time::SystemTime;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_sdk_sts::config::BehaviorVersion;
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::types::Credentials as StsCredentials;
use aws_sdk_sts::{Client, Config};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::telemetry::error_chain;

/// The role of one `AssumeRole` request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) duration: Option<i32>,
}

/// A web identity token and the role to assume with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebIdentity {
    pub(super) token_file: PathBuf,
    pub(super) role: Role,
}

/// Which endpoint of STS is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StsEndpoint {
    pub(super) url: Option<String>,
    pub(super) is_fips: bool,
    pub(super) is_dual_stack: bool,
}

/// An endpoint of STS.
pub(super) struct Sts {
    pub(super) http: SharedHttpClient,
    pub(super) region: Region,
    pub(super) endpoint: StsEndpoint,
}

/// Why STS did not name the principal.
pub(super) enum CallerFailure {
    /// STS did not respond, with the chain of causes.
    Unreachable(String),
    /// The code and the text of its error.
    Rejected(String, String),
}

const SESSION_NAME: &str = "countersign";

impl Sts {
    /// Assumes a role with the credentials of `source`.
    ///
    /// # Errors
    /// The chain of causes.
    pub(super) async fn assume(
        &self,
        source: Credentials,
        role: &Role,
    ) -> Result<Credentials, String> {
        let assumed = self
            .client(Some(source))
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(role.session_name.as_deref().unwrap_or(SESSION_NAME))
            .set_external_id(role.external_id.clone())
            .set_duration_seconds(role.duration)
            .send()
            .await;
        let assumed = assumed.map_err(|error| error_chain(&error))?;
        credentials(assumed.credentials)
    }

    /// Assumes a role with a token, which is read from its file each time.
    ///
    /// # Errors
    /// The chain of causes.
    pub(super) async fn assume_with_web_identity(
        &self,
        identity: &WebIdentity,
    ) -> Result<Credentials, String> {
        let WebIdentity { token_file, role } = identity;
        let token = std::fs::read_to_string(token_file);
        let token = token.map_err(|error| format!("{token_file:?} cannot be read: {error}"))?;
        let assumed = self
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(&role.arn)
            .role_session_name(role.session_name.as_deref().unwrap_or(SESSION_NAME))
            .web_identity_token(token)
            .send()
            .await;
        let assumed = assumed.map_err(|error| error_chain(&error))?;
        credentials(assumed.credentials)
    }

    /// Returns the ARN of the principal that the credentials belong to.
    ///
    /// # Errors
    /// When STS cannot be reached, or rejects the credentials.
    pub(super) async fn caller(&self, credentials: Credentials) -> Result<String, CallerFailure> {
        let called = self
            .client(Some(credentials))
            .get_caller_identity()
            .send()
            .await;
        match called {
            Ok(caller) => Ok(caller.arn.unwrap_or_default()),
            Err(SdkError::ServiceError(error)) => {
                let error = error.err();
                let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
                Err(CallerFailure::Rejected(
                    text(error.code()),
                    text(error.message()),
                ))
            }
            Err(error) => Err(CallerFailure::Unreachable(root_cause(&error))),
        }
    }

    fn client(&self, source: Option<Credentials>) -> Client {
        let StsEndpoint {
            url,
            is_fips,
            is_dual_stack,
        } = &self.endpoint;
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .http_client(self.http.clone())
            .use_fips(*is_fips)
            .use_dual_stack(*is_dual_stack);
        config.set_endpoint_url(url.clone());
        if let Some(source) = source {
            config = config.credentials_provider(source);
        }
        Client::from_conf(config.build())
    }
}

fn credentials(assumed: Option<StsCredentials>) -> Result<Credentials, String> {
    let assumed = assumed.ok_or("STS responded without credentials")?;
    let expiry = SystemTime::try_from(assumed.expiration);
    let expiry = expiry.map_err(|error| format!("STS responded with an expiry: {error}"))?;
    Ok(Credentials::new(
        assumed.access_key_id,
        assumed.secret_access_key,
        Some(assumed.session_token),
        Some(expiry),
        "sts",
    ))
}

/// Returns the innermost cause of an error: the outer ones name layers of the SDK.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use parking_lot::Mutex;

    use super::*;

    /// Records the URLs of requests, and fails them.
    #[derive(Clone, Debug, Default)]
    struct Recording(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Recording {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.lock().push(request.uri().to_owned());
            HttpConnectorFuture::ready(Err(ConnectorError::user("recorded".into())))
        }
    }

    #[tokio::test]
    async fn roles_and_web_identities_use_the_same_endpoint() {
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, "the.jwt").unwrap();
        for (region, is_fips, is_dual_stack, url, expected) in [
            (
                "eu-west-1",
                false,
                false,
                None,
                "https://sts.eu-west-1.amazonaws.com/",
            ),
            (
                "us-east-1",
                true,
                false,
                None,
                "https://sts-fips.us-east-1.amazonaws.com/",
            ),
            (
                "us-west-2",
                false,
                true,
                None,
                "https://sts.us-west-2.api.aws/",
            ),
            (
                "us-west-2",
                true,
                true,
                None,
                "https://sts-fips.us-west-2.api.aws/",
            ),
            (
                "eu-west-1",
                false,
                false,
                Some("http://127.0.0.1:9"),
                "http://127.0.0.1:9/",
            ),
        ] {
            let recording = Recording::default();
            let connector = SharedHttpConnector::new(recording.clone());
            let sts = Sts {
                http: http_client_fn(move |_, _| connector.clone()),
                region: Region::new(region),
                endpoint: StsEndpoint {
                    url: url.map(str::to_owned),
                    is_fips,
                    is_dual_stack,
                },
            };
            let role = Role {
                arn: "arn:aws:iam::123456789012:role/r".to_owned(),
                ..Role::default()
            };
            let source = Credentials::new("AKID", "SECRET", None, None, "test");
            sts.assume(source, &role).await.unwrap_err();
            let token_file = token_file.clone();
            let identity = WebIdentity { token_file, role };
            sts.assume_with_web_identity(&identity).await.unwrap_err();
            assert_eq!(*recording.0.lock(), [expected, expected]);
        }
        std::fs::remove_file(token_file).unwrap();
    }
}
