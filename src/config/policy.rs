//! What a route's or a token's table says of what may be asked.

use super::declare::Settings as _;
use super::settings::Operations;
use super::table::Table;
use crate::guard::{AllowedOperations, OperationPolicy};
use crate::upstream::UpstreamKind;

/// What the table of this name, a route's or a token's, allows, if it says so; `kind` is its
/// upstream's, where that is known.
pub(super) fn policy(
    name: String,
    table: &Table<'_>,
    is_read_only: bool,
    kind: Option<UpstreamKind>,
) -> Option<OperationPolicy> {
    let allowed = allowed(&table.table("operations"));
    let has_operations = table.is_said("operations");
    match kind {
        Some(UpstreamKind::Events | UpstreamKind::Http) if has_operations => table.report(
            "operations",
            "is for AppSync GraphQL, which alone has operations; elsewhere there is read_only",
        ),
        Some(UpstreamKind::Events | UpstreamKind::Http | UpstreamKind::Graphql) | None => {}
    }
    (is_read_only || has_operations).then(|| OperationPolicy {
        table: name,
        is_read_only,
        operations: allowed.filter(|_| has_operations),
    })
}

/// `None` only if a problem was reported.
fn allowed(table: &Table<'_>) -> Option<AllowedOperations> {
    let operations = Operations::read(table)?;
    let Operations {
        names,
        sha256,
        fields,
        ..
    } = &operations;
    for (key, is_empty) in [
        ("names", names.as_ref().is_some_and(Vec::is_empty)),
        ("sha256", sha256.as_ref().is_some_and(Vec::is_empty)),
        ("fields", fields.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            table.report(
                key,
                "is empty, so that nothing would be allowed: leave it out",
            );
        }
    }
    Some(AllowedOperations {
        names: operations.names.map(|names| names.into_iter().collect()),
        sha256: operations.sha256.map(|hashes| hashes.into_iter().collect()),
        fields: operations.fields,
        introspection: operations.introspection,
        depth: operations.depth,
        aliases: operations.aliases,
        size: operations.size,
    })
}
