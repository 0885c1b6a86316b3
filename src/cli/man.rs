//! `countersign man`: prints manual pages, which are made from the texts of `--help`.

use clap::{Args, Command};
use clap_mangen::Man;

use super::failure::Failure;
use super::output::print;
use super::unknown_command;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// Command whose page to print, such as demo
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  countersign man | man -l -
  countersign man demo > countersign-demo.1";

/// Prints a page of `cli`.
pub(super) fn run(options: &Options, mut cli: Command) -> Result<(), Failure> {
    // `build` gives the commands their full names.
    cli.build();
    let names = unknown_command::names(&cli);
    let command = match &options.command {
        None => &cli,
        Some(name) => cli
            .find_subcommand(name)
            .ok_or_else(|| unknown_command::failure(name, &names))?,
    };
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text).map_err(Failure::Output)?;
    print(&String::from_utf8_lossy(&text))
}
