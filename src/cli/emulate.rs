//! `countersign emulate`: runs only the emulator.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use countersign_emulator::{self as emulator, Emulator};

use super::failure::Failure;
use super::output::print;
use super::process::signals::Signals;
use super::runtime::{runtime, start_log};
use super::settings::{filter_of, verbosity};
use crate::config::{log_filter, socket_address};
use crate::telemetry::{LogConfig, LogFormat, When};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// Loopback address of the API, which speaks TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4443", value_parser = socket_address)]
    listen: SocketAddr,
    /// Loopback address of the control listener, which speaks plain HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4444", value_parser = socket_address)]
    control: SocketAddr,
    /// Region in the host names of the APIs
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Maximum number of subscriptions on one realtime connection
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_subscriptions: usize,
    /// File to write the certificate authority to (a new one in each run)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "countersign-emulator-ca.pem"
    )]
    ca_file: PathBuf,
    #[command(flatten)]
    log: Filter,
}

/// The filter of the log, by `--log`, `-v` or `-q`.
#[derive(Debug)]
struct Filter(String);

const AFTER_HELP: &str = "\
Examples:
  countersign emulate
  countersign emulate --listen 8443 --control 8444 --ca-file /tmp/ca.pem

It prints the hosts of its APIs, its key, and how to put countersign in front \
of it. For the same in one command: countersign demo";

impl Args for Filter {
    fn augment_args(command: Command) -> Command {
        let log = Arg::new("log")
            .long("log")
            .value_name("FILTER")
            .default_value("info")
            .value_parser(log_filter)
            .help("Log filter, such as info,countersign_emulator=debug");
        let verbosity = verbosity().map(|argument| argument.help_heading(None::<&str>));
        command.arg(log).args(verbosity)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Filter {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let log = matches.get_one::<String>("log").cloned();
        let level = filter_of(matches).map(|(_, filter)| filter.to_owned());
        Ok(Self(level.or(log).unwrap_or_default()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = LogConfig {
        format: LogFormat::Auto,
        filter: options.log.0.clone(),
        color: When::Auto,
        graphql_errors: When::Never,
        shows_routes: false,
        has_banner: false,
    };
    let _flush = start_log(&config, None)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        let emulator = Emulator::start(emulator::Options {
            listen: options.listen,
            control: options.control,
            region: options.region.clone(),
            max_subscriptions: options.max_subscriptions,
            ..emulator::Options::default()
        })
        .await?;
        let path = &options.ca_file;
        std::fs::write(path, emulator.ca_pem()).map_err(|error| Failure::CaFile {
            path: path.clone(),
            error,
        })?;
        print(&banner(&emulator, options))?;
        signals.next().await;
        emulator.shutdown().await;
        Ok(())
    })
}

fn banner(emulator: &Emulator, options: &Options) -> String {
    let (addr, control) = (emulator.addr(), emulator.control_addr());
    let (ca_file, host) = (options.ca_file.display(), emulator.api_host());
    format!(
        "AppSync and API Gateway emulator
  API        https://{addr}/graphql, as {host}
  REST       https://{addr}/prod, as {rest}
  HTTP       https://{addr}/, as {http}
  WebSocket  wss://{addr}/prod, as {websocket}
  analyzer   wss://{addr}/start-network-analyzer-stream, as {analyzer}
  CA         {ca_file}
  control    http://{control}/state, http://{control}/switch
  key        {} {}
  token      {}

Put countersign in front of it:
  AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_SESSION_TOKEN={} \\
    countersign --connect {addr} --ca-file {ca_file} https://{host}/graphql

Simulate a failure:
  curl -s -d '{{\"close_all\":true}}' http://{control}/switch
",
        emulator::DEMO_ACCESS_KEY_ID,
        emulator::DEMO_SECRET_ACCESS_KEY,
        emulator::DEMO_SESSION_TOKEN,
        emulator::DEMO_ACCESS_KEY_ID,
        emulator::DEMO_SECRET_ACCESS_KEY,
        emulator::DEMO_SESSION_TOKEN,
        rest = emulator.rest_host(),
        http = emulator.http_host(),
        websocket = emulator.websocket_host(),
        analyzer = emulator.analyzer_host(),
    )
}
