//! One AppSync API: runs queries, mutations and publishes by signed HTTP, and subscriptions by realtime.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{Event, GraphqlError, Json, OperationKey, OperationKind};
use countersign_protocol::realtime::placement::{Availability, Owner};
use countersign_protocol::realtime::{Failure, Start};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::client_headers::{HeaderError, to_entries};
use super::exchange::{ExchangeError, UpstreamRequest, exchange};
use super::filters::{LiveFilter, SubscriptionFilters};
use crate::memory::{Buffer, ReadError};
use crate::outbox::Outbox;
use crate::realtime::{Pool, REDACTION, Subscription};
use crate::sign::{RequestTarget, TargetError, redact};
use crate::telemetry::metrics::RouteMetrics;
use crate::telemetry::{Record, UpstreamSpan, error_chain};
use crate::upstream::{Error, Explanation, HeaderPolicy, Repeat, Upstream};

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
            _subscription: self.pool.subscribe(owner, start, outbox, key),
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
            Ok(answer) => {
                if let Some(explanation) = &answer.explanation {
                    explanation.record(record);
                }
                outcome(answer)
            }
            Err(error) => {
                record.code = Some(error.code().into());
                record.sent = Some(error.sent());
                record.cause = Some(error_chain(&error));
                let error = GraphqlError::coded(error.message(), error.code(), error.sent());
                (None, Event::Error(vec![error]))
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
    ) -> Result<Answer, ExchangeError> {
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        record.bytes_in = body.len();
        self.check_filters(&body);
        let request = UpstreamRequest {
            method: Method::POST,
            name: "POST",
            target: &self.target,
            headers,
            body,
            repeat: kind.map_or(Repeat::Never, Repeat::from),
        };
        // The session or batch that owns the operation cancels it at the drain's deadline.
        let expired = std::future::pending();
        let response = exchange(&self.upstream, &self.policy, request, expired, record).await?;
        let status = response.status();
        record.status = status.as_u16();
        let limit = if status.is_success() {
            self.response_limit
        } else {
            self.response_limit.min(MAX_ERROR_RESPONSE)
        };
        let (head, body) = response.into_parts();
        buffer.read(body, limit).await.map_err(read_error)?;
        let explanation = (!status.is_success())
            .then(|| {
                let text = String::from_utf8_lossy(buffer.bytes());
                Explanation::of_response(status, &head.headers, head.extensions.get(), &text)
            })
            .flatten();
        let body = redact::mask_known_body(buffer.finish());
        record.bytes_out = body.len();
        Ok(Answer {
            status,
            content_type: media_type(&head.headers).map(str::to_owned),
            body,
            explanation,
        })
    }
}

/// A response, read to its end.
struct Answer {
    status: StatusCode,
    content_type: Option<String>,
    body: Bytes,
    explanation: Option<Explanation>,
}

/// Returns the media type of a response, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
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

/// The longest text that becomes part of a message, in bytes.
const MAX_TEXT: usize = 1024;

/// The longest line of a page that becomes part of a message, in characters.
const MAX_LINE: usize = 200;

/// Turns an HTTP response into the result and the ending of an operation.
fn outcome(answer: Answer) -> (Option<Json>, Event) {
    let Answer {
        status,
        content_type,
        body,
        explanation,
    } = answer;
    let (content_type, explanation) = (content_type.as_deref(), explanation.as_ref());
    let Ok(json) = Json::parse(body.clone()) else {
        let text = String::from_utf8_lossy(&body);
        let message = message_of(status, content_type, &text);
        let sent = sent_at(status);
        let error = GraphqlError::coded(message, Code::UpstreamNotJson, sent);
        let error = explained(error, explanation);
        return (
            None,
            Event::Error(vec![error.with("status", status.as_u16())]),
        );
    };
    if status.is_success() {
        return (Some(json), Event::Complete);
    }
    let errors = response_errors(status, content_type, json.as_str(), explanation);
    (None, Event::Error(errors))
}

/// Returns the errors in a response whose status is not 2xx. There is at least one.
pub fn response_errors(
    status: StatusCode,
    content_type: Option<&str>,
    body: &str,
    explanation: Option<&Explanation>,
) -> Vec<GraphqlError> {
    let complete = |error: GraphqlError| {
        let error = error.with("status", status.as_u16());
        let error = error.with("code", Code::UpstreamStatus.as_str());
        let error = error.with("sent", sent_at(status).as_str());
        explained(error, explanation)
    };
    let of_text = || complete(GraphqlError::new(message_of(status, content_type, body)));
    let Ok(raw) = serde_json::from_str(body) else {
        return vec![of_text()];
    };
    let failures = Failure::parse(Some(raw), REDACTION).into_iter();
    let errors = failures.map(|failure| {
        if failure.is_empty() {
            of_text()
        } else {
            complete(failure.to_graphql())
        }
    });
    errors.collect()
}

