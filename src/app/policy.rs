//! The IAM resources of the routes.

use crate::config::Config;
use crate::iam::ApiResource;
use crate::upstream::{Endpoint, UpstreamKind};

/// Returns the AppSync GraphQL APIs, with the names of their routes.
pub fn graphql_apis(config: &Config) -> Vec<(String, ApiResource)> {
    let routes = config.routes.iter();
    let graphql = routes.filter(|route| route.endpoint.kind == UpstreamKind::Graphql);
    graphql
        .map(|route| (route.name.clone(), api(&route.endpoint)))
        .collect()
}

pub(super) fn api(endpoint: &Endpoint) -> ApiResource {
    ApiResource {
        service: endpoint.scope.service.clone(),
        region: endpoint.scope.region.clone(),
        host: endpoint.wire_host.clone(),
        path: endpoint.path.clone(),
    }
}
