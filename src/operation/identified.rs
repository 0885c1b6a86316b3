//! Adds the ids of requests to errors.

use countersign_protocol::graphql::GraphqlError;

use crate::telemetry::RequestId;

/// Adds the id of its request to an error of countersign.
pub fn identified(error: GraphqlError, id: &RequestId) -> GraphqlError {
    error.with(RequestId::MEMBER, id.to_string())
}

/// Does the same for those errors that are countersign's, or that it explains. Others of AWS are passed on
/// unchanged.
pub fn identify_own(errors: &mut [GraphqlError], id: &RequestId) {
    for error in errors {
        let names = ["code", "cause"];
        if names
            .iter()
            .any(|name| error.extensions.contains_key(*name))
        {
            *error = identified(std::mem::replace(error, GraphqlError::new("")), id);
        }
    }
}
