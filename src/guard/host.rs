//! Strict parsing of host names and origins.

use std::net::IpAddr;

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

/// A web origin, `scheme://host[:port]`, in lower case and without a default port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: String,
}

impl HostName {
    /// Parses a name without a port, as in configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let host = Self::from_header(text)?;
        (host.0.len() == text.len()).then_some(host)
    }

    /// Parses the name in the value of a `Host` header, `uri-host[:port]` (RFC 9112, section 3.2).
    pub(super) fn from_header(text: &str) -> Option<Self> {
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

impl Origin {
    /// Parses an `http` or `https` origin. Rejects `null`, wildcards and anything with a path.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        HostName::from_header(authority)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let default_port = format!(":{}", scheme.default_port());
        let authority = authority.strip_suffix(&default_port).unwrap_or(authority);
        Some(Self {
            scheme,
            authority: authority.to_owned(),
        })
    }

    /// Returns the origin of an `http` or `https` URL, such as a `Referer`.
    pub(super) fn from_url(text: &str) -> Option<Self> {
        let start = text.find("://")? + "://".len();
        let rest = &text[start..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Self::parse(&text[..start + end])
    }

    /// Returns whether countersign serves the pages of this origin, given the `Host` of a request. Name
    /// and port decide: both schemes share one port, and a missing port means the scheme's default.
    pub(super) fn is_served_at(&self, host: &str, scheme: Scheme) -> bool {
        let own = host_and_port(&self.authority, self.scheme);
        own.is_some() && own == host_and_port(host, scheme)
    }
}

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

/// Returns the name in lower case, and the port.
fn host_and_port(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let authority: Authority = authority.parse().ok()?;
    let port = authority.port_u16().unwrap_or(scheme.default_port());
    Some((authority.host().to_ascii_lowercase(), port))
}

fn ip(host: &str) -> Option<IpAddr> {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    let ip: IpAddr = bare.parse().ok()?;
    Some(ip.to_canonical())
}
