//! The steps `credentials` and `identity`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::fixes;
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::diagnose::{Cause, credentials_cause, synchronize_clock};
use crate::sign::clock;
use crate::sign::credentials::{CallerError, Snapshot, caller};

/// Loads the credentials as the server does, and shows their source and expiry.
pub(super) async fn load(target: &Target) -> Result<Passed<Arc<Snapshot>>, NotPassed> {
    let source = target.upstream.signer().credential_source();
    source.settled().await;
    let now = clock::now();
    let snapshot = source.current(now).await.map_err(|error| {
        let cause = if error.tried.contains("expired") {
            "credentials-expired"
        } else {
            "credentials"
        };
        let detail = format!("no valid credentials: {}", error.tried);
        Fault::new(cause, detail, error.remedy)
    })?;
    let (provider, expires) = source.origin().unwrap_or_default();
    if snapshot.lacks_token() {
        let detail = format!(
            "from {provider}: the access key is temporary (ASIA…), and its session token is missing"
        );
        let fix = "Set AWS_SESSION_TOKEN, or aws_session_token in the profile, to the token that was issued with \
                   the key.";
        return Err(Fault::new("token-missing", detail, fix).into());
    }
    let left = snapshot
        .expires()
        .and_then(|at| at.duration_since(now).ok());
    let expiry = match (left, expires) {
        (Some(left), Some(expires)) => {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
            format!("they expire in {left}, at {expires}")
        }
        (Some(_) | None, _) => "they do not expire".to_owned(),
    };
    Ok(Passed {
        value: snapshot,
        detail: format!("from {provider}; {expiry}"),
    })
}

/// Asks STS whose the credentials are.
pub(super) async fn identify(
    target: &Target,
    snapshot: &Snapshot,
) -> Result<Passed<()>, NotPassed> {
    let Some(config) = &target.credentials else {
        let reason = "the credentials are those of the demo".to_owned();
        return Err(NotPassed::Skipped(reason));
    };
    let unreachable = |reason: &str| {
        NotPassed::Skipped(format!(
            "STS cannot be reached ({reason}). The other steps do not need it"
        ))
    };
    let after = target.upstream.config().connect;
    match timeout(after, caller(config, snapshot)).await {
        Ok(Ok(arn)) => Ok(Passed {
            value: (),
            detail: arn,
        }),
        Ok(Err(CallerError::Unreachable(reason))) => Err(unreachable(&reason)),
        Ok(Err(CallerError::Rejected { code, message })) => {
            Err(rejected(&code, &message, snapshot.provider()).into())
        }
        Err(_) => Err(unreachable(&format!("no answer within {after:?}"))),
    }
}

/// The errors of STS (STS API reference, "Common errors").
fn rejected(code: &str, message: &str, provider: &str) -> Fault {
    let cause = credentials_cause(code, message);
    let name = cause.map_or("sts", Cause::as_str);
    let (cause, fix) = match (cause, code) {
        (Some(Cause::TokenExpired), _) => (name, fixes::renew(provider)),
        (Some(Cause::UnknownKey), _) => (
            name,
            "AWS does not know the access key, or it is temporary and the session token is wrong or missing. Set \
             the key, its secret and its token together, from one source."
                .to_owned(),
        ),
        (Some(Cause::ClockFast | Cause::ClockSlow), _) => (name, synchronize_clock()),
        (Some(Cause::WrongSecret), _) => (
            name,
            "The secret access key is not that of the access key. Copy both again, from one source."
                .to_owned(),
        ),
        (_, "RegionDisabledException") => (
            "region-disabled",
            "STS is not enabled in this region for the account. Enable it in IAM, or set AWS_ENDPOINT_URL_STS."
                .to_owned(),
        ),
        _ => (
            name,
            "Check the credentials: aws sts get-caller-identity".to_owned(),
        ),
    };
    Fault::new(
        cause,
        format!("STS rejected the credentials: {code}: {message}"),
        fix,
    )
}
