//! What IAM must allow the identity: gathered from what is asked of upstreams, or from documents,
//! and printed as a policy.
//!
//! An [`ApiResource`] is an upstream as ARNs name it, [`RecordedOperations`] what kinds of things were asked of it, a
//! [`IamPolicy`] what both mean for IAM. A [`Recording`] notes what a running countersign sends and
//! keeps it in a file. Of a request only names are kept: root fields, channel namespaces, methods
//! and paths; never a header, a query string, a variable or a body.

mod documents;
mod operations;
mod policy;
mod recorder;
mod recording;

use serde::{Deserialize, Serialize};

pub use documents::{Mistake, operations_in};
pub use operations::{RecordOutcome, RecordedOperations};
pub use policy::{ArnParts, IamPolicy};
pub use recorder::Recorder;
pub use recording::{RecordError, Recording, RecordingEntry, read};

/// An upstream, as far as ARNs and actions depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiResource {
    pub service: String,
    /// `*` where it is not known.
    pub region: String,
    /// What requests name in `Host`; empty where it is not known.
    pub host: String,
    /// The target's path, without a trailing slash.
    pub path: String,
}

/// Verbs of AppSync; those of API Gateway are HTTP methods, and [`WEBSOCKET`].
pub const CONNECT: &str = "EventConnect";
pub const PUBLISH: &str = "EventPublish";
pub const SUBSCRIBE: &str = "EventSubscribe";
/// A WebSocket of API Gateway was opened.
pub const WEBSOCKET: &str = "$connect";
/// Everything, or anything of it: `*` in IAM, too.
pub const ANY: &str = "*";

impl ApiResource {
    /// An AppSync API of which no more than the region may be known.
    pub fn appsync(region: Option<&str>) -> Self {
        Self {
            service: "appsync".to_owned(),
            region: region.unwrap_or(ANY).to_owned(),
            host: String::new(),
            path: String::new(),
        }
    }

    pub fn is_appsync(&self) -> bool {
        self.service == "appsync"
    }

    pub fn is_api_gateway(&self) -> bool {
        self.service == "execute-api"
    }

    /// The AWS partition, by the region's name.
    fn partition(&self) -> &'static str {
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

    /// The API's id, if the host tells it: API Gateway's does (`ID.execute-api.…` and
    /// `ID-VPCE.execute-api.…`), AppSync's has a label that is no id.
    pub fn id(&self) -> Option<&str> {
        let (label, rest) = self.host.split_once('.')?;
        let is_named = self.is_api_gateway() && rest.starts_with("execute-api.");
        let id = label.split("-vpce-").next()?;
        (is_named && !id.starts_with("vpce-")).then_some(id)
    }

    /// Whether paths can be read in several ways.
    pub fn has_unknown_stage(&self) -> bool {
        self.id().is_none() || self.stage().is_none()
    }

    /// The stage, if the target names it.
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
    fn ids_and_partitions() {
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
