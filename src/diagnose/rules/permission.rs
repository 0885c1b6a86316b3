//! Texts about permissions, and about authorizations of another kind than a signature.

use super::super::answer::Parsed;
use super::super::authorization::Scheme;
use super::super::cause::Cause;
use super::super::denial::{Denial, PolicyType, is_explicit};
use super::super::diagnosis::{Confidence, Diagnosis, Need};
use super::super::encode::quoted;
use super::super::texts::undecided;
use super::super::verified_request::VerifiedRequest;

/// Returns the diagnosis of an answer that does not allow the caller to do this.
pub(super) fn of_permission(answer: &Parsed, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let kind = answer.kind.to_ascii_lowercase();
    if let Some(mut denial) = Denial::in_text(text) {
        if text.contains("User: anonymous is not authorized") {
            let is_signed = sent.is_some_and(|sent| sent.authorization.scheme == Scheme::Sigv4);
            // The method has no IAM authorization if AWS does not know who signed.
            if !is_signed && !denial.explicit_deny {
                return Some(Diagnosis::certain(Cause::NotSigned));
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
        if sent.is_none() {
            diagnosis = or_of_schema(diagnosis);
        }
        if is_permission && kind.is_empty() {
            // Nothing shows that AWS wrote these two words.
            diagnosis.confidence = Confidence::Possible;
            diagnosis.needs = vec![Need::Answer, Need::Request];
        }
        return Some(diagnosis);
    }
    if text.contains("User is not authorized to access this resource") {
        return Some(of_authorizer(text));
    }
    if text.contains("Required headers are missing.") {
        return Some(of_missing_headers(sent));
    }
    if text.contains("Missing authorization header")
        || text.contains("MissingAuthorizationHeader")
        || kind.starts_with("missingauthorizationheader")
        || text.contains("the \"header\", and the \"payload\" query string parameters are missing")
    {
        return Some(Diagnosis::certain(Cause::NotSigned));
    }
    if text.contains("Function URL authorization issues") {
        return Some(of_function_url(sent));
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
    // These answers have the same type, and are about the signature, or from another program.
    let is_other = text.contains("issing Authentication Token") || is_of_another_program(text);
    if !kind.starts_with("accessdenied") || is_other {
        return None;
    }
    if text.contains("does not exist") {
        let mut diagnosis = Diagnosis::of(Cause::NotAuthorized, Confidence::Possible);
        diagnosis.summary =
            "The resource does not exist in this region, or the caller is not allowed to use it."
                .to_owned();
        return Some(diagnosis.needing(&[Need::Request]));
    }
    Some(Diagnosis::of(Cause::NotAuthorized, Confidence::Likely))
}

/// Returns whether an `AccessDeniedException` is one of Java's or of a framework, by the package before the
/// name.
fn is_of_another_program(text: &str) -> bool {
    let Some((before, _)) = text.split_once("AccessDeniedException") else {
        return false;
    };
    let package = before
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "._$".contains(c)))
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_aws = ["amazon", "aws", "boto"]
        .iter()
        .any(|name| package.contains(name));
    package.matches('.').count() > 1 && !is_aws
}

/// Names what a denial can mean if the request is not known: AppSync writes the same text if the schema does
/// not admit the kind of authorization.
fn or_of_schema(mut diagnosis: Diagnosis) -> Diagnosis {
    const SCHEMA: &str = "If the request has an API key or a token instead of a signature, the schema must admit \
                          it on the field and its type: @aws_api_key, @aws_cognito_user_pools, @aws_oidc or \
                          @aws_lambda, in Amplify an @auth rule.";
    diagnosis.confidence = Confidence::Likely;
    diagnosis.needs = vec![Need::Request];
    diagnosis.fix = diagnosis.fix.map(|fix| format!("{fix}\n\n{SCHEMA}"));
    diagnosis
}

/// Returns the diagnosis of a realtime message or handshake whose authorization lacks headers.
fn of_missing_headers(sent: Option<&VerifiedRequest>) -> Diagnosis {
    let likely = || Diagnosis::of(Cause::NotSigned, Confidence::Likely).needing(&[Need::Request]);
    let Some(sent) = sent else {
        return likely();
    };
    match &sent.authorization.scheme {
        Scheme::Missing => Diagnosis::certain(Cause::NotSigned),
        Scheme::Other(_) | Scheme::OtherAlgorithm(_) => {
            of_scheme(&sent.authorization.scheme).unwrap_or_else(likely)
        }
        Scheme::Sigv4 => Diagnosis::unknown(
            "The request has a signature, and AWS misses other headers beside it, such as host or x-amz-date.",
            &[Need::Answer],
        ),
    }
}

/// Returns the diagnosis of a request that no policy allows, or that one denies.
pub(super) fn of_denial(denial: Denial, sent: Option<&VerifiedRequest>) -> Diagnosis {
    let region = sent.and_then(|sent| sent.authorization.scope());
    let region = region.map(|scope| scope.region);
    let mut diagnosis = Diagnosis::certain(Cause::NotAuthorized);
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
fn of_unsigned(denial: &Denial, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
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
    let mut diagnosis = Diagnosis::certain(Cause::NotAuthorized);
    diagnosis.summary = format!(
        "AWS denied {resource}: the request has {caller} instead of a signature, so no IAM policy applies."
    );
    let fix = format!(
        "Sign the request with an IAM identity that is allowed to do this, or admit {caller} to the field and \
         its type in the schema, with {directives}."
    );
    Some(diagnosis.with_fix(fix.clone(), fix))
}

/// Returns the diagnosis of a request that OpenSearch's own access control denied, after IAM allowed it.
/// Its JSON has the text in a member that other services do not have.
pub(super) fn of_role_mapping(body: &str) -> Option<Diagnosis> {
    if !body.contains("no permissions for [") || !body.contains("and User [") {
        return None;
    }
    let mut diagnosis = Diagnosis::certain(Cause::NotAuthorized);
    diagnosis.summary =
        "OpenSearch's fine-grained access control denied the request, after IAM allowed it."
            .to_owned();
    let fix = "Map the IAM role to a role of OpenSearch that has the permission: in OpenSearch Dashboards under \
               Security, Roles, Mapped users, as a backend role.";
    Some(diagnosis.with_fix(fix.to_owned(), fix.to_owned()))
}

/// Returns the diagnosis of a request that a Lambda function URL denied without a reason.
fn of_function_url(sent: Option<&VerifiedRequest>) -> Diagnosis {
    let unsigned = sent.and_then(|sent| of_scheme(&sent.authorization.scheme));
    if let Some(mut diagnosis) = unsigned {
        diagnosis.confidence = Confidence::Likely;
        return diagnosis;
    }
    let scope = sent.and_then(|sent| sent.authorization.scope());
    if let Some(scope) = scope.filter(|scope| scope.service != "lambda") {
        return Diagnosis::of(Cause::WrongService, Confidence::Likely)
            .expecting("SERVICE", "lambda")
            .because(format!("{} instead of \"lambda\".", quoted(scope.service)));
    }
    let summary = "The Lambda function URL refused the request, and does not show the reason.";
    let needs: &[Need] = if sent.is_some() {
        &[Need::Credentials]
    } else {
        &[Need::Request]
    };
    Diagnosis::unknown(summary, needs).checking(undecided::FUNCTION_URL)
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
fn of_caller(sent: Option<&VerifiedRequest>, signed: Cause) -> Diagnosis {
    let Some(sent) = sent else {
        let summary = "The API does not accept the authorization of the request.";
        return Diagnosis::unknown(summary, &[Need::Request]).checking(undecided::UNAUTHORIZED);
    };
    if sent.authorization.scheme == Scheme::Missing && sent.joined("x-api-key").is_some() {
        let mut diagnosis = Diagnosis::certain(Cause::NotSigv4);
        diagnosis.summary = "The request has an API key instead of a signature.".to_owned();
        return diagnosis;
    }
    of_scheme(&sent.authorization.scheme)
        .unwrap_or_else(|| Diagnosis::of(signed, Confidence::Likely))
}

/// Returns the cause for an authorization that is not of Signature Version 4.
pub(super) fn of_scheme(scheme: &Scheme) -> Option<Diagnosis> {
    match scheme {
        Scheme::Sigv4 => None,
        Scheme::Missing => Some(Diagnosis::certain(Cause::NotSigned)),
        Scheme::OtherAlgorithm(name) => {
            Some(Diagnosis::certain(Cause::Algorithm).because(format!("{}.", quoted(name))))
        }
        Scheme::Other(Some(name)) => Some(
            Diagnosis::certain(Cause::NotSigv4).because(format!("the scheme is {}.", quoted(name))),
        ),
        Scheme::Other(None) => Some(Diagnosis::certain(Cause::NotSigv4)),
    }
}
