//! The command line: what was asked for, and how it ended.
//!
//! Exit codes: 0 done; 1 what was waited for did not come; 2 bad usage or configuration, with every mistake listed; 3 could not start.

mod admin;
mod completions;
mod config;
mod demo;
mod emulate;
mod man;
mod orphans;
mod policy;
mod presign;
mod process;
mod sandbox;
mod serve;
mod shutdown;
mod signals;
mod systemd;
mod wait;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::PresignError;
use crate::config::{Flag, OPENTELEMETRY, Problems, Sources};
use crate::telemetry::{build, tasks};

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
    /// Run in front of one upstream URL, or of the routes of a configuration file (the default)
    Serve(Settings),
    /// Run against an embedded AppSync emulator: no AWS account, real signature checks
    Demo(demo::Options),
    /// Run the emulator alone, to point other tools at
    Emulate(emulate::Options),
    /// Print the least-privilege IAM policy for documents, or for what was recorded
    Policy(policy::Options),
    /// Print a presigned URL
    Presign(presign::Options),
    /// Print the resolved configuration and where each value came from
    Config(config::Options),
    /// Wait until a running countersign is ready: for health checks and scripts without curl
    Wait(wait::Options),
    /// Tell a running countersign to stop, and wait until it has
    Shutdown(shutdown::Options),
    /// Print completions for a shell
    Completions(completions::Options),
    /// Print a manual page, in roff
    Man(man::Options),
}

/// Everything that configuration can say by flags.
#[derive(Args, Clone, Debug, Default)]
struct Settings {
    /// The upstream's https URL; region, service and realtime host are inferred from it
    url: Option<String>,
    /// A TOML file with routes and settings; also COUNTERSIGN_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An address to listen on, or unix:PATH; repeatable [default: port 4100 of 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// The address that tells health and metrics, or off [default: 127.0.0.1:4101]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// A name that may stand in Host beside the loopback names; repeatable
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// An origin whose web pages may talk to countersign; repeatable
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// A file of tokens, one of which a client must show; its mode must be 600
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    #[command(flatten)]
    tls: TlsFlags,
    /// Note in this file what is asked of AWS, for `countersign policy --recorded FILE`
    #[arg(long, value_name = "FILE")]
    record: Option<String>,
    /// How log lines are written: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: levels, by target too, such as info,countersign::realtime=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// The region of the URL, where its host does not tell it
    #[arg(long, requires = "url", help_heading = "For the URL")]
    region: Option<String>,
    /// The service of the URL, where its host does not tell it
    #[arg(long, requires = "url", help_heading = "For the URL")]
    service: Option<String>,
    /// A profile of ~/.aws/config, in place of the default provider chain
    #[arg(long, requires = "url", help_heading = "For the URL")]
    profile: Option<String>,
    /// A role to assume
    #[arg(
        long,
        requires = "url",
        value_name = "ARN",
        help_heading = "For the URL"
    )]
    assume_role: Option<String>,
    /// The Host that is sent and signed, if it is not the URL's: for private endpoints
    #[arg(long, requires = "url", help_heading = "For the URL")]
    host: Option<String>,
    /// The address that is dialled, if it is not the URL's
    #[arg(
        long,
        requires = "url",
        value_name = "ADDR",
        help_heading = "For the URL"
    )]
    connect: Option<String>,
    /// Trust only the certificate authorities of this PEM file
    #[arg(
        long,
        requires = "url",
        value_name = "FILE",
        help_heading = "For the URL"
    )]
    ca_file: Option<String>,
    /// Let nothing through that changes something: no mutations, publishes, POSTs or tunnels
    #[arg(long, requires = "url", help_heading = "For the URL")]
    read_only: bool,
}

/// `[tls]` by flags.
#[derive(Args, Clone, Debug, Default)]
struct TlsFlags {
    /// Accept TLS, too, with the certificate chain of this PEM file
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Accept TLS, too, with a certificate by a local CA, which is made on first use
    #[arg(long)]
    tls_dev: bool,
}

const AFTER_HELP: &str = "\
Examples:
  countersign demo
  countersign https://ID.appsync-api.eu-central-1.amazonaws.com/graphql
  countersign --profile dev --region eu-west-1 https://api.example.com/graphql
  countersign --config countersign.toml

Then point any GraphQL client at http://127.0.0.1:4100/graphql, or for subscriptions at
ws://127.0.0.1:4100/graphql. Whoever reaches the port acts with the IAM identity.

Every key of the configuration file is also a variable: COUNTERSIGN_LIMITS__REQUEST_BODY=2MiB.";

