//! The API of each host name, and the rules for its signatures.
//!
//! As with AWS, the host name alone determines service and region. The ids of the APIs are random at
//! each start. For other services, any host name of the right form is served.

use crate::host::without_port;
use crate::options::CustomHost;

/// The names of the emulated APIs.
#[derive(Debug)]
pub(crate) struct HostNames {
    region: String,
    pub(crate) rest: String,
    pub(crate) http: String,
    pub(crate) websocket: String,
    pub(crate) analyzer: String,
    custom: Vec<CustomHost>,
}

/// The API or service of a host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) kind: SiteKind,
    /// The service in the credential scope.
    pub(super) service: String,
    pub(super) region: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteKind {
    /// A REST API: the first segment of the path is the stage.
    Rest,
    /// An HTTP API with the stage `$default`, which is not in the path.
    Http,
    WebSocket,
    /// IoT Wireless, with the stream of its network analyzer.
    Analyzer,
    /// Any other service, or a REST API with a custom domain: the path is the route.
    Service,
    /// An `execute-api` host name that none of the emulated APIs has.
    UnknownApi,
}

/// How the last line of the canonical request is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadRule {
    /// The hash of the body.
    BodyHash,
    /// The hash of the body. The request must declare a hash in `x-amz-content-sha256`.
    DeclaredBodyHash,
    /// `UNSIGNED-PAYLOAD` if `x-amz-content-sha256` has this value, or the hash of the body.
    MayBeUnsigned,
}

// === impl HostNames ===

impl HostNames {
    pub(crate) fn new(region: &str, custom: Vec<CustomHost>) -> Self {
        let name = || {
            let id: String = std::iter::repeat_with(|| fastrand::char('a'..='z'))
                .take(10)
                .collect();
            format!("{id}.execute-api.{region}.amazonaws.com")
        };
        Self {
            region: region.to_owned(),
            rest: name(),
            http: name(),
            websocket: name(),
            analyzer: format!("api.iotwireless.{region}.amazonaws.com"),
            custom,
        }
    }

    /// Returns the names for the certificate.
    pub(crate) fn certificate_names(&self) -> Vec<String> {
        let region = &self.region;
        let own = [&self.rest, &self.http, &self.websocket, &self.analyzer];
        let services = [
            format!("*.execute-api.{region}.amazonaws.com"),
            format!("*.{region}.es.amazonaws.com"),
            format!("*.{region}.aoss.amazonaws.com"),
            format!("*.{region}.amazonaws.com"),
            format!("*.lambda-url.{region}.on.aws"),
            format!("*.vpc-lattice-svcs.{region}.on.aws"),
        ];
        let custom = self.custom.iter().map(|custom| custom.host.clone());
        own.into_iter()
            .cloned()
            .chain(services)
            .chain(custom)
            .collect()
    }

    /// Returns the site of a host; `None` if it is AppSync's, or unknown.
    pub(super) fn site(&self, host: &str) -> Option<Site> {
        let name = without_port(host)?.to_ascii_lowercase();
        let site = |kind, service: &str, region: &str| {
            Some(Site {
                kind,
                service: service.to_owned(),
                region: region.to_owned(),
            })
        };
        if let Some(custom) = self.custom.iter().find(|custom| custom.host == name) {
            return site(SiteKind::Service, &custom.service, &custom.region);
        }
        let labels: Vec<&str> = name.trim_end_matches(".cn").split('.').collect();
        match labels[..] {
            [_, "execute-api", region, "amazonaws", "com"] => {
                let kind = match &name {
                    name if *name == self.rest => SiteKind::Rest,
                    name if *name == self.http => SiteKind::Http,
                    name if *name == self.websocket => SiteKind::WebSocket,
                    _ => SiteKind::UnknownApi,
                };
                site(kind, "execute-api", region)
            }
            ["api", "iotwireless", region, "amazonaws", "com"] => {
                site(SiteKind::Analyzer, "iotwireless", region)
            }
            [_, region, service @ ("es" | "aoss"), "amazonaws", "com"] => {
                site(SiteKind::Service, service, region)
            }
            [_, "lambda-url", region, "on", "aws"] => site(SiteKind::Service, "lambda", region),
            [_, service @ "vpc-lattice-svcs", region, "on", "aws"] => {
                site(SiteKind::Service, service, region)
            }
            [label, region, "amazonaws", "com"] => {
                site(SiteKind::Service, scope_name(label), region)
            }
            _ => None,
        }
    }
}

