//! Records a request, or an operation on a socket, for its log line, metrics and span.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use tracing::{debug, info, warn};

use super::graphql_errors::GraphqlErrors;
use super::log::{REQUEST_TARGET, STARTED_TARGET};
use super::metrics::{GaugeGuard, OperationLabels, RequestLabels, RouteMetrics, Status, metrics};
use super::record_code::RecordCode;
use super::request_id::RequestId;
use super::trace::{RequestAttributes, Trace, graphql_type, http_method};
use crate::inspector::{Capture, Facts, RejectionFacts};
use countersign_protocol::error_code::{Code, Sent};

/// What is known about a request so far. It is written once, when the request ends, and contains no
/// header, query, variable or body.
#[derive(Debug)]
pub struct Record {
    pub id: RequestId,
    begun: Instant,
    pub method: &'static str,
    route: Option<Arc<RouteMetrics>>,
    _in_flight: Option<GaugeGuard>,
    pub operation: Option<&'static str>,
    /// The address of the client; `None` on a unix socket.
    pub client_address: Option<SocketAddr>,
    /// The name of the client's token.
    pub token: Option<Arc<str>>,
    /// The name of the operation. It is truncated, because the client chose it.
    pub name: Option<String>,
    pub status: u16,
    pub code: Option<RecordCode>,
    /// Whether upstream may have acted, of a request that failed.
    pub sent: Option<Sent>,
    /// AWS's request id.
    pub aws_request_id: Option<String>,
    /// The text of an error with its causes, for the log only.
    pub error: Option<String>,
    /// The stable name of the cause if AWS rejected the request.
    pub cause: Option<String>,
    /// What else is known about the rejection; `None` if another line has it.
    pub rejection: Option<Box<RecordedRejection>>,
    pub bytes_in: usize,
    pub bytes_out: usize,
    /// The number of events that the client received, of a subscription.
    pub events: Option<u64>,
    /// What ended a subscription that did not fail.
    pub ended_by: Option<EndedBy>,
    /// The errors in a GraphQL response, if they are logged.
    pub graphql_errors: Option<Box<GraphqlErrors>>,
    pub signing: Duration,
    pub connect: Duration,
    pub first_byte: Duration,
    /// The span of the request.
    pub trace: Trace,
    /// Stores the parts of the request for the inspector.
    pub capture: Capture,
    is_written: bool,
}

/// What ended a subscription that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client stopped it, or closed its connection.
    Client,
    Shutdown,
    Upstream,
}

/// What is known about a rejection by AWS, beside the name of its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRejection {
    /// How well the evidence supports the cause.
    pub confidence: String,
    /// The ARN of the IAM identity.
    pub identity: Option<String>,
    /// The IAM action and the resource that are not allowed.
    pub denied: Option<String>,
    /// What to do.
    pub fix: String,
}

/// The maximum length of an operation's name, in characters.
const MAX_NAME: usize = 64;
const HTTP: &str = "http";
/// The status of a completed WebSocket handshake.
const SWITCHED: u16 = 101;
static NO_ROUTE: LazyLock<Arc<str>> = LazyLock::new(|| "none".into());

impl Record {
    fn unanswered() -> RecordCode {
        if std::thread::panicking() {
            Code::Internal.into()
        } else {
            Code::Cancelled.into()
        }
    }

    pub fn new(method: &'static str) -> Self {
        Self {
            id: RequestId::new(),
            begun: Instant::now(),
            method,
            route: None,
            _in_flight: None,
            operation: None,
            client_address: None,
            token: None,
            name: None,
            status: 0,
            code: None,
            sent: None,
            aws_request_id: None,
            error: None,
            cause: None,
            rejection: None,
            bytes_in: 0,
            bytes_out: 0,
            events: None,
            ended_by: None,
            graphql_errors: None,
            signing: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: Duration::ZERO,
            trace: Trace::none(),
            capture: Capture::default(),
            is_written: false,
        }
    }

    /// Takes the id that the client sent in `headers`, if there is one.
    pub fn identify(&mut self, headers: &HeaderMap) {
        if let Some(id) = RequestId::given(headers) {
            self.id = id;
        }
    }

