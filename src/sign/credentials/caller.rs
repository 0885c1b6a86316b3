//! Asks STS which principal the credentials belong to.

use super::chain::Chain;
use super::config::CredentialSourceConfig;
use super::snapshot::Snapshot;
use super::sts::CallerFailure;
use crate::sign::redact;

/// Why the principal is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerError {
    /// STS could not be asked, for this reason.
    Unreachable(String),
    /// STS rejected the credentials.
    Rejected {
        /// The type of its error, such as `ExpiredToken`.
        code: String,
        /// The first line of its text.
        message: String,
    },
}

/// Returns the ARN of the principal that the credentials belong to. Every principal may ask this, whatever
/// its policies allow (STS API reference, `GetCallerIdentity`). The caller has to set a time limit.
///
/// # Errors
/// See [`CallerError`].
pub async fn caller(
    config: &CredentialSourceConfig,
    snapshot: &Snapshot,
) -> Result<String, CallerError> {
    let unreachable = |reason: &str| CallerError::Unreachable(first_line(reason));
    let sts = Chain::new(config.clone()).configured_sts().await;
    let sts = sts.map_err(|error| unreachable(&error.explanation()))?;
    match sts.caller(snapshot.credentials().clone()).await {
        Ok(arn) => Ok(arn),
        Err(CallerFailure::Unreachable(reason)) => Err(unreachable(&reason)),
        Err(CallerFailure::Rejected(code, message)) => Err(CallerError::Rejected {
            code,
            message: first_line(&message),
        }),
    }
}

/// Returns the first line without tokens. The lines after it may be a canonical request.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    redact::mask_tokens(line).into_owned()
}
