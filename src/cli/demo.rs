//! `countersign demo`: the embedded emulator, and countersign in front of it.

use std::net::SocketAddr;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use countersign_emulator::{self as emulator, Emulator};
use tokio::runtime::Handle;
use tracing::warn;

use super::failure::Failure;
use super::output::print;
use super::process::signals::Signals;
use super::runtime::{export, runtime, start_log};
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

const SETTINGS: [&str; 8] = [
    "listen",
    "admin",
    "guard.allow_origins",
    "tls.cert",
    "tls.key",
    "tls.dev",
    "log.format",
    "log.filter",
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
        let _flush = start_log(&config.log, export.as_ref())?;
        if config.sandbox {
            warn!("`sandbox` is ignored by `demo`");
        }
        let has_tls = config.tls.is_some();
        let app = App::start(config).await?;
        if let Some(address) = app.addresses().first() {
            let tls_line = if has_tls {
                format!(
                    "\n  TLS       https://{address}/graphql   (subscriptions: wss://{address}/graphql)"
                )
            } else {
                String::new()
            };
            print(&banner(*address, &tls_line, &emulator))?;
        }
        let (first, second) = signals.stops();
        app.run(first, second).await;
        emulator.shutdown().await;
        if let Some(export) = export {
            export.flush();
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

fn banner(address: SocketAddr, tls_line: &str, emulator: &Emulator) -> String {
    let control = emulator.control_addr();
    format!(
        r#"countersign demo: an embedded AppSync that verifies every signature, and countersign in front of it
  GraphQL   http://{address}/graphql   (subscriptions: ws://{address}/graphql, or SSE){tls_line}
  Events    http://{address}/event     (channels: /default/..., /inbox/...)
  emulator  https://{emulator}/graphql   (state and faults: http://{control}/state, /switch)

Paste these commands into another terminal. Start with 3 to see the message of 2 arrive:

1. a query
curl -s http://{address}/graphql -H 'content-type: application/json' -d '{{"query":"{{ rooms {{ id name }} }}"}}'

2. a mutation
curl -s http://{address}/graphql -H 'content-type: application/json' -d '{{"query":"mutation {{ postMessage(room: \"lobby\", body: \"hello\") {{ id body }} }}"}}'

3. a subscription
curl -sN http://{address}/graphql -H 'accept: text/event-stream' -H 'content-type: application/json' -d '{{"query":"subscription {{ onMessage {{ id body }} }}"}}'

4. the same over a WebSocket (Node 20 or newer)
node --experimental-websocket -e 's=new WebSocket("ws://{address}/graphql","graphql-transport-ws");t=o=>s.send(JSON.stringify(o));s.onopen=()=>t({{type:"connection_init"}});s.onmessage=e=>{{console.log(e.data);JSON.parse(e.data).type=="connection_ack"&&t({{id:"1",type:"subscribe",payload:{{query:"subscription {{ onMessage {{ id body }} }}"}}}})}}'

5. listen to a channel, and publish to it from another terminal
curl -sN 'http://{address}/event?channel=/default/room' -H 'accept: text/event-stream'
curl -s http://{address}/event/default/room -H 'content-type: application/json' -d '{{"hello":"world"}}'

Press Ctrl-C to stop both.
"#,
        emulator = emulator.addr(),
    )
}
