//! The kind, the status and the outcome of an entry.

use countersign_protocol::error_code::{Code, Status};

use super::entry::Entry;

/// Returns the kind of an entry: that of its operation, or of its protocol.
pub(super) fn kind(entry: &Entry) -> &'static str {
    match (entry.facts.operation, entry.facts.method) {
        (Some(operation), _) => operation,
        (None, "TUNNEL") => "tunnel",
        (None, _) if entry.facts.route.is_some() => "http",
        (None, _) => "none",
    }
}

/// Returns whether a rule of countersign refused the request, so that it was not signed.
pub(super) fn is_refused(entry: &Entry) -> bool {
    let code = entry.facts.code.as_deref().and_then(Code::from_name);
    let is_rule = |code: Code| {
        matches!(code.status(), Status::OneOf(_)) && !code.as_str().starts_with("UPSTREAM_")
    };
    let is_credentials = |code: Code| code.as_str().starts_with("CREDENTIALS");
    entry.facts.sent == Some("no")
        && code.is_some_and(|code| is_rule(code) && !is_credentials(code))
}

/// Returns the HTTP status; 0 if there is none.
pub(super) fn status(entry: &Entry) -> u16 {
    match entry.facts.status {
        0 => entry.response_status.unwrap_or_default(),
        status => status,
    }
}
