//! What a route's or a token's table says of what may be asked.

use super::table::Table;
use super::values;
use crate::guard::{AllowedOperations, OperationPolicy};
use crate::upstream::UpstreamKind;

/// What the table of this name, a route's or a token's, allows, if it says so; `kind` is its
/// upstream's, where that is known.
pub(super) fn policy(
    name: String,
    table: &Table<'_>,
    kind: Option<UpstreamKind>,
) -> Option<OperationPolicy> {
    let is_read_only = table.read("read_only", values::switch).unwrap_or(false);
    let operations = table.table("operations");
    let allowed = allowed(&operations);
    operations.finish();
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
        operations: has_operations.then_some(allowed),
    })
}

fn allowed(table: &Table<'_>) -> AllowedOperations {
    let names = table.list("names", values::graphql_name);
    let sha256 = table.list("sha256", values::sha256);
    let fields = table.list("fields", values::field_pattern);
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
    AllowedOperations {
        names: names.map(|names| names.into_iter().collect()),
        sha256: sha256.map(|hashes| hashes.into_iter().collect()),
        fields,
        introspection: table.read("introspection", values::switch),
        depth: table.read("depth", values::count),
        aliases: table.read("aliases", values::number),
        size: table.read("size", values::size),
    }
}
