//! The labels of metrics.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use super::super::tasks::Task;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RouteLabel {
    pub route: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RequestLabels {
    pub route: Arc<str>,
    pub client: &'static str,
    pub operation: &'static str,
    pub status: Status,
    /// Empty if the request succeeded.
    pub code: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OperationLabels {
    pub route: Arc<str>,
    pub operation: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RuleLabel {
    pub rule: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OutcomeLabel {
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct DialectLabel {
    pub dialect: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RouteOutcomeLabels {
    pub route: Arc<str>,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReuseLabels {
    pub route: Arc<str>,
    pub connection: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReplayLabels {
    pub route: Arc<str>,
    pub reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct HandshakeLabels {
    pub route: Arc<str>,
    pub kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct IdentityLabel {
    pub identity: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct IdentityOutcomeLabels {
    pub identity: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct BuildLabels {
    pub version: &'static str,
    pub revision: &'static str,
    pub rustc: &'static str,
    pub target: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct TaskLabel {
    pub task: &'static str,
}

/// An HTTP status. The status of an operation on a socket is 0, and its label is empty. The label of a
/// status without a name in the IANA registry is its class, such as `4xx`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Status(u16);

impl From<Task> for TaskLabel {
    fn from(task: Task) -> Self {
        Self {
            task: task.as_str(),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn unregistered_statuses_are_labelled_by_their_class() {
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
}