const NOT_REACHED: u8 = 1;
const BAD_USAGE: u8 = 2;
const NOT_STARTED: u8 = 3;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Emulator(#[from] countersign_emulator::Error),
    #[error("core dumps cannot be turned off, and memory holds credentials")]
    Memory(#[source] std::io::Error),
    #[error("there is no command {0:?}: `countersign --help` lists them")]
    NoCommand(String),
    #[error(transparent)]
    Presign(#[from] PresignError),
    #[error("the runtime could not be started")]
    Runtime(#[source] std::io::Error),
    #[error("the sandbox cannot be entered (sandbox)")]
    Sandbox(#[source] std::io::Error),
    #[error(transparent)]
    Start(#[from] crate::app::StartError),
    #[error(transparent)]
    Socket(#[from] systemd::SocketError),
    #[error(transparent)]
    Traces(#[from] crate::telemetry::TraceError),
    #[error("standard output is closed")]
    Output(#[source] std::io::Error),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    tasks::log_panics();
    let cli = Cli::parse();
    let done = process::keep_memory_private().map_err(Failure::Memory);
    let done = done.and_then(|()| match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(settings)) => serve::run(&settings),
        Some(Command::Demo(options)) => demo::run(&options),
        Some(Command::Emulate(options)) => emulate::run(&options),
        Some(Command::Policy(options)) => policy::run(&options),
        Some(Command::Presign(options)) => presign::run(&options),
        Some(Command::Config(options)) => config::run(&options),
        Some(Command::Wait(options)) => wait::run(&options),
        Some(Command::Shutdown(options)) => shutdown::run(&options),
        Some(Command::Completions(options)) => completions::run(&options),
        Some(Command::Man(options)) => man::run(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = crate::telemetry::error_chain(&failure);
            for line in text.lines() {
                // Nothing is left to tell if standard error is closed, too.
                let _ = writeln!(std::io::stderr(), "countersign: {line}");
            }
            ExitCode::from(match failure {
                Failure::Admin(_) => NOT_REACHED,
                Failure::Config(_)
                | Failure::NoCommand(_)
                | Failure::Presign(PresignError::Target(_)) => BAD_USAGE,
                Failure::Emulator(_)
                | Failure::Memory(_)
                | Failure::Presign(_)
                | Failure::Runtime(_)
                | Failure::Sandbox(_)
                | Failure::Socket(_)
                | Failure::Start(_)
                | Failure::Traces(_)
                | Failure::Output(_) => NOT_STARTED,
            })
        }
    }
}

impl Settings {
    /// The flags as configuration, after what the environment says of it. The rest of the
    /// environment may hold secrets, of which no copy is to be kept.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line is where the environment is read"
    )]
    fn sources(&self) -> Sources {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| is_configuration(name))
            .collect();
        let file = environment
            .iter()
            .find(|(name, _)| name == "COUNTERSIGN_CONFIG")
            .map(|(_, path)| PathBuf::from(path));
        Sources {
            file: self.config.clone().or(file),
            flags: self.flags(),
            environment,
        }
    }

    fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let lists = [
            ("listen", "--listen", &self.listen),
            ("guard.allow_hosts", "--allow-host", &self.allow_host),
            ("guard.allow_origins", "--allow-origin", &self.allow_origin),
        ];
        for (key, name, values) in lists {
            if !values.is_empty() {
                flags.push(Flag {
                    key: key.to_owned(),
                    name,
                    values: values.clone(),
                    is_list: true,
                });
            }
        }
        let mut one = |key: String, name, value: &Option<String>| {
            flags.extend(value.iter().map(|value| Flag {
                key: key.clone(),
                name,
                values: vec![value.clone()],
                is_list: false,
            }));
        };
        let tls_dev = self.tls.tls_dev.then(|| "true".to_owned());
        one(
            "guard.token_file".to_owned(),
            "--token-file",
            &self.token_file,
        );
        one("tls.cert".to_owned(), "--tls-cert", &self.tls.tls_cert);
        one("tls.key".to_owned(), "--tls-key", &self.tls.tls_key);
        one("tls.dev".to_owned(), "--tls-dev", &tls_dev);
        one("admin".to_owned(), "--admin", &self.admin);
        one("iam.record".to_owned(), "--record", &self.record);
        one("log.format".to_owned(), "--log-format", &self.log_format);
        one("log.filter".to_owned(), "--log", &self.log);
        // The URL's route serves everything, unless it is AppSync's, which has its usual path.
        let url = self.url.as_deref().unwrap_or_default();
        let (route, path) = match url.rsplit('/').next() {
            Some("graphql") => ("route.graphql", "/graphql"),
            Some("event") => ("route.event", "/event"),
            Some(_) | None => ("route.url", "/"),
        };
        let path = self.url.as_ref().map(|_| path.to_owned());
        let read_only = self.read_only.then(|| "true".to_owned());
        let of_route = [
            ("target", "URL", &self.url),
            ("path", "URL", &path),
            ("region", "--region", &self.region),
            ("service", "--service", &self.service),
            ("profile", "--profile", &self.profile),
            ("assume_role", "--assume-role", &self.assume_role),
            ("host", "--host", &self.host),
            ("connect", "--connect", &self.connect),
            ("ca_file", "--ca-file", &self.ca_file),
            ("read_only", "--read-only", &read_only),
        ];
        for (key, name, value) in of_route {
            one(format!("{route}.{key}"), name, value);
        }
        flags
    }
}

fn is_configuration(name: &str) -> bool {
    name.starts_with("COUNTERSIGN_")
        || matches!(name, "HOME" | "XDG_STATE_HOME")
        || OPENTELEMETRY.contains(&name)
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Failure::Output)
}
