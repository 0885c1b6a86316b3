//! `countersign completions`: prints completions of the command line for a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::failure::Failure;
use super::output::print;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// Shell that the completions are for
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  source <(countersign completions bash)
  countersign completions fish > ~/.config/fish/completions/countersign.fish";

/// Prints the completions of `cli`.
pub(super) fn run(options: &Options, mut cli: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(options.shell, &mut cli, "countersign", &mut script);
    print(&String::from_utf8_lossy(&script))
}
