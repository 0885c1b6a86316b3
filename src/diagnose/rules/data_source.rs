//! Errors of the data sources behind AppSync's resolvers.

use serde_json::Value;

use super::super::diagnosis::Diagnosis;
use super::super::encode::quoted;
use super::super::evidence::Answer;
use super::super::texts::undecided;

/// What AppSync writes before the type of an error of a data source, such as `Lambda:Unhandled`.
const PREFIXES: [&str; 6] = [
    "DynamoDB:",
    "Elasticsearch:",
    "ElasticSearch:",
    "Lambda:",
    "OpenSearch:",
    "RelationalDatabase:",
];
const MAX_TYPE: usize = 80;

/// Returns the diagnosis of an answer whose first error is of a data source: whatever its text says is about the
/// request of AppSync, not about that of the client.
pub(super) fn diagnosis(answer: &Answer) -> Option<Diagnosis> {
    if !answer.body.contains("\"errors\"") {
        return None;
    }
    let json: Value = serde_json::from_str(answer.body.trim()).ok()?;
    let errors = json
        .get("errors")
        .or_else(|| json.get("payload")?.get("errors"))?;
    let error = errors.get(0).unwrap_or(errors);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, message) = (text("errorType"), text("message"));
    let is_named = PREFIXES.iter().any(|prefix| kind.starts_with(prefix));
    // AppSync denies fields with a path too.
    let is_denial =
        kind.starts_with("Unauthorized") || message.contains("Not Authorized to access ");
    let has_path = error
        .get("path")
        .and_then(Value::as_array)
        .is_some_and(|path| !path.is_empty());
    if !is_named && (!has_path || is_denial || !is_of_aws(message)) {
        return None;
    }
    let short: String = kind.chars().take(MAX_TYPE).collect();
    let of_type = if kind.is_empty() {
        String::new()
    } else {
        format!(" with {}", quoted(&short))
    };
    let summary =
        format!("AppSync accepted the request, and the data source of a resolver failed{of_type}.");
    Some(Diagnosis::unknown(summary, &[]).checking(undecided::DATA_SOURCE))
}

/// Returns whether a message is a rejection by the service behind a resolver.
fn is_of_aws(message: &str) -> bool {
    let marks = [
        " is not authorized to perform: ",
        "The request signature we calculated does not match",
        "security token included in the request",
        "Signature expired: ",
        "Credential should be scoped",
    ];
    marks.iter().any(|mark| message.contains(mark))
}
