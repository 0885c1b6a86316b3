//! Bounds labels whose values upstream chooses: statuses and the codes of errors.
//!
//! Each value is bounded, and so are their combinations: an upstream that varies both could make
//! a series for each pair otherwise.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::StatusCode;
use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use super::{OTHER, RequestLabels};

/// An HTTP status; 0, which an operation of a socket has, is written as an empty label. A status
/// without a name in the IANA registry is written as its class, such as `4xx`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Status(u16);

/// The label sets with a code that upstream chose.
#[derive(Debug, Default)]
pub(super) struct Theirs(RwLock<HashSet<RequestLabels>>);

/// More label sets than this with codes of upstream's are counted under the code `OTHER`.
const MAX_THEIRS: usize = 300;

impl Status {
    /// Returns the label of `status`.
    pub fn of(status: u16) -> Self {
        let known =
            StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some());
        Self(if known { status } else { status / 100 })
    }
}

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            class @ 1..=9 => write!(encoder, "{class}xx"),
            status => write!(encoder, "{status}"),
        }
    }
}

impl Theirs {
    /// Returns `labels`, or the same with the code `OTHER` when there are too many already.
    pub(super) fn bound(&self, labels: RequestLabels) -> RequestLabels {
        if self.0.read().contains(&labels) {
            return labels;
        }
        let mut known = self.0.write();
        if known.len() < MAX_THEIRS || known.contains(&labels) {
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
    use super::*;

    #[test]
    fn statuses_without_a_name_are_their_class() {
        for (status, expected) in [
            (0, ""),
            (100, "100"),
            (101, "101"),
            (200, "200"),
            (418, "418"),
            (499, "4xx"),
            (511, "511"),
            (520, "5xx"),
            (599, "5xx"),
            (600, "6xx"),
            (999, "9xx"),
        ] {
            let shown = match Status::of(status).0 {
                0 => String::new(),
                class @ 1..=9 => format!("{class}xx"),
                status => status.to_string(),
            };
            assert_eq!(shown, expected, "{status}");
        }
        let all: HashSet<Status> = (0..=999).map(Status::of).collect();
        assert!(all.len() < 80, "{}", all.len());
    }

    #[test]
    fn combinations_of_what_upstream_chooses_are_bounded() {
        let theirs = Theirs::default();
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
        assert!(series.len() < MAX_THEIRS + 80, "{}", series.len());
        assert_eq!(theirs.bound(first.clone()), first, "what is known stays");
        let late = theirs.bound(labels(400, "Late", "mutation"));
        assert_eq!(late, labels(400, OTHER, "mutation"));
    }
}