// === impl Site ===

impl Site {
    pub(super) fn payload_rule(&self) -> PayloadRule {
        match self.service.as_str() {
            "aoss" => PayloadRule::DeclaredBodyHash,
            "vpc-lattice-svcs" => PayloadRule::MayBeUnsigned,
            _ => PayloadRule::BodyHash,
        }
    }

    /// Returns whether a presigned URL may have its session token appended after signing.
    pub(super) fn accepts_appended_token(&self) -> bool {
        self.kind == SiteKind::Analyzer
    }

    /// Returns whether the rules of REST APIs for queries hold: `;` separates, and `|`, `{` and `}` are
    /// rejected
    /// ([known issues](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html)).
    pub(super) fn has_rest_queries(&self) -> bool {
        self.kind == SiteKind::Rest
            || (self.kind == SiteKind::Service && self.service == "execute-api")
    }
}

/// Returns the service name in the credential scope. For some services it differs from the label in
/// the host name.
fn scope_name(label: &str) -> &str {
    match label {
        "aps-workspaces" => "aps",
        "bedrock-runtime" => "bedrock",
        "transcribestreaming" => "transcribe",
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn service_and_region_come_from_the_name() {
        let custom = CustomHost {
            host: "api.example.com".to_owned(),
            service: "execute-api".to_owned(),
            region: "eu-west-1".to_owned(),
        };
        let names = HostNames::new("us-east-1", vec![custom]);
        for (host, expected) in [
            (
                names.rest.as_str(),
                Some((SiteKind::Rest, "execute-api", "us-east-1")),
            ),
            (
                names.http.as_str(),
                Some((SiteKind::Http, "execute-api", "us-east-1")),
            ),
            (
                &format!("{}:443", names.websocket.to_uppercase()),
                Some((SiteKind::WebSocket, "execute-api", "us-east-1")),
            ),
            (
                "x.execute-api.eu-west-1.amazonaws.com",
                Some((SiteKind::UnknownApi, "execute-api", "eu-west-1")),
            ),
            (
                "x.execute-api.cn-north-1.amazonaws.com.cn",
                Some((SiteKind::UnknownApi, "execute-api", "cn-north-1")),
            ),
            (
                "api.iotwireless.eu-west-1.amazonaws.com",
                Some((SiteKind::Analyzer, "iotwireless", "eu-west-1")),
            ),
            (
                "search-x.eu-west-1.es.amazonaws.com",
                Some((SiteKind::Service, "es", "eu-west-1")),
            ),
            (
                "x.eu-west-1.aoss.amazonaws.com",
                Some((SiteKind::Service, "aoss", "eu-west-1")),
            ),
            (
                "x.lambda-url.eu-west-1.on.aws",
                Some((SiteKind::Service, "lambda", "eu-west-1")),
            ),
            (
                "x.vpc-lattice-svcs.eu-west-1.on.aws",
                Some((SiteKind::Service, "vpc-lattice-svcs", "eu-west-1")),
            ),
            (
                "aps-workspaces.eu-west-1.amazonaws.com",
                Some((SiteKind::Service, "aps", "eu-west-1")),
            ),
            (
                "API.example.com",
                Some((SiteKind::Service, "execute-api", "eu-west-1")),
            ),
            ("x.appsync-api.us-east-1.amazonaws.com", None),
            ("x.appsync-realtime-api.us-east-1.amazonaws.com", None),
            ("localhost", None),
            ("example.com", None),
        ] {
            let site = names.site(host);
            let site = site
                .as_ref()
                .map(|site| (site.kind, site.service.as_str(), site.region.as_str()));
            assert_eq!(site, expected, "{host}");
        }
    }
}
