//! The steps `dns` and `tcp`.

use std::error::Error;
use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::telemetry::error_chain;
use crate::upstream::{DialError, of_example};

/// Looks up the name that is dialled: that of the proxy if there is one.
pub(super) async fn look_up(target: &Target) -> Result<Passed<()>, NotPassed> {
    let dialer = target.upstream.http1_dialer();
    let after = target.upstream.config().connect;
    let (name, found) = match timeout(after, dialer.look_up()).await {
        Ok((name, found)) => (name.to_owned(), found),
        Err(_) => {
            let text = format!("no answer within {after:?} (timeouts.connect)");
            let error = io::Error::new(io::ErrorKind::TimedOut, text);
            (dialer.address().host.clone(), Err(error))
        }
    };
    let proxy = dialer.proxy();
    match found {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let addresses = addresses.join(", ");
            let detail = match proxy {
                Some(_) => format!(
                    "the proxy {name} resolves to {addresses}; it looks up {}",
                    dialer.address().host
                ),
                None if addresses == name => format!("{name} is an address"),
                None => format!("{name} resolves to {addresses}"),
            };
            Ok(Passed { value: (), detail })
        }
        Err(error) => {
            let fix = if proxy.is_some() {
                "Check HTTPS_PROXY: it names the proxy.".to_owned()
            } else if let Some(example) = of_example(&name) {
                // Files of examples are valid configurations.
                example.to_string()
            } else {
                format!(
                    "Check the host in the URL, and DNS: getent hosts {name}\n\
                     A private API has a name that resolves only inside its VPC. From elsewhere, set \
                     --connect to an address that leads to its VPC endpoint."
                )
            };
            let detail = format!("cannot resolve {name}: {error}");
            Err(Fault::new("dns", detail, fix).into())
        }
    }
}

/// Opens a TCP connection, through the proxy if there is one.
pub(super) async fn connect(target: &Target) -> Result<Passed<TcpStream>, NotPassed> {
    let dialer = target.upstream.http1_dialer();
    let after = target.upstream.config().connect;
    let opened = timeout(after, dialer.open()).await;
    let opened = opened.unwrap_or_else(|_| {
        Err(DialError::Timeout {
            address: dialer.address().to_string(),
            after,
        })
    });
    match (opened, dialer.proxy()) {
        (Ok(tcp), None) => {
            let peer = tcp.peer_addr();
            let peer = peer.map_or(String::new(), |peer| peer.to_string());
            let detail = format!("connected to {peer}");
            Ok(Passed { value: tcp, detail })
        }
        (Ok(tcp), Some(proxy)) => {
            let address = dialer.address();
            let detail = format!("the proxy {proxy} opened a tunnel to {address}");
            Ok(Passed { value: tcp, detail })
        }
        (Err(error), proxy) => {
            let fix = match (&error, proxy) {
                (DialError::Tunnel { .. }, _) | (_, Some(_)) => {
                    format!(
                        "Check HTTPS_PROXY, and that the proxy allows this host. To connect without it: \
                         NO_PROXY={}",
                        dialer.address().host
                    )
                }
                (_, None) => {
                    "Check the port in the URL, --connect, and the firewall. If only a proxy leads to the \
                     internet, set HTTPS_PROXY. A VPC endpoint must allow port 443 in its security group."
                        .to_owned()
                }
            };
            let error: &(dyn Error + 'static) = &error;
            Err(Fault::new("tcp", error_chain(error), fix).into())
        }
    }
}
