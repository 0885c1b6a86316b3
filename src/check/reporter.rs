//! Runs steps and reports each when it has ended.

use std::time::{Duration, Instant};

use super::report::{Fault, NotPassed, Outcome, Passed, Report, Step};
use crate::visible::visible;

/// Reports the steps of one route.
pub(super) struct Reporter<'a> {
    route: &'a str,
    report: &'a mut dyn FnMut(Report),
}

impl<'a> Reporter<'a> {
    pub(super) fn new(route: &'a str, report: &'a mut dyn FnMut(Report)) -> Self {
        Self { route, report }
    }

    /// Performs a step and reports it. Returns what later steps need; `None` if it did not pass.
    pub(super) async fn step<T>(
        &mut self,
        step: Step,
        perform: impl Future<Output = Result<Passed<T>, NotPassed>>,
    ) -> Option<T> {
        let started = Instant::now();
        let performed = perform.await;
        let took = started.elapsed();
        let (outcome, detail, fault, value) = match performed {
            Ok(Passed { value, detail }) => (Outcome::Passed, detail, None, Some(value)),
            Err(NotPassed::Failed(fault)) => {
                let fault = shown(fault);
                (Outcome::Failed, fault.detail.clone(), Some(fault), None)
            }
            Err(NotPassed::Skipped(reason)) => {
                (Outcome::Skipped, format!("skipped: {reason}"), None, None)
            }
        };
        (self.report)(Report {
            route: self.route.to_owned(),
            step,
            outcome,
            detail: one_line(&detail),
            fault,
            took,
        });
        value
    }

    /// Reports a step that is skipped because `before` did not pass.
    pub(super) fn skip<T>(&mut self, step: Step, before: Step) -> Option<T> {
        (self.report)(Report {
            route: self.route.to_owned(),
            step,
            outcome: Outcome::Skipped,
            detail: format!("skipped: it needs the step {}", before.name()),
            fault: None,
            took: Duration::ZERO,
        });
        None
    }
}

/// Escapes what a terminal does not show: parts of the texts come from peers.
fn shown(fault: Fault) -> Fault {
    let Fault { cause, detail, fix } = fault;
    let fix: Vec<String> = fix.lines().map(visible).collect();
    Fault {
        cause,
        detail: one_line(&detail),
        fix: fix.join("\n"),
    }
}

/// Joins the lines, and escapes what a terminal does not show.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    visible(&words.join(" "))
}
