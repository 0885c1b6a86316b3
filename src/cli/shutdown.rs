//! `countersign shutdown`: stops a running countersign and waits until it has stopped.

use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use tokio::net::TcpStream;
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
    /// Maximum time to wait until it has stopped; after it, exit with 1
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

const PAUSE: Duration = Duration::from_millis(50);

const AFTER_HELP: &str = "\
Examples:
  countersign shutdown
  countersign shutdown --admin 127.0.0.1:4102 --timeout 10s

Running requests are finished first, for at most drain.timeout.";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let address = options.admin.address()?;
    runtime()?.block_on(async {
        let started = Instant::now();
        let (status, response) = send(address, Method::POST, "/quitquitquit").await?;
        if status != StatusCode::OK {
            return Err(Error::Refused { address, response }.into());
        }
        while TcpStream::connect(address).await.is_ok() {
            if started.elapsed() + PAUSE > options.timeout {
                let after = options.timeout;
                return Err(Error::StillThere { address, after }.into());
            }
            sleep(PAUSE).await;
        }
        Ok(())
    })
}
