//! Limits the labels whose values upstream chooses: statuses and the codes of errors.
//!
//! Their combinations are limited, too, because an upstream that varies both could otherwise create a
//! series for each pair.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

use super::super::record_code::RecordCode;
use super::labels::RequestLabels;

/// The codes that are labels.
#[derive(Debug, Default)]
pub(super) struct Codes(RwLock<HashSet<Arc<str>>>);

/// The label sets with a code that upstream chose.
#[derive(Debug, Default)]
pub(super) struct Combinations(RwLock<HashSet<RequestLabels>>);

/// The maximum number of codes: ours, which are fewer than a hundred, and those of AWS and of
/// resolvers.
const MAX_CODES: usize = 200;
/// The maximum length of a code that upstream chose, in bytes.
const MAX_CODE: usize = 64;
/// The maximum number of label sets with a code that upstream chose.
const MAX_COMBINATIONS: usize = 300;
/// The code under which all others are counted.
const OTHER: &str = "OTHER";

impl Codes {
    /// Returns the code of an error as a label, which is empty without an error. Each code of ours has a
    /// label of its own, and at most [`MAX_CODES`] of upstream's have one.
    pub(super) fn label(&self, code: Option<&RecordCode>) -> Arc<str> {
        let is_ours = !matches!(code, Some(RecordCode::Upstream(_)));
        let code = code.map_or("", RecordCode::as_str);
        if let Some(known) = self.0.read().get(code) {
            return Arc::clone(known);
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        let is_fit = code.len() <= MAX_CODE && code.chars().all(is_plain);
        let mut codes = self.0.write();
        let is_label = is_ours || (is_fit && codes.len() < MAX_CODES);
        let code: Arc<str> = if is_label { code } else { OTHER }.into();
        codes.insert(Arc::clone(&code));
        code
    }
}

impl Combinations {
    /// Returns `labels`, with the code `OTHER` if they are new and the limit is reached.
    pub(super) fn bound(&self, labels: RequestLabels) -> RequestLabels {
        if self.0.read().contains(&labels) {
            return labels;
        }
        let mut known = self.0.write();
        if known.len() < MAX_COMBINATIONS || known.contains(&labels) {
            known.insert(labels.clone());
            return labels;
        }
        RequestLabels {
            code: Arc::from(OTHER),
            ..labels
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_protocol::error_code::Code;

    use super::super::labels::Status;
    use super::*;

    #[test]
    fn codes_that_upstream_chooses_are_limited() {
        let codes = Codes::default();
        let theirs = |code: &str| codes.label(Some(&RecordCode::Upstream(code.to_owned())));
        let ours = |code: Code| codes.label(Some(&code.into()));
        assert_eq!(&*codes.label(None), "");
        assert_eq!(&*ours(Code::HostNotAllowed), "HOST_NOT_ALLOWED");
        assert_eq!(&*theirs("Lambda:Unhandled"), "Lambda:Unhandled");
        for odd in ["a b", "a\n", "\"", &"x".repeat(MAX_CODE + 1)] {
            assert_eq!(&*theirs(odd), OTHER, "{odd:?}");
        }
        for at in 0..2 * MAX_CODES {
            theirs(&format!("Chosen{at}"));
        }
        assert!(codes.0.read().len() <= MAX_CODES + 1);
        assert_eq!(&*theirs("OneMore"), OTHER);
        assert_eq!(&*ours(Code::HostNotAllowed), "HOST_NOT_ALLOWED");
        assert_eq!(
            &*ours(Code::CredentialsUnavailable),
            "CREDENTIALS_UNAVAILABLE"
        );
    }

    #[test]
    fn combinations_that_upstream_chooses_are_limited() {
        let theirs = Combinations::default();
        let labels = |status: u16, code: &str, operation| RequestLabels {
            route: Arc::from("a"),
            client: "http",
            operation,
            status: Status::of(status),
            code: Arc::from(code),
        };
        let first = labels(400, "First", "query");
        assert_eq!(theirs.bound(first.clone()), first);
        let mut series = HashSet::new();
        for status in 100..=999 {
            for code in 0..200 {
                series.insert(theirs.bound(labels(status, &format!("Code{code}"), "query")));
            }
        }
        assert!(series.len() < MAX_COMBINATIONS + 80, "{}", series.len());
        assert_eq!(
            theirs.bound(first.clone()),
            first,
            "a known combination is replaced"
        );
        let late = theirs.bound(labels(400, "Late", "mutation"));
        assert_eq!(late, labels(400, OTHER, "mutation"));
    }
}