    /// Sets the route, on which an HTTP request counts as in flight from now on.
    pub fn set_route(&mut self, route: &Arc<RouteMetrics>) {
        self._in_flight =
            (self.client() == HTTP).then(|| GaugeGuard::new(&route.requests_in_flight));
        self.route = Some(Arc::clone(route));
        self.show();
    }

    /// Shows the inspector what is known so far.
    pub fn show(&self) {
        self.capture.show(|| self.facts());
    }

    fn facts(&self) -> Facts {
        let rejection = self.rejection.as_deref();
        Facts {
            method: self.method,
            route: self.route.as_ref().map(|route| Arc::clone(&route.name)),
            operation: self.operation,
            name: self.name.clone(),
            client: self.client_address,
            token: self.token.clone(),
            status: self.status,
            code: self.code.as_ref().map(|code| code.as_str().to_owned()),
            sent: self.sent.map(Sent::as_str),
            request_id: self.aws_request_id.clone(),
            error: self.error.clone(),
            cause: self.cause.clone(),
            rejection: rejection.map(|rejection| RejectionFacts {
                confidence: rejection.confidence.clone(),
                identity: rejection.identity.clone(),
                denied: rejection.denied.clone(),
                fix: rejection.fix.clone(),
            }),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            signing: self.signing,
            connect: self.connect,
            first_byte: self.first_byte,
        }
    }

