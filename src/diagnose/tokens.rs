//! Which part of the credentials is wrong if AWS does not accept them.

use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis, Need};
use super::encode::{quoted, shown};
use super::evidence::{Credentials, Evidence};
use super::sent::Sent;

/// Returns why AWS does not accept the credentials of a request.
pub(super) fn diagnosis(sent: Option<&Sent>, evidence: &Evidence) -> Diagnosis {
    let summary = "AWS does not know the access key, or the session token does not belong to it.";
    let Some((sent, key)) = sent.and_then(|sent| Some((sent, sent.authorization.key()?))) else {
        return Diagnosis::unknown(summary, &[Need::Request, Need::Credentials]);
    };
    let token = sent.authorization.token.as_deref();
    if let Some(credentials) = &evidence.credentials {
        return difference(sent, credentials).unwrap_or_else(|| {
            Diagnosis::of(Cause::UnknownKey, Confidence::Likely)
                .because(format!("{}.", quoted(key)))
        });
    }
    contradiction(sent).unwrap_or_else(|| match (prefix(key), token) {
        ("AKIA", None) => Diagnosis::of(Cause::UnknownKey, Confidence::Likely)
            .because(format!("{}.", quoted(key))),
        ("ASIA", Some(_)) => {
            Diagnosis::of(Cause::TokenWrong, Confidence::Possible).needing(&[Need::Credentials])
        }
        _ => Diagnosis::unknown(summary, &[Need::Credentials]),
    })
}

/// Returns the cause if the session token contradicts the kind of the key: keys that begin with `ASIA`
/// have a token, and those that begin with `AKIA` do not (IAM user guide, "IAM identifiers").
pub(super) fn contradiction(sent: &Sent) -> Option<Diagnosis> {
    let key = sent.authorization.key()?;
    let token = sent.authorization.token.as_deref();
    let certain = |cause| Some(Diagnosis::of(cause, Confidence::Certain));
    match (prefix(key), token) {
        ("ASIA", None) => certain(Cause::TokenMissing),
        ("ASIA", Some("")) => certain(Cause::TokenMissing).map(|d| d.because("it is empty.")),
        ("AKIA", Some("")) => certain(Cause::TokenExtra).map(|d| d.because("it is empty.")),
        ("AKIA", Some(_)) => certain(Cause::TokenExtra),
        _ => None,
    }
}

/// Returns how the credentials of a request differ from those that should have signed it.
pub(super) fn difference(sent: &Sent, credentials: &Credentials) -> Option<Diagnosis> {
    let certain = |cause| Some(Diagnosis::of(cause, Confidence::Certain));
    let key = sent.authorization.key()?;
    if key != credentials.access_key_id {
        let diagnosis = certain(Cause::UnknownKey)?;
        let (yours, aws) = (shown(key), shown(&credentials.access_key_id));
        return Some(diagnosis.with_difference("access key", &yours, &aws));
    }
    let known = credentials.session_token.as_deref();
    let known = known.filter(|token| !token.is_empty());
    match (sent.authorization.token.as_deref(), known) {
        (Some(_), None) => certain(Cause::TokenExtra),
        (None | Some(""), Some(_)) => certain(Cause::TokenMissing),
        (Some(token), Some(known)) if token != known => certain(Cause::TokenWrong),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn prefix(key: &str) -> &str {
    key.get(..4).unwrap_or_default()
}
