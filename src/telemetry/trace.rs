//! Spans of requests. They are created only if they are exported (`[traces]`).
//!
//! A request, or an operation on a socket, has a span of kind server, which continues the trace of its
//! `traceparent` (W3C Trace Context). Its exchange with upstream has a span of kind client, whose id
//! is sent as `traceparent`. Spans contain less than the log line: only names and codes that are ours or
//! bounded, and no header, query, variable, path or body.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, SpanRef, Status, TraceContextExt as _, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header that contains the id of a span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that contains vendor-specific trace data.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The target of all spans. No log line has it.
pub(super) const TARGET: &str = "countersign::trace";

/// The maximum length of a code or id from AWS in a span, in bytes.
const MAX_LENGTH: usize = 64;

/// The span of a request. It ends when this is dropped.
#[derive(Debug)]
pub struct Trace {
    span: Span,
    /// Whether the client sent a valid `traceparent`.
    is_continued: bool,
}

/// The attributes of a request's span that are known when the request ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestAttributes<'a> {
    /// An HTTP method, or the method of a record that is not an HTTP request, such as `WS`.
    pub(super) method: &'static str,
    pub(super) route: Option<&'a str>,
    pub(super) operation: Option<&'static str>,
    pub(super) name: Option<&'a str>,
    pub(super) status: u16,
    pub(super) code: Option<&'a str>,
    pub(super) aws_request_id: Option<&'a str>,
}

/// The span of one exchange with upstream. It ends when this is dropped.
#[derive(Debug)]
pub struct UpstreamSpan {
    span: Span,
    is_continued: bool,
    /// Unset without a span.
    begun: Option<SystemTime>,
}

impl Trace {
    /// Returns a trace without a span.
    pub fn none() -> Self {
        Self {
            span: Span::none(),
            is_continued: false,
        }
    }

    /// Begins a span that continues the trace of `headers`, or starts a trace.
    pub fn begin(headers: &HeaderMap) -> Self {
        let span = info_span!(target: TARGET, parent: None, "request", otel.kind = "server");
        if span.is_disabled() {
            return Self::none();
        }
        let remote = remote(headers);
        let is_continued = remote.is_valid();
        if is_continued {
            // A parent can be set only before the span is used.
            let _ = span.set_parent(Context::new().with_remote_span_context(remote));
        }
        Self { span, is_continued }
    }

    #[cfg(test)]
    pub(super) fn is_none(&self) -> bool {
        self.span.is_disabled()
    }

    /// Sets the configured path of the request's route.
    pub fn set_route(&self, path: &str) {
        if !self.span.is_disabled() {
            let path = if path.is_empty() { "/" } else { path };
            self.span.set_attribute("http.route", path.to_owned());
        }
    }

    /// Begins the span of an exchange with upstream by a request with this `method`.
    pub fn upstream_span(&self, method: &'static str) -> UpstreamSpan {
        let is_continued = self.is_continued;
        if self.span.is_disabled() {
            return UpstreamSpan {
                span: Span::none(),
                is_continued,
                begun: None,
            };
        }
        let span = info_span!(
            target: TARGET,
            parent: self.span.id(),
            "exchange",
            otel.name = method,
            otel.kind = "client",
            http.request.method = http_method(method),
        );
        UpstreamSpan {
            span,
            is_continued,
            begun: Some(opentelemetry::time::now()),
        }
    }

    /// Puts the id of this span into `headers`, so that spans that continue from them are its children.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        pass_on(&self.span, self.is_continued, headers);
    }

    /// Sets the attributes of the span.
    pub(super) fn set_attributes(&self, request: &RequestAttributes<'_>) {
        if self.span.is_disabled() {
            return;
        }
        let context = self.span.context();
        let span = context.span();
        if !span.is_recording() {
            return;
        }
        let RequestAttributes { method, route, .. } = *request;
        let name = [Some(method), route];
        span.update_name(name.into_iter().flatten().collect::<Vec<_>>().join(" "));
        set(&span, "countersign.route", route);
        set(&span, "error.type", request.code.map(shown));
        let aws_request_id = request.aws_request_id.map(shown);
        set(&span, "aws.request_id", aws_request_id);
        let operation = request.operation;
        if let Some(kind) = graphql_type(operation) {
            set(&span, "graphql.operation.type", Some(kind));
            set(&span, "graphql.operation.name", request.name);
        } else {
            set(&span, "countersign.operation", operation);
        }
        let has_failed = match http_method(method) {
            Some(method) => {
                set(&span, "http.request.method", Some(method));
                set_status(&span, request.status);
                request.status >= 500
            }
            // An operation on a socket.
            None => request.code.is_some(),
        };
        if has_failed {
            span.set_status(Status::error(""));
        }
    }
}

