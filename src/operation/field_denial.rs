//! Finds fields that AppSync denied in a response that has results: the response passes unchanged, and the
//! log names the fields.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Searches a response for the error of a denied field while it is streamed. It copies nothing but the end
/// of a piece.
#[derive(Debug, Default)]
pub struct FieldDenials {
    /// The end of the pieces that have passed.
    tail: Vec<u8>,
    is_over: bool,
}

/// The beginning of AppSync's message, which is `Not Authorized to access rooms on type Query`. An unescaped
/// quote begins a string of JSON.
static MESSAGE: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("\"Not Authorized to access "));
/// The type of the same error.
const KIND: &[u8] = b"\"Unauthorized\"";
/// The longest message that is read.
const MAX_MESSAGE: usize = 512;
/// The type stands within this many bytes before or after the message.
const WINDOW: usize = 1024;

impl FieldDenials {
    /// Searches the next piece. Returns the message of the first denied field when it has passed.
    pub fn push(&mut self, piece: &[u8]) -> Option<String> {
        if self.is_over || piece.is_empty() {
            return None;
        }
        let start = &piece[..piece.len().min(WINDOW)];
        let found = if self.tail.is_empty() {
            None
        } else {
            find([&self.tail, start].concat().as_slice())
        };
        let found = found.or_else(|| find(piece));
        self.is_over = found.is_some();
        let kept = piece.len().min(WINDOW);
        let surplus = (self.tail.len() + kept).saturating_sub(WINDOW);
        self.tail.drain(..surplus.min(self.tail.len()));
        self.tail.extend_from_slice(&piece[piece.len() - kept..]);
        found
    }
}

/// Returns the message of the first denied field in a response, or in a part of one.
pub(super) fn find(text: &[u8]) -> Option<String> {
    let mut found = MESSAGE.find_iter(text);
    found.find_map(|at| {
        let rest = &text[at + 1..text.len().min(at + 1 + MAX_MESSAGE)];
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let around = &text[at.saturating_sub(WINDOW)..text.len().min(at + end + WINDOW)];
        let has_kind = around.windows(KIND.len()).any(|window| window == KIND);
        let message = std::str::from_utf8(&rest[..end]).ok()?;
        (has_kind && is_of_field(message)).then(|| message.to_owned())
    })
}

/// Returns whether a message is `Not Authorized to access FIELD on type TYPE`.
fn is_of_field(message: &str) -> bool {
    let words: Vec<&str> = message.trim_end_matches('.').split(' ').collect();
    let is_name = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match words.as_slice() {
        [
            "Not",
            "Authorized",
            "to",
            "access",
            field,
            "on",
            "type",
            owner,
        ] => is_name(field) && is_name(owner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: &str = r#"{"data":{"rooms":null,"a":1},"errors":[{"path":["rooms"],"data":null,"errorType":"Unauthorized","errorInfo":null,"locations":[{"line":1,"column":3,"sourceName":null}],"message":"Not Authorized to access rooms on type Query"}]}"#;
    const MESSAGE: &str = "Not Authorized to access rooms on type Query";

    #[test]
    fn a_denied_field_is_found_however_the_response_is_cut() {
        for size in 1..=DENIED.len() {
            let mut search = FieldDenials::default();
            let pieces = DENIED.as_bytes().chunks(size);
            let found: Vec<String> = pieces.filter_map(|piece| search.push(piece)).collect();
            assert_eq!(found, [MESSAGE], "{size}");
        }
        let long = format!("{}{DENIED}{}", "x".repeat(100_000), "y".repeat(100_000));
        for size in [1_000, 16_384, 99_990, 300_000] {
            let mut search = FieldDenials::default();
            let pieces = long.as_bytes().chunks(size);
            let found: Vec<String> = pieces.filter_map(|piece| search.push(piece)).collect();
            assert_eq!(found, [MESSAGE], "{size}");
            assert!(search.tail.len() <= WINDOW, "{size}");
        }
    }

    #[test]
    fn other_texts_are_not_denials() {
        for text in [
            "",
            r#"{"data":{"text":"Not Authorized to access rooms on type Query"}}"#,
            r#"{"data":{"text":"\"Not Authorized to access rooms on type Query\" \"Unauthorized\""}}"#,
            r#"{"errorType":"Unauthorized","message":"Not Authorized to access it"}"#,
            r#"{"errorType":"Unauthorized","message":"Not Authorized to access \u001b on type Query"}"#,
            r#"{"errorType":"Unauthorized","message":"Not Authorized to access rooms on type "#,
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
