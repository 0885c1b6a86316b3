//! The fuzz targets: every decoder that a peer can feed, and both machines.
//!
//! A target takes any bytes and panics where a rule is broken. `tests/fuzz/run` feeds it with the
//! inputs of a fuzzer, and `tests/it/fuzz.rs` with the committed corpus. The inputs of machines are
//! scripts in the syntax of the transcripts beside their sources; lines with outputs are skipped.

pub mod config;
pub mod diagnose;
pub mod dialect;
pub mod graphql;
pub mod realtime;
pub mod request;
pub mod sign;
pub mod stream;

/// Panics where a rule is broken.
pub type Target = fn(&[u8]);

/// Each target by the name of its binary and its corpus.
pub const TARGETS: [(&str, Target); 23] = [
    ("accept", request::accept),
    ("channel", request::channel),
    ("config_file", config::config_file),
    ("config_values", config::config_values),
    ("document", graphql::document),
    ("endpoint", config::endpoint),
    ("events_ws", dialect::events_ws),
    ("explain", diagnose::explain),
    ("graphql_ws", dialect::graphql_ws),
    ("guard", request::guard),
    ("headers", request::headers),
    ("policy", graphql::policy),
    ("realtime_connection", realtime::realtime_connection),
    ("realtime_frame", realtime::realtime_frame),
    ("redact", sign::redact),
    ("refusal", request::refusal),
    ("request_body", graphql::request_body),
    ("request_errors", request::request_errors),
    ("request_query", graphql::request_query),
    ("sign_target", sign::sign_target),
    ("sse_single", stream::sse_single),
    ("streams", stream::streams),
    ("transport_ws", dialect::transport_ws),
];

/// Returns the data as text, which most protocols require.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Returns the first line and the rest.
fn head(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Returns whether `text` is one JSON value.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
