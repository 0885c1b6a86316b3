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
