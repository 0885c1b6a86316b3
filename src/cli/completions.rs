//! `countersign completions`: prints completions of the command line for a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::{Cli, Failure, print};

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Shell that the completions are for
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(
        options.shell,
        &mut Cli::command(),
        "countersign",
        &mut script,
    );
    print(&String::from_utf8_lossy(&script))
}