    /// Returns the value of the label `client`.
    fn client(&self) -> &'static str {
        match self.method {
            "WS" | "TUNNEL" => "websocket",
            "STREAM" => "stream",
            _ => HTTP,
        }
    }

    /// Returns what an operation that is not an HTTP request came over.
    fn transport(&self) -> Option<&'static str> {
        match self.method {
            "WS" => Some("websocket"),
            "STREAM" => Some("stream"),
            "TUNNEL" => Some("tunnel"),
            _ => None,
        }
    }

    /// Records that the client abandoned the request, or that a panic ended it. Nothing was sent unless
    /// the record contains something else.
    pub fn abandon(&mut self) {
        self.code.get_or_insert_with(Self::unanswered);
        self.sent.get_or_insert(Sent::No);
    }

    pub fn set_name(&mut self, name: Option<&str>) {
        self.name = name.map(|name| name.chars().take(MAX_NAME).collect());
        self.show();
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(|route| &*route.name)
    }

    /// Returns the duration of each step before the upstream request.
    pub fn steps(&self) -> [(&'static str, Duration); 2] {
        [("signed", self.signing), ("connected", self.connect)]
    }

    /// Writes the log line and counts the request. A record that is dropped before is written as
    /// abandoned.
    pub fn write(&mut self) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        self.count();
        self.capture.finish(|| self.facts());
        self.trace.set_attributes(&RequestAttributes {
            method: self.method,
            route: self.route(),
            operation: self.operation,
            name: self.name.as_deref(),
            status: self.status,
            code: self.code.as_ref().map(RecordCode::as_str),
            aws_request_id: self.aws_request_id.as_deref(),
        });
        let rejection = self.rejection.as_deref();
        let graphql_errors = self.graphql_errors.as_deref();
        let graphql_type = graphql_type(self.operation);
        let client = self.client_address;
        let is_warning = self.error.is_some() || rejection.is_some();
        let mut id = [0; RequestId::LENGTH];
        let id = self.id.text(&mut id);
        let millis = |duration: Duration| duration.as_micros() as f64 / 1_000.0;
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    target: REQUEST_TARGET,
                    route = self.route(),
                    http.request.method = http_method(self.method),
                    transport = self.transport(),
                    graphql.operation.type = graphql_type,
                    graphql.operation.name = self.name,
                    operation = self.operation.filter(|_| graphql_type.is_none()),
                    token = self.token.as_deref(),
                    http.response.status_code = (self.status > 0).then_some(self.status),
                    error.type = self.code.as_ref().map(RecordCode::as_str),
                    sent = self.code.as_ref().and(self.sent).map(Sent::as_str),
                    request_id = id,
                    aws.request_id = self.aws_request_id,
                    http.request.body.size = self.bytes_in,
                    http.response.body.size = self.bytes_out,
                    events = self.events,
                    ended_by = self.ended_by.map(EndedBy::as_str),
                    signing_ms = millis(self.signing),
                    connect_ms = millis(self.connect),
                    first_byte_ms = millis(self.first_byte),
                    total_ms = millis(self.begun.elapsed()),
                    graphql_errors = graphql_errors.map(|errors| errors.count),
                    graphql_error = graphql_errors.map(|errors| errors.message.as_str()),
                    client.address = client.map(|client| display(client.ip())),
                    client.port = client.map(|client| client.port()),
                    exception.message = self.error,
                    cause = self.cause,
                    confidence = rejection.map(|rejection| rejection.confidence.as_str()),
                    identity = rejection.and_then(|rejection| rejection.identity.as_deref()),
                    denied = rejection.and_then(|rejection| rejection.denied.as_deref()),
                    fix = rejection.map(|rejection| rejection.fix.as_str()),
                    "request"
                )
            };
        }
        if is_warning {
            line!(warn);
        } else {
            line!(info);
        }
    }

    /// Logs that a subscription has started.
    pub fn log_started(&self) {
        let graphql_type = graphql_type(self.operation);
        let client = self.client_address;
        let mut id = [0; RequestId::LENGTH];
        let id = self.id.text(&mut id);
        debug!(
            target: STARTED_TARGET,
            route = self.route(),
            http.request.method = http_method(self.method),
            transport = self.transport(),
            graphql.operation.type = graphql_type,
            graphql.operation.name = self.name,
            operation = self.operation.filter(|_| graphql_type.is_none()),
            token = self.token.as_deref(),
            request_id = id,
            client.address = client.map(|client| display(client.ip())),
            client.port = client.map(|client| client.port()),
            "subscription started"
        );
    }

    /// Discards the record, because another record of the request has been written.
    pub fn discard(&mut self) {
        self.is_written = true;
    }

    fn count(&self) {
        let took = self.begun.elapsed();
        let operation = match self.method {
            "TUNNEL" => "tunnel",
            _ => self.operation.unwrap_or("none"),
        };
        let route = self.route.as_deref();
        if let Some(route) = route {
            self.count_steps(route);
        }
        let is_counted = self.code.is_none()
            && self.client() == HTTP
            && route.is_some_and(|route| route.count_success(self.status, operation, took));
        if !is_counted {
            self.count_outcome(operation, took);
        }
    }

    /// Counts how long the steps of an exchange took.
    fn count_steps(&self, route: &RouteMetrics) {
        let is_answered = self.sent != Some(Sent::Maybe);
        let first_byte = if is_answered {
            self.first_byte
        } else {
            Duration::ZERO
        };
        let times = [
            (&route.signing_duration_seconds, self.signing),
            (&route.upstream_connect_duration_seconds, self.connect),
            (&route.upstream_first_byte_duration_seconds, first_byte),
        ];
        for (histogram, time) in times {
            if !time.is_zero() {
                histogram.observe(time.as_secs_f64());
            }
        }
    }

    fn count_outcome(&self, operation: &'static str, took: Duration) {
        let all = metrics();
        let route = match &self.route {
            Some(route) => Arc::clone(&route.name),
            None => Arc::clone(&NO_ROUTE),
        };
        let labels = RequestLabels {
            route: Arc::clone(&route),
            client: self.client(),
            operation,
            status: Status::of(self.status),
            code: all.code(self.code.as_ref()),
        };
        let is_theirs = matches!(self.code, Some(RecordCode::Upstream(_)));
        all.count_request(labels, is_theirs);
        let is_long_lived = matches!(operation, "subscription" | "subscribe" | "tunnel");
        if !is_long_lived && self.status != SWITCHED {
            let labels = OperationLabels { route, operation };
            let durations = &all.request_duration_seconds;
            let histogram = durations.get_or_create(&labels);
            histogram.observe(took.as_secs_f64());
        }
    }
}

impl EndedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Shutdown => "shutdown",
            Self::Upstream => "upstream",
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_written {
            self.abandon();
            if std::thread::panicking() && self.client() == HTTP && self.status == 0 {
                self.status = 500;
            }
            self.write();
        }
    }
}

/// The name of a method that is unknown or has no name in the log.
pub const UNKNOWN_METHOD: &str = "OTHER";

/// Returns the method as the log and traces name it.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => UNKNOWN_METHOD,
    }
}
