//! One GraphQL API as sessions use it: operations by signed HTTP, subscriptions by realtime.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::graphql::{Event, GraphqlError, Json};
use countersign_protocol::realtime::Failure;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::memory::{Buffer, ReadError};
use crate::realtime::{Pool, REDACTION};
use crate::sign::{RequestTarget, TargetError, redact};
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::{Record, error_chain};
use crate::upstream::{Error, HeaderPolicy, Timing, Upstream};

/// The API behind a GraphQL route.
#[derive(Debug)]
pub struct Api {
    upstream: Arc<Upstream>,
    pool: Pool,
    target: RequestTarget,
    policy: HeaderPolicy,
    response_limit: usize,
}

impl Api {
    /// `response_limit` bounds the answer of a query or mutation, which is read whole.
    ///
    /// # Errors
    /// When the endpoint's path cannot be signed.
    pub fn new(
        upstream: Arc<Upstream>,
        pool: Pool,
        policy: HeaderPolicy,
        response_limit: usize,
    ) -> Result<Self, TargetError> {
        let target = RequestTarget::new(&upstream.endpoint().path, None)?;
        Ok(Self {
            upstream,
            pool,
            target,
            policy,
            response_limit,
        })
    }

    /// Which of a client's headers go upstream.
    pub(super) fn policy(&self) -> &HeaderPolicy {
        &self.policy
    }

    /// Of its route.
    pub(super) fn metrics(&self) -> &Arc<RouteMetrics> {
        self.upstream.metrics()
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sends `body` by a signed `POST`: its result, if there is one, and its ending. The headers
    /// are fit to go. The answer is read into `buffer`, whose room it keeps.
    pub async fn execute(
        &self,
        body: Bytes,
        headers: HeaderMap,
        buffer: Buffer,
        record: &mut Record,
    ) -> (Option<Json>, Event) {
        match self.exchange(body, headers, buffer, record).await {
            Ok((status, body)) => outcome(status, body),
            Err(error) => {
                record.code = Some(error.code().into());
                record.cause = Some(error_chain(&error));
                let message = match error.remedy() {
                    Some(remedy) => format!("{error}. {remedy}"),
                    None => error.to_string(),
                };
                let sent = error.sent().as_str();
                let error = GraphqlError::coded(message, error.code(), sent);
                (None, Event::Error(vec![error]))
            }
        }
    }

    async fn exchange(
        &self,
        body: Bytes,
        mut headers: HeaderMap,
        mut buffer: Buffer,
        record: &mut Record,
    ) -> Result<(StatusCode, Bytes), Error> {
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        record.bytes_in = body.len();
        let exchange = record.trace.exchange("POST");
        self.policy.continue_trace(&mut headers, &exchange);
        let mut timing = Timing::default();
        let sent = self
            .upstream
            .send(Method::POST, &self.target, headers, body, &mut timing)
            .await;
        record.signing = timing.signing;
        record.connect = timing.connect;
        record.first_byte = timing.first_byte;
        let outcome = sent.as_ref().map(|answer| answer.status().as_u16());
        exchange.end(record.steps(), outcome.map_err(Error::code));
        let mut response = sent?;
        redact::mask_headers(response.headers_mut());
        let text = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        record.request_id = text("x-amzn-requestid");
        record.code = text("x-amzn-errortype").map(Into::into);
        let status = response.status();
        record.status = status.as_u16();
        let limit = match status.is_success() {
            true => self.response_limit,
            false => self.response_limit.min(MAX_REFUSAL),
        };
        let body = Box::pin(response.into_body());
        buffer.read(body, limit).await.map_err(unread)?;
        let body = redact::mask_known_body(buffer.finish());
        record.bytes_out = body.len();
        Ok((status, body))
    }
}

/// The failure of an answer that was not read to its end.
pub fn unread(error: ReadError<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    match error {
        ReadError::TooLarge(limit) => Error::ResponseTooLarge { limit },
        ReadError::Exhausted(_) => Error::Unbuffered,
        ReadError::Body(error) => Error::Interrupted(error),
    }
}

/// An error answer is no longer: its texts are copied.
const MAX_REFUSAL: usize = 256 * 1024;

/// What an HTTP answer means for an operation.
fn outcome(status: StatusCode, body: Bytes) -> (Option<Json>, Event) {
    let Ok(json) = Json::parse(body) else {
        let message = format!("upstream answered {status} with something that is not JSON");
        let sent = sent_at(status);
        let error = GraphqlError::coded(message, "UPSTREAM_NOT_JSON", sent);
        return (
            None,
            Event::Error(vec![error.with("status", status.as_u16())]),
        );
    };
    if status.is_success() {
        return (Some(json), Event::Complete);
    }
    (None, Event::Error(failures(status, json.as_str())))
}

/// The errors that an answer with another status than 2xx tells of; never empty.
pub fn failures(status: StatusCode, body: &str) -> Vec<GraphqlError> {
    let raw = serde_json::from_str(body).ok();
    let errors = Failure::parse(raw, REDACTION).into_iter().map(|failure| {
        let error = failure.to_graphql().with("status", status.as_u16());
        let sent = sent_at(status);
        error.with("code", "UPSTREAM_STATUS").with("sent", sent)
    });
    errors.collect()
}

/// AWS refuses a request before it executes it, and fails within it.
fn sent_at(status: StatusCode) -> &'static str {
    match status {
        _ if status.is_client_error() => "no",
        _ if status.is_server_error() => "maybe",
        _ => "yes",
    }
}

/// A client's headers as entries of an authorization object.
pub(super) fn entries(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for name in headers.keys() {
        let values: Vec<&str> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        if !values.is_empty() {
            entries.push((name.as_str().to_owned(), values.join(", ")));
        }
    }
    entries
}
