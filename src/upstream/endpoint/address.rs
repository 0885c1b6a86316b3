//! Unresolved TCP addresses: a host with a port.

use std::net::Ipv6Addr;

use http::uri::Authority;

/// An unresolved TCP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Parses `host` or `host:port`. The default port is 443.
    pub fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let is_plain = !text.contains('@') && is_host(authority.host());
        is_plain.then_some(Self {
            host: authority.host().to_owned(),
            port: port(&authority)?,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Returns the port, which is 443 by default; `None` if it is invalid.
pub(in crate::upstream) fn port(authority: &Authority) -> Option<u16> {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(443),
        // The parser accepts a sign, which a port must not have.
        Some(text) if text.starts_with(":+") => None,
        Some(_) | None => authority.port_u16().filter(|port| *port > 0),
    }
}

/// Returns whether `text` is a host name or an IP literal.
pub(super) fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(is_plain),
    }
}

/// Removes a trailing dot.
pub(super) fn without_dot(mut host: String) -> String {
    if host.ends_with('.') {
        host.pop();
    }
    host
}
