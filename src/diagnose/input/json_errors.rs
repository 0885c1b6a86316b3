//! Finds the error of AWS in a text with JSON: a log, an object of a client's library, or the error alone.

use serde_json::{Map, Value};

use crate::diagnose::evidence::Answer;
use crate::diagnose::known::is_known;

/// The error that the text is about, and its status.
#[derive(Default)]
pub(super) struct Found {
    pub(super) body: Option<String>,
    pub(super) status: Option<u16>,
}

/// How deep an error may be in values, and in strings that contain JSON.
const MAX_DEPTH: usize = 24;
/// The least cost of an attempt to parse JSON, in bytes.
const MIN_COST: usize = 16;
/// The bytes that are parsed of any text, in attempts that may fail.
const MIN_BUDGET: usize = 1024 * 1024;
/// How often each byte of a text is parsed: alone, and as a part of others.
const PASSES: usize = 4;
/// The types of realtime messages that are errors.
const FRAMES: [&str; 5] = [
    "connection_error",
    "error",
    "subscribe_error",
    "publish_error",
    "broadcast_error",
];
/// The members of an error with its message and its type.
const MEMBERS: [&str; 10] = [
    "__type",
    "code",
    "Code",
    "errorMessage",
    "errorType",
    "Error",
    "errors",
    "message",
    "Message",
    "payload",
];
/// Parts of AWS's texts, in lower case.
const PHRASES: [&str; 12] = [
    "signature",
    "credential",
    "authoriz",
    "security token",
    "authentication token",
    "forbidden",
    "exception",
    "signedheader",
    "permission denied",
    "jwt",
    "x-amz-",
    "too large",
];

impl Found {
    /// Searches a text. The last error of a log is the one that the user asks about, and an error that a
    /// diagnosis knows comes before others.
    pub(super) fn new(text: &str) -> Self {
        let mut search = Search {
            best: None,
            status: None,
            budget: PASSES * text.len() + MIN_BUDGET,
        };
        let mut chosen: Option<(Candidate, Option<u16>)> = None;
        let mut status = None;
        let mut at = 0;
        while let Some((value, start, end)) = search.next(text, &mut at) {
            search.best = None;
            search.status = None;
            search.visit(&value, text.get(start..end), MAX_DEPTH);
            status = search.status.or(status);
            if let Some(found) = search.best.take()
                && chosen
                    .as_ref()
                    .is_none_or(|(it, _)| found.is_known >= it.is_known)
            {
                chosen = Some((found, search.status));
            }
        }
        match chosen {
            Some((found, own)) => Self {
                body: Some(found.body),
                status: own,
            },
            None => Self { body: None, status },
        }
    }
}

/// An error, and whether a diagnosis knows it.
struct Candidate {
    body: String,
    is_known: bool,
}

struct Search {
    best: Option<Candidate>,
    status: Option<u16>,
    /// The bytes that may still be parsed.
    budget: usize,
}

impl Search {
    /// Returns the next object of JSON in a text from `at`, and its range.
    fn next(&mut self, text: &str, at: &mut usize) -> Option<(Value, usize, usize)> {
        while self.budget > 0 {
            let start = *at + text.get(*at..)?.find('{')?;
            let json = text.get(start..)?;
            let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
            let (value, length) = match values.next()? {
                Ok(value) => (Some(value), values.byte_offset()),
                Err(error) => (None, consumed(json, &error)),
            };
            self.pay(length);
            if let Some(value) = value {
                *at = start + length;
                return Some((value, start, start + length));
            }
            *at = start + 1;
        }
        None
    }

