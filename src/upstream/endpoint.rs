//! What an upstream URL means: kind, region, service, and the realtime address that goes with it.

use std::net::Ipv6Addr;

use http::uri::Authority;
use http::{HeaderName, Uri};

use super::service_profile::{self, AwsHost, is_region};
use crate::sign::{Scope, SigningStyle};

/// What is behind a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// AppSync GraphQL: requests are operations, subscriptions go to its realtime endpoint.
    Graphql,
    /// AppSync Events: requests publish to channels, subscriptions go to its realtime endpoint.
    Events,
    /// API Gateway, or any other service that takes SigV4: requests are passed on.
    Http,
}

/// A TCP address, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// Everything that configuration fixes about an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub kind: UpstreamKind,
    pub scope: Scope,
    pub style: SigningStyle,
    /// In place of the region where signatures are SigV4A.
    pub region_set: Option<String>,
    /// Signed beside those that must be.
    pub signed_headers: Vec<HeaderName>,
    /// What is dialled.
    pub address: Address,
    /// What the certificate must be for.
    pub tls_name: String,
    /// The `Host` (`:authority` in HTTP/2) that is sent and signed; without `:443`.
    pub wire_host: String,
    /// The target's path, without a trailing slash; empty for the root.
    pub path: String,
    /// AppSync only.
    pub realtime: Option<RealtimeEndpoint>,
}

/// The realtime side of an AppSync API. Its signatures are over the API's own wire host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeEndpoint {
    pub address: Address,
    pub tls_name: String,
    pub wire_host: String,
    pub path: String,
}

/// What configuration says beside the URL.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub region: Option<String>,
    pub service: Option<String>,
    pub host: Option<String>,
    pub connect: Option<Address>,
}

/// Why a URL is no usable upstream. Texts name the setting that mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("{0:?} is not a host name with an optional port")]
    BadHost(String),
    #[error("the URL's port is not a number from 1 to 65535")]
    BadPort,
    #[error("{0:?} is not an AWS region, such as eu-central-1")]
    BadRegion(String),
    #[error("{0:?} is not a SigV4 service name, such as appsync or execute-api")]
    BadService(String),
    #[error("the URL has no host")]
    NoHost,
    #[error(
        "the region cannot be told from the host {0}: set `region` (--region), the region of the API"
    )]
    NoRegion(String),
    #[error(
        "the service cannot be told from the host {0}: set `service` (--service), such as appsync or execute-api"
    )]
    NoService(String),
    #[error("the URL must begin with https://: signed requests never travel in the clear")]
    NotHttps,
    #[error("the URL must have neither user, query nor fragment")]
    NotPlain,
    #[error(
        "{host} is in {found}, but `region` says {configured}: remove `region`, or correct the URL"
    )]
    RegionMismatch {
        host: String,
        found: String,
        configured: String,
    },
    #[error(
        "S3 signs by rules of its own, which countersign does not follow: use an AWS SDK, or URLs that it presigned"
    )]
    S3,
    #[error(
        "an AppSync VPC endpoint serves many APIs: set `host` (--host) to ID.appsync-api.{0}.amazonaws.com"
    )]
    VpcEndpointNeedsHost(String),
}

impl Endpoint {
    /// Infers what `url` leads to.
    ///
    /// # Errors
    /// All that is wrong with the URL and the overrides, not only the first.
    pub fn infer(url: &str, overrides: &Overrides) -> Result<Self, Vec<EndpointError>> {
        let target = ParsedUrl::parse(url).map_err(|error| vec![error])?;
        let mut problems = Vec::new();
        let wire_host = match &overrides.host {
            Some(host) => wire_host(host).unwrap_or_else(|error| {
                problems.push(error);
                target.wire_host()
            }),
            None => target.wire_host(),
        };
        // For a private endpoint the URL names the endpoint and `host` the API.
        let named = AwsHost::parse(host_of(&wire_host)).or_else(|| AwsHost::parse(&target.host));
        let region = region(&target.host, named.as_ref(), overrides, &mut problems);
        let service = service(&target, named.as_ref(), overrides, &mut problems);
        if let (
            None,
            Some(AwsHost {
                is_vpc_endpoint: true,
                profile,
                region,
            }),
        ) = (&overrides.host, &named)
            && profile.service == "appsync"
        {
            problems.push(EndpointError::VpcEndpointNeedsHost((*region).to_owned()));
        }
        let (Some(region), Some(service), []) = (region, service, problems.as_slice()) else {
            return Err(problems);
        };
        let kind = match service.as_str() {
            "appsync" if target.path.ends_with("/event") => UpstreamKind::Events,
            "appsync" => UpstreamKind::Graphql,
            _ => UpstreamKind::Http,
        };
        let address = overrides.connect.clone().unwrap_or_else(|| Address {
            host: target.host.clone(),
            port: target.port,
        });
        let realtime = (kind != UpstreamKind::Http)
            .then(|| RealtimeEndpoint::of(kind, &target, &wire_host, overrides));
        let style = service_profile::style(&service);
        Ok(Self {
            kind,
            style,
            signed_headers: Vec::new(),
            region_set: None,
            scope: Scope { region, service },
            address,
            tls_name: target.host,
            wire_host,
            path: target.path,
            realtime,
        })
    }
}

