//! `countersign config`: prints the configuration, with the source of each value.

use std::fmt::Write as _;

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::settings::Settings;
use crate::app;
use crate::config::{self, Config, Problem, Problems, Raw};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// Validate the configuration, read every file that a start would read, and print only mistakes;
    /// exit with 0 or 2
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Examples:
  countersign config https://ID.appsync-api.REGION.amazonaws.com/graphql
  countersign config --check --config /etc/countersign.toml

Each value is followed by its source: a line of the file, a variable, a flag, \
or the default.";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (raw, config) = config::load(&options.settings.sources())?;
    if options.check {
        return check(&raw, &config);
    }
    let mut text = table(&raw);
    text.push('\n');
    for route in &config.routes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {}", route.decision());
    }
    print(&text)
}

/// Reads every file that a start reads.
fn check(raw: &Raw, config: &Config) -> Result<(), Failure> {
    let unusable = app::unusable_files(config).into_iter();
    let problems: Vec<Problem> = unusable
        .map(|file| raw.problem(&file.key, file.message))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Config(Problems(problems)))
    }
}

/// Returns one line for each value, with its source at the end.
fn table(raw: &Raw) -> String {
    let lines: Vec<(String, String)> = raw
        .values()
        .into_iter()
        .map(|(key, value, source)| (format!("{key} = {value}"), source))
        .collect();
    let width = lines
        .iter()
        .map(|(line, _)| line.len())
        .max()
        .unwrap_or(0)
        .min(60);
    lines
        .iter()
        .fold(String::new(), |mut text, (line, source)| {
            let _ = writeln!(text, "{line:width$}  # {source}");
            text
        })
}
