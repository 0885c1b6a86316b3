//! The command line: parses the arguments, runs a command and returns the exit code.

mod admin;
mod banner;
mod check;
mod completions;
mod config;
mod demo;
mod emulate;
mod explain;
mod failure;
mod man;
mod output;
mod policy;
mod presign;
mod process;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod reference;
mod runtime;
mod schema;
mod serve;
mod settings;
mod shutdown;
mod unknown_command;
mod usage;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::telemetry::{build, tasks};
use failure::Failure;
use settings::Settings;

#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    long_version = build::LONG_VERSION,
    about = "Signs plain GraphQL and HTTP with AWS IAM credentials (SigV4) and forwards it to AppSync or API Gateway.",
    after_help = AFTER_HELP,
    max_term_width = MAX_WIDTH,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in front of an API, or of several (the default command)
    #[command(after_help = SERVE_HELP)]
    Serve(Settings),
    /// Run in front of an embedded AppSync emulator, without an AWS account
    #[command(after_help = DEMO_HELP)]
    Demo(demo::Options),
    /// Run only the emulator, for use with other tools
    Emulate(emulate::Options),
    /// Print why AWS rejected a request, and the fix
    Explain(explain::Options),
    /// Print the least-privilege IAM policy for operations
    Policy(policy::Options),
    /// Check the way to an API, step by step, from credentials to realtime
    Check(check::Options),
    /// Print the schema of a GraphQL API, by introspection
    Schema(schema::Options),
    /// Print a presigned URL
    Presign(presign::Options),
    /// Print the resolved configuration and the source of each value
    Config(config::Options),
    /// Wait until a running countersign is ready
    Wait(wait::Options),
    /// Stop a running countersign, and wait until it has stopped
    Shutdown(shutdown::Options),
    /// Print completions for a shell
    Completions(completions::Options),
    /// Print a manual page in roff
    Man(man::Options),
}

/// The width of help, in columns.
const MAX_WIDTH: usize = 80;

const AFTER_HELP: &str = "\
Examples:
  countersign demo
  countersign https://ID.appsync-api.REGION.amazonaws.com/graphql
  countersign --profile dev --region eu-west-1 https://api.example.com/graphql
  countersign --config /etc/countersign.toml

Then point any GraphQL client at http://127.0.0.1:4100/graphql, or for \
subscriptions at ws://127.0.0.1:4100/graphql. Every client that can reach the \
port acts with the IAM identity.

Every option has a variable, such as COUNTERSIGN_URL and COUNTERSIGN_LOG=debug. \
So has every key of the configuration file, such as \
COUNTERSIGN_LIMITS__REQUEST_BODY=2MiB.

Exit codes: 0 success; 1 a running countersign was not reached, or not ready in \
time; 2 invalid usage or configuration; 3 countersign could not start.";

const SERVE_HELP: &str = "\
Examples:
  countersign serve https://ID.appsync-api.REGION.amazonaws.com/graphql
  countersign serve --profile dev --port 8080 \
https://ID.appsync-api.REGION.amazonaws.com/graphql
  countersign serve --config /etc/countersign.toml

`serve` can be left out.";

const DEMO_HELP: &str = "\
Examples:
  countersign demo
  countersign demo --port 8080 --allow-origin localhost

It prints commands to paste into another terminal. Ctrl-C stops it.";

/// Runs the command that the arguments name, and returns its exit code.
pub fn main() -> ExitCode {
    tasks::log_panics();
    let done = process::memory::keep_private().map_err(Failure::Memory);
    match done.and_then(|()| parse()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure);
            failure.exit_code()
        }
    }
}

/// Parses the arguments. Ends the process if help was requested.
fn parse() -> Result<Cli, Failure> {
    let command = Cli::command();
    let names = unknown_command::names(&command);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let of_command = unknown_command::misplaced(&command)
                .or_else(|| unknown_command::of_error(&error, &names));
            return Err(of_command.unwrap_or_else(|| usage::failure(&error, &command)));
        }
    };
    let url = cli.serve.url().filter(|_| cli.command.is_none());
    let of_command = url.and_then(|url| {
        unknown_command::misplaced(&command).or_else(|| unknown_command::of_url(url, &names))
    });
    of_command.map_or(Ok(cli), Err)
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(settings)) => serve::run(&settings),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Emulate(options)) => emulate::run(&options),
        Some(Command::Explain(options)) => explain::run(&options),
        Some(Command::Policy(options)) => policy::run(&options),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::Schema(options)) => schema::run(&options),
        Some(Command::Presign(options)) => presign::run(&options),
        Some(Command::Config(options)) => config::run(&options),
        Some(Command::Wait(options)) => wait::run(&options),
        Some(Command::Shutdown(options)) => shutdown::run(&options),
        Some(Command::Completions(options)) => completions::run(&options, Cli::command()),
        Some(Command::Man(options)) => man::run(&options, Cli::command()),
    }
}
