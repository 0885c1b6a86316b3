//! One AppSync API: runs queries, mutations and publishes by signed HTTP, and subscriptions by realtime.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::error_code::Code;
use countersign_protocol::graphql::{Event, GraphqlError, Json, OperationKey, OperationKind};
use countersign_protocol::realtime::Start;
use countersign_protocol::realtime::placement::{Availability, Owner};
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::response::Parts;

use super::client_headers::{HeaderError, to_entries};
use super::error_response::ErrorResponse;
use super::exchange::{ExchangeError, exchange};
use super::field_denial;
use super::filters::{LiveFilter, SubscriptionFilters};
use super::identified::identified;
use crate::inspector::ShownConnection;
use crate::memory::{Buffer, ReadError};
use crate::outbox::Outbox;
use crate::realtime::{Pool, Subscription};
use crate::sign::{RequestTarget, TargetError, redact};
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::{ErrorSearch, Record, UpstreamSpan, error_chain};
use crate::upstream::{Error, HeaderPolicy, Repeat, Upstream, UpstreamRequest};

/// The API behind an AppSync route.
#[derive(Debug)]
pub struct AppSyncApi {
    upstream: Arc<Upstream>,
    pool: Pool,
    target: RequestTarget,
    policy: HeaderPolicy,
    response_limit: usize,
    filters: SubscriptionFilters,
}

/// A running subscription. Dropping it stops the subscription upstream.
#[derive(Debug)]
pub struct LiveSubscription {
    _subscription: Subscription,
    _filter: Option<LiveFilter>,
}

