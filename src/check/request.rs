//! The step `request`: one signed request.

use bytes::Bytes;
use countersign_protocol::graphql::{Documents, Inspected, Operation, OperationKind};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Limited;
use serde_json::Value;
use tokio::time::timeout;

use super::refusal::{self, Answer};
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::sign::RequestTarget;
use crate::telemetry::error_chain;
use crate::upstream::{Error, Repeat, Timing, UpstreamKind, read_to_end};

/// The query that every schema answers.
const QUERY: &str = "{ __typename }";
/// More of a response is not read.
const MAX_RESPONSE: usize = 1 << 20;

/// Why a query is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    #[error("invalid query: {0}")]
    Document(String),
    #[error("a check sends only queries: this is a {0}, which could change something")]
    Kind(&'static str),
}

/// Checks that a document is a query: a check sends neither mutations nor subscriptions.
///
/// # Errors
/// When it is invalid, or selects another operation.
pub fn check_query(query: &str) -> Result<(), InvalidQuery> {
    let operation = Operation {
        query: query.to_owned(),
        ..Operation::default()
    };
    let inspected = Inspected::operation(operation, &Documents::default());
    let (selected, _) = inspected.map_err(|error| InvalidQuery::Document(error.to_string()))?;
    match selected.kind {
        OperationKind::Query => Ok(()),
        kind @ (OperationKind::Mutation | OperationKind::Subscription) => {
            Err(InvalidQuery::Kind(kind.as_str()))
        }
    }
}

/// Sends one signed request that changes nothing.
pub(super) async fn send(target: &Target, query: Option<&str>) -> Result<Passed<()>, NotPassed> {
    let endpoint = target.upstream.endpoint();
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    let (method, body, shown) = match endpoint.kind {
        UpstreamKind::Graphql => {
            let query = query.unwrap_or(QUERY);
            headers.insert(CONTENT_TYPE, json.clone());
            headers.insert(ACCEPT, json);
            let body = serde_json::json!({ "query": query }).to_string();
            (Method::POST, Bytes::from(body), query)
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
    let path = RequestTarget::new(path, None).map_err(|error| failed(&error.into()))?;
    let config = target.upstream.config();
    let after = config.connect + config.first_byte;
    let sent = exchange(target, method, &path, headers, body);
    let answer = match timeout(after, sent).await {
        Ok(answer) => answer.map_err(|error| failed(&error))?,
        Err(_) => {
            let detail = format!("no complete response within {after:?}");
            let fix =
                "Check the API's own log. timeouts.connect and timeouts.first_byte are the limits.";
            return Err(Fault::new("timeout", detail, fix).into());
        }
    };
    evaluate(target, &answer, shown)
}

async fn exchange(
    target: &Target,
    method: Method,
    path: &RequestTarget,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, Error> {
    let upstream = &target.upstream;
    let mut timing = Timing::default();
    let sending = upstream.send(method, path, headers, body, Repeat::Safe, &mut timing);
    let (head, body) = sending.await?.into_parts();
    let body = read_to_end(Limited::new(body, MAX_RESPONSE)).await;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.map_err(Error::Interrupted)?,
    })
}

/// Evaluates the response to a request that `shown` describes.
fn evaluate(target: &Target, answer: &Answer, shown: &str) -> Result<Passed<()>, NotPassed> {
    let Answer { status, body, .. } = answer;
    let is_accepted = match target.upstream.endpoint().kind {
        UpstreamKind::Graphql => {
            let json: Option<Value> = serde_json::from_slice(body).ok();
            let json = json.filter(|_| *status == StatusCode::OK);
            json.is_some_and(|json| json["data"].is_object() && json["errors"].is_null())
        }
        UpstreamKind::Events | UpstreamKind::Http => status.is_success() || status.is_redirection(),
    };
    if is_accepted {
        let detail = format!("{shown}: {status}");
        return Ok(Passed { value: (), detail });
    }
    Err(refusal::of_response(target, answer, shown).into())
}

/// Returns the fault of a request that has no response.
pub(super) fn upstream_fault(error: &Error) -> Fault {
    let cause = if let Error::ClockSkew { ours, theirs } = error {
        let is_slow = ours < theirs;
        if is_slow { "clock-slow" } else { "clock-fast" }.to_owned()
    } else {
        error.code().as_str().to_ascii_lowercase().replace('_', "-")
    };
    let fix = error.remedy().unwrap_or_else(|| error.code().remedy());
    Fault::new(cause, error_chain(error), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_are_sent() {
        let check = |query: &str, expected: &str| {
            let shown =
                check_query(query).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(shown.starts_with(expected), "{query}: {shown}");
            assert_eq!(shown.is_empty(), expected.is_empty(), "{query}: {shown}");
        };
        check(QUERY, "");
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
    }
}
