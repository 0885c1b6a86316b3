//! Reads the environment variables that configure credentials.
//!
//! An empty variable counts as unset, as in botocore. If a variable is set without the others that it
//! requires, the load fails.

use std::time::SystemTime;

use aws_credential_types::Credentials;

use super::error::CredentialsError;
use super::profiles::SelectedProfile;
use super::sts::{Role, WebIdentity};
use super::{expiry, keys};
use crate::home;

/// The name of the environment as a source of credentials.
pub const ENVIRONMENT: &str = "environment";

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// The first name of [`TOKEN`], which only botocore still reads.
const OLD_TOKEN: &str = "AWS_SECURITY_TOKEN";
const EXPIRATION: &str = "AWS_CREDENTIAL_EXPIRATION";
const ACCOUNT: &str = "AWS_ACCOUNT_ID";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";
const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
const CONTAINER_URIS: [&str; 2] = [
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
const CONTAINER_TOKENS: [&str; 2] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];
/// The variables that name the profile. botocore and early versions of the AWS CLI read the first.
const PROFILES: [&str; 2] = ["AWS_DEFAULT_PROFILE", "AWS_PROFILE"];

/// Returns the profile that the environment selects, or the default profile.
///
/// # Errors
/// When a variable is empty, or two name different profiles.
pub(super) fn profile() -> Result<SelectedProfile, CredentialsError> {
    let mut selected: Option<SelectedProfile> = None;
    for by in PROFILES {
        let Some(name) = raw(by)? else { continue };
        if name.is_empty() {
            return Err(error(
                format!("{by} is set and empty"),
                format!("Unset it, or set it to the name of a profile: unset {by}"),
            ));
        }
        match selected {
            Some(SelectedProfile { name: other, .. }) if other != name => {
                let [first, second] = PROFILES;
                return Err(error(
                    format!("{first} is {other:?} and {second} is {name:?}"),
                    format!("Unset one of them: unset {first}"),
                ));
            }
            Some(_) | None => {
                selected = Some(SelectedProfile {
                    name,
                    named_by: Some(by),
                })
            }
        }
    }
    Ok(selected.unwrap_or_else(|| SelectedProfile {
        name: "default".to_owned(),
        named_by: None,
    }))
}

/// Returns the credentials in the environment.
///
/// # Errors
/// When one of the two keys is missing, the expiration is not a time, or there are two tokens.
pub(super) fn keys() -> Result<Option<Credentials>, CredentialsError> {
    let (id, secret) = match (variable(ID)?, variable(SECRET)?) {
        (Some(id), Some(secret)) => (id, secret),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(without(ID, SECRET)),
        (None, Some(_)) => return Err(without(SECRET, ID)),
    };
    let expiry = variable(EXPIRATION)?
        .map(|text| expiry(&text))
        .transpose()?;
    // Like the SDKs, ignore a blank token, and white space around a token.
    let trimmed = |name: &str| {
        let token = variable(name)?.map(|token| token.trim().to_owned());
        Ok::<_, CredentialsError>(token.filter(|token| !token.is_empty()))
    };
    let token = match (trimmed(TOKEN)?, trimmed(OLD_TOKEN)?) {
        (Some(token), Some(old)) if token != old => {
            return Err(error(
                format!("{TOKEN} and {OLD_TOKEN} differ, and SDKs differ in which they use"),
                format!("Unset the one that is out of date: unset {OLD_TOKEN}"),
            ));
        }
        (Some(token), _) | (None, Some(token)) => Some(token),
        (None, None) => None,
    };
    let mut credentials = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name(ENVIRONMENT);
    credentials.set_session_token(token);
    credentials.set_expiry(expiry);
    credentials.set_account_id(keys::account(variable(ACCOUNT)?.as_deref()));
    Ok(Some(credentials.build()))
}

/// Checks that the role is set if a web identity token is.
///
/// # Errors
/// When the role is missing, because the user did not intend to use other credentials.
pub(super) fn check_web_identity() -> Result<(), CredentialsError> {
    match (variable(TOKEN_FILE)?, variable(ROLE)?) {
        (Some(_), None) => Err(without(TOKEN_FILE, ROLE)),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Returns the web identity in the environment.
///
/// # Errors
/// When only one of the two variables is set.
pub(super) fn web_identity() -> Result<Option<WebIdentity>, CredentialsError> {
    match (variable(TOKEN_FILE)?, variable(ROLE)?) {
        (Some(token_file), Some(arn)) => Ok(Some(WebIdentity {
            token_file: home::expand(token_file),
            role: Role {
                arn,
                session_name: variable(SESSION_NAME)?,
                ..Role::default()
            },
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(without(TOKEN_FILE, ROLE)),
        (None, Some(_)) => Err(without(ROLE, TOKEN_FILE)),
    }
}

/// Returns whether the environment names an instance metadata service.
pub(super) fn names_metadata_service() -> bool {
    raw("AWS_EC2_METADATA_SERVICE_ENDPOINT").is_ok_and(|endpoint| endpoint.is_some())
}

/// Returns whether a container endpoint is configured. An empty URI counts as configured, and the provider
/// then fails.
///
/// # Errors
/// When only a token for the endpoint is set.
pub(super) fn has_container() -> Result<bool, CredentialsError> {
    for name in CONTAINER_URIS {
        if raw(name)?.is_some() {
            return Ok(true);
        }
    }
    for name in CONTAINER_TOKENS {
        if variable(name)?.is_some() {
            let [relative, full] = CONTAINER_URIS;
            return Err(without(name, &format!("{relative} or {full}")));
        }
    }
    Ok(false)
}

fn expiry(text: &str) -> Result<SystemTime, CredentialsError> {
    expiry::parse(text).ok_or_else(|| {
        error(
            format!("{EXPIRATION} is {text:?}, which is not a time such as 2030-01-01T00:00:00Z"),
            format!("Correct it, or unset it: unset {EXPIRATION}"),
        )
    })
}

/// Returns the value of a variable that is set and not empty.
pub(super) fn variable(name: &str) -> Result<Option<String>, CredentialsError> {
    Ok(raw(name)?.filter(|value| !value.is_empty()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables belong to the AWS SDK, which reads them itself"
)]
pub(super) fn raw(name: &str) -> Result<Option<String>, CredentialsError> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(error(
            format!("{name} is not UTF-8"),
            format!("Set it again, or unset it: unset {name}"),
        )),
    }
}

fn without(name: &str, missing: &str) -> CredentialsError {
    error(
        format!("{name} is set without {missing}"),
        format!("Set {missing}, or unset {name}."),
    )
}

fn error(tried: String, remedy: String) -> CredentialsError {
    CredentialsError { tried, remedy }
}
