//! The causes that AWS's texts name, alone or together with the request.

use super::answer::{Parsed, Source};
use super::authorization::{Authorization, Scheme};
use super::cause::Cause;
use super::diagnosis::{Confidence, Denial, Diagnosis, Need};
use super::encode::{quoted, shown};
use super::evidence::Evidence;
use super::sent::Sent;
use super::{tokens, verify};

/// Returns the diagnosis of an answer that names the cause, or that names it together with the request.
/// `None` if the answer is about the signature itself, or hides the reason.
pub(super) fn diagnosis(
    answer: &Parsed,
    sent: Option<&Sent>,
    evidence: &Evidence,
) -> Option<Diagnosis> {
    of_time(answer)
        .or_else(|| of_scope(answer, sent))
        .or_else(|| of_headers(answer))
        .or_else(|| of_authorization(answer, sent))
        .or_else(|| of_token(answer, sent, evidence))
        .or_else(|| of_permission(answer, sent))
        .or_else(|| of_endpoint(answer, sent))
}

fn certain(cause: Cause) -> Diagnosis {
    Diagnosis::of(cause, Confidence::Certain)
}

fn of_time(answer: &Parsed) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    for (mark, cause) in [
        ("Signature expired: ", Cause::ClockSlow),
        ("Signature not yet current: ", Cause::ClockFast),
    ] {
        if let Some((_, rest)) = text.split_once(mark) {
            // `T1 is now earlier than T2 (T0 - 5 min.)`
            let yours = rest.split(' ').next().unwrap_or_default();
            let aws = between(rest, "(", " ").unwrap_or_default();
            let diagnosis = match verify::seconds_between(aws, yours) {
                Some(seconds) => certain(cause).because(verify::clock_detail(seconds)),
                None => certain(cause),
            };
            return Some(diagnosis.with_difference("time", &shown(yours), &shown(aws)));
        }
    }
    if let Some((_, rest)) = text.split_once("Date must be in ISO-8601 'basic format'") {
        let date = between(rest, "'", "'").unwrap_or_default();
        let detail = format!("{}.", quoted(date));
        return Some(certain(Cause::DateFormat).because(detail));
    }
    None
}

fn of_scope(answer: &Parsed, sent: Option<&Sent>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let scope = sent.and_then(|sent| sent.authorization.scope());
    if let Some((_, rest)) = text.split_once("Date in Credential scope does not match") {
        // `…: 'yours' != 'aws', from '…'`
        let (yours, aws) = rest.split_once("!=").unwrap_or_default();
        let value = |text| shown(between(text, "'", "'").unwrap_or_default());
        let diagnosis = certain(Cause::ScopeDate);
        return Some(diagnosis.with_difference(
            "credential scope: the date",
            &value(yours),
            &value(aws),
        ));
    }
    if text.contains("Credential must have exactly 5 slash-delimited elements") {
        return Some(certain(Cause::ScopeMalformed));
    }
    if text.contains("Credential should be scoped with a valid terminator") {
        return Some(certain(Cause::ScopeTerminator));
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
        let diagnosis = certain(Cause::WrongRegion);
        return Some(match (signed, expected) {
            (Some(signed), Some(expected)) => diagnosis
                .because(format!("{} instead of {expected}.", quoted(signed)))
                .with_difference("credential scope: the region", &shown(signed), &expected),
            (Some(signed), None) => diagnosis.because(format!("{}.", quoted(signed))),
            (None, _) => diagnosis,
        });
    }
    if let Some((_, rest)) = text.split_once("Credential should be scoped to correct service") {
        let expected = between(rest, "'", "'").unwrap_or_default();
        let signed = scope.map(|scope| scope.service);
        let diagnosis = certain(Cause::WrongService);
        return Some(match (signed, expected) {
            (_, "") => diagnosis,
            (Some(signed), expected) => diagnosis
                .because(format!(
                    "{} instead of {}.",
                    quoted(signed),
                    quoted(expected)
                ))
                .with_difference(
                    "credential scope: the service",
                    &shown(signed),
                    &shown(expected),
                ),
            (None, expected) => diagnosis.because(format!("AWS expects {}.", quoted(expected))),
        });
    }
    None
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
            "host" | ":authority" => return Some(certain(Cause::HostNotSigned)),
            "x-amz-content-sha256" => Cause::ContentShaHeader,
            _ => Cause::HeaderNotSigned,
        };
        return Some(certain(cause).because(format!("{} was sent and not signed.", quoted(&name))));
    }
    if let Some(name) = name_before("' is named as a SignedHeader") {
        let cause = match name.as_str() {
            "x-amz-security-token" => Cause::TokenMissing,
            "x-amz-date" => Cause::DateMissing,
            _ => Cause::HeaderRemoved,
        };
        return Some(certain(cause).because(format!("{}.", quoted(&name))));
    }
    None
}

