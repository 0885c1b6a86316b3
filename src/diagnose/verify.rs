//! Verifies everything of a request but its signature, as AWS does before it compares signatures.
//!
//! HTTP APIs answer each rejection with `Forbidden`, so this determines the reason from the request.

use std::time::SystemTime;

use time::OffsetDateTime;

use super::authorization::{Scheme, Scope, is_sorted};
use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis};
use super::encode::{quoted, sha256_hex, shown};
use super::times::{clock_detail, format_time, parse_time};
use super::tokens;
use super::verified_request::{UNSIGNED_PAYLOAD, VerifiedRequest};

/// The seconds by which a signature may be early or late
/// ([Authenticating Requests](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html)).
const TOLERANCE: i64 = 5 * 60;
const TERMINATOR: &str = "aws4_request";

/// Returns the first mistake. `answered_at` is AWS's time.
pub(super) fn mistake(
    sent: &VerifiedRequest,
    answered_at: Option<SystemTime>,
) -> Option<Diagnosis> {
    let likely = |cause| Diagnosis::of(cause, Confidence::Likely);
    let authorization = &sent.authorization;
    match &authorization.scheme {
        Scheme::Sigv4 => {}
        Scheme::Missing => return Some(likely(Cause::NotSigned)),
        Scheme::OtherAlgorithm(name) => {
            return Some(likely(Cause::Algorithm).because(format!("{}.", quoted(name))));
        }
        Scheme::Other(_) => return Some(likely(Cause::NotSigv4)),
    }
    let (Some(signed), Some(_), Some(credential)) = (
        &authorization.signed_headers,
        &authorization.signature,
        &authorization.credential,
    ) else {
        return Some(likely(Cause::AuthorizationMalformed));
    };
    let Some(date) = authorization.date.as_deref() else {
        return Some(likely(Cause::DateMissing));
    };
    let Some(scope) = Scope::parse(credential) else {
        return Some(likely(Cause::ScopeMalformed));
    };
    unsigned_header(sent, signed)
        .or_else(|| {
            let time = parse_time(date);
            time.is_none()
                .then(|| likely(Cause::DateFormat).because(format!("{}.", quoted(date))))
        })
        .or_else(|| wrong_scope(sent, &scope, date))
        .or_else(|| wrong_clock(date, answered_at))
        .or_else(|| tokens::contradiction(sent))
        .or_else(|| wrong_content_hash(sent))
        .or_else(|| (!is_sorted(signed)).then(|| likely(Cause::HeaderUnsorted)))
}

fn unsigned_header(sent: &VerifiedRequest, signed: &[String]) -> Option<Diagnosis> {
    let likely = |cause| Diagnosis::of(cause, Confidence::Likely);
    let is_signed = |name: &str| {
        signed
            .iter()
            .any(|signed| signed.eq_ignore_ascii_case(name))
    };
    if !is_signed("host") {
        return Some(likely(Cause::HostNotSigned));
    }
    let names = signed.iter().map(|name| name.to_ascii_lowercase());
    if let Some(name) = names
        .filter(|name| name != "host")
        .find(|name| sent.joined(name).is_none())
    {
        let cause = if name == "x-amz-security-token" {
            Cause::TokenMissing
        } else {
            Cause::HeaderRemoved
        };
        return Some(likely(cause).because(format!("{}.", quoted(&name))));
    }
    if sent.authorization.is_presigned {
        return None;
    }
    let names = sent
        .headers
        .iter()
        .map(|(name, _)| name.trim().to_ascii_lowercase());
    let mut amazon = names.filter(|name| name.starts_with("x-amz-") && name != "x-amz-date");
    let name = amazon.find(|name| !is_signed(name))?;
    let cause = if name == "x-amz-content-sha256" {
        Cause::ContentShaHeader
    } else {
        Cause::HeaderNotSigned
    };
    Some(likely(cause).because(format!("{} was sent and not signed.", quoted(&name))))
}

