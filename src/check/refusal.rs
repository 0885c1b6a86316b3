//! Why AWS, or something before it, refused a request or a connect, and how to fix it.

use bytes::Bytes;
use countersign_protocol::error_code::Code;
use countersign_protocol::realtime::Failure;
use countersign_protocol::rejection::rejection;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use super::report::Fault;
use super::target::Target;
use crate::sign::redact;
use crate::upstream::{Endpoint, UpstreamKind};

/// A response, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An error of AWS.
#[derive(Debug, Default)]
struct Refusal {
    /// `None` of a realtime message.
    status: Option<StatusCode>,
    /// The type of the error without its namespace; may be empty.
    kind: String,
    /// Its text without tokens; may be empty.
    message: String,
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Returns the fault of a request that was refused. `shown` describes the request.
pub(super) fn of_response(target: &Target, answer: &Answer, shown: &str) -> Fault {
    let kind = header(&answer.headers, &CONTENT_TYPE);
    let text = String::from_utf8_lossy(&answer.body);
    let status = answer.status;
    if kind.starts_with("text/html") || text.trim_start().starts_with("<html") {
        return not_aws(status, kind, &text);
    }
    let refusal = Refusal::parse(answer, &text);
    if refusal.kind.starts_with("WAF") {
        return waf(format!("{status} {}: {}", refusal.kind, refusal.message));
    }
    explain(
        target.upstream.endpoint(),
        &refusal,
        &format!("{shown}: {status}"),
    )
}

/// Returns the fault of a connect that AppSync refused.
pub(super) fn of_connect(target: &Target, failures: &[Failure]) -> Fault {
    let refusal = failures.first().map(|failure| {
        let error = failure.to_graphql();
        let kind = error.extensions.get("errorType").and_then(Value::as_str);
        Refusal {
            status: None,
            kind: kind.unwrap_or_default().to_owned(),
            message: first_line(&error.message),
        }
    });
    let refusal = refusal.unwrap_or_default();
    explain(target.upstream.endpoint(), &refusal, "connection_error")
}

fn explain(endpoint: &Endpoint, refusal: &Refusal, shown: &str) -> Fault {
    let Refusal {
        status,
        kind,
        message,
    } = refusal;
    let said = match (kind.as_str(), message.as_str()) {
        ("", "") => "without a reason".to_owned(),
        ("", text) | (text, "") => text.to_owned(),
        (kind, message) => format!("{kind}: {message}"),
    };
    let fault = |cause: &str, meaning: &str, fix: String| {
        Fault::new(cause, format!("{meaning} ({shown}, {said})"), fix)
    };
    if kind == "UnauthorizedException" && message != "Permission denied" && !message.is_empty() {
        return fault(
            "iam-not-enabled",
            "the API does not accept IAM signatures",
            enable_iam(),
        );
    }
    if message == "Permission denied"
        || kind == "Unauthorized"
        || message.starts_with("Not Authorized to access")
        || (kind == "UnauthorizedException" && message.is_empty())
    {
        let meaning = "the signature is right, but the identity may not do this";
        return fault("not-authorized", meaning, grant(endpoint));
    }
    let code = rejection(kind, message);
    match (code, status.map(|status| status.as_u16())) {
        (Some(Code::ScopeWrong), _) if message.contains("service") => fault(
            "wrong-service",
            "the request is signed for the wrong service",
            format!(
                "It is signed for {:?}. Use the name in AWS's text: --service NAME",
                endpoint.scope.service
            ),
        ),
        (Some(Code::ScopeWrong), _) => fault(
            "wrong-region",
            "the request is signed for the wrong region",
            format!(
                "It is signed for {:?}. Use the region of the API, also behind a custom domain: --region REGION",
                endpoint.scope.region
            ),
        ),
        (Some(Code::NoSuchRoute), _) => fault(
            "path-wrong",
            "the API has no such method and path, so AWS did not check the signature",
            format!(
                "It was GET {}. Give a URL whose path has a GET method, with the stage first: \
                 countersign check https://{}/STAGE/PATH",
                if endpoint.path.is_empty() {
                    "/"
                } else {
                    &endpoint.path
                },
                endpoint.wire_host
            ),
        ),
        (Some(Code::AccessDenied), _) => fault(
            "not-authorized",
            "the signature is right, but the identity may not do this",
            grant(endpoint),
        ),
        (Some(Code::Forbidden), _) | (None, Some(403)) => {
            if is_private(endpoint) {
                fault(
                    "host-wrong",
                    "the VPC endpoint does not serve an API for this Host",
                    host(endpoint),
                )
            } else {
                fault(
                    "forbidden",
                    "AWS refuses the request without a reason",
                    "The API's resource policy, a usage plan that requires x-api-key, AWS WAF, or a wrong Host \
                     header are the usual reasons."
                        .to_owned(),
                )
            }
        }
        (Some(code), _) if let Some(cause) = cause_of(code) => fault(
            cause,
            code.meaning().trim_end_matches('.'),
            code.remedy().to_owned(),
        ),
        (Some(code), _) => fault(
            &code.as_str().to_ascii_lowercase().replace('_', "-"),
            code.meaning().trim_end_matches('.'),
            code.remedy().to_owned(),
        ),
        (None, Some(404)) => fault(
            "path-wrong",
            "AWS found nothing at this host and path",
            format!(
                "It was https://{}{}. Check the ID, the path (for AppSync /graphql or /event), and --host.",
                endpoint.wire_host, endpoint.path
            ),
        ),
        (None, Some(429)) => fault(
            "throttled",
            "AWS throttles the requests",
            "Try again later, or raise the quota of the API.".to_owned(),
        ),
        (None, Some(500..)) => fault(
            "upstream-error",
            "the API failed",
            "Check the API's own log.".to_owned(),
        ),
        (None, _) if kind.contains("NotFound") => fault(
            "path-wrong",
            "AWS found nothing at this host and path",
            format!(
                "The Host that was signed is {}. Check the ID, and --host.",
                endpoint.wire_host
            ),
        ),
        (None, _) => fault(
            "refused",
            "the request was refused",
            "Check the query (--query) and the API's own log.".to_owned(),
        ),
    }
}

/// Returns the cause of a rejected signature or key. countersign signs as AWS requires, so a signature that
/// AWS computes differently was made with another secret.
fn cause_of(code: Code) -> Option<&'static str> {
    let mut causes = [
        (Code::SignatureMismatch, "wrong-secret"),
        (Code::TokenInvalid, "unknown-key"),
        (Code::TokenExpired, "token-expired"),
        (Code::SignatureExpired, "clock-slow"),
        (Code::SignatureNotYetCurrent, "clock-fast"),
    ]
    .into_iter();
    causes
        .find(|(known, _)| *known == code)
        .map(|(_, cause)| cause)
}

