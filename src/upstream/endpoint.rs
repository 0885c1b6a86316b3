//! Infers an upstream's kind, region, service and realtime address from its URL.

mod address;
mod error;
mod mistaken;
mod url;

use http::HeaderName;

pub use address::Address;
pub(super) use address::port;
pub use error::EndpointError;
pub use mistaken::{is_api_id, of_example};
pub use url::usual_path;

use self::address::without_dot;
use self::url::{ParsedUrl, is_local, without_realtime};
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

impl Endpoint {
    /// Infers the endpoint from `url` and `overrides`.
    ///
    /// # Errors
    /// All problems with the URL and the overrides; never empty.
    pub fn infer(url: &str, overrides: &Overrides) -> Result<Self, Vec<EndpointError>> {
        let mut url = ParsedUrl::parse(url).map_err(|error| vec![error])?;
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
        if service.as_deref() == Some("appsync") {
            match url.appsync_path() {
                Ok(path) => url.path = path,
                Err(error) => problems.push(error),
            }
        }
        let (Some(region), Some(service), []) = (region, service, problems.as_slice()) else {
            let is_unknown = |problem: &EndpointError| {
                matches!(
                    problem,
                    EndpointError::NoRegion(_) | EndpointError::NoService(_)
                )
            };
            if is_local(&url.host) && problems.iter().all(is_unknown) {
                return Err(vec![EndpointError::Local(url.wire_host())]);
            }
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

fn region(
    host: &str,
    named: Option<&AwsHost<'_>>,
    overrides: &Overrides,
    problems: &mut Vec<EndpointError>,
) -> Option<String> {
    match (&overrides.region, named) {
        (Some(region), _) if !is_region(region) => {
            problems.push(EndpointError::BadRegion {
                region: region.clone(),
            });
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
        (None, None) if matches!(without_realtime(&url.path), "/graphql" | "/event") => {
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
    let bad = || EndpointError::BadHostHeader(text.to_owned());
    let Address { host, port } = Address::parse(text).ok_or_else(bad)?;
    let host = without_dot(host.to_ascii_lowercase());
    Ok(match port {
        443 => host,
        port => format!("{host}:{port}"),
    })
}

fn host_of(wire_host: &str) -> &str {
    match wire_host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => wire_host,
    }
}

#[cfg(test)]
mod tests;
