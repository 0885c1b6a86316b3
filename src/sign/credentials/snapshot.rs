//! Credentials that were loaded once.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity as SdkIdentity;

use super::error::CredentialsError;
use crate::sign::redact;

/// The credentials of one load.
pub struct Snapshot {
    identity: SdkIdentity,
    expires: Option<SystemTime>,
    provider: String,
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn new(credentials: Credentials, provider: String) -> Self {
        let expires = credentials.expiry();
        // AWS responds to an empty token with UnrecognizedClientException.
        let credentials = match credentials.session_token() {
            Some("") => Credentials::new(
                credentials.access_key_id(),
                credentials.secret_access_key(),
                None,
                expires,
                "countersign",
            ),
            Some(_) | None => credentials,
        };
        if let Some(token) = credentials.session_token() {
            redact::register(token);
        }
        Self {
            identity: credentials.into(),
            expires,
            provider,
        }
    }

    /// Returns when the credentials expire, if they do.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Returns the name of the provider.
    pub(super) fn provider(&self) -> &str {
        &self.provider
    }

    pub(crate) fn identity(&self) -> &SdkIdentity {
        &self.identity
    }

    /// Returns the keys and the session token.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.identity.data::<Credentials>().cloned()
    }

    /// Returns whether the session token is missing that belongs to the access key. The ids of temporary
    /// access keys begin with `ASIA` (IAM user guide, "Understanding unique ID prefixes").
    pub fn lacks_token(&self) -> bool {
        let credentials: Option<&Credentials> = self.identity.data();
        credentials.is_some_and(|credentials| {
            credentials.access_key_id().starts_with("ASIA") && credentials.session_token().is_none()
        })
    }

    /// Returns whether both have the same keys and session token.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        let keys = |snapshot: &Self| {
            let credentials: Option<&Credentials> = snapshot.identity.data();
            credentials.map(|credentials| {
                let token = credentials.session_token().map(str::to_owned);
                let id = credentials.access_key_id().to_owned();
                (id, credentials.secret_access_key().to_owned(), token)
            })
        };
        keys(self) == keys(other)
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
