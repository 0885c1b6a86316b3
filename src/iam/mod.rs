//! The permissions that IAM must grant: recorded from requests to upstreams, or derived from GraphQL
//! documents, and printed as an IAM policy.
//!
//! An [`ApiResource`] identifies an upstream in ARNs, [`RecordedOperations`] are the operations that
//! were requested from it, and an [`IamPolicy`] allows them. A [`Recording`] writes the operations that a
//! running countersign sends to a file. Only names are recorded: root fields, channel namespaces,
//! methods and paths; never a header, a query string, a variable or a body.

mod documents;
mod operations;
mod policy;
mod recorder;
mod recording;
mod required;

use serde::{Deserialize, Serialize};

pub use documents::{DocumentProblem, operations_in};
pub use operations::{RecordOutcome, RecordedOperations};
pub use policy::{ArnParts, IamPolicy};
pub use recorder::Recorder;
pub use recording::{RecordError, Recording, RecordingEntry, read};
pub use required::required_permissions;

/// An upstream, with the properties that determine ARNs and actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    pub service: String,
    /// The region, or `*` if it is unknown.
    pub region: String,
    /// The `Host` of requests; empty if it is unknown.
    pub host: String,
    /// The path of the target URL, without a trailing slash.
    pub path: String,
}

/// The verb for connecting to the realtime endpoint of AppSync Events. The verbs of API Gateway are
/// HTTP methods and [`WEBSOCKET`]; those of GraphQL are the names of the root types.
pub const CONNECT: &str = "EventConnect";
/// The verb for publishing to a channel namespace.
pub const PUBLISH: &str = "EventPublish";
/// The verb for subscribing to a channel namespace.
pub const SUBSCRIBE: &str = "EventSubscribe";
/// The verb for opening a WebSocket of API Gateway.
pub const WEBSOCKET: &str = "$connect";
/// The wildcard for verbs, names and segments, as in IAM.
pub const ANY: &str = "*";

impl ApiResource {
    /// Returns an AppSync API in `region`, or in any region, with an unknown host and path.
    pub fn appsync(region: Option<&str>) -> Self {
        Self {
            service: "appsync".to_owned(),
            region: region.unwrap_or(ANY).to_owned(),
            host: String::new(),
            path: String::new(),
        }
    }

    /// Returns whether the service is AppSync.
    pub fn is_appsync(&self) -> bool {
        self.service == "appsync"
    }

    /// Returns whether the service is API Gateway.
    pub fn is_api_gateway(&self) -> bool {
        self.service == "execute-api"
    }

    /// Returns the AWS partition of the region.
    pub fn partition(&self) -> &'static str {
        let partitions = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
        ];
        let found = partitions
            .iter()
            .find(|(prefix, _)| self.region.starts_with(prefix));
        found.map_or("aws", |(_, partition)| partition)
    }

    /// Returns the ID of the API, if the host contains it. Hosts of API Gateway do (`ID.execute-api.…` and
    /// `ID-VPCE.execute-api.…`). In hosts of AppSync, the first label is not the ID.
    pub fn id(&self) -> Option<&str> {
        let (label, rest) = self.host.split_once('.')?;
        let is_named = self.is_api_gateway() && rest.starts_with("execute-api.");
        let id = label.split("-vpce-").next()?;
        (is_named && !id.starts_with("vpce-")).then_some(id)
    }

    /// Returns whether the stage or the API ID is unknown, which makes the meaning of paths ambiguous.
    pub fn has_unknown_stage(&self) -> bool {
        self.id().is_none() || self.stage().is_none()
    }

    /// Returns the stage, if the target contains it.
    fn stage(&self) -> Option<&str> {
        self.path
            .split('/')
            .nth(1)
            .filter(|stage| !stage.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(service: &str, host: &str, region: &str, id: Option<&str>, partition: &str) {
        let api = ApiResource {
            service: service.to_owned(),
            region: region.to_owned(),
            host: host.to_owned(),
            path: String::new(),
        };
        assert_eq!((api.id(), api.partition()), (id, partition), "{host}");
    }

    #[test]
    fn ids_and_partitions_are_derived_from_host_and_region() {
        let gateway = "a1b2.execute-api.us-east-1.amazonaws.com";
        check("execute-api", gateway, "us-east-1", Some("a1b2"), "aws");
        check(
            "execute-api",
            &gateway.replace("a1b2", "a1b2-vpce-0c"),
            "us-east-1",
            Some("a1b2"),
            "aws",
        );
        check(
            "execute-api",
            &gateway.replace("a1b2", "vpce-0c"),
            "us-east-1",
            None,
            "aws",
        );
        check(
            "execute-api",
            "api.example.com",
            "cn-north-1",
            None,
            "aws-cn",
        );
        check(
            "appsync",
            "x.appsync-api.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
            None,
            "aws-us-gov",
        );
        check("appsync", "", ANY, None, "aws");
    }
}
