//! Sends requests to the admin listener of a running countersign.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::settings::Settings;
use crate::config::{self, Problem, Problems};

/// The address of the admin listener.
#[derive(Args, Debug)]
pub(super) struct AdminAddress {
    /// Address of the daemon's admin listener [default: COUNTERSIGN_ADMIN, the configuration file, or
    /// 127.0.0.1:4101]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Configuration file of the daemon; also COUNTERSIGN_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why a command to a running countersign failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    // The text contains the cause, so the cause is not a source, too.
    #[error(
        "nothing answers at {address}, the admin address: {error}. Start countersign, or pass the address that it logs as \"health and metrics on\": --admin ADDR"
    )]
    Unreachable {
        address: SocketAddr,
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("not {state} after {after:?}: {response}")]
    NotYet {
        state: &'static str,
        after: Duration,
        response: String,
    },
    #[error("countersign at {address} refused to stop: {response}")]
    Refused {
        address: SocketAddr,
        response: String,
    },
    #[error("countersign at {address} has not stopped after {after:?}; it is still draining")]
    StillThere {
        address: SocketAddr,
        after: Duration,
    },
}

/// The time limit of one request with its response.
const TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_SIZE: usize = 64 * 1024;

impl AdminAddress {
    /// Returns the address to connect to.
    pub(super) fn address(&self) -> Result<SocketAddr, Problems> {
        let settings = Settings::of_file(self.config.clone()).set("admin", self.admin.clone());
        match config::admin(&settings.sources())? {
            Some(address) => Ok(reachable(address)),
            None => Err(Problems(vec![Problem {
                key: "admin".to_owned(),
                source: None,
                message:
                    "is \"off\", so countersign has no admin listener to connect to: set it to \
                          an address, such as 127.0.0.1:4101"
                        .to_owned(),
            }])),
        }
    }
}

/// Returns the loopback address for the unspecified one, which includes it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Sends one request, and returns the status and the text of its response.
///
/// # Errors
/// [`Error::Unreachable`]
pub(super) async fn send(
    address: SocketAddr,
    method: Method,
    path: &'static str,
) -> Result<(StatusCode, String), Error> {
    let result = tokio::time::timeout(TIMEOUT, exchange(address, method, path)).await;
    result
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(|error| Error::Unreachable { address, error })
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &'static str,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    // The connection ends when the sender is dropped with this future.
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_SIZE);
        let text = body.collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&text).trim().to_owned()))
    };
    let (response, _) = tokio::join!(exchange, connection);
    response
}
