//! The causes that AWS's texts name, alone or together with the request.

use super::answer::{Parsed, Source};
use super::authorization::{Authorization, Scheme};
use super::cause::Cause;
use super::denial::{Denial, PolicyType, is_explicit};
use super::diagnosis::{Confidence, Diagnosis, Need};
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
        let mut diagnosis = certain(Cause::WrongRegion);
        if let Some(expected) = &expected {
            diagnosis = diagnosis.expecting("REGION", expected);
        }
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
                .expecting("SERVICE", expected)
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
            (None, expected) => diagnosis
                .expecting("SERVICE", expected)
                .because(format!("AWS expects {}.", quoted(expected))),
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
    if let Some(mut denial) = Denial::in_text(text) {
        if text.contains("User: anonymous is not authorized") {
            let is_signed = sent.is_some_and(|sent| sent.authorization.scheme == Scheme::Sigv4);
            // The method has no IAM authorization if AWS does not know who signed.
            if !is_signed && !denial.explicit_deny {
                return Some(certain(Cause::NotSigned));
            }
            denial.policy = Some(PolicyType::Resource);
        }
        return Some(of_denial(denial, sent));
    }
    let is_unauthorized = kind.starts_with("unauthorized") || kind.starts_with("accessdenied");
    // Shells, databases and file systems write the same words.
    let is_permission = match text.trim().trim_end_matches('.') {
        "Permission denied" => is_unauthorized || kind.is_empty(),
        text => kind.starts_with("unauthorized") && text.contains("Permission denied"),
    };
    if text.contains("Not Authorized to access ") || is_permission {
        let denial = Denial::of_field(text).unwrap_or_default();
        let mut diagnosis = of_unsigned(&denial, sent).unwrap_or_else(|| of_denial(denial, sent));
        if is_permission && kind.is_empty() {
            diagnosis.confidence = Confidence::Likely;
        }
        return Some(diagnosis);
    }
    if text.contains("User is not authorized to access this resource") {
        return Some(of_authorizer(text));
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
    if text.contains("Unable to determine service/operation name to be authorized") {
        let detail = "AWS found no operation for the method, path and host.";
        return Some(Diagnosis::of(Cause::NoSuchRoute, Confidence::Likely).because(detail));
    }
    // Java's exception of this name is about files.
    if kind.starts_with("accessdenied") && !text.contains("java.nio.file") {
        return Some(Diagnosis::of(Cause::NotAuthorized, Confidence::Likely));
    }
    None
}

/// Returns the diagnosis of a request that no policy allows, or that one denies.
fn of_denial(denial: Denial, sent: Option<&Sent>) -> Diagnosis {
    let region = sent.and_then(|sent| sent.authorization.scope());
    let region = region.map(|scope| scope.region);
    let mut diagnosis = certain(Cause::NotAuthorized);
    if let Some(summary) = denial.summary() {
        diagnosis.summary = summary;
    }
    if denial != Denial::default() {
        diagnosis = diagnosis.with_fix(denial.fix(region), denial.hint(region));
    }
    diagnosis.denial = Some(denial);
    diagnosis
}

/// Returns the diagnosis of a denial if the request has an API key or a token instead of a signature.
fn of_unsigned(denial: &Denial, sent: Option<&Sent>) -> Option<Diagnosis> {
    let sent = sent?;
    let (caller, directives) = match sent.authorization.scheme {
        Scheme::Missing if sent.joined("x-api-key").is_some() => ("an API key", "@aws_api_key"),
        Scheme::Other(_) => (
            "a token",
            "@aws_cognito_user_pools, @aws_oidc or @aws_lambda",
        ),
        Scheme::Missing | Scheme::Sigv4 | Scheme::OtherAlgorithm(_) => return None,
    };
    let resource = denial.resource.as_deref().unwrap_or("the request");
    let mut diagnosis = certain(Cause::NotAuthorized);
    diagnosis.summary = format!(
        "AWS denied {resource}: the request has {caller} instead of a signature, so no IAM policy applies."
    );
    let fix = format!(
        "Sign the request with an IAM identity that is allowed to do this, or admit {caller} to the field and \
         its type in the schema, with {directives}."
    );
    Some(diagnosis.with_fix(fix.clone(), fix))
}

/// Returns the diagnosis of a request that a Lambda authorizer of API Gateway denied.
fn of_authorizer(text: &str) -> Diagnosis {
    let explicit_deny = is_explicit(text);
    let mut diagnosis = Diagnosis::of(Cause::NotAuthorized, Confidence::Likely);
    let (how, what) = if explicit_deny {
        (" explicitly", "Deny statement")
    } else {
        ("", "missing Allow statement")
    };
    diagnosis.summary =
        format!("The API's Lambda authorizer or resource policy denied the request{how}.");
    let fix = format!(
        "Find the {what} in the policy that the Lambda authorizer returns, or in the API's resource policy. If \
         the API is to verify signatures, set the method's authorization to AWS_IAM."
    );
    diagnosis.denial = Some(Denial {
        explicit_deny,
        ..Denial::default()
    });
    diagnosis.with_fix(fix.clone(), fix)
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
