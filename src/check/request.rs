//! The step `request`: one signed request.

use std::time::SystemTime;

use bytes::Bytes;
use countersign_protocol::graphql::{OperationKind, SurveyError, survey};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Limited;
use serde_json::Value;
use tokio::time::timeout;

use super::refusal::{self, Answer, MAX_RESPONSE, MAX_SCHEMA, upstream_fault};
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use super::websocket;
use crate::diagnose;
use crate::sign::RequestTarget;
use crate::upstream::{Error, Repeat, Timing, UpstreamKind, UpstreamRequest, read_to_end};

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
    /// What reports call it, if they do not show its text.
    name: Option<&'static str>,
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
                name: None,
            }),
            kind @ (OperationKind::Mutation | OperationKind::Subscription) => {
                Err(InvalidQuery::Kind(kind.as_str()))
            }
        }
    }

    /// Returns a query for parts of the schema with this root field.
    pub fn introspection(text: String, field: &str) -> Self {
        Self {
            text,
            fields: vec![field.to_owned()],
            name: Some("introspection"),
        }
    }

    fn shown(&self) -> &str {
        self.name.unwrap_or(&self.text)
    }
}

/// The query that every schema answers.
impl Default for Query {
    fn default() -> Self {
        Self {
            text: "{ __typename }".to_owned(),
            fields: vec!["__typename".to_owned()],
            name: None,
        }
    }
}

/// Sends one signed request that changes nothing.
pub(super) async fn send(target: &Target, query: &Query) -> Result<Passed<()>, NotPassed> {
    let endpoint = target.upstream.endpoint();
    let (request, shown) = match endpoint.kind {
        UpstreamKind::Graphql => (Sent::query(target, query)?, query.shown()),
        UpstreamKind::Events => {
            let reason = "Events accepts only publishes over HTTP; the next step signs a connect";
            return Err(NotPassed::Skipped(reason.to_owned()));
        }
        UpstreamKind::Http => {
            let request = Sent::new(target, Method::GET, HeaderMap::new(), Bytes::new())?;
            (request, "GET")
        }
    };
    let answer = exchange_in_time(target, &request, MAX_RESPONSE).await?;
    let is_websocket = answer.status == StatusCode::UPGRADE_REQUIRED;
    if endpoint.kind == UpstreamKind::Http && is_websocket {
        return websocket::open(target, &request.target).await;
    }
    let is_accepted = match endpoint.kind {
        UpstreamKind::Graphql => is_executed(&answer),
        UpstreamKind::Events | UpstreamKind::Http => {
            answer.status.is_success() || answer.status.is_redirection()
        }
    };
    if is_accepted {
        let detail = format!("{shown}: {}", answer.status);
        return Ok(Passed { value: (), detail });
    }
    let request = request.evidence(target, &answer).await;
    let fault = refusal::of_response(target, &answer, request, shown, &query.fields);
    Err(fault.await.into())
}

/// Sends one signed query to a GraphQL API, which need not be of AppSync, and returns the body of a response
/// that has data and no errors.
///
/// # Errors
/// When the API cannot be reached, or refuses the query.
pub async fn execute(target: &Target, query: &Query) -> Result<Bytes, Fault> {
    let request = Sent::query(target, query)?;
    let answer = exchange_in_time(target, &request, MAX_SCHEMA).await?;
    if is_executed(&answer) {
        return Ok(answer.body);
    }
    let request = request.evidence(target, &answer).await;
    Err(refusal::of_response(target, &answer, request, query.shown(), &query.fields).await)
}

/// Sends a request, and returns its complete response, of which `limit` bytes are read at most.
async fn exchange_in_time(target: &Target, request: &Sent, limit: usize) -> Result<Answer, Fault> {
    let config = target.upstream.config();
    let after = config.connect + config.first_byte;
    match timeout(after, exchange(target, request, limit)).await {
        Ok(answer) => answer.map_err(|error| upstream_fault(&error)),
        Err(_) => {
            let detail = format!("no complete response within {after:?}");
            let fix =
                "Check the API's own log. timeouts.connect and timeouts.first_byte are the limits.";
            Err(Fault::new("timeout", detail, fix))
        }
    }
}

async fn exchange(target: &Target, request: &Sent, limit: usize) -> Result<Answer, Error> {
    let request = UpstreamRequest {
        method: request.method.clone(),
        target: &request.target,
        headers: request.headers.clone(),
        body: request.body.clone(),
        repeat: Repeat::Safe,
    };
    let mut timing = Timing::default();
    let sending = target.upstream.send(&request, &mut timing);
    let (head, body) = sending.await?.into_parts();
    let body = read_to_end(Limited::new(body, limit)).await;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.map_err(Error::Interrupted)?,
    })
}

/// Returns whether a GraphQL API executed the query without an error.
fn is_executed(answer: &Answer) -> bool {
    let Answer { status, body, .. } = answer;
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let json = json.filter(|_| *status == StatusCode::OK);
    json.is_some_and(|json| json["data"].is_object() && json["errors"].is_null())
}

impl Sent {
    fn new(
        target: &Target,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Self, Fault> {
        let path = match target.upstream.endpoint().path.as_str() {
            "" => "/",
            path => path,
        };
        let path = RequestTarget::new(path, None);
        Ok(Self {
            target: path.map_err(|error| upstream_fault(&error.into()))?,
            method,
            headers,
            body,
        })
    }

    fn query(target: &Target, query: &Query) -> Result<Self, Fault> {
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        let body = serde_json::json!({ "query": query.text }).to_string();
        Self::new(target, Method::POST, headers, Bytes::from(body))
    }

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
