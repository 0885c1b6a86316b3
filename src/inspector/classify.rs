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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn entry(route: Option<&str>, method: &'static str, operation: Option<&'static str>) -> Entry {
        let mut entry = Entry::new(1, "http", UNIX_EPOCH);
        entry.facts.route = route.map(Arc::from);
        entry.facts.method = method;
        entry.facts.operation = operation;
        entry
    }

    #[test]
    fn an_entry_has_the_kind_of_its_operation_or_of_its_protocol() {
        for (route, method, operation, expected) in [
            (Some("graphql"), "POST", Some("mutation"), "mutation"),
            (Some("event"), "WS", Some("subscribe"), "subscribe"),
            (Some("rest"), "TUNNEL", None, "tunnel"),
            (Some("rest"), "GET", None, "http"),
            (None, "GET", None, "none"),
        ] {
            assert_eq!(kind(&entry(route, method, operation)), expected);
        }
    }

    #[test]
    fn only_what_a_rule_refused_before_anything_was_sent_is_refused() {
        for (code, sent, expected) in [
            ("ORIGIN_NOT_ALLOWED", "no", true),
            ("HOST_NOT_ALLOWED", "no", true),
            ("NO_ROUTE", "no", true),
            ("CREDENTIALS_UNAVAILABLE", "no", false),
            ("UPSTREAM_CONNECT_TIMEOUT", "no", false),
            ("ORIGIN_NOT_ALLOWED", "maybe", false),
            ("UnauthorizedException", "no", false),
        ] {
            let mut entry = entry(Some("graphql"), "POST", None);
            entry.facts.code = Some(code.to_owned());
            entry.facts.sent = Some(sent);
            assert_eq!(is_refused(&entry), expected, "{code} {sent}");
        }
    }

    #[test]
    fn the_status_is_that_of_the_record_or_of_the_response_so_far() {
        let mut entry = entry(None, "GET", None);
        assert_eq!(status(&entry), 0);
        entry.response_status = Some(200);
        assert_eq!(status(&entry), 200);
        entry.facts.status = 404;
        assert_eq!(status(&entry), 404);
    }
}
