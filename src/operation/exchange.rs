//! One signed HTTP exchange with upstream: sends a request, and records and traces it. Routes of
//! every kind use it.

use std::pin::pin;
use std::time::Instant;

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::OperationKind;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::sign::redact;
use crate::telemetry::{Record, RecordCode, method_name};
use crate::upstream::{
    self, ERROR_TYPE, HeaderPolicy, Repeat, ResponseBody, Timing, Upstream, UpstreamRequest,
};

/// The header with AWS's id of the request.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// An exchange in progress. If it is dropped, because the client abandoned the request, the record shows
/// how far it came.
struct Progress<'a> {
    record: &'a mut Record,
    timing: Timing,
    begun: Instant,
    is_done: bool,
}

/// Why an exchange has no response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("countersign shut down before upstream responded")]
    Expired,
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// Adds the headers of the trace to a request and sends it. Returns the response when its head has arrived.
/// Stops waiting when `expired` resolves.
///
/// # Errors
/// If upstream cannot be reached, closes the connection early or does not respond in time.
pub async fn exchange(
    upstream: &Upstream,
    policy: &HeaderPolicy,
    request: &mut UpstreamRequest<'_>,
    expired: impl Future<Output = ()>,
    record: &mut Record,
) -> Result<Response<ResponseBody>, ExchangeError> {
    let span = record.trace.upstream_span(method_name(&request.method));
    policy.continue_trace(&mut request.headers, &span);
    let mut progress = Progress {
        record,
        timing: Timing::default(),
        begun: Instant::now(),
        is_done: false,
    };
    let result = {
        // Without `pin!`, `select!` would copy both futures.
        let sent = pin!(upstream.send(request, &mut progress.timing));
        let expired = pin!(expired);
        tokio::select! {
            biased;
            result = sent => result.map_err(ExchangeError::from),
            () = expired => Err(ExchangeError::Expired),
        }
    };
    progress.is_done = true;
    let timing = progress.timing;
    drop(progress);
    if record.capture.is_on() {
        let status = result.as_ref().ok().map(Response::status);
        Box::pin(capture(upstream, request, timing, status, record)).await;
    }
    record.sent = Some(
        result
            .as_ref()
            .map_or_else(ExchangeError::sent, |_| Sent::Yes),
    );
    let outcome = result.as_ref().map(|response| response.status().as_u16());
    let outcome = outcome.map_err(|error| error.code().as_str());
    span.end(record.steps(), outcome);
    let mut response = result?;
    redact::mask_headers(response.headers_mut());
    record_response(response.headers(), record);
    Ok(response)
}

/// Shows the request as it was signed to the inspector.
async fn capture(
    upstream: &Upstream,
    request: &UpstreamRequest<'_>,
    timing: Timing,
    status: Option<StatusCode>,
    record: &Record,
) {
    let Some(now) = timing.signed_at else {
        return;
    };
    let (method, headers, body) = (&request.method, request.headers.clone(), &request.body);
    // At the same time, the signature is the same.
    let signed = upstream.signed_request(method, request.target, headers, body, now);
    if let Ok((uri, headers)) = signed.await {
        let attempts = timing.attempts;
        record
            .capture
            .sent(method, &uri, &headers, body, attempts, status);
    }
}

/// Records how long the steps of an exchange took.
pub fn record_timing(timing: &Timing, record: &mut Record) {
    record.signing = timing.signing;
    record.connect = timing.connect;
    record.first_byte = timing.first_byte;
}

/// Records the id and the error type that AWS gave the request.
pub fn record_response(headers: &HeaderMap, record: &mut Record) {
    let text = |name: &HeaderName| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    record.aws_request_id = text(&REQUEST_ID);
    record.code = text(&ERROR_TYPE).map(RecordCode::Upstream);
}

// === impl Progress ===

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let spent = self.timing.signing + self.timing.connect;
            self.timing.first_byte = self.begun.elapsed().saturating_sub(spent);
            self.record.sent = Some(if self.timing.is_sending {
                Sent::Maybe
            } else {
                Sent::No
            });
        }
        record_timing(&self.timing, self.record);
    }
}

// === impl Repeat ===

impl From<OperationKind> for Repeat {
    fn from(kind: OperationKind) -> Self {
        match kind {
            OperationKind::Query => Self::Safe,
            OperationKind::Mutation | OperationKind::Subscription => Self::Never,
        }
    }
}

// === impl ExchangeError ===

impl ExchangeError {
    /// Returns the stable name of the error, for clients and logs.
    pub fn code(&self) -> Code {
        match self {
            Self::Expired => Code::ShuttingDown,
            Self::Upstream(error) => error.code(),
        }
    }

    /// Returns whether upstream may have acted.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Expired => Sent::Maybe,
            Self::Upstream(error) => error.sent(),
        }
    }

    /// Returns the message for a client: the error, and its remedy if there is one.
    pub fn message(&self) -> String {
        match self {
            Self::Upstream(error) => match error.remedy() {
                Some(remedy) => format!("{error}. {remedy}"),
                None => error.to_string(),
            },
            Self::Expired => self.to_string(),
        }
    }
}
