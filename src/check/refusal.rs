//! Why AWS, or something before it, refused a request or a connect, and how to fix it.

use bytes::Bytes;
use countersign_protocol::realtime::Failure;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::fixes;
use super::report::Fault;
use super::target::Target;
use crate::diagnose::{self, Confidence, Diagnosis, Evidence, diagnose};
use crate::sign::{clock, redact};
use crate::upstream::Endpoint;

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

/// Returns the fault of a request that was refused. `shown` describes the request, and `fields` are the root
/// fields of its query.
pub(super) async fn of_response(
    target: &Target,
    answer: &Answer,
    request: Option<diagnose::Request>,
    shown: &str,
    fields: &[String],
) -> Fault {
    let kind = header(&answer.headers, &CONTENT_TYPE);
    let text = String::from_utf8_lossy(&answer.body);
    if kind.starts_with("text/html") || text.trim_start().starts_with("<html") {
        return not_aws(answer.status, kind, &text);
    }
    let shown = format!("{shown}: {}", answer.status);
    let headers = answer.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), value.into_owned())
    });
    let evidence = Evidence {
        answer: diagnose::Answer {
            status: Some(answer.status.as_u16()),
            headers: headers.collect(),
            body: text.clone().into_owned(),
        },
        request,
        ..own(target).await
    };
    let refusal = Refusal::parse(answer, &text);
    explain(
        target.upstream.endpoint(),
        &diagnose(&evidence),
        &refusal,
        &shown,
        fields,
    )
}

/// Returns the fault of a connect that AppSync refused, whose handshake offered `protocols`.
pub(super) async fn of_connect(target: &Target, failures: &[Failure], protocols: &str) -> Fault {
    let endpoint = target.upstream.endpoint();
    let refusal = failures.first().map(|failure| {
        let error = failure.to_graphql();
        let kind = error.extensions.get("errorType").and_then(Value::as_str);
        Refusal {
            status: None,
            kind: kind.unwrap_or_default().to_owned(),
            message: failure.message().to_owned(),
        }
    });
    let Refusal { kind, message, .. } = refusal.unwrap_or_default();
    let errors = json!([{ "errorType": kind, "message": message }]);
    let frame = json!({ "type": "connection_error", "payload": { "errors": errors } });
    let realtime = endpoint.realtime.as_ref();
    let request = realtime.map(|realtime| diagnose::Request {
        method: "GET".to_owned(),
        target: realtime.path.clone(),
        headers: vec![
            ("host".to_owned(), realtime.wire_host.clone()),
            ("sec-websocket-protocol".to_owned(), protocols.to_owned()),
        ],
        body: None,
    });
    let evidence = Evidence {
        answer: diagnose::Answer {
            body: frame.to_string(),
            ..diagnose::Answer::default()
        },
        request,
        ..own(target).await
    };
    let refusal = Refusal {
        status: None,
        message: first_line(&message),
        kind,
    };
    explain(
        endpoint,
        &diagnose(&evidence),
        &refusal,
        "connection_error",
        &[],
    )
}

/// Returns what is known of every request of a check.
async fn own(target: &Target) -> Evidence {
    let source = target.upstream.signer().credential_source();
    let snapshot = source.current(clock::now()).await.ok();
    Evidence {
        credentials: snapshot.map(|snapshot| diagnose::Credentials {
            access_key_id: snapshot.access_key().to_owned(),
            secret_access_key: snapshot.secret_key().to_owned(),
            session_token: snapshot.session_token().map(str::to_owned),
        }),
        is_own: true,
        ..Evidence::default()
    }
}

fn explain(
    endpoint: &Endpoint,
    diagnosis: &Diagnosis,
    refusal: &Refusal,
    shown: &str,
    fields: &[String],
) -> Fault {
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
        let meaning = meaning.trim_end_matches('.');
        Fault::new(cause, format!("{meaning} ({shown}, {said})"), fix)
    };
    // Without a reason, a VPC endpoint that does not know the Host is more likely than a permission.
    let is_bare = status.is_some() && message.eq_ignore_ascii_case("forbidden");
    if is_bare && fixes::is_private(endpoint) {
        let meaning = "the VPC endpoint does not serve an API for this Host";
        return fault("host-wrong", meaning, fixes::host(endpoint));
    }
    let is_open = is_bare && diagnosis.confidence <= Confidence::Possible;
    if let Some(cause) = diagnosis.cause.filter(|_| !is_open) {
        let name = cause.as_str();
        let fix = fixes::of_cause(name, endpoint, message, fields);
        let fix = fix.or_else(|| diagnosis.fix.clone()).unwrap_or_default();
        return fault(name, &diagnosis.summary, fix);
    }
    match status.map(|status| status.as_u16()) {
        Some(403) => fault(
            "forbidden",
            "AWS refuses the request without a reason",
            fixes::FORBIDDEN.to_owned(),
        ),
        Some(404) => fault(
            "path-wrong",
            "AWS found nothing at this host and path",
            fixes::path(endpoint),
        ),
        Some(426) => fault(
            "websocket-only",
            "the API accepts only WebSockets",
            fixes::WEBSOCKET.to_owned(),
        ),
        Some(429) => fault(
            "throttled",
            "AWS throttles the requests",
            "Try again later, or raise the quota of the API.".to_owned(),
        ),
        Some(500..) => fault(
            "upstream-error",
            "the API failed",
            "Check the API's own log.".to_owned(),
        ),
        Some(_) | None => fault(
            "refused",
            "the request was refused",
            "Check the query (--query) and the API's own log.".to_owned(),
        ),
    }
}

fn not_aws(status: StatusCode, kind: &str, text: &str) -> Fault {
    let kind = kind.split(';').next().unwrap_or_default();
    let line = markup_text(text);
    let detail = format!("{status} with {kind}: {line:?}");
    if status == StatusCode::FORBIDDEN {
        return Fault::new("waf", detail, fixes::WAF);
    }
    let fix = "AppSync and API Gateway answer with JSON: another server answered. Check the URL, --connect and \
               HTTPS_PROXY.";
    Fault::new("not-aws", detail, fix)
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

/// What follows in AWS's text of a mismatch is advice for authors of signers.
const ADVICE: &str = " Check your AWS Secret Access Key and signing method";

/// Returns the first line, without tokens.
fn first_line(text: &str) -> String {
    let text = redact::mask_tokens(text);
    let line = text.trim().lines().next().unwrap_or_default();
    let line = line.split(ADVICE).next().unwrap_or_default();
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
