//! Credentials that were loaded once.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity as SdkIdentity;

use super::error::CredentialsError;
use crate::sign::redact;

/// The credentials of one load.
pub struct Snapshot {
    credentials: Credentials,
    expires: Option<SystemTime>,
    provider: String,
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn new(credentials: Credentials, provider: String) -> Self {
        let expires = credentials.expiry();
        // AWS responds to an empty token with UnrecognizedClientException.
        let credentials = match credentials.session_token() {
            Some("") => {
                let mut without_token = Credentials::builder()
                    .access_key_id(credentials.access_key_id())
                    .secret_access_key(credentials.secret_access_key())
                    .provider_name("countersign");
                without_token.set_expiry(expires);
                without_token.set_account_id(credentials.account_id().cloned());
                without_token.build()
            }
            Some(_) | None => credentials,
        };
        if let Some(token) = credentials.session_token() {
            redact::register(token);
        }
        Self {
            credentials,
            expires,
            provider,
        }
    }

    /// Returns when the credentials expire, if they do.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Returns the name of the source, such as [`ENVIRONMENT`](super::ENVIRONMENT) or `profile "dev"`.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns the id of the access key.
    pub fn access_key(&self) -> &str {
        self.credentials.access_key_id()
    }

    /// Returns the account, if the provider knows it.
    pub fn account(&self) -> Option<&str> {
        self.credentials
            .account_id()
            .map(|account| account.as_str())
    }

    pub(crate) fn secret_key(&self) -> &str {
        self.credentials.secret_access_key()
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// Returns the credentials as the AWS SDK's crates take them.
    pub(in crate::sign) fn identity(&self) -> SdkIdentity {
        self.credentials.clone().into()
    }

    /// Returns the keys and the session token.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns whether the session token is missing that belongs to the access key. The ids of temporary
    /// access keys begin with `ASIA` (IAM user guide, "Understanding unique ID prefixes").
    pub fn lacks_token(&self) -> bool {
        self.access_key().starts_with("ASIA") && self.session_token().is_none()
    }

    /// Returns whether both have the same keys and session token.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        self.access_key() == other.access_key()
            && self.secret_key() == other.secret_key()
            && self.session_token() == other.session_token()
    }

    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Returns the snapshot, unless it has already expired at `now`: it must then not replace credentials
    /// that are still valid.
    pub(super) fn checked(self, now: SystemTime) -> Result<Self, CredentialsError> {
        if self.is_valid(now) {
            Ok(self)
        } else {
            Err(self.expired())
        }
    }

    /// Returns the error for expired credentials.
    pub(super) fn expired(&self) -> CredentialsError {
        let at = self.expires.map(format_time).unwrap_or_default();
        CredentialsError {
            tried: format!("those from {} expired at {at}", self.provider),
            remedy: "Renew them, and check the clock. countersign then loads them automatically."
                .to_owned(),
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("provider", &self.provider)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Formats a time as RFC 3339, in whole seconds.
pub(super) fn format_time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_keys_need_a_token() {
        for (id, token, expected) in [
            ("ASIAEXAMPLE", None, true),
            ("ASIAEXAMPLE", Some(""), true),
            ("ASIAEXAMPLE", Some("token"), false),
            ("AKIAEXAMPLE", None, false),
        ] {
            let token = token.map(str::to_owned);
            let credentials = Credentials::new(id, "SECRET", token, None, "x");
            let snapshot = Snapshot::new(credentials, "environment".into());
            assert_eq!(snapshot.lacks_token(), expected, "{id}");
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let credentials = Credentials::new("AKID", "SECRET", Some("TOKEN".into()), None, "x");
        let shown = format!("{:?}", Snapshot::new(credentials, "environment".into()));
        for secret in ["AKID", "SECRET", "TOKEN"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
