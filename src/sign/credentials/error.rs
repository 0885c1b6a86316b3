//! Why there are no valid credentials.

/// There are no valid credentials. The message names what was tried and the command that helps.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no valid AWS credentials: {tried}. {remedy}")]
pub struct CredentialsError {
    pub tried: String,
    pub remedy: String,
}
