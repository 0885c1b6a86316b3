//! The causes that AWS's texts name, alone or together with the request.

mod data_source;
mod own;
mod permission;

use super::answer::{Parsed, Source};
use super::authorization::{Authorization, Scheme};
use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis, Need};
use super::encode::{quoted, shown};
use super::evidence::Evidence;
use super::texts::undecided;
use super::verified_request::VerifiedRequest;
use super::{times, tokens, verify};
use permission::{of_permission, of_role_mapping, of_scheme};

/// Returns the diagnosis of an answer that names the cause, or that names it together with the request.
/// `None` if the answer is about the signature itself, or hides the reason.
pub(super) fn diagnosis(
    answer: &Parsed,
    sent: Option<&VerifiedRequest>,
    evidence: &Evidence,
) -> Option<Diagnosis> {
    own::diagnosis(evidence)
        .or_else(|| data_source::diagnosis(&evidence.answer))
        .or_else(|| of_time(answer))
        .or_else(|| of_scope(answer, sent))
        .or_else(|| of_headers(answer))
        .or_else(|| of_authorization(answer, sent))
        .or_else(|| of_token(answer, sent, evidence))
        .or_else(|| of_role_mapping(&evidence.answer.body))
        .or_else(|| of_permission(answer, sent))
        .or_else(|| of_endpoint(answer, sent))
}

fn of_time(answer: &Parsed) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    if let Some(cause) = tokens::clock_cause(text) {
        let mut parts = text.splitn(2, tokens::CLOCK_SLOW);
        let rest = parts.nth(1);
        let rest = rest.or_else(|| text.split_once(tokens::CLOCK_FAST).map(|(_, rest)| rest))?;
        // `T1 is now earlier than T2 (T0 - 5 min.)`
        let yours = rest.split(' ').next().unwrap_or_default();
        let aws = between(rest, "(", " ").unwrap_or_default();
        // A text whose times contradict it has been edited.
        let seconds = times::seconds_between(aws, yours);
        let is_ahead = cause == Cause::ClockFast;
        let seconds = seconds.filter(|seconds| *seconds != 0 && (*seconds > 0) == is_ahead);
        let detail = seconds.map(times::clock_detail);
        let diagnosis = Diagnosis::certain(cause).because_of(detail);
        return Some(diagnosis.with_difference("time", &shown(yours), &shown(aws)));
    }
    if text.contains("The difference between the request time and the current time is too large")
        || answer.kind.starts_with("RequestTimeTooSkewed")
    {
        return Some(of_skew(text));
    }
    if let Some((_, rest)) = text.split_once("Date must be in ISO-8601 'basic format'") {
        let date = between(rest, "'", "'").unwrap_or_default();
        let detail = format!("{}.", quoted(date));
        return Some(Diagnosis::certain(Cause::DateFormat).because(detail));
    }
    if text.contains("AWS authentication requires a valid Date or x-amz-date header") {
        return Some(Diagnosis::certain(Cause::DateMissing));
    }
    of_presigned_time(answer)
}

/// Returns the diagnosis of a presigned URL that is used too late or too early. Other programs write the same
/// words, so the type must be that of S3.
fn of_presigned_time(answer: &Parsed) -> Option<Diagnosis> {
    let is_denied = answer.kind.starts_with("AccessDenied");
    let text = answer.message.as_str();
    let (cause, detail) = if is_denied && text.contains("Request has expired") {
        let detail = "the presigned URL was used after the seconds in its X-Amz-Expires.";
        (Cause::ClockSlow, detail)
    } else if is_denied && text.contains("Request is not yet valid") {
        (
            Cause::ClockFast,
            "the X-Amz-Date of the URL is in the future.",
        )
    } else {
        return None;
    };
    Some(Diagnosis::of(cause, Confidence::Likely).because(detail))
}

/// Returns the diagnosis of an error of S3, which names both times in elements of their own.
fn of_skew(text: &str) -> Diagnosis {
    // One is in the basic format, the other one may be in the extended format.
    let time = |name: &str| {
        let text = between(text, &format!("<{name}>"), "<")?;
        let text = text.split('.').next()?.replace(['-', ':'], "");
        Some(format!("{}Z", text.trim_end_matches('Z')))
    };
    let times = time("RequestTime").zip(time("ServerTime"));
    let seconds = times
        .as_ref()
        .and_then(|(yours, aws)| times::seconds_between(aws, yours));
    let Some(((yours, aws), seconds)) = times.zip(seconds) else {
        let summary = "The clock of the machine that signs and AWS's clock differ.";
        let needs = [Need::Answer, Need::Request, Need::Time];
        let fix = Cause::ClockSlow;
        return Diagnosis::unknown(summary, &needs).with_fix(fix.fix_with_code(), fix.hint());
    };
    let cause = if seconds < 0 {
        Cause::ClockSlow
    } else {
        Cause::ClockFast
    };
    let diagnosis = Diagnosis::certain(cause).because(times::clock_detail(seconds));
    diagnosis.with_difference("time", &shown(&yours), &shown(&aws))
}