fn of_authorization(answer: &Parsed, sent: Option<&Sent>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    if text.contains("Unsupported AWS 'algorithm'") {
        return Some(certain(Cause::Algorithm));
    }
    if text.contains("Authorization header must begin with the algorithm name") {
        let detail = "it does not begin with AWS4-HMAC-SHA256.";
        return Some(certain(Cause::AuthorizationMalformed).because(detail));
    }
    if text.contains("Found both 'X-Amz-Algorithm' as a query-string param") {
        return Some(certain(Cause::SignedTwice));
    }
    if text.contains("AWS query-string parameters must include '") {
        let missing = text.matches("must include '").count();
        let is_date = missing == 1 && text.contains("must include 'X-Amz-Date'");
        return Some(certain(if is_date {
            Cause::DateMissing
        } else {
            Cause::AuthorizationMalformed
        }));
    }
    if text.contains("X-Amz-Expires must be") {
        return Some(certain(Cause::AuthorizationMalformed).because("X-Amz-Expires."));
    }
    let requires = |part: &str| text.contains(&format!("Authorization header requires {part}"));
    let parts = ["'Credential'", "'Signature'", "'SignedHeaders'"];
    let missing: Vec<&str> = parts.into_iter().filter(|part| requires(part)).collect();
    let is_date_missing = requires("existence of either a 'X-Amz-Date' or a 'Date' header");
    let is_pair = text.contains("(missing equal-sign) in Authorization header");
    if missing.is_empty() && is_date_missing {
        return Some(certain(Cause::DateMissing));
    }
    if !missing.is_empty() && missing.len() < parts.len() {
        let detail = format!("{} is missing.", missing.join(" and ").replace('\'', ""));
        return Some(certain(Cause::AuthorizationMalformed).because(detail));
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
            Some(Scheme::Sigv4) => certain(Cause::AuthorizationMalformed),
            Some(scheme) => of_scheme(&scheme).unwrap_or_else(|| certain(Cause::NotSigv4)),
            None => Diagnosis::unknown(
                "AWS could not read the Authorization header.",
                &[Need::Request],
            ),
        });
    }
    None
}

/// Returns the cause for an authorization that is not of Signature Version 4.
fn of_scheme(scheme: &Scheme) -> Option<Diagnosis> {
    match scheme {
        Scheme::Sigv4 => None,
        Scheme::Missing => Some(certain(Cause::NotSigned)),
        Scheme::OtherAlgorithm(name) => {
            Some(certain(Cause::Algorithm).because(format!("{}.", quoted(name))))
        }
        Scheme::Other(Some(name)) => {
            Some(certain(Cause::NotSigv4).because(format!("the scheme is {}.", quoted(name))))
        }
        Scheme::Other(None) => Some(certain(Cause::NotSigv4)),
    }
}

fn of_token(answer: &Parsed, sent: Option<&Sent>, evidence: &Evidence) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    let is_of = |names: &[&str]| names.iter().any(|name| kind.starts_with(name));
    if text.contains("security token included in the request is expired")
        || is_of(&["expiredtoken"])
    {
        return Some(certain(Cause::TokenExpired));
    }
    let is_invalid = text.contains("security token included in the request is invalid");
    let kinds = [
        "unrecognizedclient",
        "invalidclienttokenid",
        "invalidaccesskeyid",
    ];
    (is_invalid || is_of(&kinds)).then(|| tokens::diagnosis(sent, evidence))
}