impl UpstreamSpan {
    /// Puts the id of this span into the headers for upstream, so that upstream continues the trace.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        pass_on(&self.span, self.is_continued, headers);
    }

    /// Ends the span with the status of the response or the code of an error. `steps` has the duration of
    /// each step before the response, in order.
    pub fn end(self, steps: [(&'static str, Duration); 2], outcome: Result<u16, &str>) {
        let Some(mut at) = self.begun else {
            return;
        };
        let context = self.span.context();
        let span = context.span();
        for (step, took) in steps {
            if !took.is_zero() {
                at += took;
                span.add_event_with_timestamp(step, at, Vec::new());
            }
        }
        let has_failed = match outcome {
            Ok(status) => {
                set_status(&span, status);
                status >= 400
            }
            Err(code) => {
                set(&span, "error.type", Some(shown(code)));
                true
            }
        };
        if has_failed {
            span.set_status(Status::error(""));
        }
    }
}

/// Returns the client's span. Its `tracestate` is removed, because spans contain no headers.
fn remote(headers: &HeaderMap) -> SpanContext {
    let found = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let found = found.span().span_context().clone();
    SpanContext::new(
        found.trace_id(),
        found.span_id(),
        found.trace_flags(),
        true,
        TraceState::NONE,
    )
}

fn pass_on(span: &Span, is_continued: bool, headers: &mut HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let span = context.span();
    if let Some(value) = traceparent(span.span_context()) {
        headers.insert(TRACEPARENT, value);
    }
    // A `tracestate` is only valid beside a valid `traceparent`.
    if !is_continued {
        headers.remove(TRACESTATE);
    }
}

/// Returns the value of `traceparent` (W3C Trace Context, section 3.2.2), or `None` if the id is invalid.
fn traceparent(context: &SpanContext) -> Option<HeaderValue> {
    let (trace, span) = (context.trace_id(), context.span_id());
    let flags = u8::from(context.is_sampled());
    let text = format!("00-{trace}-{span}-{flags:02x}");
    HeaderValue::from_str(&text)
        .ok()
        .filter(|_| context.is_valid())
}

fn set(span: &SpanRef<'_>, key: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        span.set_attribute(KeyValue::new(key, value.to_owned()));
    }
}

fn set_status(span: &SpanRef<'_>, status: u16) {
    if status > 0 {
        let status = i64::from(status);
        span.set_attribute(KeyValue::new("http.response.status_code", status));
    }
}

/// Returns the code if it is short and plain, or else `_OTHER`, the semantic conventions' value for
/// everything else.
fn shown(text: &str) -> &str {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    if (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_plain) {
        text
    } else {
        "_OTHER"
    }
}

/// Returns the operation if it is one of GraphQL, and not of AppSync Events or a batch.
pub(super) fn graphql_type(operation: Option<&'static str>) -> Option<&'static str> {
    operation.filter(|operation| matches!(*operation, "query" | "mutation" | "subscription"))
}

/// Returns the semantic conventions' name of a method, or `None` if it is not an HTTP method.
pub(super) fn http_method(name: &'static str) -> Option<&'static str> {
    match name {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => Some(name),
        "OTHER" => Some("_OTHER"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_export_headers_stay_unchanged() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("anything"));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let before = headers.clone();
        let trace = Trace::begin(&headers);
        assert!(trace.is_none());
        let span = trace.upstream_span("POST");
        assert!(span.span.is_disabled());
        trace.pass_on(&mut headers);
        span.pass_on(&mut headers);
        assert_eq!(headers, before);
    }

    #[test]
    fn long_or_odd_codes_are_replaced() {
        assert_eq!(shown("AccessDeniedException"), "AccessDeniedException");
        assert_eq!(shown("x".repeat(64).as_str()), "x".repeat(64));
        for text in ["", "a b", "a\u{e9}", "a/b", &"x".repeat(65)] {
            assert_eq!(shown(text), "_OTHER", "{text}");
        }
    }
}
