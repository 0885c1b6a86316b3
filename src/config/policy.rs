//! Resolves the operation policy of a route or a token.

use super::declare::SettingsTable as _;
use super::settings::OperationSettings;
use super::table::Table;
use crate::guard::{AllowedOperations, OperationPolicy};
use crate::upstream::UpstreamKind;

/// Returns the policy of the table with this name, a route's or a token's, or `None` if the table
/// restricts nothing. `kind` is the kind of the upstream; `None` for a token or an invalid target.
pub(super) fn policy(
    name: String,
    table: &Table<'_>,
    is_read_only: bool,
    kind: Option<UpstreamKind>,
) -> Option<OperationPolicy> {
    let allowed = allowed(&table.table("operations"));
    let has_operations = table.is_set("operations");
    match kind {
        Some(UpstreamKind::Events | UpstreamKind::Http) if has_operations => table.report(
            "operations",
            "applies only to AppSync GraphQL: use read_only for other upstreams",
        ),
        Some(UpstreamKind::Events | UpstreamKind::Http | UpstreamKind::Graphql) | None => {}
    }
    (is_read_only || has_operations).then(|| OperationPolicy {
        table: name,
        is_read_only,
        operations: allowed.filter(|_| has_operations),
    })
}

/// Returns `None` only if a problem was reported.
fn allowed(table: &Table<'_>) -> Option<AllowedOperations> {
    let operations = OperationSettings::read(table)?;
    let OperationSettings {
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
            table.report(key, "is empty and would allow no operations: remove it");
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
