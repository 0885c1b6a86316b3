//! Whether a signature follows from a secret access key, and from which signing key.

use std::borrow::Cow;

use aws_sigv4::sign::v4::calculate_signature;
use time::Date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis, Need};
use super::encode::shown;
use super::evidence::Evidence;
use super::verified_request::VerifiedRequest;
use super::verify;

/// The date, region, service and end from which a signing key is derived.
type Parts<'a> = [Cow<'a, str>; 4];

/// Returns why the signature differs although what was signed does not.
pub(super) fn diagnosis(
    sent: Option<&VerifiedRequest>,
    string_to_sign: Option<&str>,
    evidence: &Evidence,
) -> Diagnosis {
    let is_known = evidence.credentials.is_some()
        && string_to_sign.is_some()
        && sent.is_some_and(|sent| sent.authorization.signature.is_some());
    proven(sent, string_to_sign, evidence).unwrap_or_else(|| {
        if is_known {
            return Diagnosis::of(Cause::WrongSecret, Confidence::Certain);
        }
        let mut diagnosis = Diagnosis::of(Cause::WrongSecret, Confidence::Possible);
        diagnosis.summary =
            "What was signed is right, so the secret access key is wrong, or the date, region or \
                             service from which the signing key was derived."
                .to_owned();
        diagnosis.needing(&[Need::Credentials])
    })
}

/// Returns the diagnosis if the signature follows from the secret access key: with the right signing key,
/// so that AWS must have another secret, or with a wrong one.
pub(super) fn proven(
    sent: Option<&VerifiedRequest>,
    string_to_sign: Option<&str>,
    evidence: &Evidence,
) -> Option<Diagnosis> {
    let (credentials, sent, string) = (evidence.credentials.as_ref()?, sent?, string_to_sign?);
    let authorization = &sent.authorization;
    let (scope, signature) = (authorization.scope()?, authorization.signature.as_deref()?);
    let secret = credentials.secret_access_key.as_str();
    let signs = |secret: &str, parts: &Parts<'_>| {
        sign(secret, parts, string).is_some_and(|own| own == signature)
    };
    let prefixed = format!("AWS4{secret}");
    let own: Parts<'_> =
        [scope.date, scope.region, scope.service, scope.terminator].map(Cow::Borrowed);
    if signs(&prefixed, &own) {
        let detail = "the signature is right for this secret access key, so AWS has another one for the \
                      access key.";
        return Some(Diagnosis::of(Cause::WrongSecret, Confidence::Likely).because(detail));
    }
    let date = authorization.date.as_deref().unwrap_or_default();
    let alternatives = [
        (0, Cause::SigningKeyDate, dates(scope.date, date)),
        (1, Cause::SigningKeyRegion, regions(sent)),
        (2, Cause::SigningKeyService, services(sent)),
        (
            3,
            Cause::SigningKeyForm,
            vec!["aws4-request".into(), "".into()],
        ),
    ];
    for (at, cause, values) in alternatives {
        for value in values {
            let mut parts = own.clone();
            parts[at] = value;
            if signs(&prefixed, &parts) {
                let line = ["date", "region", "service", "end"][at];
                let line = format!("signing key: the {line}");
                let (yours, aws) = (shown(&parts[at]), shown(&own[at]));
                let diagnosis = Diagnosis::of(cause, Confidence::Certain);
                return Some(diagnosis.with_difference(&line, &yours, &aws));
            }
        }
    }
    signs(secret, &own).then(|| {
        let detail = "the secret is used without AWS4 before it.";
        Diagnosis::of(Cause::SigningKeyForm, Confidence::Certain).because(detail)
    })
}

fn sign(secret: &str, parts: &Parts<'_>, string: &str) -> Option<String> {
    let mut key = secret.as_bytes().to_vec();
    for part in parts {
        key = bytes(&calculate_signature(&key, part.as_bytes()))?;
    }
    Some(calculate_signature(&key, string.as_bytes()))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Returns the dates with which signing keys are derived by mistake: a key of another day, or another
/// format.
fn dates(scope: &str, time: &str) -> Vec<Cow<'static, str>> {
    let mut dates: Vec<Cow<'static, str>> = vec![time.to_owned().into(), "".into()];
    let Ok(day) = Date::parse(scope, DAY) else {
        return dates;
    };
    let (mut before, mut after) = (Some(day), Some(day));
    for _ in 0..MAX_DAYS {
        before = before.and_then(Date::previous_day);
        after = after.and_then(Date::next_day);
        for day in [before, after].into_iter().flatten() {
            dates.extend(day.format(DAY).ok().map(Cow::Owned));
        }
    }
    dates.extend(day.format(DASHED).ok().map(Cow::Owned));
    dates
}

fn regions(sent: &VerifiedRequest) -> Vec<Cow<'static, str>> {
    let common = COMMON_REGIONS.iter().map(|region| Cow::Borrowed(*region));
    verify::region_of_host(sent)
        .map(Cow::Owned)
        .into_iter()
        .chain(common)
        .collect()
}

fn services(sent: &VerifiedRequest) -> Vec<Cow<'static, str>> {
    let common = ["appsync", "execute-api", "apigateway", "appsync-api", ""];
    verify::service_of_host(sent)
        .into_iter()
        .chain(common)
        .map(Cow::Borrowed)
        .collect()
}

/// Keys of a week before and after are tried: a key is often cached, and not derived again on a new day.
const MAX_DAYS: usize = 7;
const COMMON_REGIONS: [&str; 10] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "",
];
const DAY: &[BorrowedFormatItem<'static>] = format_description!("[year][month][day]");
const DASHED: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
