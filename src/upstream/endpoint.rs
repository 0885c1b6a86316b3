//! Infers an upstream's kind, region, service and realtime address from its URL.

use std::net::Ipv6Addr;

use http::uri::Authority;
use http::{HeaderName, Uri};

use super::service_profile::{self, AwsHost, is_region};
use crate::sign::{Scope, SigningStyle};

/// The kind of API behind a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// AppSync GraphQL. Requests are operations, and subscriptions use the realtime endpoint.
    Graphql,
    /// AppSync Events. Requests publish to channels, and subscriptions use the realtime endpoint.
    Events,
    /// API Gateway, or any other service that accepts SigV4. Requests are forwarded.
    Http,
}

/// An unresolved TCP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// The properties of an upstream that the configuration determines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub kind: UpstreamKind,
    pub scope: Scope,
    pub style: SigningStyle,
    /// The environment variable that names the region, if nothing else implies it.
    pub region_variable: Option<&'static str>,
    /// Replaces the region in SigV4A signatures.
    pub region_set: Option<String>,
    /// Headers to sign in addition to the required ones.
    pub signed_headers: Vec<HeaderName>,
    /// The address to dial.
    pub address: Address,
    /// The name for which the certificate must be valid.
    pub tls_name: String,
    /// The `Host` (in HTTP/2, `:authority`) that is sent and signed. It has no port if that is 443.
    pub wire_host: String,
    /// The path of the target URL, without a trailing slash; empty for the root.
    pub path: String,
    /// Only AppSync has one.
    pub realtime: Option<RealtimeEndpoint>,
}

/// The realtime endpoint of an AppSync API. Signatures for it cover the wire host of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeEndpoint {
    pub address: Address,
    pub tls_name: String,
    pub wire_host: String,
    pub path: String,
}

/// Settings that override what the URL implies.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub region: Option<String>,
    pub service: Option<String>,
    pub host: Option<String>,
    pub connect: Option<Address>,
    /// Used if nothing else implies the region.
    pub default_region: Option<DefaultRegion>,
}

/// The region of the AWS environment variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRegion {
    pub variable: &'static str,
    pub region: String,
}

/// Why an upstream URL cannot be used. The message names the setting that fixes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "{0:?} is not a URL. To find your API's URL, run: aws appsync get-graphql-api --api-id {0} --query graphqlApi.uris.GRAPHQL"
    )]
    ApiId(String),
    #[error("invalid host {0:?}: expected a host name with an optional port")]
    BadHost(String),
    #[error("the URL has an invalid port: expected a number from 1 to 65535")]
    BadPort,
    #[error("invalid AWS region {0:?}: expected a region such as eu-central-1")]
    BadRegion(String),
    #[error("invalid AWS region {region:?} in {variable}: expected a region such as eu-central-1")]
    BadRegionVariable {
        variable: &'static str,
        region: String,
    },
    #[error("invalid SigV4 service {0:?}: expected a name such as appsync or execute-api")]
    BadService(String),
    #[error("the URL has no host")]
    NoHost,
    #[error(
        "cannot infer the region from the host {0}: set `region` (--region) or AWS_REGION to the region of the API"
    )]
    NoRegion(String),
    #[error(
        "cannot infer the service from the host {0}: set `service` (--service), such as appsync or execute-api"
    )]
    NoService(String),
    #[error("the URL must begin with https://: signed requests are never sent in plain text")]
    NotHttps,
    #[error("the URL must not contain a user, a query or a fragment")]
    NotPlain,
    #[error(
        "{host} is in {found}, but `region` is {configured}: remove `region`, or correct the URL"
    )]
    RegionMismatch {
        host: String,
        found: String,
        configured: String,
    },
    #[error(
        "countersign cannot sign for S3, which has its own signing rules: use an AWS SDK, or URLs presigned by one"
    )]
    S3,
    #[error(
        "an AppSync VPC endpoint serves several APIs: set `host` (--host) to ID.appsync-api.{region}.{suffix}"
    )]
    VpcEndpointNeedsHost {
        region: String,
        suffix: &'static str,
    },
}

