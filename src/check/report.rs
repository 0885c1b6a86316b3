//! The steps of a check, their outcomes, and how they are shown.

use std::time::Duration;

use serde_json::json;

/// A step of a check, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Configuration,
    Credentials,
    Identity,
    Dns,
    Tcp,
    Tls,
    Clock,
    Request,
    Realtime,
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stable name of the cause, for scripts.
    pub cause: String,
    /// What is wrong, in one line.
    pub detail: String,
    /// How to fix it; may have several lines, and may be empty.
    pub fix: String,
}

/// Why a step did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotPassed {
    Failed(Fault),
    /// It could not be performed, for this reason.
    Skipped(String),
}

/// A step that passed: what later steps need, and what is shown.
#[derive(Debug)]
pub(super) struct Passed<T> {
    pub(super) value: T,
    pub(super) detail: String,
}

/// The report of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name of the route; empty if the step concerns no route.
    pub route: String,
    pub step: Step,
    pub outcome: Outcome,
    /// One line.
    pub detail: String,
    /// Only of a step that failed.
    pub fault: Option<Fault>,
    pub took: Duration,
}

impl Step {
    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Credentials => "credentials",
            Self::Identity => "identity",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Request => "request",
            Self::Realtime => "realtime",
            Self::Events => "events",
        }
    }
}

impl Fault {
    pub(super) fn new(
        cause: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            cause: cause.into(),
            detail: detail.into(),
            fix: fix.into(),
        }
    }
}

impl From<Fault> for NotPassed {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Report {
    /// Returns the report for people: one line, and for a step that failed the fix, indented below it.
    pub fn text(&self) -> String {
        let mark = match self.outcome {
            Outcome::Passed => '✓',
            Outcome::Failed => '✗',
            Outcome::Skipped => '-',
        };
        let mut text = format!("{mark} {:<13} {}", self.step.name(), self.detail);
        if self.outcome != Outcome::Skipped {
            text.push_str(&format!(" ({} ms)", self.took.as_millis()));
        }
        text.push('\n');
        let fix = self.fault.iter().flat_map(|fault| fault.fix.lines());
        text.extend(fix.map(|line| format!("    {line}\n")));
        text
    }

    /// Returns the report as one line of JSON.
    pub fn json(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        };
        let mut line = json!({
            "route": self.route,
            "step": self.step.name(),
            "outcome": outcome,
            "detail": self.detail,
            "ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(fault) = &self.fault {
            line["cause"] = fault.cause.as_str().into();
            line["fix"] = fault.fix.as_str().into();
        }
        format!("{line}\n")
    }
}