fn of_scope(answer: &Parsed, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let scope = sent.and_then(|sent| sent.authorization.scope());
    if let Some((_, rest)) = text.split_once("Date in Credential scope does not match") {
        // `…: 'yours' != 'aws', from '…'`
        let (yours, aws) = rest.split_once("!=").unwrap_or_default();
        let value = |text| shown(between(text, "'", "'").unwrap_or_default());
        let diagnosis = Diagnosis::certain(Cause::ScopeDate);
        return Some(diagnosis.with_difference(
            "credential scope: the date",
            &value(yours),
            &value(aws),
        ));
    }
    if text.contains("Credential must have exactly 5 slash-delimited elements")
        || text.contains("the Credential is mal-formed")
    {
        return Some(Diagnosis::certain(Cause::ScopeMalformed));
    }
    if text.contains("Credential should be scoped with a valid terminator") {
        return Some(Diagnosis::certain(Cause::ScopeTerminator));
    }
    // The capitals differ between services.
    let region = [
        "Credential should be scoped to a valid region",
        "Credential should be scoped to a valid Region",
        "credential must be scoped to a valid region",
    ];
    if let Some((_, rest)) = region.iter().find_map(|mark| text.split_once(mark)) {
        let signed = rest
            .strip_prefix(", not '")
            .and_then(|rest| rest.split('\'').next());
        let signed = signed.or(scope.map(|scope| scope.region));
        let expected = sent.and_then(verify::region_of_host);
        return Some(match (signed, expected) {
            (Some(signed), Some(expected)) => {
                of_part(Cause::WrongRegion, "region", signed, &expected)
            }
            (Some(signed), None) => {
                Diagnosis::certain(Cause::WrongRegion).because(format!("{}.", quoted(signed)))
            }
            (None, Some(expected)) => {
                Diagnosis::certain(Cause::WrongRegion).expecting("REGION", &expected)
            }
            (None, None) => Diagnosis::certain(Cause::WrongRegion),
        });
    }
    if let Some(signed) = between(
        text,
        "The authorization header is malformed; the region '",
        "'",
    ) {
        let expected = between(text, "' is wrong; expecting '", "'").unwrap_or_default();
        return Some(of_part(Cause::WrongRegion, "region", signed, expected));
    }
    if let Some((_, rest)) = text.split_once("Credential should be scoped to correct service") {
        let expected = between(rest, "'", "'").unwrap_or_default();
        let signed = scope.map(|scope| scope.service);
        let diagnosis = Diagnosis::certain(Cause::WrongService);
        return Some(match (signed, expected) {
            (_, "") => diagnosis,
            (Some(signed), expected) => of_part(Cause::WrongService, "service", signed, expected),
            (None, expected) => diagnosis
                .expecting("SERVICE", expected)
                .because(format!("AWS expects {}.", quoted(expected))),
        });
    }
    None
}

/// Returns the diagnosis of a credential scope with another region or service than AWS expects.
fn of_part(cause: Cause, part: &str, signed: &str, expected: &str) -> Diagnosis {
    if signed == expected {
        let signed = quoted(signed);
        let summary = format!(
            "The request is signed for the {part} that AWS expects, {signed}: AWS rejected another request."
        );
        return Diagnosis::unknown(summary, &[Need::Request]);
    }
    let detail = format!("{} instead of {}.", quoted(signed), quoted(expected));
    Diagnosis::certain(cause)
        .expecting(&part.to_uppercase(), expected)
        .because(detail)
        .with_difference(
            &format!("credential scope: the {part}"),
            &shown(signed),
            &shown(expected),
        )
}

fn of_headers(answer: &Parsed) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let name_before = |mark: &str| {
        let (before, _) = text.split_once(mark)?;
        Some(
            before
                .rsplit('\'')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase(),
        )
    };
    if let Some(name) = name_before("' must be a 'SignedHeader'") {
        let cause = match name.as_str() {
            // `'Host' or ':authority'`; older texts have only `'Host'`.
            "host" | ":authority" => return Some(Diagnosis::certain(Cause::HostNotSigned)),
            "x-amz-content-sha256" => Cause::ContentShaHeader,
            _ => Cause::HeaderNotSigned,
        };
        return Some(
            Diagnosis::certain(cause)
                .because(format!("{} was sent and not signed.", quoted(&name))),
        );
    }
    if let Some(name) = name_before("' is named as a SignedHeader") {
        let cause = match name.as_str() {
            "x-amz-security-token" => Cause::TokenMissing,
            "x-amz-date" => Cause::DateMissing,
            _ => Cause::HeaderRemoved,
        };
        return Some(Diagnosis::certain(cause).because(format!("{}.", quoted(&name))));
    }
    let of_hash = [
        "The provided 'x-amz-content-sha256' header does not match what was computed",
        "Missing required header for this request: x-amz-content-sha256",
    ];
    if of_hash.iter().any(|mark| text.contains(mark)) {
        return Some(Diagnosis::certain(Cause::ContentShaHeader));
    }
    // S3 names them in an element of its own.
    if text.contains("There were headers present in the request which were not signed") {
        let name = answer.element("HeadersNotSigned");
        let detail = name.map(|name| format!("{}.", quoted(name.trim())));
        return Some(Diagnosis::certain(Cause::HeaderNotSigned).because_of(detail));
    }
    None
}

