//! Strict parsing of origins, and which of them are allowed.

use std::fmt;

use http::uri::Authority;

use super::host::{HostName, Scheme};

/// An origin, `scheme://host[:port]`, in lower case and without a default port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    authority: String,
}

/// A value of `guard.allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    Exact(Origin),
    /// Pages of every web server on this machine.
    Loopback,
}

/// The value of `guard.allow_origins` for [`AllowedOrigin::Loopback`].
const LOCALHOST: &str = "localhost";

impl Origin {
    /// Parses an origin of any scheme: pages of extensions and of apps have schemes of their own. Rejects
    /// `null`, wildcards and anything with a path.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        HostName::from_header(authority)?;
        // Browsers serialize the origins of files and of FTP as `null`.
        if !is_scheme(scheme) || matches!(scheme, "file" | "ftp") {
            return None;
        }
        let default_port = default_port(scheme).map(|port| format!(":{port}"));
        let default_port = default_port.unwrap_or_default();
        let authority = authority.strip_suffix(&default_port).unwrap_or(authority);
        Some(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
        })
    }

    /// Returns the origin of a URL, such as a `Referer`.
    pub(super) fn from_url(text: &str) -> Option<Self> {
        let start = text.find("://")? + "://".len();
        let rest = &text[start..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Self::parse(&text[..start + end])
    }

    /// Returns the origin of the URL of a socket. Some libraries for sockets send the whole URL as `Origin`,
    /// which no browser does.
    pub(super) fn of_socket(text: &str) -> Option<Self> {
        Self::from_url(text).filter(|origin| matches!(origin.scheme.as_str(), "ws" | "wss"))
    }

    /// Returns whether countersign serves the pages of this origin, given the `Host` of a request. Name
    /// and port decide: both schemes share one port, and a missing port means the scheme's default.
    /// Sockets of Apple's platforms send the URL of the socket, which no page can have as its origin.
    pub(super) fn is_served_at(&self, host: &str, scheme: Scheme) -> bool {
        let own = default_port(&self.scheme).and_then(|port| host_and_port(&self.authority, port));
        own.is_some() && own == host_and_port(host, scheme.default_port())
    }

    /// Returns whether a web server on this machine serves the pages of this origin.
    pub(super) fn is_loopback(&self) -> bool {
        self.has_web_host(HostName::is_of_this_machine)
    }

    /// Returns whether a web server on this machine probably serves the pages of this origin. Such pages may
    /// read why they are refused, but are not allowed.
    pub(super) fn is_probably_loopback(&self) -> bool {
        self.has_web_host(|host| host.is_of_this_machine() || host.is_below_localhost())
    }

    fn has_web_host(&self, is_so: impl FnOnce(&HostName) -> bool) -> bool {
        let host = HostName::from_header(&self.authority);
        matches!(self.scheme.as_str(), "http" | "https") && host.as_ref().is_some_and(is_so)
    }
}

impl AllowedOrigin {
    /// Parses a value of the configuration: an origin, or `localhost`. Drops a trailing slash.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.eq_ignore_ascii_case(LOCALHOST) {
            return Some(Self::Loopback);
        }
        Origin::parse(text).map(Self::Exact)
    }

    pub(super) fn allows(&self, origin: &Origin) -> bool {
        match self {
            Self::Exact(allowed) => allowed == origin,
            Self::Loopback => origin.is_loopback(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(origin) => origin.fmt(f),
            Self::Loopback => f.write_str(LOCALHOST),
        }
    }
}

/// Returns whether `text` is a scheme (RFC 3986, section 3.1), in lower case.
fn is_scheme(text: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
    };
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(is_plain)
}

/// Returns the default port of a scheme that countersign serves.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(Scheme::Http.default_port()),
        "https" | "wss" => Some(Scheme::Https.default_port()),
        _ => None,
    }
}

/// Returns the name in lower case, and the port.
fn host_and_port(authority: &str, default_port: u16) -> Option<(String, u16)> {
    let authority: Authority = authority.parse().ok()?;
    let port = authority.port_u16().unwrap_or(default_port);
    Some((authority.host().to_ascii_lowercase(), port))
}
