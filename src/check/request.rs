//! The step `request`: one signed request.

use std::time::SystemTime;

use bytes::Bytes;
use countersign_protocol::graphql::{OperationKind, SurveyError, survey};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Limited;
use serde_json::Value;
use tokio::time::timeout;

use super::refusal::{self, Answer, MAX_RESPONSE, upstream_fault};
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use super::websocket;
use crate::diagnose;
use crate::sign::RequestTarget;
use crate::upstream::{Error, Repeat, Timing, UpstreamKind, read_to_end};

/// A request to send.
struct Sent {
    method: Method,
    target: RequestTarget,
    headers: HeaderMap,
    body: Bytes,
}

/// A GraphQL query that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: String,
    /// The names of its root fields.
    fields: Vec<String>,
}

/// Why a query is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    #[error("invalid query: {0}")]
    Document(#[from] SurveyError),
    #[error("a check sends only queries: this is a {0}, which could change something")]
    Kind(&'static str),
}

impl Query {
    /// Parses a document with one operation, which must be a query.
    ///
    /// # Errors
    /// When it is invalid, or a mutation or subscription.
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        let survey = survey(text, None)?;
        match survey.kind {
            OperationKind::Query => Ok(Self {
                text: text.to_owned(),
                fields: survey.fields,
            }),
            kind @ (OperationKind::Mutation | OperationKind::Subscription) => {
                Err(InvalidQuery::Kind(kind.as_str()))
            }
        }
    }
}

/// The query that every schema answers.
impl Default for Query {
    fn default() -> Self {
        Self {
            text: "{ __typename }".to_owned(),
            fields: vec!["__typename".to_owned()],
        }
    }
}

/// Sends one signed request that changes nothing.
pub(super) async fn send(target: &Target, query: &Query) -> Result<Passed<()>, NotPassed> {
    let endpoint = target.upstream.endpoint();
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    let (method, body, shown) = match endpoint.kind {
        UpstreamKind::Graphql => {
            headers.insert(CONTENT_TYPE, json.clone());
            headers.insert(ACCEPT, json);
            let body = serde_json::json!({ "query": query.text }).to_string();
            (Method::POST, Bytes::from(body), query.text.as_str())
        }
        UpstreamKind::Events => {
            let reason = "Events accepts only publishes over HTTP; the next step signs a connect";
            return Err(NotPassed::Skipped(reason.to_owned()));
        }
        UpstreamKind::Http => (Method::GET, Bytes::new(), "GET"),
    };
    let path = if endpoint.path.is_empty() {
        "/"
    } else {
        &endpoint.path
    };
    let failed = |error: &Error| NotPassed::Failed(upstream_fault(error));
    let request = Sent {
        target: RequestTarget::new(path, None).map_err(|error| failed(&error.into()))?,
        method,
        headers,
        body,
    };
    let config = target.upstream.config();
    let after = config.connect + config.first_byte;
    let answer = match timeout(after, exchange(target, &request)).await {
        Ok(answer) => answer.map_err(|error| failed(&error))?,
        Err(_) => {
            let detail = format!("no complete response within {after:?}");
            let fix =
                "Check the API's own log. timeouts.connect and timeouts.first_byte are the limits.";
            return Err(Fault::new("timeout", detail, fix).into());
        }
    };
    let is_websocket = answer.status == StatusCode::UPGRADE_REQUIRED;
    if endpoint.kind == UpstreamKind::Http && is_websocket {
        return websocket::open(target, &request.target).await;
    }
    if is_accepted(target, &answer) {
        let detail = format!("{shown}: {}", answer.status);
        return Ok(Passed { value: (), detail });
    }
    let request = request.evidence(target, &answer).await;
    let fault = refusal::of_response(target, &answer, request, shown, &query.fields);
    Err(fault.await.into())
}

async fn exchange(target: &Target, request: &Sent) -> Result<Answer, Error> {
    let Sent {
        method,
        target: path,
        headers,
        body,
    } = request;
    let (headers, body) = (headers.clone(), body.clone());
    let mut timing = Timing::default();
    let sending = target.upstream.send(
        method.clone(),
        path,
        headers,
        body,
        Repeat::Safe,
        &mut timing,
    );
    let (head, body) = sending.await?.into_parts();
    let body = read_to_end(Limited::new(body, MAX_RESPONSE)).await;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.map_err(Error::Interrupted)?,
    })
}

/// Returns whether AWS accepted the request and the API executed it.
fn is_accepted(target: &Target, answer: &Answer) -> bool {
    let Answer { status, body, .. } = answer;
    match target.upstream.endpoint().kind {
        UpstreamKind::Graphql => {
            let json: Option<Value> = serde_json::from_slice(body).ok();
            let json = json.filter(|_| *status == StatusCode::OK);
            json.is_some_and(|json| json["data"].is_object() && json["errors"].is_null())
        }
        UpstreamKind::Events | UpstreamKind::Http => status.is_success() || status.is_redirection(),
    }
}

impl Sent {
    /// Returns the request with its signature, for a diagnosis; `None` if it cannot be signed again. If AWS
    /// echoes when it was signed, it is signed at that time, so that the signature is the same.
    async fn evidence(self, target: &Target, answer: &Answer) -> Option<diagnose::Request> {
        let Self {
            method,
            target: path,
            headers,
            body,
        } = self;
        let upstream = &target.upstream;
        let echoed = signed_at(&String::from_utf8_lossy(&answer.body));
        let now = echoed.unwrap_or_else(|| upstream.signing_time());
        let signed = upstream.signed_headers(&method, &path, headers, &body, now);
        let signed = signed.await.ok()?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = signed
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)));
        let host = ("host".to_owned(), upstream.endpoint().wire_host.clone());
        Some(diagnose::Request {
            method: method.to_string(),
            target: path.as_str().to_owned(),
            headers: std::iter::once(host).chain(headers).collect(),
            body: Some(body.to_vec()),
        })
    }
}

/// Returns the time in the line `x-amz-date:20260115T120000Z` of an echoed canonical request.
fn signed_at(text: &str) -> Option<SystemTime> {
    let (_, rest) = text.split_once("x-amz-date:")?;
    diagnose::parse_time(rest.get(..16)?).map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_signature_is_read_from_an_echo() {
        let echo = r#"{"message":"…\nhost:a\nx-amz-date:20260115T120000Z\n"}"#;
        let found = signed_at(echo).map(|at| humantime::format_rfc3339_seconds(at).to_string());
        assert_eq!(found.as_deref(), Some("2026-01-15T12:00:00Z"));
        for text in [
            "",
            "x-amz-date:",
            "x-amz-date:20260115T12é000Z",
            "x-amz-date:99999999T999999Z",
        ] {
            assert_eq!(signed_at(text), None, "{text}");
        }
    }

    #[test]
    fn only_queries_are_sent() {
        let check = |query: &str, expected: &str| {
            let shown =
                Query::parse(query).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(shown.starts_with(expected), "{query}: {shown}");
            assert_eq!(shown.is_empty(), expected.is_empty(), "{query}: {shown}");
        };
        check("query Q { a }", "");
        check("{ a", "invalid query: ");
        check("", "invalid query: ");
        check(
            "mutation { a }",
            "a check sends only queries: this is a mutation",
        );
        check(
            "subscription { a }",
            "a check sends only queries: this is a subscription",
        );
        check("query Q { a } mutation M { b }", "invalid query: ");
        let own = Query::default();
        assert_eq!(Query::parse(&own.text), Ok(own));
    }
}
