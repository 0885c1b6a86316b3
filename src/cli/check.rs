//! `countersign check`: checks the way to an API step by step.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::process::signals::Signals;
use super::runtime::runtime;
use super::settings::{Settings, UpstreamSettings};
use crate::app;
use crate::check::{self, Fault, Outcome, Query, Report, Step, Target};
use crate::config::{self, Config, Problem, Problems};
use crate::lifecycle::BackgroundTasks;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// GraphQL query to send instead of { __typename }; mutations are not sent
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// Write one line of JSON for each step
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: UpstreamSettings,
}

const AFTER_HELP: &str = "\
Examples:
  countersign check https://ID.appsync-api.eu-central-1.amazonaws.com/graphql
  countersign check --profile dev --query '{ rooms { id } }' URL
  countersign check https://ID.execute-api.us-east-1.amazonaws.com/prod/orders
  countersign check --config /etc/countersign.toml --json

The steps are: configuration, credentials, identity (asks STS), dns, tcp, tls, clock, request (signed), and \
realtime (or events). Each is shown when it has ended, and a step that failed with the fix below it. \
A check sends no mutation and no publish: only queries, GET requests, and the handshake of a WebSocket, which runs \
the $connect route of a WebSocket API. The other options of countersign are accepted and not used.

Exit codes: 0 if no step failed, 1 if one did or a signal ended the check, 2 for invalid usage or configuration, \
3 if the check could not start.

As JSON: {\"route\", \"step\", \"outcome\": \"passed\", \"failed\" or \"skipped\", \"detail\", \"ms\"}, and for a step \
that failed \"cause\" and \"fix\".";

/// How long the tasks may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes the reports, and counts the steps that failed.
struct Printer {
    is_json: bool,
    steps: usize,
    failed: usize,
    /// The fixes that are printed, and the steps that they are printed for.
    fixes: Vec<(String, Step)>,
    written: Result<(), Failure>,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    options.settings.0.check_url()?;
    let query = options.query.as_deref().map(Query::parse);
    let query = query.transpose()?.unwrap_or_default();
    let mut printer = Printer {
        is_json: options.json,
        steps: 0,
        failed: 0,
        fixes: Vec::new(),
        written: Ok(()),
    };
    let Some(config) = configuration(&options.settings.0, &mut printer) else {
        return printer.written.and(Err(Failure::CheckConfig));
    };
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        let background = BackgroundTasks::default();
        let targets = app::check_targets(&config, &background)?;
        let is_complete = tokio::select! {
            biased;
            () = signals.next() => false,
            () = check_all(&targets, &query, &mut printer) => true,
        };
        background.stop.cancel();
        background.tracker.close();
        let _ = tokio::time::timeout(STOP_TIMEOUT, background.tracker.wait()).await;
        printer.written?;
        match (is_complete, printer.failed) {
            (false, _) => Err(Failure::Interrupted),
            (true, 0) => Ok(()),
            (true, failed) => Err(Failure::Check {
                failed,
                steps: printer.steps,
            }),
        }
    })
}

async fn check_all(targets: &[Target], query: &Query, printer: &mut Printer) {
    for target in targets {
        printer.print(Report {
            route: target.route.clone(),
            step: Step::Configuration,
            outcome: Outcome::Passed,
            detail: target.decision.clone(),
            fault: None,
            took: Duration::ZERO,
        });
        check::run(target, query, &mut |report| printer.print(report)).await;
    }
}

/// Loads the configuration and every file that a start reads. Reports its mistakes, and returns `None` if
/// there are any.
fn configuration(settings: &Settings, printer: &mut Printer) -> Option<Config> {
    let problems = match config::load(&settings.sources()) {
        Ok((raw, config)) => {
            let unusable = app::unusable_files(&config).into_iter();
            let problems: Vec<Problem> = unusable
                .map(|file| raw.problem(&file.key, file.message))
                .collect();
            if problems.is_empty() {
                return Some(config);
            }
            problems
        }
        Err(Problems(problems)) => problems,
    };
    for problem in problems {
        let text = problem.to_string();
        // Some have commands to paste below their first line.
        let (detail, fix) = text.split_once('\n').unwrap_or((&text, ""));
        printer.print(Report {
            route: String::new(),
            step: Step::Configuration,
            outcome: Outcome::Failed,
            detail: detail.to_owned(),
            fault: Some(Fault {
                cause: "configuration".to_owned(),
                detail: detail.to_owned(),
                fix: fix.to_owned(),
            }),
            took: Duration::ZERO,
        });
    }
    None
}

impl Printer {
    fn print(&mut self, report: Report) {
        self.steps += 1;
        if report.outcome == Outcome::Failed {
            self.failed += 1;
        }
        let text = if self.is_json {
            report.json()
        } else {
            once(report, &mut self.fixes).text()
        };
        if self.written.is_ok() {
            self.written = print(&text);
        }
    }
}

/// Replaces a fix that is printed already by a reference to its step.
fn once(mut report: Report, printed: &mut Vec<(String, Step)>) -> Report {
    let Some(fault) = report.fault.as_mut().filter(|fault| !fault.fix.is_empty()) else {
        return report;
    };
    match printed.iter().find(|(fix, _)| *fix == fault.fix) {
        Some((_, step)) => {
            fault.fix = format!("The fix is that of the step {}, above.", step.name())
        }
        None => printed.push((fault.fix.clone(), report.step)),
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_printed_once() {
        let report = |step, fix: &str| Report {
            route: String::new(),
            step,
            outcome: Outcome::Failed,
            detail: "it failed".to_owned(),
            fault: Some(Fault {
                cause: "cause".to_owned(),
                detail: "it failed".to_owned(),
                fix: fix.to_owned(),
            }),
            took: Duration::ZERO,
        };
        let mut printed = Vec::new();
        let mut check = |step, fix, expected: &str| {
            let text = once(report(step, fix), &mut printed).text();
            let (_, below) = text.split_once('\n').unwrap_or_default();
            assert_eq!(below, expected);
        };
        check(Step::Request, "Do\nthis", "    Do\n    this\n");
        let again = "    The fix is that of the step request, above.\n";
        check(Step::Realtime, "Do\nthis", again);
        check(Step::Realtime, "Do that", "    Do that\n");
        check(Step::Realtime, "", "");
        check(Step::Realtime, "", "");
    }
}
