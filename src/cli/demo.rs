//! `countersign demo`: the embedded emulator, and countersign in front of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use countersign_emulator::{self as emulator, Emulator};
use tokio::runtime::Handle;
use tracing::warn;

use super::failure::Failure;
use super::output::print;
use super::process::signals::Signals;
use super::runtime::{export, runtime, start_held_log};
use super::settings::{Settings, arguments, given};
use crate::app::App;
use crate::config::{self, Config, Credentials, Flag, Trust};

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    settings: DemoSettings,
    /// Loopback address of the emulator's control listener; a free port by default
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    control: SocketAddr,
}

/// The settings that a user can change; the others are those of the emulator.
#[derive(Debug)]
struct DemoSettings(Vec<Flag>);

const SETTINGS: [&str; 10] = [
    "listen",
    "admin",
    "guard.allow_origins",
    "guard.token_file",
    "tls.cert",
    "tls.key",
    "tls.dev",
    "log.format",
    "log.filter",
    "log.color",
];

impl Args for DemoSettings {
    fn augment_args(command: Command) -> Command {
        command.args(arguments(&SETTINGS))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DemoSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(given(matches, &SETTINGS)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let signals = Signals::new().map_err(Failure::Runtime)?;
        let emulator = Emulator::start(emulator::Options {
            control: options.control,
            ..emulator::Options::default()
        })
        .await?;
        let config = configure(options, &emulator)?;
        let export = export(&config, &Handle::current())?;
        let (_flush, held) = start_held_log(&config.log, export.as_ref())?;
        if config.sandbox {
            warn!("`sandbox` is ignored by `demo`");
        }
        let has_tls = config.tls.is_some();
        let token = config.guard.tokens.first().map(|token| token.file.clone());
        let app = App::start(config).await?;
        if let Some(address) = app.addresses().first() {
            let text = banner(*address, &app, has_tls, token.as_deref(), &emulator);
            print(&text)?;
        }
        drop(held);
        let (first, second) = signals.stops();
        app.run(first, second).await;
        emulator.shutdown().await;
        if let Some(export) = export {
            export.flush().await;
        }
        Ok(())
    })
}

fn configure(options: &Options, emulator: &Emulator) -> Result<Config, Failure> {
    let url = format!("https://{}/graphql", emulator.api_host());
    let settings = Settings::default()
        .with(options.settings.0.clone())
        .set("route.NAME.target", Some(url))
        .set("route.NAME.connect", Some(emulator.addr().to_string()));
    let mut sources = settings.sources();
    let event = [
        ("target", format!("https://{}/event", emulator.api_host())),
        ("connect", emulator.addr().to_string()),
    ];
    sources.flags.extend(event.map(|(key, value)| Flag {
        key: format!("route.event.{key}"),
        name: "demo",
        values: vec![value],
        is_list: false,
    }));
    let (_, mut config) = config::load(&sources)?;
    // Without an admin listener, nothing could show what it records.
    config.inspect.is_enabled = config.admin.is_some();
    for route in &mut config.routes {
        route.trust = Trust::Pem(emulator.ca_pem().to_owned());
        route.credentials = Credentials::Fixed(aws_credential_types::Credentials::new(
            emulator::DEMO_ACCESS_KEY_ID,
            emulator::DEMO_SECRET_ACCESS_KEY,
            Some(emulator::DEMO_SESSION_TOKEN.to_owned()),
            None,
            "demo",
        ));
    }
    Ok(config)
}

/// Returns what the demo prints. No line is longer than a terminal of 80 columns.
fn banner(
    address: SocketAddr,
    app: &App,
    has_tls: bool,
    token: Option<&Path>,
    emulator: &Emulator,
) -> String {
    let address = reachable(address);
    // One more line of each command.
    let token = token.map_or(String::new(), |file| {
        let file = file.display().to_string();
        let file = shlex::try_quote(&file).unwrap_or_default();
        format!("\\\n-H \"x-countersign-token: $(grep -v '^#' {file} | head -1)\" ")
    });
    let tls_line = if has_tls {
        format!("  TLS        https://{address}/graphql, wss://{address}/graphql\n")
    } else {
        String::new()
    };
    let admin_line = app.admin().map_or(String::new(), |admin| {
        format!("  health     http://{admin}/readyz, /metrics\n")
    });
    let inspector_line = app.inspector().map_or(String::new(), |page| {
        format!("  inspector  {}\n", page.with_key())
    });
    format!(
        r#"countersign demo: GraphQL on http://{address}/graphql
It is signed and forwarded to an embedded AppSync emulator, which verifies
every signature. No AWS account is involved.

1. Paste this into another terminal, to see the messages of a room:

curl -N http://{address}/graphql -H accept:text/event-stream {token}\
-H content-type:application/json \
-d '{{"query":"subscription{{onMessage(room:\"lobby\"){{room body}}}}"}}'

2. Paste this into a third terminal, to post a message to the room:

curl -w '\n' http://{address}/graphql -H content-type:application/json {token}\
-d '{{"query":"mutation{{postMessage(room:\"lobby\",body:\"hello\"){{room body}}}}"}}'

3. A query:

curl -w '\n' {token}-g 'http://{address}/graphql?query={{rooms{{id,name}}}}'

Next: point your own client at this address, or start countersign for your own
API, with your AWS credentials:

countersign https://ID.appsync-api.REGION.amazonaws.com/graphql

To stop the demo, press Ctrl-C.

  WebSocket  ws://{address}/graphql
{tls_line}  Events     http://{address}/event (channels /default/... and /inbox/...)
{admin_line}{inspector_line}  emulator   https://{emulator}/graphql
  faults     http://{control}/switch (state: /state)

"#,
        emulator = emulator.addr(),
        control = emulator.control_addr(),
    )
}

/// Returns the address at which this machine reaches a listener.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
