//! The body of a GraphQL response, with errors in AppSync's format.

use async_graphql::{PathSegment, Response, ServerError, Value};
use serde::Serialize;

use crate::selection::{NullError, Step};

#[derive(Debug, Serialize)]
struct Body<'a> {
    data: &'a Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    #[serde(rename_all = "camelCase")]
    Execution {
        path: Vec<Step>,
        data: Option<()>,
        error_type: Option<String>,
        error_info: Option<()>,
        locations: Vec<Location>,
        message: String,
    },
    Null(NullError),
    Request {
        path: Option<()>,
        locations: Vec<Location>,
        message: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    line: usize,
    column: usize,
    source_name: Option<()>,
}

/// Returns the body of a response. `nulls` are the errors for nulls that the schema forbids; they do
/// not include the errors that caused the nulls.
pub(super) fn body(
    response: &Response,
    nulls: Vec<NullError>,
) -> Result<String, serde_json::Error> {
    let nulls = nulls.into_iter().map(Entry::Null);
    serde_json::to_string(&Body {
        data: &response.data,
        errors: response.errors.iter().map(entry).chain(nulls).collect(),
    })
}

/// Returns the body for a request that could not be executed: status 200, `data` null.
pub(super) fn request_error(message: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Body {
        data: &Value::Null,
        errors: vec![Entry::Request {
            path: None,
            locations: Vec::new(),
            message: message.to_owned(),
        }],
    })
}

/// Returns the message for a request that does not match the schema, for example
/// `Validation error of type FieldUndefined: …`.
pub(super) fn validation_message(error: &ServerError) -> String {
    let message = error.message.trim();
    let validation_type = VALIDATION_TYPES
        .iter()
        .find(|(start, _)| message.starts_with(start))
        .map_or("InvalidSyntax", |(_, validation_type)| validation_type);
    format!("Validation error of type {validation_type}: {message}")
}

fn entry(error: &ServerError) -> Entry {
    let locations = error
        .locations
        .iter()
        .map(|position| Location {
            line: position.line,
            column: position.column,
            source_name: None,
        })
        .collect();
    if error.path.is_empty() {
        return Entry::Request {
            path: None,
            locations,
            message: validation_message(error),
        };
    }

    let extensions = error.extensions.as_ref();
    let error_type = match extensions.and_then(|extensions| extensions.get("errorType")) {
        Some(Value::String(error_type)) => Some(error_type.clone()),
        Some(_) | None => None,
    };
    let path = error.path.iter().map(|segment| match segment {
        PathSegment::Field(name) => Step::Key(name.clone()),
        PathSegment::Index(index) => Step::Index(*index),
    });
    Entry::Execution {
        path: path.collect(),
        data: None,
        error_type,
        error_info: None,
        locations,
        message: error.message.clone(),
    }
}

/// How async-graphql's messages begin, and the error types of graphql-java, which AppSync runs.
const VALIDATION_TYPES: &[(&str, &str)] = &[
    ("Unknown field", "FieldUndefined"),
    ("Unknown argument", "UnknownArgument"),
    ("Unknown type", "UnknownType"),
    ("Unknown fragment", "UndefinedFragment"),
    ("Unknown directive", "UnknownDirective"),
    ("Unknown operation", "UnknownOperation"),
    ("Invalid value", "WrongType"),
    ("Variable", "UndefinedVariable"),
    ("Field", "MissingFieldArgument"),
];
