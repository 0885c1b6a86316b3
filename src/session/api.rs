//! One GraphQL API as sessions use it: operations by signed HTTP, subscriptions by realtime.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::graphql::{Event, GraphqlError, Json, Operation};
use crate::realtime::{Failure, Pool, Start};
use crate::sign::{Refusal, Target};
use crate::telemetry::{Record, error_chain};
use crate::upstream::{Error, Timing, Upstream, read_body};

/// The API behind a GraphQL route.
#[derive(Debug)]
pub struct Api {
    upstream: Arc<Upstream>,
    pool: Pool,
    target: Target,
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
        response_limit: usize,
    ) -> Result<Self, Refusal> {
        let target = Target::new(&upstream.endpoint().path, None)?;
        Ok(Self {
            upstream,
            pool,
            target,
            response_limit,
        })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Runs a query or mutation: its result, if there is one, and its ending.
    pub(super) async fn execute(
        &self,
        operation: &Operation,
        headers: &HeaderMap,
        record: &mut Record,
    ) -> (Option<Json>, Event) {
        match self.exchange(operation, headers, record).await {
            Ok((status, body)) => outcome(status, body),
            Err(error) => {
                record.code = Some(error.code().to_owned());
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
        operation: &Operation,
        headers: &HeaderMap,
        record: &mut Record,
    ) -> Result<(StatusCode, Bytes), Error> {
        let json = HeaderValue::from_static("application/json");
        let mut headers = headers.clone();
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        let body = Bytes::from(operation.to_body());
        record.bytes_in = body.len();
        let mut timing = Timing::default();
        let sent = self
            .upstream
            .send(Method::POST, &self.target, headers, body, &mut timing)
            .await;
        record.signing = timing.signing;
        record.connect = timing.connect;
        record.first_byte = timing.first_byte;
        let response = sent?;
        let text = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        record.request_id = text("x-amzn-requestid");
        record.code = text("x-amzn-errortype");
        let status = response.status();
        record.status = status.as_u16();
        let body = read_body(response.into_body(), self.response_limit).await?;
        record.bytes_out = body.len();
        Ok((status, body))
    }
}

/// What an HTTP answer means for an operation of a socket.
fn outcome(status: StatusCode, body: Bytes) -> (Option<Json>, Event) {
    let Ok(json) = Json::parse(body) else {
        let message = format!("upstream answered {status} with something that is not JSON");
        let error = GraphqlError::coded(message, "UPSTREAM_NOT_JSON", "yes");
        return (
            None,
            Event::Error(vec![error.with("status", status.as_u16())]),
        );
    };
    if status.is_success() {
        return (Some(json), Event::Complete);
    }
    let raw = serde_json::from_str(json.as_str()).ok();
    let errors = Failure::parse(raw).into_iter().map(|failure| {
        let status = status.as_u16();
        let error = failure.to_graphql().with("status", status);
        // AWS refuses a request before it executes it, and fails within it.
        let sent = if status < 500 { "no" } else { "maybe" };
        error.with("code", "UPSTREAM_STATUS").with("sent", sent)
    });
    (None, Event::Error(errors.collect()))
}

/// A client's headers as entries of a start's authorization object.
pub(super) fn start(operation: &Operation, headers: &HeaderMap) -> Start {
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
    Start {
        data: operation.to_data(),
        headers: entries,
    }
}
