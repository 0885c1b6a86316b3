//! Why an upstream URL cannot be used.

/// Why an upstream URL cannot be used. The message names the setting that fixes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "AppSync has no path {path:?}: use https://{host}/graphql, or https://{host}/event for AppSync Events"
    )]
    AppSyncPath { host: String, path: String },
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
    #[error("the URL is a page of the AWS console. {0}")]
    Console(String),
    /// Text of another form, and how to find the URL.
    #[error("{text:?} is not a URL. {advice}")]
    Mistaken { text: String, advice: String },
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
    #[error(
        "the URL must begin with https://: signed requests are never sent in plain text. Use https://{0}"
    )]
    NotHttps(String),
    #[error("the URL must not contain a user, a query or a fragment: use https://HOST/PATH")]
    NotPlain,
    #[error(
        "{0:?} is not a URL: expected one such as https://ID.appsync-api.REGION.amazonaws.com/graphql"
    )]
    NotUrl(String),
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
