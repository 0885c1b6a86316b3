//! Runs the command that the arguments name.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::main()
}
