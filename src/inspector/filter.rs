//! Which entries a list contains.

use super::classify::{is_refused, kind, status};
use super::entry::Entry;
use super::payload::Payload;

/// The conditions of a list. An empty one holds for every entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Lower-case words that must all occur.
    words: Vec<String>,
    kinds: Vec<String>,
    statuses: Vec<String>,
    route: Option<String>,
}

impl Filter {
    /// Reads the parameters of a query.
    pub(super) fn new(parameters: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let mut found = parameters.iter().filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.as_str())
        };
        let items = |name| -> Vec<String> {
            let items = value(name).unwrap_or_default().split(',');
            let items = items.map(|item| item.trim().to_ascii_lowercase());
            items.filter(|item| !item.is_empty()).collect()
        };
        let words = value("q").unwrap_or_default().split_whitespace();
        Self {
            words: words.map(str::to_lowercase).collect(),
            kinds: items("kind"),
            statuses: items("status"),
            route: value("route")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }

    pub(super) fn matches(&self, entry: &Entry) -> bool {
        let has_kind = self.kinds.is_empty() || self.kinds.iter().any(|each| each == kind(entry));
        let has_status =
            self.statuses.is_empty() || self.statuses.iter().any(|each| has_status(entry, each));
        let route = entry.facts.route.as_deref();
        let has_route = self.route.is_none() || self.route.as_deref() == route;
        has_kind && has_status && has_route && self.words.iter().all(|word| contains(entry, word))
    }
}

/// Returns whether an entry has a status: `ok`, `error`, `refused`, `live`, a number or a class.
fn has_status(entry: &Entry, wanted: &str) -> bool {
    let status = status(entry);
    let is_error = entry.facts.code.is_some() || status >= 400 || entry.graphql_errors.is_some();
    match wanted {
        "ok" => !is_error && !entry.is_live(),
        "error" => is_error,
        "refused" => is_refused(entry),
        "live" => entry.is_live(),
        number => match number.strip_suffix("xx") {
            Some(class) => class.parse() == Ok(status / 100),
            None => number.parse() == Ok(status),
        },
    }
}

/// Returns whether a text of the entry contains a lower-case word.
fn contains(entry: &Entry, word: &str) -> bool {
    let facts = &entry.facts;
    let status = status(entry).to_string();
    let client = facts.client.map(|client| client.to_string());
    let texts = [
        entry.method.as_deref(),
        entry.path.as_deref(),
        Some(entry.protocol),
        Some(kind(entry)),
        facts.route.as_deref(),
        facts.name.as_deref(),
        facts.code.as_deref(),
        facts.request_id.as_deref(),
        facts.error.as_deref(),
        facts.cause.as_deref(),
        facts.token.as_deref(),
        client.as_deref(),
        Some(status.as_str()),
    ];
    let headers = entry.request_headers.iter().chain(&entry.response_headers);
    let mut headers =
        headers.flat_map(|header| [Some(header.name.as_str()), header.value.as_deref()]);
    let payloads = [&entry.query, &entry.request_body, &entry.response_body];
    let frames = entry.frames.stored.iter().map(|frame| &frame.payload);
    let mut payloads = payloads.into_iter().flatten().chain(frames);
    let has_word = |text: &str| text.to_lowercase().contains(word);
    texts.into_iter().flatten().any(has_word)
        || headers.any(|text| text.is_some_and(has_word))
        || payloads.any(|payload| payload_contains(payload, word))
}

fn payload_contains(payload: &Payload, word: &str) -> bool {
    let word = word.as_bytes();
    let stored = payload.stored.as_slice();
    if word.is_ascii() {
        let mut windows = stored.windows(word.len().max(1));
        return windows.any(|window| window.eq_ignore_ascii_case(word));
    }
    String::from_utf8_lossy(stored)
        .to_lowercase()
        .as_bytes()
        .windows(word.len())
        .any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::inspector::mask::Header;

    fn entry() -> Entry {
        let mut entry = Entry::new(1, "http", UNIX_EPOCH);
        entry.method = Some("POST".to_owned());
        entry.path = Some("/graphql".to_owned());
        entry.facts.method = "POST";
        entry.facts.route = Some(Arc::from("graphql"));
        entry.facts.operation = Some("query");
        entry.facts.name = Some("ListRooms".to_owned());
        entry.facts.status = 200;
        entry.total = Some(Duration::from_millis(3));
        let body = |text: &str| Some(Payload::of(text.as_bytes(), 100));
        entry.request_body = body("{\"variables\":{\"city\":\"Zürich\"}}");
        entry.response_body = body("{\"data\":{\"name\":\"Lobby\"}}");
        entry.request_headers = vec![Header {
            name: "x-team".to_owned(),
            value: Some("Blue".to_owned()),
        }];
        entry
    }

    fn matches(entry: &Entry, parameters: &[(&str, &str)]) -> bool {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let parameters: Vec<_> = parameters.iter().map(owned).collect();
        Filter::new(&parameters).matches(entry)
    }

    #[test]
    fn every_word_must_occur_somewhere_in_any_case() {
        let entry = entry();
        for (words, expected) in [
            ("", true),
            ("listrooms", true),
            ("LOBBY", true),
            ("zürich", true),
            ("ZÜRICH", true),
            ("x-team blue", true),
            ("lobby /graphql 200 query", true),
            ("lobby elsewhere", false),
            ("a word that is longer than every text of the entry", false),
        ] {
            assert_eq!(matches(&entry, &[("q", words)]), expected, "{words}");
        }
    }

    #[test]
    fn kinds_statuses_and_routes_are_alternatives_within_and_conditions_between_themselves() {
        let entry = entry();
        for (parameters, expected) in [
            ([("kind", "query"), ("status", "ok")], true),
            ([("kind", "mutation, Query"), ("status", "")], true),
            ([("kind", "mutation"), ("status", "")], false),
            ([("kind", ""), ("status", "4xx,200")], true),
            ([("kind", "query"), ("status", "2xx")], true),
            (
                [("kind", "query"), ("status", "error,live,refused,5xx,404")],
                false,
            ),
            ([("kind", "query"), ("route", "graphql")], true),
            ([("kind", "query"), ("route", "event")], false),
            ([("kind", "query"), ("status", "xx")], false),
        ] {
            assert_eq!(matches(&entry, &parameters), expected, "{parameters:?}");
        }
    }

    #[test]
    fn responses_with_errors_are_errors_whatever_their_status() {
        let mut with_errors = entry();
        with_errors.graphql_errors = Some(1);
        assert!(matches(&with_errors, &[("status", "error")]));
        assert!(!matches(&with_errors, &[("status", "ok")]));
        let mut live = entry();
        live.total = None;
        assert!(matches(&live, &[("status", "live")]));
        assert!(!matches(&live, &[("status", "ok")]));
    }
}
