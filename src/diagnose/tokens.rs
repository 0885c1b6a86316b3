//! Which part of the credentials is wrong if AWS does not accept them, and the codes and texts that say so.

use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis, Need};
use super::encode::{quoted, shown};
use super::evidence::{Credentials, Evidence};
use super::texts::undecided;
use super::times;
use super::verified_request::VerifiedRequest;

/// The codes of errors for a session token that has expired. Services append `Exception` to them or not, and
/// compare letters in either case (STS API reference, "Common errors"; S3, "Error responses").
const EXPIRED: [&str; 1] = ["expiredtoken"];
/// The codes of errors for an access key, or a session token, that AWS does not know.
const UNKNOWN: [&str; 4] = [
    "authfailure",
    "invalidaccesskeyid",
    "invalidclienttokenid",
    "unrecognizedclient",
];

/// Returns the cause that the code of an error and its text name, if they are about the credentials or the
/// clock and the credentials signed the request correctly otherwise, as those of an SDK do.
pub fn credentials_cause(code: &str, message: &str) -> Option<Cause> {
    let code = code.to_ascii_lowercase();
    if let Some(cause) = clock_cause(message) {
        Some(cause)
    } else if is_expired(&code, message) {
        Some(Cause::TokenExpired)
    } else if is_unknown(&code, message) {
        Some(Cause::UnknownKey)
    } else if code.starts_with("signaturedoesnotmatch") || code.starts_with("invalidsignature") {
        Some(Cause::WrongSecret)
    } else {
        None
    }
}

/// Returns the cause if a text says that a signature is too old, or from the future.
pub(super) fn clock_cause(message: &str) -> Option<Cause> {
    let is_of = |mark, rest| {
        let after = message.split_once(mark).map(|(_, after)| after);
        after.is_some_and(|after: &str| {
            let time = after.split(' ').next().unwrap_or_default();
            after.contains(rest) || times::parse_time(time).is_some()
        })
    };
    if is_of(CLOCK_SLOW, " is now earlier than ") {
        Some(Cause::ClockSlow)
    } else if is_of(CLOCK_FAST, " is still later than ") {
        Some(Cause::ClockFast)
    } else {
        None
    }
}

/// The beginnings of AWS's texts about the time of a signature.
pub(super) const CLOCK_SLOW: &str = "Signature expired: ";
pub(super) const CLOCK_FAST: &str = "Signature not yet current: ";

/// Returns whether an error says that the session token has expired. `code` is in lower case.
pub(super) fn is_expired(code: &str, message: &str) -> bool {
    // Services of other authors have the same code for their own tokens.
    let is_of_aws = !message.contains("JWT") && !message.contains("jwt");
    message.contains(SESSION_EXPIRED)
        || is_of_aws && EXPIRED.iter().any(|known| code.starts_with(known))
}

/// Returns how well an error proves that the session token has expired: other services have the same code.
pub(super) fn confidence_of_expiry(message: &str) -> Confidence {
    let texts = [SESSION_EXPIRED, "provided token has expired"];
    let is_proof = texts.iter().any(|text| message.contains(text));
    if is_proof || message.trim().is_empty() {
        Confidence::Certain
    } else {
        Confidence::Likely
    }
}

const SESSION_EXPIRED: &str = "security token included in the request is expired";

/// Returns whether an error says that AWS does not know the access key or the token. `code` is in lower case.
pub(super) fn is_unknown(code: &str, message: &str) -> bool {
    // S3's code and text. Other programs have exceptions of a similar name for their own tokens.
    let is_invalid = code == "invalidtoken" && !message.to_ascii_lowercase().contains("jwt");
    message.contains("security token included in the request is invalid")
        || message.contains("provided token is malformed or otherwise invalid")
        || is_invalid
        || UNKNOWN.iter().any(|known| code.starts_with(known))
}

/// Returns why AWS does not accept the credentials of a request.
pub(super) fn diagnosis(sent: Option<&VerifiedRequest>, evidence: &Evidence) -> Diagnosis {
    let summary = "AWS does not know the access key, or the session token does not belong to it.";
    let Some((sent, key)) = sent.and_then(|sent| Some((sent, sent.authorization.key()?))) else {
        let needs = [Need::Request, Need::Credentials];
        return Diagnosis::unknown(summary, &needs).checking(undecided::CREDENTIALS);
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
pub(super) fn contradiction(sent: &VerifiedRequest) -> Option<Diagnosis> {
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
pub(super) fn difference(sent: &VerifiedRequest, credentials: &Credentials) -> Option<Diagnosis> {
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
