//! `countersign wait`: waits until a running countersign is ready.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::admin::{AdminAddress, Error, send};
use super::failure::Failure;
use super::runtime::runtime;
use crate::config::duration;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    #[command(flatten)]
    admin: AdminAddress,
    /// State to wait for: `live` (it responds), `started` (it has been ready once) or `ready` (its
    /// listeners are bound, it holds credentials, and it is not stopping)
    #[arg(
        long = "for",
        value_name = "STATE",
        default_value = "ready",
        hide_possible_values = true
    )]
    state: State,
    /// Maximum time to wait; after it, exit with 1
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Live,
    Started,
    Ready,
}

const PAUSE: Duration = Duration::from_millis(50);

const AFTER_HELP: &str = "\
Examples:
  countersign wait && npm test
  countersign wait --for live --timeout 2s
  countersign wait --admin 127.0.0.1:4102

The exit code is 0 when the state is reached, and 1 when it is not in time.";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let address = options.admin.address()?;
    let (state, path) = match options.state {
        State::Live => ("live", "/livez"),
        State::Started => ("started", "/startupz"),
        State::Ready => ("ready", "/readyz"),
    };
    runtime()?.block_on(async {
        let started = Instant::now();
        loop {
            let error = match send(address, Method::GET, path).await {
                Ok((StatusCode::OK, _)) => return Ok(()),
                Ok((_, response)) => Error::NotYet {
                    state,
                    after: options.timeout,
                    response,
                },
                Err(error) => error,
            };
            if started.elapsed() + PAUSE > options.timeout {
                return Err(error.into());
            }
            sleep(PAUSE).await;
        }
    })
}