impl AppSyncApi {
    /// Returns the API behind `upstream` and `pool`. `response_limit` bounds the response to a query or
    /// mutation, which is read to its end.
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
            filters: SubscriptionFilters::default(),
        })
    }

    /// Returns where queries, mutations and publishes go.
    pub fn target(&self) -> &RequestTarget {
        &self.target
    }

    /// Returns which of a client's headers go upstream.
    pub fn policy(&self) -> &HeaderPolicy {
        &self.policy
    }

    /// Returns the metrics of the API's route.
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        self.upstream.metrics()
    }

    /// Returns whether realtime connections to the API can be opened.
    pub fn availability(&self) -> Availability {
        self.pool.availability()
    }

    /// Returns the realtime connections.
    pub fn connections(&self) -> Vec<ShownConnection> {
        self.pool.shown()
    }

    /// Starts a subscription. Its events go to `outbox` under `key`. The caller ends the
    /// returned span when upstream has confirmed the subscription.
    ///
    /// # Errors
    /// If AppSync's protocol cannot carry one of the headers.
    pub fn subscribe(
        &self,
        owner: Owner,
        key: OperationKey,
        data: String,
        mut headers: HeaderMap,
        outbox: Outbox,
        record: &mut Record,
    ) -> Result<(LiveSubscription, UpstreamSpan), HeaderError> {
        record.bytes_in = data.len();
        record.capture.request_body(data.as_bytes());
        let span = record.trace.upstream_span("start");
        self.policy.continue_trace(&mut headers, &span);
        let headers = match to_entries(&headers) {
            Ok(headers) => headers,
            Err(error) => {
                span.end(record.steps(), Err(error.code().as_str()));
                return Err(error);
            }
        };
        let filter = self.filters.subscribed(&data);
        let start = Start { data, headers };
        let subscription = LiveSubscription {
            _subscription: self
                .pool
                .subscribe(owner, start, outbox, key, record.capture.clone()),
            _filter: filter,
        };
        Ok((subscription, span))
    }

    /// Logs the live subscriptions that the mutation in `body` probably does not reach. Must be called for
    /// each body that is sent otherwise than by [`AppSyncApi::execute`].
    pub fn check_filters(&self, body: &[u8]) {
        self.filters.check(&self.metrics().name, body);
    }

    /// Sends `body` by a signed `POST`. Returns the operation's result, if there is one, and the event
    /// that ends it. The headers must be those that may go upstream. The response is read into
    /// `buffer`, and occupies its part of the memory budget until it is dropped.
    pub async fn execute(
        &self,
        body: Bytes,
        headers: HeaderMap,
        kind: Option<OperationKind>,
        buffer: Buffer,
        record: &mut Record,
    ) -> (Option<Json>, Event) {
        match self.post(body, headers, kind, buffer, record).await {
            Ok((head, body)) => self.outcome(&head, body, record),
            Err(error) => {
                record.code = Some(error.code().into());
                record.sent = Some(error.sent());
                record.error = Some(error_chain(&error));
                let error = GraphqlError::coded(error.message(), error.code(), error.sent());
                (None, Event::Error(vec![identified(error, &record.id)]))
            }
        }
    }

    async fn post(
        &self,
        body: Bytes,
        mut headers: HeaderMap,
        kind: Option<OperationKind>,
        mut buffer: Buffer,
        record: &mut Record,
    ) -> Result<(Parts, Bytes), ExchangeError> {
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        record.bytes_in = body.len();
        record.capture.request_body(&body);
        self.check_filters(&body);
        let mut request = UpstreamRequest {
            method: Method::POST,
            target: &self.target,
            headers,
            body,
            repeat: kind.map_or(Repeat::Never, Repeat::from),
        };
        // The session or batch that owns the operation cancels it at the drain's deadline.
        let expired = std::future::pending();
        let exchanged = exchange(&self.upstream, &self.policy, &mut request, expired, record);
        let response = exchanged.await?;
        drop(request);
        let status = response.status();
        record.status = status.as_u16();
        let limit = if status.is_success() {
            self.response_limit
        } else {
            self.response_limit.min(MAX_ERROR_RESPONSE)
        };
        let (head, body) = response.into_parts();
        buffer.read(body, limit).await.map_err(read_error)?;
        record.bytes_out = buffer.bytes().len();
        Ok((head, buffer.finish()))
    }

    /// Turns an HTTP response into the result and the ending of an operation.
    fn outcome(&self, head: &Parts, body: Bytes, record: &mut Record) -> (Option<Json>, Event) {
        record.capture.response_head(head.status, &head.headers);
        if record.capture.is_on() {
            let masked = redact::mask_known(&body);
            record.capture.response_body(&masked);
        }
        if head.status.is_success()
            && let Ok(json) = Json::parse(redact::mask_known_body(body.clone()))
        {
            if let Some(message) = field_denial::find(&body) {
                record_denial(&self.upstream, &message, record);
            }
            if let Some(mut search) = ErrorSearch::start() {
                search.push(&body);
                record.graphql_errors = search.finish().map(Box::new);
            }
            return (Some(json), Event::Complete);
        }
        // The explanation compares the token that AWS echoes with the one that was sent.
        let text = String::from_utf8_lossy(&body);
        let response = ErrorResponse::read(head, &text);
        response.record(record);
        let errors = response.errors().into_iter();
        let errors = errors.map(|error| identified(error, &record.id)).collect();
        (None, Event::Error(errors))
    }
}

/// Returns the error of a response that could not be read to its end.
pub fn read_error(error: ReadError<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    match error {
        ReadError::TooLarge(limit) => Error::ResponseTooLarge { limit },
        ReadError::Exhausted(_) => Error::Unbuffered,
        ReadError::Body(error) => Error::Interrupted(error),
    }
}

/// The longest error response that is read. It is bounded because its texts are copied.
const MAX_ERROR_RESPONSE: usize = 256 * 1024;

/// Adds to the record that AppSync denied a field, given its error's message.
pub fn record_denial(upstream: &Upstream, message: &str, record: &mut Record) {
    if let Some(explanation) = upstream.explain_field(message) {
        record.code = Some(Code::AccessDenied.into());
        explanation.record(record);
    }
}