fn of_authorization(answer: &Parsed, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    if text.contains("Please use AWS4-HMAC-SHA256.") {
        return Some(Diagnosis::certain(Cause::NotSigv4));
    }
    if text.contains("Unsupported AWS 'algorithm'") {
        return Some(Diagnosis::certain(Cause::Algorithm));
    }
    if text.contains("Authorization header must begin with the algorithm name") {
        let detail = "it does not begin with AWS4-HMAC-SHA256.";
        return Some(Diagnosis::certain(Cause::AuthorizationMalformed).because(detail));
    }
    if text.contains("Found both 'X-Amz-Algorithm' as a query-string param")
        || text.contains("Only one auth mechanism allowed")
    {
        return Some(Diagnosis::certain(Cause::SignedTwice));
    }
    if text.contains("AWS query-string parameters must include '") {
        let missing = text.matches("must include '").count();
        let is_date = missing == 1 && text.contains("must include 'X-Amz-Date'");
        return Some(Diagnosis::certain(if is_date {
            Cause::DateMissing
        } else {
            Cause::AuthorizationMalformed
        }));
    }
    if text.contains("X-Amz-Expires must be") {
        return Some(Diagnosis::certain(Cause::AuthorizationMalformed).because("X-Amz-Expires."));
    }
    let requires = |part: &str| text.contains(&format!("Authorization header requires {part}"));
    let parts = ["'Credential'", "'Signature'", "'SignedHeaders'"];
    let missing: Vec<&str> = parts.into_iter().filter(|part| requires(part)).collect();
    let is_date_missing = requires("existence of either a 'X-Amz-Date' or a 'Date' header");
    let is_pair = text.contains("(missing equal-sign) in Authorization header");
    if missing.is_empty() && is_date_missing {
        return Some(Diagnosis::certain(Cause::DateMissing));
    }
    if !missing.is_empty() && missing.len() < parts.len() {
        let detail = format!("{} is missing.", missing.join(" and ").replace('\'', ""));
        return Some(Diagnosis::certain(Cause::AuthorizationMalformed).because(detail));
    }
    if !missing.is_empty() || is_pair {
        // The text echoes the header, or its hash.
        let echoed = between(text, "Authorization=", "\n")
            .or_else(|| between(text, "Authorization header: '", "'"))
            .map(|echoed| Authorization::parse(echoed).scheme);
        let scheme = sent
            .map(|sent| sent.authorization.scheme.clone())
            .or(echoed);
        return Some(match scheme {
            Some(Scheme::Sigv4) => Diagnosis::certain(Cause::AuthorizationMalformed),
            Some(scheme) => {
                of_scheme(&scheme).unwrap_or_else(|| Diagnosis::certain(Cause::NotSigv4))
            }
            None => Diagnosis::unknown(
                "AWS could not read the Authorization header.",
                &[Need::Request],
            ),
        });
    }
    None
}

fn of_token(
    answer: &Parsed,
    sent: Option<&VerifiedRequest>,
    evidence: &Evidence,
) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    if tokens::is_expired(&kind, text) {
        let confidence = tokens::confidence_of_expiry(text);
        return Some(Diagnosis::of(Cause::TokenExpired, confidence));
    }
    tokens::is_unknown(&kind, text).then(|| tokens::diagnosis(sent, evidence))
}

fn of_endpoint(answer: &Parsed, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    if text.contains("Missing Authentication Token")
        || text.contains("missing Authentication Token")
        || kind.starts_with("missingauthenticationtoken")
    {
        let Some(sent) = sent else {
            let summary = "The request is not signed, or the API has no such route.";
            let found = Diagnosis::unknown(summary, &[Need::Request]);
            return Some(found.checking(undecided::MISSING_TOKEN));
        };
        return Some(match sent.authorization.scheme {
            Scheme::Missing => Diagnosis::certain(Cause::NotSigned),
            Scheme::Sigv4 | Scheme::OtherAlgorithm(_) | Scheme::Other(_) => {
                Diagnosis::of(Cause::NoSuchRoute, Confidence::Likely)
            }
        });
    }
    if kind.starts_with("wafforbidden") {
        return Some(Diagnosis::certain(Cause::Waf));
    }
    // CloudFront's page.
    if text.contains("The request could not be satisfied") && text.contains("Request blocked") {
        return Some(Diagnosis::of(Cause::Waf, Confidence::Likely));
    }
    if text.contains("NoProtocolError") {
        return Some(Diagnosis::certain(Cause::NoSubprotocol));
    }
    if kind.starts_with("httpnotfound") && answer.source != Source::Unknown {
        return Some(Diagnosis::of(Cause::HostWrong, Confidence::Likely));
    }
    None
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split(close).next()
}