impl Endpoint {
    /// Infers the endpoint from `url` and `overrides`.
    ///
    /// # Errors
    /// All problems with the URL and the overrides; never empty.
    pub fn infer(url: &str, overrides: &Overrides) -> Result<Self, Vec<EndpointError>> {
        let url = ParsedUrl::parse(url).map_err(|error| vec![error])?;
        let mut problems = Vec::new();
        let wire_host = match &overrides.host {
            Some(host) => wire_host(host).unwrap_or_else(|error| {
                problems.push(error);
                url.wire_host()
            }),
            None => url.wire_host(),
        };
        // For a private API, the URL names the VPC endpoint, and `host` names the API.
        let named = AwsHost::parse(host_of(&wire_host)).or_else(|| AwsHost::parse(&url.host));
        let region = region(&url.host, named.as_ref(), overrides, &mut problems);
        let is_default = overrides.region.is_none() && named.is_none();
        let default = overrides.default_region.as_ref().filter(|_| is_default);
        let region_variable = default.map(|default| default.variable);
        let service = service(&url, named.as_ref(), overrides, &mut problems);
        if let (
            None,
            Some(AwsHost {
                is_vpc_endpoint: true,
                profile,
                region,
                partition,
            }),
        ) = (&overrides.host, &named)
            && profile.service == "appsync"
        {
            problems.push(EndpointError::VpcEndpointNeedsHost {
                region: (*region).to_owned(),
                suffix: partition.dns_suffix,
            });
        }
        let (Some(region), Some(service), []) = (region, service, problems.as_slice()) else {
            return Err(problems);
        };
        let kind = match service.as_str() {
            "appsync" if url.path.ends_with("/event") => UpstreamKind::Events,
            "appsync" => UpstreamKind::Graphql,
            _ => UpstreamKind::Http,
        };
        let address = overrides
            .connect
            .clone()
            .unwrap_or_else(|| url.address(&url.host));
        let realtime = (kind != UpstreamKind::Http)
            .then(|| RealtimeEndpoint::of(kind, &url, &wire_host, overrides));
        let style = service_profile::style(&service);
        Ok(Self {
            kind,
            style,
            signed_headers: Vec::new(),
            region_set: None,
            region_variable,
            scope: Scope { region, service },
            address,
            tls_name: url.host,
            wire_host,
            path: url.path,
            realtime,
        })
    }

    /// Returns the credential scope of signatures.
    pub fn signing_scope(&self) -> Scope {
        let region = self.region_set.as_ref().unwrap_or(&self.scope.region);
        Scope {
            region: region.clone(),
            service: self.scope.service.clone(),
        }
    }
}

impl RealtimeEndpoint {
    /// Derives the realtime endpoint of an API. Beside its `appsync-api` host, AppSync serves an
    /// `appsync-realtime-api` host. On a custom domain, realtime has the same host and `/realtime` after
    /// the path, and so has the path of Events on both hosts (AppSync developer guide, "Building a real-time
    /// WebSocket client").
    fn of(kind: UpstreamKind, url: &ParsedUrl, wire_host: &str, overrides: &Overrides) -> Self {
        // The label may end in `-fips`.
        let realtime = |host: &str| host.replacen(".appsync-api", ".appsync-realtime-api", 1);
        let named = AwsHost::parse(host_of(wire_host));
        let is_standard =
            named.is_some_and(|named| named.profile.service == "appsync" && !named.is_vpc_endpoint);
        let dialled = AwsHost::parse(&url.host);
        let is_vpc_endpoint = dialled.is_some_and(|dialled| dialled.is_vpc_endpoint);
        let (wire_host, tls_name) = match (is_standard, is_vpc_endpoint) {
            (true, true) => (realtime(wire_host), url.host.clone()),
            (true, false) => (realtime(wire_host), realtime(&url.host)),
            (false, _) => (wire_host.to_owned(), url.host.clone()),
        };
        let path = match kind {
            UpstreamKind::Graphql if is_standard => url.path.clone(),
            UpstreamKind::Graphql | UpstreamKind::Events | UpstreamKind::Http => {
                format!("{}/realtime", url.path)
            }
        };
        let address = overrides
            .connect
            .clone()
            .unwrap_or_else(|| url.address(&tls_name));
        Self {
            address,
            tls_name,
            wire_host,
            path,
        }
    }
}

