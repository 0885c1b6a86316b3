//! Finds the errors in a GraphQL response, for the log.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

/// The errors of a GraphQL response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphqlErrors {
    pub count: usize,
    /// The start of the first message.
    pub message: String,
}

/// A response that is searched for errors once it has been read.
#[derive(Debug, Default)]
pub struct ErrorSearch {
    text: Vec<u8>,
    is_too_long: bool,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    errors: Option<Vec<Message<'a>>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

/// The longest response that is searched, in bytes.
const MAX_RESPONSE: usize = 256 << 10;
/// The longest message that is logged, in characters.
const MAX_MESSAGE: usize = 200;

static IS_LOGGED: AtomicBool = AtomicBool::new(false);

/// Sets whether errors of GraphQL responses are logged.
pub(super) fn log_errors(is_logged: bool) {
    IS_LOGGED.store(is_logged, Ordering::Relaxed);
}

impl GraphqlErrors {
    /// Returns the errors in a response; `None` if it has none.
    pub fn find(response: &[u8]) -> Option<Self> {
        let response: Response<'_> = serde_json::from_slice(response).ok()?;
        let errors = response.errors?;
        let first = errors.first()?;
        Some(Self {
            count: errors.len(),
            message: first.message.chars().take(MAX_MESSAGE).collect(),
        })
    }
}

impl ErrorSearch {
    /// Returns a search, if errors are logged.
    pub fn start() -> Option<Box<Self>> {
        IS_LOGGED.load(Ordering::Relaxed).then(Box::default)
    }

    /// Adds the next piece of the response.
    pub fn push(&mut self, piece: &[u8]) {
        self.is_too_long |= self.text.len() + piece.len() > MAX_RESPONSE;
        if self.is_too_long {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(piece);
        }
    }

    /// Returns the errors that were found.
    pub fn finish(&self) -> Option<GraphqlErrors> {
        GraphqlErrors::find(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_and_the_first_message_is_cut() {
        let long = "x".repeat(300);
        for (response, expected) in [
            (r#"{"data":{"a":1}}"#.to_owned(), None),
            (r#"{"data":null,"errors":[]}"#.to_owned(), None),
            (r#"{"data":null,"errors":null}"#.to_owned(), None),
            ("{".to_owned(), None),
            (
                r#"{"data":{"errors":[{"message":"no"}]},"errors":[{"message":"a \"b\"","path":["x"]},{}]}"#
                    .to_owned(),
                Some((2, "a \"b\"".to_owned())),
            ),
            (
                format!(r#"{{"errors":[{{"message":"{long}"}}]}}"#),
                Some((1, "x".repeat(200))),
            ),
        ] {
            let mut search = ErrorSearch::default();
            for piece in response.as_bytes().chunks(7) {
                search.push(piece);
            }
            let found = search.finish().map(|errors| (errors.count, errors.message));
            assert_eq!(found, expected, "{response}");
        }
    }

    #[test]
    fn a_long_response_is_not_kept() {
        let mut search = ErrorSearch::default();
        for _ in 0..3 {
            search.push(&[b' '; MAX_RESPONSE / 2]);
        }
        search.push(br#"{"errors":[{"message":"a"}]}"#);
        assert_eq!((search.text.capacity(), search.finish()), (0, None));
    }
}