fn of_permission(answer: &Parsed, sent: Option<&Sent>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    if let Some((before, after)) = text.split_once(" is not authorized to perform: ") {
        let identity = before.rsplit("User: ").next().unwrap_or_default().trim();
        let word = |text: &str| {
            let word = text.split_whitespace().next()?;
            Some(word.trim_end_matches(['.', '"', ',']).to_owned())
        };
        let denial = Denial {
            identity: identity.starts_with("arn:").then(|| identity.to_owned()),
            action: word(after),
            resource: after
                .split_once("on resource: ")
                .and_then(|(_, rest)| word(rest)),
        };
        if identity.ends_with("anonymous") {
            return Some(certain(Cause::NotSigned));
        }
        let mut diagnosis = certain(Cause::NotAuthorized);
        if let Some(action) = &denial.action {
            diagnosis = diagnosis.because(format!("{}.", shown(action)));
        }
        diagnosis.denial = Some(denial);
        return Some(diagnosis);
    }
    if let Some((_, rest)) = text.split_once("Not Authorized to access ") {
        // `onMsg on type Subscription`
        let mut diagnosis = certain(Cause::NotAuthorized);
        let mut words = rest.split_whitespace();
        let (field, owner) = (words.next(), words.nth(2));
        if let Some((field, owner)) = field.zip(owner) {
            let owner: String = owner
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            diagnosis = diagnosis.because(format!(
                "the field {} of {}.",
                quoted(field),
                quoted(&owner)
            ));
            diagnosis.denial = Some(Denial {
                resource: Some(shown(&format!("types/{owner}/fields/{field}"))),
                ..Denial::default()
            });
        }
        return Some(diagnosis);
    }
    let is_unauthorized = kind.starts_with("unauthorized") || kind.starts_with("accessdenied");
    if text.contains("Permission denied") && (is_unauthorized || kind.is_empty()) {
        let mut diagnosis = certain(Cause::NotAuthorized);
        diagnosis.denial = Some(Denial::default());
        return Some(diagnosis);
    }
    if text.contains("Missing authorization header")
        || text.contains("Required headers are missing.")
        || text.contains("the \"header\", and the \"payload\" query string parameters are missing")
    {
        return Some(certain(Cause::NotSigned));
    }
    if text.contains("You are not authorized to make this call") {
        return Some(of_caller(sent, Cause::NotAuthorized));
    }
    if text.contains("Valid authorization header not provided")
        || text.contains("Unable to parse JWT token")
    {
        return Some(of_caller(sent, Cause::IamNotEnabled));
    }
    if text.trim() == "Unauthorized" || text.contains("\"message\":\"Unauthorized\"") {
        return Some(of_caller(sent, Cause::IamNotEnabled));
    }
    if kind.starts_with("accessdenied") {
        return Some(Diagnosis::of(Cause::NotAuthorized, Confidence::Likely));
    }
    None
}

/// Returns the cause if AWS rejects the kind of authorization: `signed` for a signed request.
fn of_caller(sent: Option<&Sent>, signed: Cause) -> Diagnosis {
    let Some(sent) = sent else {
        let summary = "The API does not accept the authorization of the request.";
        return Diagnosis::unknown(summary, &[Need::Request]);
    };
    if sent.authorization.scheme == Scheme::Missing && sent.joined("x-api-key").is_some() {
        return certain(Cause::NotSigv4).because("the request carries an API key.");
    }
    of_scheme(&sent.authorization.scheme)
        .unwrap_or_else(|| Diagnosis::of(signed, Confidence::Likely))
}

fn of_endpoint(answer: &Parsed, sent: Option<&Sent>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    if text.contains("Missing Authentication Token")
        || text.contains("missing Authentication Token")
        || kind.starts_with("missingauthenticationtoken")
    {
        let Some(sent) = sent else {
            let summary = "The request is not signed, or the API has no such route.";
            return Some(Diagnosis::unknown(summary, &[Need::Request]));
        };
        return Some(match sent.authorization.scheme {
            Scheme::Missing => certain(Cause::NotSigned),
            Scheme::Sigv4 | Scheme::OtherAlgorithm(_) | Scheme::Other(_) => {
                Diagnosis::of(Cause::NoSuchRoute, Confidence::Likely)
            }
        });
    }
    if kind.starts_with("wafforbidden") {
        return Some(certain(Cause::Waf));
    }
    // CloudFront's page.
    if text.contains("The request could not be satisfied") && text.contains("Request blocked") {
        return Some(Diagnosis::of(Cause::Waf, Confidence::Likely));
    }
    if text.contains("NoProtocolError") {
        return Some(certain(Cause::NoSubprotocol));
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
