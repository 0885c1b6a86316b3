//! Why AWS, or something before it, refused a request or a connect, and how to fix it.

use bytes::Bytes;
use countersign_protocol::realtime::Failure;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde_json::json;

use super::fixes;
use super::report::Fault;
use super::target::Target;
use crate::diagnose::{self, Confidence, Evidence, diagnose, synchronize_clock};
use crate::sign::{clock, redact};
use crate::telemetry::error_chain;
use crate::upstream::{Error, ForeignPage, NOT_AWS, OTHER_SERVER, UpstreamKind, WAF, first_line};

/// A response, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// More of a response is not read.
pub(super) const MAX_RESPONSE: usize = 1 << 20;
/// The same of the result of an introspection, which is larger than the schema.
pub(super) const MAX_SCHEMA: usize = 64 << 20;
/// Headers that API Gateway adds to the responses of an application behind it.
const OF_APPLICATION: [&str; 2] = ["apigw-requestid", "x-amz-apigw-id"];

/// Returns the fault of a request that was refused. `shown` describes the request, and `fields` are the root
/// fields of its query.
pub(super) async fn of_response(
    target: &Target,
    answer: &Answer,
    request: Option<diagnose::Request>,
    shown: &str,
    fields: &[String],
) -> Fault {
    let text = String::from_utf8_lossy(&answer.body);
    if let Some(fault) = of_page(target, answer, &text) {
        return fault;
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
            body: text.into_owned(),
        },
        request,
        ..own(target).await
    };
    explain(target, &evidence, Some(answer.status), &shown, fields)
}

/// Returns the fault of a request that has no response.
pub(super) fn upstream_fault(error: &Error) -> Fault {
    let cause = if let Error::ClockSkew { ours, theirs } = error {
        let is_slow = ours < theirs;
        if is_slow { "clock-slow" } else { "clock-fast" }.to_owned()
    } else {
        error.code().as_str().to_ascii_lowercase().replace('_', "-")
    };
    let fix = if let Error::ClockSkew { .. } = error {
        &synchronize_clock()
    } else if let Error::FirstByteTimeout { .. } = error {
        "The API takes longer, or a proxy holds the request back. Check the API's own log. If it needs longer, raise \
         timeouts.first_byte: COUNTERSIGN_TIMEOUTS__FIRST_BYTE=60s"
    } else if let Error::HandshakeTimeout { .. } = error {
        "A firewall or proxy that holds back WebSockets is the usual reason: allow the realtime host, and check \
         HTTPS_PROXY. The limit is pool.handshake: COUNTERSIGN_POOL__HANDSHAKE=20s"
    } else {
        error.remedy().unwrap_or_else(|| error.code().remedy())
    };
    Fault::new(cause, error_chain(error), fix)
}

