//! Strict parsing of host names.

use std::net::{IpAddr, Ipv4Addr};

use http::uri::Authority;

/// A host name without its port, in lower case; an IPv6 literal keeps its brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// The scheme of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl HostName {
    /// Parses a name without a port, as in configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let host = Self::from_header(text)?;
        (host.0.len() == text.len()).then_some(host)
    }

    /// Parses the name in the value of a `Host` header, `uri-host[:port]` (RFC 9112, section 3.2).
    pub fn from_header(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        if text.contains('@') {
            return None;
        }
        let port = &text[host.len().min(text.len())..];
        let has_good_port = match port.strip_prefix(':') {
            // The parser accepts a sign, which a port must not have.
            Some(port) if port.starts_with('+') => false,
            Some(port) => port.is_empty() || authority.port_u16().is_some(),
            None => port.is_empty(),
        };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let has_good_name = host.bytes().all(is_plain) || ip(host).is_some();
        (!host.is_empty() && has_good_port && has_good_name)
            .then(|| Self(host.to_ascii_lowercase()))
    }

    pub(super) fn is_loopback_name(&self) -> bool {
        matches!(self.0.as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }

    /// Returns whether this is a loopback name, or an address of 127.0.0.0/8 as browsers spell it. Only
    /// servers on this machine have one.
    pub(super) fn is_of_this_machine(&self) -> bool {
        let address: Option<Ipv4Addr> = self.0.parse().ok();
        self.is_loopback_name() || address.is_some_and(|address| address.is_loopback())
    }

    /// Returns whether this is a name below `localhost` (RFC 6761, section 6.3). Most browsers connect to
    /// this machine for it, and some ask a DNS server.
    pub(super) fn is_below_localhost(&self) -> bool {
        self.0.ends_with(".localhost")
    }

    /// Returns whether this is the canonical spelling of `address`. Browsers send no fetch metadata to
    /// other spellings of a loopback address, such as `[::ffff:127.0.0.1]`.
    pub(super) fn is_canonical_literal_of(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.0 == address.to_string(),
            IpAddr::V6(address) => self.0 == format!("[{address}]"),
        }
    }

    /// Returns the name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scheme {
    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Returns whether the value of a `Host` header is a loopback name as most clients send it, with or without
/// a port. Most requests need no more to be parsed.
pub(super) fn is_usual_host(text: &str) -> bool {
    let names = ["localhost", "127.0.0.1", "[::1]"];
    let port = names.iter().find_map(|name| text.strip_prefix(name));
    port.is_some_and(|port| match port.strip_prefix(':') {
        Some(digits) => {
            (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
                || digits.len() == 5 && digits.parse::<u16>().is_ok()
        }
        None => port.is_empty(),
    })
}

fn ip(host: &str) -> Option<IpAddr> {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    let ip: IpAddr = bare.parse().ok()?;
    Some(ip.to_canonical())
}