fn not_aws(status: StatusCode, kind: &str, text: &str) -> Fault {
    let kind = kind.split(';').next().unwrap_or_default();
    let line = markup_text(text);
    let detail = format!("{status} with {kind}: {line:?}");
    if status == StatusCode::FORBIDDEN {
        return waf(detail);
    }
    let fix = "AppSync and API Gateway answer with JSON: another server answered. Check the URL, --connect and \
               HTTPS_PROXY.";
    Fault::new("not-aws", detail, fix)
}

fn waf(detail: String) -> Fault {
    let fix = "A firewall refused the request before AWS checked its signature: AWS WAF, CloudFront, or a proxy of \
               the network. Allow the request in the rules of the web ACL of the API; their sampled requests show \
               which rule blocked it.";
    Fault::new("waf", detail, fix)
}

fn enable_iam() -> String {
    "Enable IAM as an authorization mode of the API, beside the others:\n\
     aws appsync update-graphql-api --api-id ID --name NAME --authentication-type MODE \
     --additional-authentication-providers authenticationType=AWS_IAM\n\
     Fields and types then need @aws_iam in the schema."
        .to_owned()
}

fn grant(endpoint: &Endpoint) -> String {
    let (service, region) = (&endpoint.scope.service, &endpoint.scope.region);
    match endpoint.kind {
        UpstreamKind::Graphql => format!(
            "Allow appsync:GraphQL on arn:aws:appsync:{region}:ACCOUNT:apis/ID/types/Query/fields/FIELD, or on \
             apis/ID/*, in a policy of the identity. The statement for your documents: countersign policy FILE\n\
             With several authorization modes, the field also needs @aws_iam in the schema."
        ),
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

/// Returns whether the URL or `connect` names another server than `host`, as for a VPC endpoint.
fn is_private(endpoint: &Endpoint) -> bool {
    let host = endpoint.wire_host.split(':').next().unwrap_or_default();
    endpoint.tls_name.contains(".vpce.") || endpoint.tls_name != host
}

fn host(endpoint: &Endpoint) -> String {
    let service = match endpoint.kind {
        UpstreamKind::Graphql | UpstreamKind::Events => "appsync-api",
        UpstreamKind::Http => "execute-api",
    };
    format!(
        "The Host that was sent and signed is {}. Send that of the API: --host ID.{service}.{}.amazonaws.com\n\
         The API's resource policy must allow the VPC endpoint.",
        endpoint.wire_host, endpoint.scope.region
    )
}

impl Refusal {
    fn parse(answer: &Answer, text: &str) -> Self {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let error = match &json["errors"] {
            Value::Array(errors) => errors.first().unwrap_or(&json),
            Value::Object(_) => &json["errors"],
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => &json,
        };
        let member = |names: [&str; 3]| {
            let mut found = names.iter().filter_map(|name| error[*name].as_str());
            found.next().unwrap_or_default()
        };
        let marked = header(&answer.headers, &ERROR_TYPE);
        let kind = if marked.is_empty() {
            member(["errorType", "__type", "code"])
        } else {
            marked
        };
        let kind = kind.rsplit('#').next().unwrap_or_default();
        let message = member(["message", "Message", "errorMessage"]);
        let message = if message.is_empty() && json.is_null() {
            text
        } else {
            message
        };
        Self {
            status: Some(answer.status),
            kind: kind.split(':').next().unwrap_or_default().to_owned(),
            message: first_line(message),
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The longest part of a text that is shown, in characters.
const MAX_SHOWN: usize = 300;

/// Returns the first line, without tokens.
fn first_line(text: &str) -> String {
    let text = redact::mask_tokens(text);
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(MAX_SHOWN).collect()
}

/// Returns the first text of a page: its title, or the first line.
fn markup_text(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|at| {
        let rest = text.get(at + "<title>".len()..)?;
        rest.split('<').next()
    });
    let mut texts = text.split('>').filter_map(|part| part.split('<').next());
    let found = title.or_else(|| texts.find(|text| !text.trim().is_empty()));
    first_line(found.unwrap_or_default().trim())
}