/// The parts of an upstream URL.
struct ParsedUrl {
    /// Without a trailing dot, which neither a certificate nor a `Host` header has.
    host: String,
    /// Whether the host has a trailing dot, so that the resolver appends no search domain.
    is_absolute: bool,
    port: u16,
    path: String,
}

impl ParsedUrl {
    fn parse(url: &str) -> Result<Self, EndpointError> {
        if !url.is_empty() && url.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(EndpointError::ApiId(url.to_owned()));
        }
        let uri: Uri = url.parse().map_err(|_| EndpointError::NoHost)?;
        if uri.scheme_str() != Some("https") {
            return Err(EndpointError::NotHttps);
        }
        let authority = uri.authority().ok_or(EndpointError::NoHost)?;
        if authority.as_str().contains('@') || uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::NotPlain);
        }
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
            host,
            is_absolute,
            port: port(authority).ok_or(EndpointError::BadPort)?,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the address to dial for a host at the URL's port.
    fn address(&self, host: &str) -> Address {
        let dot = if self.is_absolute { "." } else { "" };
        Address {
            host: format!("{host}{dot}"),
            port: self.port,
        }
    }

    fn wire_host(&self) -> String {
        match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
}

fn without_dot(mut host: String) -> String {
    if host.ends_with('.') {
        host.pop();
    }
    host
}

fn region(
    host: &str,
    named: Option<&AwsHost<'_>>,
    overrides: &Overrides,
    problems: &mut Vec<EndpointError>,
) -> Option<String> {
    match (&overrides.region, named) {
        (Some(region), _) if !is_region(region) => {
            problems.push(EndpointError::BadRegion(region.clone()));
            None
        }
        (Some(region), Some(named)) if named.region != region => {
            problems.push(EndpointError::RegionMismatch {
                host: host.to_owned(),
                found: named.region.to_owned(),
                configured: region.clone(),
            });
            None
        }
        (Some(region), _) => Some(region.clone()),
        (None, Some(named)) => Some(named.region.to_owned()),
        (None, None) => {
            let Some(DefaultRegion { variable, region }) = overrides.default_region.clone() else {
                problems.push(EndpointError::NoRegion(host.to_owned()));
                return None;
            };
            if is_region(&region) {
                return Some(region);
            }
            problems.push(EndpointError::BadRegionVariable { variable, region });
            None
        }
    }
}

fn service(
    url: &ParsedUrl,
    named: Option<&AwsHost<'_>>,
    overrides: &Overrides,
    problems: &mut Vec<EndpointError>,
) -> Option<String> {
    match (&overrides.service, named) {
        (Some(service), _) if !is_service(service) => {
            problems.push(EndpointError::BadService(service.clone()));
            None
        }
        (service, _) if service_profile::is_s3(service.as_deref(), &url.host) => {
            problems.push(EndpointError::S3);
            None
        }
        (Some(service), _) => Some(service.clone()),
        (None, Some(named)) => Some(named.profile.service.to_owned()),
        (None, None) if matches!(url.path.as_str(), "/graphql" | "/event") => {
            Some("appsync".to_owned())
        }
        (None, None) => {
            problems.push(EndpointError::NoService(url.host.clone()));
            None
        }
    }
}

fn is_service(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)
}

fn wire_host(text: &str) -> Result<String, EndpointError> {
    let bad = || EndpointError::BadHost(text.to_owned());
    let Address { host, port } = Address::parse(text).ok_or_else(bad)?;
    let host = without_dot(host.to_ascii_lowercase());
    Ok(match port {
        443 => host,
        port => format!("{host}:{port}"),
    })
}

/// Returns the port, which is 443 by default; `None` if it is invalid.
pub(super) fn port(authority: &Authority) -> Option<u16> {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(443),
        // The parser accepts a sign, which a port must not have.
        Some(text) if text.starts_with(":+") => None,
        Some(_) | None => authority.port_u16().filter(|port| *port > 0),
    }
}

/// Returns whether `text` is a host name or an IP literal.
fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(is_plain),
    }
}

fn host_of(wire_host: &str) -> &str {
    match wire_host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => wire_host,
    }
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

#[cfg(test)]
mod tests;
