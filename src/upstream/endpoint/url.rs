//! Parses an upstream's URL in the forms in which users find it: AppSync's realtime URL, a host without
//! a scheme, text in quotes.

use http::Uri;

use super::super::service_profile::AwsHost;
use super::address::{Address, is_host, port, without_dot};
use super::error::EndpointError;
use super::mistaken::mistaken;

/// The parts of an upstream URL.
pub(super) struct ParsedUrl {
    /// Without a trailing dot, which neither a certificate nor a `Host` header has. For AppSync, it is
    /// the host of the API, even if the URL names the realtime host.
    pub(super) host: String,
    /// Whether the host has a trailing dot, so that the resolver appends no search domain.
    is_absolute: bool,
    pub(super) port: u16,
    /// Without a trailing slash.
    pub(super) path: String,
}

impl ParsedUrl {
    pub(super) fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim_matches(is_around);
        if let Some(error) = mistaken(text) {
            return Err(error);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None if !text.contains(['.', ':', '/']) => {
                return Err(EndpointError::NotUrl(text.to_owned()));
            }
            None => ("https".to_owned(), text.trim_start_matches('/')),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') || rest.contains(['?', '#']) {
            let plain = rest.split(['?', '#']).next().unwrap_or_default();
            let plain = plain.rsplit('@').next().unwrap_or_default();
            return Err(EndpointError::NotPlain(plain.to_owned()));
        }
        if authority.is_empty() {
            return Err(EndpointError::NoHost);
        }
        // API Gateway and AppSync show the URLs of WebSockets with wss.
        if !matches!(scheme.as_str(), "https" | "wss") {
            return Err(if is_local(authority) {
                EndpointError::Local(text.to_owned())
            } else {
                EndpointError::NotHttps(scheme, rest.to_owned())
            });
        }
        let uri: Result<Uri, _> = format!("https://{rest}").parse();
        let uri = uri.map_err(|_| EndpointError::NotUrl(text.to_owned()))?;
        let authority = uri.authority().ok_or(EndpointError::NoHost)?;
        let host = authority.host().to_ascii_lowercase();
        let is_absolute = host.ends_with('.');
        let host = without_dot(host);
        if host.is_empty() {
            return Err(EndpointError::NoHost);
        }
        if !is_host(&host) {
            return Err(EndpointError::BadHost(host));
        }
        Ok(Self {
            host: api_host(host),
            is_absolute,
            port: port(authority).ok_or(EndpointError::BadPort)?,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the address to dial for a host at the URL's port.
    pub(super) fn address(&self, host: &str) -> Address {
        let dot = if self.is_absolute { "." } else { "" };
        Address {
            host: format!("{host}{dot}"),
            port: self.port,
        }
    }

    pub(super) fn wire_host(&self) -> String {
        match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// Returns the path of the API of AppSync that the URL names. `/graphql` is the default. A custom
    /// domain can have other paths, if a server in front of AppSync maps them.
    ///
    /// # Errors
    /// [`EndpointError::AppSyncPath`]
    pub(super) fn appsync_path(&self) -> Result<String, EndpointError> {
        let path = without_realtime(&self.path);
        let known = ["/graphql", "/event"].into_iter();
        let mut known = known.filter(|known| known.eq_ignore_ascii_case(path));
        match known.next() {
            _ if path.is_empty() => Ok("/graphql".to_owned()),
            _ if !is_appsync(&self.host) => Ok(path.to_owned()),
            Some(known) => Ok(known.to_owned()),
            None => Err(EndpointError::AppSyncPath {
                host: self.wire_host(),
                path: self.path.clone(),
            }),
        }
    }
}

/// Returns whether a host, with or without a port, is this machine.
pub(super) fn is_local(authority: &str) -> bool {
    let authority = authority.to_ascii_lowercase();
    let hosts = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"];
    hosts.iter().any(|host| {
        let rest = authority.strip_prefix(host);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

/// Returns the local path that serves an upstream: `/graphql` or `/event` for AppSync, else `/`.
pub fn usual_path(url: &str) -> &'static str {
    let Ok(url) = ParsedUrl::parse(url) else {
        return "/";
    };
    let path = match url.appsync_path() {
        Ok(path) if is_appsync(&url.host) => path,
        Ok(_) | Err(_) => without_realtime(&url.path).to_owned(),
    };
    match path.rsplit('/').next() {
        Some("graphql") => "/graphql",
        Some("event") => "/event",
        Some(_) | None => "/",
    }
}

/// Removes what the path of a realtime URL has in addition.
pub(super) fn without_realtime(path: &str) -> &str {
    let base = path.strip_suffix("/realtime").unwrap_or(path);
    base.trim_end_matches('/')
}

/// Returns whether a character surrounds a URL in JSON, in Markdown or in a sentence.
fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ',')
}

/// Returns the API's host for the realtime host of AppSync, and any other host as it is.
fn api_host(host: String) -> String {
    // The label may end in `-fips`.
    let api = host.replacen(".appsync-realtime-api", ".appsync-api", 1);
    if is_appsync(&api) { api } else { host }
}

fn is_appsync(host: &str) -> bool {
    AwsHost::parse(host).is_some_and(|host| host.profile.service == "appsync")
}