/// Adds to an error why AWS rejected the request.
fn explained(error: GraphqlError, explanation: Option<&Explanation>) -> GraphqlError {
    let Some(explanation) = explanation else {
        return error;
    };
    let members = explanation.extensions();
    members.fold(error, |error, (name, value)| error.with(name, value))
}

/// Returns the message for a response that does not contain an error of AWS. It contains the body if that
/// is a short text, as AWS's gateways send it with 413, 429 and 503, and otherwise its title or first line:
/// firewalls and load balancers send pages.
fn message_of(status: StatusCode, content_type: Option<&str>, body: &str) -> String {
    let text = body.trim();
    let is_markup = text.starts_with(['<', '{', '[']);
    let is_text = !text
        .chars()
        .any(|char| char.is_control() && !char.is_whitespace());
    if text.is_empty() || text.len() > MAX_TEXT || is_markup || !is_text || status.is_success() {
        return match first_line(text).filter(|_| is_text && !status.is_success()) {
            Some(line) => {
                let kind = content_type.unwrap_or("a body of an unknown type");
                let line = redact::mask_tokens(&line).into_owned();
                format!(
                    "upstream responded {} with {kind}: \"{line}\"",
                    status.as_u16()
                )
            }
            None => format!("upstream responded {status} with a body that is not JSON"),
        };
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    format!(
        "upstream responded {status}: {}",
        redact::mask_tokens(&text)
    )
}

/// Returns the title of a page, or the first line of another text, cut to [`MAX_LINE`].
fn first_line(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|at| {
        let start = at + "<title>".len();
        let end = start + lower.get(start..)?.find("</title>")?;
        text.get(start..end)
    });
    let title = title.map(str::trim).filter(|title| !title.is_empty());
    let line = title.or_else(|| text.lines().map(str::trim).find(|line| !line.is_empty()))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(words.join(" ").chars().take(MAX_LINE).collect())
}

/// Returns whether upstream may have acted. AWS rejects a request before it executes it, but may fail
/// during the execution.
fn sent_at(status: StatusCode) -> Sent {
    match status {
        _ if status.is_client_error() => Sent::No,
        _ if status.is_server_error() => Sent::Maybe,
        _ => Sent::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_page(status: u16, content_type: Option<&str>, body: &str, expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let over_http = response_errors(status, content_type, body, None);
        let (_, on_socket) = outcome(Answer {
            status,
            content_type: content_type.map(str::to_owned),
            body: Bytes::copy_from_slice(body.as_bytes()),
            explanation: None,
        });
        let Event::Error(on_socket) = on_socket else {
            panic!("{on_socket:?}");
        };
        for errors in [over_http, on_socket] {
            assert_eq!(errors[0].message, expected, "{body}");
        }
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        check_page(status, None, body, expected);
    }

    #[test]
    fn answers_that_are_not_graphql_are_reported_with_their_type_and_first_line() {
        let html = Some("text/html");
        check_page(
            503,
            html,
            "<html>\r\n<head><title>503 Service Temporarily\r\n Unavailable</title></head>",
            "upstream responded 503 with text/html: \"503 Service Temporarily Unavailable\"",
        );
        check_page(
            403,
            html,
            "\n<!DOCTYPE html>\n<p>x-amz-security-token:AQoDYXdzEJr1K",
            "upstream responded 403 with text/html: \"<!DOCTYPE html>\"",
        );
        let json = Some("application/json");
        for body in ["{}", r#"{"errors":[]}"#, "[]"] {
            let expected = format!("upstream responded 502 with application/json: \"{body}\"");
            check_page(502, json, body, &expected);
        }
    }

    #[test]
    fn plain_texts_of_aws_are_kept_in_the_message() {
        check(
            413,
            "HTTP content length exceeded 10485760 bytes.",
            "upstream responded 413 Payload Too Large: HTTP content length exceeded 10485760 bytes.",
        );
        check(
            429,
            "Too Many Requests\n",
            "upstream responded 429 Too Many Requests: Too Many Requests",
        );
        check(
            503,
            " Service\r\n Unavailable: x-amz-security-token:AQoDYXdzEJr1K ",
            "upstream responded 503 Service Unavailable: Service Unavailable: \
             x-amz-security-token:[redacted]",
        );
        let long = "x".repeat(MAX_TEXT + 1);
        for body in ["", "\0"] {
            let expected =
                "upstream responded 503 Service Unavailable with a body that is not JSON";
            check(503, body, expected);
        }
        let shown = "x".repeat(MAX_LINE);
        for (body, shown) in [("<html>", "<html>"), ("{", "{"), (&long, &shown)] {
            let expected =
                format!("upstream responded 503 with a body of an unknown type: \"{shown}\"");
            check(503, body, &expected);
        }
    }
}