    fn pay(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes.max(MIN_COST));
    }

    fn is_decided(&self) -> bool {
        self.budget == 0 || self.best.as_ref().is_some_and(|best| best.is_known)
    }

    /// Looks for the innermost error in a value. `raw` is its text, if that is known.
    fn visit(&mut self, value: &Value, raw: Option<&str>, depth: usize) {
        let Some(inner) = depth.checked_sub(1).filter(|_| !self.is_decided()) else {
            return;
        };
        match value {
            Value::Object(members) => {
                self.note_status(members);
                if !is_envelope(value) {
                    for (name, value) in members {
                        self.visit(value, None, inner);
                        if let Value::String(text) = value
                            && !MEMBERS.contains(&name.as_str())
                        {
                            self.consider_text(text);
                        }
                    }
                }
                if !self.is_decided() && is_error(members) {
                    let text = || value.to_string();
                    self.consider(raw.map_or_else(text, str::to_owned), true);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(item, None, inner)),
            Value::String(text) if text.contains('{') => {
                let mut at = 0;
                while let Some((value, start, end)) = self.next(text, &mut at) {
                    self.visit(&value, text.get(start..end), inner);
                    if self.is_decided() {
                        return;
                    }
                }
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Takes the text of a log, such as `"err": "api error ExpiredToken: …"`, if it is an error of AWS.
    fn consider_text(&mut self, text: &str) {
        if !self.is_decided() && text.contains(' ') {
            self.consider(text.to_owned(), false);
        }
    }

    /// Takes the first error, or the first that a diagnosis knows.
    fn consider(&mut self, body: String, even_unknown: bool) {
        self.pay(body.len());
        let answer = Answer {
            body,
            ..Answer::default()
        };
        let is_known = is_known(&answer);
        if is_known || even_unknown && self.best.is_none() {
            let body = answer.body;
            self.best = Some(Candidate { body, is_known });
        }
    }

    fn note_status(&mut self, members: &Map<String, Value>) {
        for name in ["status", "statusCode", "status_code", "HTTPStatusCode"] {
            let status = members.get(name).and_then(Value::as_u64);
            let status = status.and_then(|status| u16::try_from(status).ok());
            let status = status.filter(|status| (400..600).contains(status));
            self.status = self.status.or(status);
        }
    }
}

/// Returns how much of a text was parsed before an error.
fn consumed(json: &str, error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return json.len();
    }
    let lines = json
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column()
}

/// Returns whether an object is AppSync's envelope of errors, or a realtime message.
fn is_envelope(value: &Value) -> bool {
    let kind = value.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| FRAMES.contains(&kind)) && value.get("payload").is_some()
        || value
            .get("errors")
            .is_some_and(|errors| errors.is_array() || errors.is_object())
}

/// Returns whether an object is an error: whether its message or its type has words that AWS uses.
fn is_error(members: &Map<String, Value>) -> bool {
    let texts = MEMBERS.iter().filter_map(|name| members.get(*name));
    texts
        .map(|value| value.to_string().to_ascii_lowercase())
        .any(|text| PHRASES.iter().any(|phrase| text.contains(phrase)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// An attempt that fails at the end of the text costs the whole text.
    #[test]
    fn the_bytes_that_are_parsed_are_bounded() {
        let text = format!("{}\"{}", "{\"a\":".repeat(60), "x".repeat(100_000));
        for (budget, attempts) in [(MIN_COST, 1), (text.len(), 1), (text.len() + 1, 2)] {
            let mut search = Search {
                best: None,
                status: None,
                budget,
            };
            let mut at = 0;
            assert!(search.next(&text, &mut at).is_none());
            assert_eq!(at, 1 + (attempts - 1) * "{\"a\":".len(), "{budget}");
        }
    }

    #[test]
    fn the_last_known_error_of_a_log_is_found() {
        let denied = "User: arn:aws:sts::1:x is not authorized to perform: appsync:GraphQL";
        let lines = [
            r#"{"level":"info","message":"Authorizing the request"}"#,
            r#"{"level":"error","message":"The security token included in the request is expired"}"#,
            &format!(r#"{{"level":"error","status":403,"error":{{"message":"{denied}"}}}}"#),
            r#"{"level":"info","message":"An exception was handled"}"#,
        ];
        let found = Found::new(&lines.join("\n"));
        let body = found.body.unwrap();
        assert!(
            body.contains(denied) && !body.contains("Authorizing"),
            "{body}"
        );
        assert_eq!(found.status, Some(403));
        let list = Found::new(&format!("[{}]", lines.join(",")));
        assert_eq!(list.body.as_deref(), Some(body.as_str()));
        let list = Found::new(&format!(r#"{{"lines":[{}]}}"#, lines.join(",")));
        assert!(list.body.unwrap().contains("is expired"));
        // The text of an SDK, in a member of any name.
        let text = "operation error STS: GetCallerIdentity, api error ExpiredToken: The security token \
                    included in the request is expired";
        let found = Found::new(&format!(r#"{{"level":"error","err":"{text}","n":1}}"#));
        assert_eq!(found.body.as_deref(), Some(text));
        // Words of AWS elsewhere make no error.
        let found = Found::new(r#"{"message":"started","service":"x-amz-proxy"}"#);
        assert_eq!(found.body, None);
    }
}
