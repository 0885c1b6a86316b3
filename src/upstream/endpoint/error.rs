//! Why an upstream URL cannot be used.

use super::super::service_profile::is_region;

/// Why an upstream URL cannot be used. The message names the setting that fixes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "AppSync has no path {path:?}: use https://{host}/graphql, or https://{host}/event for AppSync Events"
    )]
    AppSyncPath { host: String, path: String },
    #[error("invalid host {0:?}: expected a host name with an optional port")]
    BadHost(String),
    /// The same, of the setting `host`.
    #[error(
        "invalid host {0:?}: expected a host name without scheme and path, such as api.example.com"
    )]
    BadHostHeader(String),
    #[error("the URL has an invalid port: expected a number from 1 to 65535")]
    BadPort,
    #[error("invalid AWS region {region:?}: {}", region_advice(region))]
    BadRegion { region: String },
    #[error(
        "invalid AWS region {region:?} in {variable}: {}",
        region_advice(region)
    )]
    BadRegionVariable {
        variable: &'static str,
        region: String,
    },
    #[error("invalid SigV4 service {0:?}: expected a name such as appsync or execute-api")]
    BadService(String),
    #[error("the URL is a page of the AWS console. {0}")]
    Console(String),
    #[error(
        "{0:?} is on this machine, but countersign signs requests to AWS. Pass the URL of your API, such as https://ID.appsync-api.REGION.amazonaws.com/graphql"
    )]
    Local(String),
    /// Text of another form, and how to find the URL.
    #[error("{text:?} is not a URL. {advice}")]
    Mistaken { text: String, advice: String },
    #[error("the URL has no host")]
    NoHost,
    #[error(
        "cannot infer the region from the host {0}: add the region of the API, such as --region eu-central-1 (in a file: `region`), or set AWS_REGION"
    )]
    NoRegion(String),
    #[error(
        "cannot infer the service from the host {0}: add the service, such as --service appsync or --service execute-api (in a file: `service`)"
    )]
    NoService(String),
    /// The scheme, and what follows it.
    #[error(
        "\"{0}://{1}\" must begin with https://, because signed requests are never sent in plain text. Use https://{1}"
    )]
    NotHttps(String, String),
    /// A URL without these parts, which may be secret.
    #[error("the URL must not contain a user, a query or a fragment: use https://{0}")]
    NotPlain(String),
    #[error(
        "{0:?} is not a URL: expected one such as https://ID.appsync-api.REGION.amazonaws.com/graphql"
    )]
    NotUrl(String),
    #[error("{text:?} contains the placeholders of an example. {advice}")]
    Placeholder { text: String, advice: String },
    #[error(
        "{configured:?} is not the region of the URL: {host} is in {found}. Leave out the region, or correct the URL"
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

impl EndpointError {
    /// Returns the key of the route's setting that is wrong.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::BadHostHeader(_) => "host",
            Self::BadRegion { .. } | Self::RegionMismatch { .. } => "region",
            Self::BadService(_) => "service",
            Self::AppSyncPath { .. }
            | Self::BadHost(_)
            | Self::BadPort
            | Self::BadRegionVariable { .. }
            | Self::Console(_)
            | Self::Local(_)
            | Self::Mistaken { .. }
            | Self::NoHost
            | Self::NoRegion(_)
            | Self::NoService(_)
            | Self::NotHttps(..)
            | Self::NotPlain(_)
            | Self::NotUrl(_)
            | Self::Placeholder { .. }
            | Self::S3
            | Self::VpcEndpointNeedsHost { .. } => "target",
        }
    }
}

/// Returns the region that may be meant: by an availability zone, such as `eu-central-1a`, or in capitals.
fn region_advice(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let zone = lower.trim_end_matches(|c: char| c.is_ascii_lowercase());
    match [lower.as_str(), zone]
        .into_iter()
        .find(|near| is_region(near))
    {
        Some(near) => format!("did you mean {near}?"),
        None => "expected a region such as eu-central-1".to_owned(),
    }
}
