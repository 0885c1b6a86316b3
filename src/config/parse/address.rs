//! Parses addresses, hosts and origins. People paste URLs, or leave out the port or the scheme.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::guard::{AllowedOrigin, HostName};
use crate::home;
use crate::server::Listen;
use crate::upstream::Address;

/// `"127.0.0.1:4100"`, `"[::1]:4100"`, `"localhost:4100"`, `"4100"`, `":4100"`,
/// `"unix:/run/countersign.sock"`
pub(in crate::config) fn listen(value: &str) -> Result<Vec<Listen>, String> {
    match value.strip_prefix("unix:") {
        Some("") => {
            return Err(format!(
                "invalid address {value:?}: add the path of the socket, such as unix:/run/x.sock"
            ));
        }
        Some(_) if cfg!(windows) => {
            return Err(format!(
                "invalid address {value:?}: unix sockets are not supported on Windows. Listen on a loopback address, \
                 such as 127.0.0.1:4100"
            ));
        }
        Some(path) => return Ok(vec![Listen::Unix(home::expand(path))]),
        None => {}
    }
    if let Some(port) = bare_port(value) {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        // Two free ports would differ.
        let v6 = (port != 0).then_some(v6);
        return Ok([Some(v4), v6]
            .into_iter()
            .flatten()
            .map(Listen::Tcp)
            .collect());
    }
    let address = ip_and_port(value).ok_or_else(|| {
        let advice = "expected a port or an IP address with a port, such as 4100 or 127.0.0.1:4100, or unix:PATH";
        bad_address(value, "4100", advice)
    })?;
    Ok(vec![Listen::Tcp(address)])
}

/// The port of `--port`.
///
/// # Errors
/// What is wrong with it.
pub fn port(value: &str) -> Result<String, String> {
    let port = value.parse::<u16>();
    port.map(|port| port.to_string())
        .map_err(|_| format!("invalid port {value:?}: expected a number up to 65535, such as 8080"))
}

/// The loopback address of a listener: `127.0.0.1:4443`, `localhost:4443`, `:4443`, `4443`
///
/// # Errors
/// What is wrong with it.
pub fn socket_address(value: &str) -> Result<SocketAddr, String> {
    let of_port = bare_port(value).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    of_port.or_else(|| ip_and_port(value)).ok_or_else(|| {
        let advice = "expected a port or an IP address with a port, such as 4443 or 127.0.0.1:4443";
        bad_address(value, "4443", advice)
    })
}

fn ip_and_port(value: &str) -> Option<SocketAddr> {
    value.replacen("localhost:", "127.0.0.1:", 1).parse().ok()
}

/// Explains an invalid address. A URL, a host without a port or a `*` may be meant as an address.
fn bad_address(value: &str, default_port: &str, expected: &str) -> String {
    let host = bare_authority(value);
    let host = host.replacen('*', "0.0.0.0", 1);
    let with_port = format!("{host}:{default_port}");
    let in_brackets = match host.rsplit_once(':') {
        Some((ip, port)) => [format!("[{host}]:{default_port}"), format!("[{ip}]:{port}")],
        None => [String::new(), String::new()],
    };
    let mut candidates = [host, with_port].into_iter().chain(in_brackets);
    let advice = match candidates.find(|candidate| ip_and_port(candidate).is_some()) {
        Some(near) => format!("did you mean {near}?"),
        None => expected.to_owned(),
    };
    format!("invalid address {value:?}: {advice}")
}

/// Returns what is between the scheme and the path of a URL, if the value is one.
fn bare_authority(value: &str) -> &str {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Returns the port of `4100` or `:4100`.
fn bare_port(value: &str) -> Option<u16> {
    let digits = value.strip_prefix(':').unwrap_or(value);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// `"off"`, or an IP address with a port.
pub(in crate::config) fn admin(value: &str) -> Result<Option<SocketAddr>, String> {
    if value == "off" {
        return Ok(None);
    }
    if let Some(port) = bare_port(value) {
        return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    ip_and_port(value).map(Some).ok_or_else(|| {
        let advice = "expected an IP address with a port, such as 127.0.0.1:4101, or \"off\"";
        bad_address(value, "4101", advice)
    })
}

/// `"10.0.0.7:443"`, `"vpce-1.example.com:443"`; the port is optional
pub(in crate::config) fn address(value: &str) -> Result<Address, String> {
    Address::parse(value).ok_or_else(|| {
        let near = Some(bare_authority(value)).filter(|near| Address::parse(near).is_some());
        let advice = did_you_mean(
            near,
            "expected a host with an optional port, such as 10.0.0.7:443",
        );
        format!("invalid address {value:?}: {advice}")
    })
}

pub(in crate::config) fn host_name(value: &str) -> Result<HostName, String> {
    HostName::parse(value).ok_or_else(|| {
        let authority = bare_authority(value);
        let name = authority
            .rsplit_once(':')
            .map_or(authority, |(name, _)| name);
        let mut candidates = [authority, name].into_iter();
        let near = candidates.find(|near| HostName::parse(near).is_some());
        let advice = did_you_mean(near, "expected a name without scheme, port or path");
        format!("invalid host name {value:?}: {advice}")
    })
}

pub(super) fn did_you_mean(near: Option<&str>, expected: &str) -> String {
    near.map_or(expected.to_owned(), |near| format!("did you mean {near}?"))
}

/// `"https://app.example.com"`, `"localhost"`, `"chrome-extension://ID"`
pub(in crate::config) fn origin(value: &str) -> Result<AllowedOrigin, String> {
    AllowedOrigin::parse(value).ok_or_else(|| {
        let near = near_origin(value);
        let advice = match (value, near) {
            ("*", _) => "every web page could act with the IAM identity. Name the origins, or use localhost for the pages of this machine".to_owned(),
            ("null", _) => "every local file and every sandboxed page has it. Serve the page from a web server, such as http://localhost:8000".to_owned(),
            (_, Some(near)) => format!("did you mean {near}? For every port of this machine: localhost"),
            (_, None) => "expected a scheme and a host without a path, such as https://app.example.com, or localhost for the pages of this machine".to_owned(),
        };
        format!("invalid origin {value:?}: {advice}")
    })
}

/// Returns the origin of a URL with a path, or of a host without a scheme.
fn near_origin(value: &str) -> Option<AllowedOrigin> {
    let authority = bare_authority(value);
    let scheme = match value.split_once("://") {
        Some((scheme, _)) => scheme,
        None if authority.starts_with("localhost") || ip_and_port(authority).is_some() => "http",
        None => "https",
    };
    let is_host = value.contains("://")
        || authority.contains(['.', ':'])
        || authority.starts_with("localhost");
    let origin = format!("{scheme}://{authority}");
    is_host.then(|| AllowedOrigin::parse(&origin)).flatten()
}
