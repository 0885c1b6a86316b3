//! The roles of profiles.

use aws_config::profile::Profile;

use super::error::CredentialsError;
use super::outline::decode;
use super::sts::{Role, WebIdentity};
use crate::home;

/// Where the credentials come from with which the first role is assumed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A profile, by the name that aws-config knows.
    Profile(String),
    WebIdentity(WebIdentity),
}

pub(super) const ROLE: &str = "role_arn";
pub(super) const WEB_IDENTITY: &str = "web_identity_token_file";

/// Returns the profile as the source of credentials for roles.
pub(super) fn base(profile: &Profile) -> Base {
    let get = |key: &str| profile.get(key).filter(|value| !value.is_empty());
    match (get(WEB_IDENTITY), get(ROLE)) {
        (Some(token_file), Some(arn)) => Base::WebIdentity(WebIdentity {
            token_file: home::expand(token_file),
            role: Role {
                arn: arn.to_owned(),
                session_name: get("role_session_name").map(str::to_owned),
                ..Role::default()
            },
        }),
        (Some(_) | None, _) => Base::Profile(profile.name().to_owned()),
    }
}

/// Returns the role of a profile, if it has one.
pub(super) fn role(profile: &Profile) -> Result<Option<Role>, CredentialsError> {
    let get = |key: &str| profile.get(key).filter(|value| !value.is_empty());
    let Some(arn) = get(ROLE) else {
        return Ok(None);
    };
    let error = |flaw: String, remedy: &str| CredentialsError {
        tried: format!("profile {:?} {flaw}", decode(profile.name())),
        remedy: remedy.to_owned(),
    };
    if get("mfa_serial").is_some() {
        let flaw = "has mfa_serial, and countersign cannot ask for a code".to_owned();
        let remedy = "Use a credential_process, such as `aws configure export-credentials --profile NAME`, \
                      or a profile with SSO.";
        return Err(error(flaw, remedy));
    }
    let duration = match get("duration_seconds").map(|text| (text, text.parse())) {
        None => None,
        Some((_, Ok(seconds))) => Some(seconds),
        Some((text, Err(_))) => {
            let flaw = format!("has duration_seconds {text:?}, which is not a number of seconds");
            return Err(error(flaw, "Set it to a number such as 3600."));
        }
    };
    Ok(Some(Role {
        arn: arn.to_owned(),
        session_name: get("role_session_name").map(str::to_owned),
        external_id: get("external_id").map(str::to_owned),
        duration,
    }))
}
