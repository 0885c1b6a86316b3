//! The command line: parses the arguments, runs a command and returns the exit code.

mod admin;
mod check;
mod completions;
mod config;
mod demo;
mod emulate;
mod failure;
mod man;
mod output;
mod policy;
mod presign;
mod process;
mod runtime;
mod serve;
mod settings;
mod shutdown;
mod unknown_command;
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
    /// Run in front of one upstream URL or the routes of a configuration file (the default)
    Serve(Settings),
    /// Run against an embedded AppSync emulator: no AWS account, real signature checks
    Demo(demo::Options),
    /// Run only the emulator, for use with other tools
    Emulate(emulate::Options),
    /// Print the least-privilege IAM policy for GraphQL documents or recorded operations
    Policy(policy::Options),
    /// Check credentials, connection, TLS, clock, a signed request and a realtime connect, step by step
    Check(check::Options),
    /// Print a presigned URL
    Presign(presign::Options),
    /// Print the resolved configuration and where each value came from
    Config(config::Options),
    /// Wait until a running countersign is ready, for health checks and scripts without curl
    Wait(wait::Options),
    /// Stop a running countersign and wait until it has stopped
    Shutdown(shutdown::Options),
    /// Print completions for a shell
    Completions(completions::Options),
    /// Print a manual page in roff
    Man(man::Options),
}

const AFTER_HELP: &str = "\
Examples:
  countersign demo
  countersign https://ID.appsync-api.eu-central-1.amazonaws.com/graphql
  countersign --profile dev --region eu-west-1 https://api.example.com/graphql
  countersign --config /etc/countersign.toml

Then point any GraphQL client at http://127.0.0.1:4100/graphql, or for subscriptions at
ws://127.0.0.1:4100/graphql. Every client that can reach the port acts with the IAM identity.

Every key of the configuration file can also be set by an environment variable:
COUNTERSIGN_LIMITS__REQUEST_BODY=2MiB. Most options have one, too: COUNTERSIGN_LOG=debug.";

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

/// Parses the arguments. Ends the process as clap does if they are invalid, or if help was requested.
fn parse() -> Result<Cli, Failure> {
    let names = unknown_command::names(&Cli::command());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match unknown_command::of_error(&error, &names) {
            Some(failure) => return Err(failure),
            None => error.exit(),
        },
    };
    let url = cli.serve.url().filter(|_| cli.command.is_none());
    match url.and_then(|url| unknown_command::of_url(url, &names)) {
        Some(failure) => Err(failure),
        None => Ok(cli),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(settings)) => serve::run(&settings),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Emulate(options)) => emulate::run(&options),
        Some(Command::Policy(options)) => policy::run(&options),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::Presign(options)) => presign::run(&options),
        Some(Command::Config(options)) => config::run(&options),
        Some(Command::Wait(options)) => wait::run(&options),
        Some(Command::Shutdown(options)) => shutdown::run(&options),
        Some(Command::Completions(options)) => completions::run(&options, Cli::command()),
        Some(Command::Man(options)) => man::run(&options, Cli::command()),
    }
}
