//! Binds the configured addresses or adopts inherited sockets, and logs the addresses.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tracing::{info, warn};

use super::start_error::StartError;
use crate::admin;
use crate::config::Config;
use crate::server::{Listen, Listener, Passed, Tls, TlsError};
use crate::sign::clock;
use crate::telemetry::BANNER_TARGET;

/// How many ports after the default one are tried for the admin listener.
const OTHER_PORTS: u16 = 100;

/// Binds the addresses of the proxied port.
pub(super) fn bind(config: &Config, passed: &mut Vec<Passed>) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for listen in &config.listen {
        let bound = match take(passed, listen) {
            Some(passed) => Listener::adopt(passed, &config.peer_uids).map(Some),
            None => Listener::bind(listen, &config.peer_uids),
        };
        listeners.extend(bound.map_err(|error| StartError::Bind {
            listen: listen.clone(),
            error,
            has_admin: config.admin.is_some(),
        })?);
    }
    Ok(listeners)
}

pub(super) async fn bind_admin(
    config: &Config,
    passed: &mut Vec<Passed>,
) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.admin else {
        return Ok(None);
    };
    let bound = match take(passed, &Listen::Tcp(address)) {
        Some(passed) => passed.into_tcp(),
        None => admin::bind(address).await,
    };
    let bound = match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && config.is_admin_default => {
            next_free(address).await.ok_or(error)
        }
        bound => bound,
    };
    let bound = bound.map_err(|error| StartError::Admin { address, error })?;
    Ok(Some(bound))
}

/// Binds the admin listener to the next free port: another instance has probably taken the default.
async fn next_free(taken: SocketAddr) -> Option<TcpListener> {
    for port in (taken.port()..taken.port().saturating_add(OTHER_PORTS)).skip(1) {
        let address = SocketAddr::new(taken.ip(), port);
        if let Ok(listener) = admin::bind(address).await {
            info!(
                "port {} is in use, so the admin listener uses {port}; pass --admin {address} to \
                 `countersign wait` and `shutdown`",
                taken.port()
            );
            return Some(listener);
        }
    }
    None
}

fn take(passed: &mut Vec<Passed>, place: &Listen) -> Option<Passed> {
    let at = passed
        .iter()
        .position(|passed| passed.address() == *place)?;
    Some(passed.remove(at))
}

pub(super) async fn tls(config: &Config) -> Result<Option<Tls>, TlsError> {
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let hosts = config.guard.allow_hosts.iter().map(|host| host.as_str());
    let addresses = config.listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(address.ip().to_string()),
        Listen::Unix(_) => None,
    });
    let names: Vec<String> = hosts.map(str::to_owned).chain(addresses).collect();
    Tls::load(tls, &names, clock::now()).await.map(Some)
}

/// Logs the addresses, and warns of open ones.
pub(super) fn log_addresses(config: &Config, has_tls: bool, bound: &[Listen]) {
    let schemes: &[&str] = if has_tls {
        &["http", "https"]
    } else {
        &["http"]
    };
    for listen in bound {
        let address = match listen {
            Listen::Tcp(address) => address,
            Listen::Unix(_) => {
                info!(target: BANNER_TARGET, "listening on {listen}");
                continue;
            }
        };
        let urls = schemes.iter().map(|scheme| format!("{scheme}://{address}"));
        info!(target: BANNER_TARGET, "listening on {}", urls.collect::<Vec<_>>().join(" and "));
        if !listen.is_local()
            && config.guard.tokens.is_empty()
            && !config.guard.requires_certificate
        {
            warn!(
                "{address} is open: every client that can reach it acts with the IAM identity \
                 (guard.non_loopback = \"open\")"
            );
        }
    }
}