impl Endpoint {
    /// The scope that signatures are made for.
    pub fn signing_scope(&self) -> Scope {
        let region = self.region_set.as_ref().unwrap_or(&self.scope.region);
        Scope {
            region: region.clone(),
            service: self.scope.service.clone(),
        }
    }
}

impl RealtimeEndpoint {
    /// AppSync dev guide, "Building a real-time WebSocket client": the standard host has a
    /// sibling `appsync-realtime-api` with the same path; a custom domain has `/realtime` below,
    /// and so have Events on both.
    fn of(kind: UpstreamKind, target: &ParsedUrl, wire_host: &str, overrides: &Overrides) -> Self {
        let sibling = |host: &str| host.replacen(".appsync-api.", ".appsync-realtime-api.", 1);
        let named = AwsHost::parse(host_of(wire_host));
        let standard =
            named.is_some_and(|named| named.profile.service == "appsync" && !named.is_vpc_endpoint);
        let dialled = AwsHost::parse(&target.host);
        let vpc = dialled.is_some_and(|dialled| dialled.is_vpc_endpoint);
        let (wire_host, tls_name) = match (standard, vpc) {
            (true, true) => (sibling(wire_host), target.host.clone()),
            (true, false) => (sibling(wire_host), sibling(&target.host)),
            (false, _) => (wire_host.to_owned(), target.host.clone()),
        };
        let path = match kind {
            UpstreamKind::Graphql if standard => target.path.clone(),
            UpstreamKind::Graphql | UpstreamKind::Events | UpstreamKind::Http => {
                format!("{}/realtime", target.path)
            }
        };
        let address = overrides.connect.clone().unwrap_or_else(|| Address {
            host: tls_name.clone(),
            port: target.port,
        });
        Self {
            address,
            tls_name,
            wire_host,
            path,
        }
    }
}

/// A parsed URL.
struct ParsedUrl {
    host: String,
    port: u16,
    path: String,
}

impl ParsedUrl {
    fn parse(url: &str) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::NoHost)?;
        if uri.scheme_str() != Some("https") {
            return Err(EndpointError::NotHttps);
        }
        let authority = uri.authority().ok_or(EndpointError::NoHost)?;
        if authority.as_str().contains('@') || uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::NotPlain);
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(EndpointError::NoHost);
        }
        if !is_host(&host) {
            return Err(EndpointError::BadHost(host));
        }
        Ok(Self {
            host,
            port: port(authority).ok_or(EndpointError::BadPort)?,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    fn wire_host(&self) -> String {
        match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
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
            problems.push(EndpointError::NoRegion(host.to_owned()));
            None
        }
    }
}

fn service(
    target: &ParsedUrl,
    named: Option<&AwsHost<'_>>,
    overrides: &Overrides,
    problems: &mut Vec<EndpointError>,
) -> Option<String> {
    match (&overrides.service, named) {
        (Some(service), _) if !is_service(service) => {
            problems.push(EndpointError::BadService(service.clone()));
            None
        }
        (service, _) if service_profile::is_s3(service.as_deref(), &target.host) => {
            problems.push(EndpointError::S3);
            None
        }
        (Some(service), _) => Some(service.clone()),
        (None, Some(named)) => Some(named.profile.service.to_owned()),
        (None, None) if matches!(target.path.as_str(), "/graphql" | "/event") => {
            Some("appsync".to_owned())
        }
        (None, None) => {
            problems.push(EndpointError::NoService(target.host.clone()));
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
    Ok(match port {
        443 => host.to_ascii_lowercase(),
        port => format!("{}:{port}", host.to_ascii_lowercase()),
    })
}

/// 443 if there is none; `None` if what stands there is no port.
fn port(authority: &Authority) -> Option<u16> {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(443),
        // A number may have a sign where it is parsed, and none here.
        Some(text) if text.starts_with(":+") => None,
        Some(_) | None => authority.port_u16().filter(|port| *port > 0),
    }
}

/// A name, or an IP literal.
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
    /// `host` or `host:port`; the port is 443 if it is left out.
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
