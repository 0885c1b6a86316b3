//! The settings of a credential source.

use std::fmt;

/// The source of the credentials that a route signs with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialSourceConfig {
    /// A profile in `~/.aws/config`; `None` for the default provider chain.
    pub profile: Option<String>,
    /// The ARN of a role to assume with the credentials that were found.
    pub assume_role: Option<String>,
    /// The region of the STS endpoint, for `assume_role`.
    pub region: String,
}

// === impl CredentialSourceConfig ===

impl fmt::Display for CredentialSourceConfig {
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