/// Returns the fault of a connect that AppSync refused, whose handshake offered `protocols`.
pub(super) async fn of_connect(target: &Target, failures: &[Failure], protocols: &str) -> Fault {
    let endpoint = target.upstream.endpoint();
    let error = failures.first().map(|failure| {
        let error = failure.to_graphql();
        let kind = error.extensions.get("errorType").cloned();
        json!({ "errorType": kind, "message": failure.message() })
    });
    let payload = json!({ "errors": [error.unwrap_or_default()] });
    let frame = json!({ "type": "connection_error", "payload": payload });
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
    explain(target, &evidence, None, "connection_error", &[])
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

/// Returns the fault for what AWS answered. `status` is that of a response, and `None` of a realtime message.
fn explain(
    target: &Target,
    evidence: &Evidence,
    status: Option<StatusCode>,
    shown: &str,
    fields: &[String],
) -> Fault {
    let endpoint = target.upstream.endpoint();
    let diagnosis = diagnose(evidence);
    let (kind, message) = diagnose::error_of(&evidence.answer);
    let message = first_part(&message);
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
    let is_introspection = fields.iter().any(|field| field.starts_with("__"))
        && !fields.iter().any(|field| field == "__typename");
    if is_introspection && is_off(&kind, &message) {
        let meaning = "the API does not answer introspection";
        return fault("introspection-disabled", meaning, fixes::introspection());
    }
    let is_open = is_bare && diagnosis.confidence <= Confidence::Possible;
    if let Some(cause) = diagnosis.cause.filter(|_| !is_open) {
        let origin = target.upstream.signer().credential_source().origin();
        let (provider, _) = origin.unwrap_or_default();
        let fix = fixes::of_diagnosis(&diagnosis, endpoint, fields, &provider);
        let fix = fix.or(diagnosis.fix).unwrap_or_default();
        return fault(cause.as_str(), &diagnosis.summary, fix);
    }
    match status.map(|status| status.as_u16()) {
        Some(403) => fault(
            "forbidden",
            "AWS refuses the request",
            fixes::forbidden(endpoint),
        ),
        Some(404) => fault(
            "path-wrong",
            "AWS found nothing at this host and path",
            fixes::path(endpoint),
        ),
        Some(429) => fault(
            "throttled",
            "AWS throttles the requests",
            fixes::throttled(endpoint).to_owned(),
        ),
        Some(500..) => fault(
            "upstream-error",
            "the API failed",
            fixes::of_failure(evidence),
        ),
        Some(_) if is_introspection => fault(
            "refused",
            "the introspection was refused",
            "Check that the URL is that of a GraphQL API, and the API's own log.".to_owned(),
        ),
        Some(_) => fault(
            "refused",
            "the request was refused",
            "Check the query (--query) and the API's own log.".to_owned(),
        ),
        None if is_throttled(&kind) => fault(
            "throttled",
            "AWS throttles the connections",
            fixes::throttled(endpoint).to_owned(),
        ),
        None => fault(
            "refused",
            "AWS refused the connection",
            "Check the authorization modes of the API, and its own log.".to_owned(),
        ),
    }
}

/// Returns whether an error says that introspection is turned off. AWS does not document its text.
fn is_off(kind: &str, message: &str) -> bool {
    kind.starts_with("OperationDisabled") || message.to_ascii_lowercase().contains("introspection")
}

/// Returns whether AWS throttles, given the type of its error.
fn is_throttled(kind: &str) -> bool {
    let prefixes = ["LimitExceeded", "Throttling", "TooManyRequests"];
    prefixes.iter().any(|prefix| kind.starts_with(prefix))
}

/// Returns the fault of a page; `None` if the answer is not a page.
fn of_page(target: &Target, answer: &Answer, text: &str) -> Option<Fault> {
    let kind = answer.headers.get(CONTENT_TYPE);
    let is_html = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let page = ForeignPage::of(answer.status, &answer.headers, text);
    let (description, is_firewall) = match page {
        Some(page) => (page.description, page.is_firewall),
        // A page to log in, such as those of hotels.
        None if is_html => {
            let line = first_line(text).unwrap_or_default();
            let status = answer.status.as_u16();
            (format!("{status} with text/html: \"{line}\""), false)
        }
        None => return None,
    };
    if is_firewall {
        return Some(Fault::new("waf", description, WAF));
    }
    let mut headers = OF_APPLICATION.iter();
    let is_http = target.upstream.endpoint().kind == UpstreamKind::Http;
    if is_http && headers.any(|name| answer.headers.contains_key(*name)) {
        let cause = if answer.status.is_server_error() {
            "upstream-error"
        } else {
            "refused"
        };
        let fix = "The application behind API Gateway answered. Check its own log, and whether the URL has a page.";
        return Some(Fault::new(cause, description, fix));
    }
    Some(Fault::new(NOT_AWS, description, OTHER_SERVER))
}

/// The longest part of a text that is shown, in characters.
const MAX_SHOWN: usize = 300;

/// What follows in AWS's text of a mismatch is advice for authors of signers.
const ADVICE: &str = " Check your AWS Secret Access Key and signing method";

/// Returns the first line without tokens and advice.
fn first_part(text: &str) -> String {
    let text = redact::mask_tokens(text);
    let line = text.trim().lines().next().unwrap_or_default();
    let line = line.split(ADVICE).next().unwrap_or_default();
    line.chars().take(MAX_SHOWN).collect()
}