fn wrong_scope(sent: &VerifiedRequest, scope: &Scope<'_>, date: &str) -> Option<Diagnosis> {
    let found = |cause, part: &str, yours: &str, aws: &str| {
        let placeholder = part.to_ascii_uppercase();
        let diagnosis = Diagnosis::of(cause, Confidence::Likely).expecting(&placeholder, aws);
        Some(diagnosis.with_difference(
            &format!("credential scope: the {part}"),
            &shown(yours),
            aws,
        ))
    };
    let (service, region) = endpoint_of_host(sent).unzip();
    if let Some(region) = region.filter(|region| region != scope.region) {
        return found(Cause::WrongRegion, "region", scope.region, &region);
    }
    if let Some(service) = service.filter(|service| *service != scope.service) {
        return found(Cause::WrongService, "service", scope.service, service);
    }
    if scope.terminator != TERMINATOR {
        return found(Cause::ScopeTerminator, "end", scope.terminator, TERMINATOR);
    }
    let day = date.get(..8).unwrap_or_default();
    if scope.date != day {
        return found(Cause::ScopeDate, "date", scope.date, day);
    }
    None
}

fn wrong_clock(date: &str, answered_at: Option<SystemTime>) -> Option<Diagnosis> {
    let aws = OffsetDateTime::from(answered_at?);
    let signed_at = parse_time(date)?;
    let seconds = (signed_at - aws).whole_seconds();
    let cause = match seconds {
        seconds if seconds > TOLERANCE => Cause::ClockFast,
        seconds if seconds < -TOLERANCE => Cause::ClockSlow,
        _ => return None,
    };
    let aws = format_time(aws);
    let diagnosis = Diagnosis::of(cause, Confidence::Likely).because(clock_detail(seconds));
    Some(diagnosis.with_difference("time", date, &aws))
}

fn wrong_content_hash(sent: &VerifiedRequest) -> Option<Diagnosis> {
    let declared = sent.joined("x-amz-content-sha256")?;
    let body = sha256_hex(sent.body.as_deref()?);
    if declared == body || sent.is_accepted_unsigned(&declared) {
        return None;
    }
    let diagnosis = Diagnosis::of(content_hash_cause(&declared), Confidence::Likely);
    Some(diagnosis.with_difference("the header x-amz-content-sha256", &shown(&declared), &body))
}

/// Returns the cause for a declared hash that is not that of the body.
pub(super) fn content_hash_cause(declared: &str) -> Cause {
    if is_unsigned_payload(declared) {
        Cause::BodyHashUnsigned
    } else {
        Cause::ContentShaHeader
    }
}

/// Returns whether a value in place of the hash declares that the hash of the whole body is not signed
/// (S3 API reference, "Authenticating Requests").
pub(super) fn is_unsigned_payload(declared: &str) -> bool {
    declared == UNSIGNED_PAYLOAD || declared.starts_with("STREAMING-")
}

/// Returns the service and region of AWS's own host names.
fn endpoint_of_host(sent: &VerifiedRequest) -> Option<(&'static str, String)> {
    let host = sent.joined("host")?.to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let name = host.strip_suffix(".amazonaws.com")?;
    let labels: Vec<&str> = name.split('.').collect();
    let service = |label: &str| match label {
        "appsync-api" | "appsync-realtime-api" => Some("appsync"),
        "execute-api" => Some("execute-api"),
        _ => None,
    };
    let at = labels.iter().position(|label| service(label).is_some())?;
    Some((service(labels[at])?, (*labels.get(at + 1)?).to_owned()))
}

pub(super) fn region_of_host(sent: &VerifiedRequest) -> Option<String> {
    endpoint_of_host(sent).map(|(_, region)| region)
}

pub(super) fn service_of_host(sent: &VerifiedRequest) -> Option<&'static str> {
    endpoint_of_host(sent).map(|(service, _)| service)
}
