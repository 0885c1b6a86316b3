//! The neutral types of GraphQL that every dialect and every upstream channel share.
//!
//! A dialect converts its frames to an [`Operation`]; a session runs it; the result is a stream of
//! [`Event`]s. Payloads are carried as raw JSON ([`Json`]) and are never parsed into GraphQL types.
//! This module is independent of sockets, dialects and AppSync.

mod definitions;
mod document;
mod documents;
mod error;
mod executable;
mod filters;
mod inspected;
mod json;
mod operation_name;
mod request;
mod survey;

pub use definitions::{Definition, DefinitionKind, definitions};
pub use document::{DocumentError, OperationKind, SelectedOperation};
pub use documents::Documents;
pub use error::{GraphqlError, RejectedIdentity, shown};
pub use executable::select;
pub use filters::{LiveFilters, SubscriptionFilter, Unexamined, Unselected};
pub use inspected::{BodyError, Inspected, Selection, is_object};
pub use json::{InvalidEscape, Json, invalid_escape, push_json_string, read_object};
pub use request::{IrregularRequest, StrictRequest};
pub use survey::{Survey, SurveyError, survey};

use operation_name::{non_empty, without_empty_name};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One GraphQL request: `{"query", "variables", "operationName", "extensions"}`.
///
/// `null` and absent mean the same (GraphQL over HTTP, "Request Parameters"), and so does an empty
/// `operationName`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Box<RawValue>>,
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub operation_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Box<RawValue>>,
    /// The request as the client wrote it, to be sent byte for byte.
    #[serde(skip)]
    pub raw: Option<String>,
    /// The client's own headers for this operation.
    #[serde(skip)]
    pub headers: Vec<(String, String)>,
}

/// Identifies one operation of one session; never reused within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationKey(pub u64);

/// The events of a running operation, in order.
///
/// `Next` and `Missed` occur any number of times, then exactly one of `Error`, `Complete` or
/// `Lost`.
#[derive(Clone, Debug)]
pub enum Event {
    /// Upstream has confirmed the subscription.
    Started,
    /// One execution result, `{"data":…,"errors":…}`.
    Next(Json),
    /// An event could not be delivered; the operation continues. Never empty.
    Missed(Vec<GraphqlError>),
    /// The operation failed; never empty.
    Error(Vec<GraphqlError>),
    /// The operation ended by itself.
    Complete,
    /// The upstream connection of the subscription was lost: events may be missing.
    Lost,
}

// === impl Operation ===

impl Operation {
    /// Creates an operation that is sent as it was written: `{"query", "variables"?,
    /// "operationName"?}`. Only an empty `operationName` is removed.
    ///
    /// # Errors
    /// If `data` is not such JSON.
    pub fn from_data(data: String) -> Result<Self, serde_json::Error> {
        let operation: Self = serde_json::from_str(&data)?;
        let shortened = match operation.operation_name {
            None => without_empty_name(&data),
            Some(_) => None,
        };
        Ok(Self {
            raw: Some(shortened.unwrap_or(data)),
            ..operation
        })
    }

    /// Returns the JSON body of a `POST` to a GraphQL endpoint.
    pub fn to_body(&self) -> String {
        let mut body = self.to_data();
        if self.raw.is_some() {
            return body;
        }
        if let Some(extensions) = &self.extensions {
            body.truncate(body.len() - 1);
            body.push_str(",\"extensions\":");
            body.push_str(extensions.get());
            body.push('}');
        }
        body
    }

    /// Returns the JSON that AppSync's realtime `start` contains as a string: only query, variables
    /// and operationName, because AppSync hashes exactly these bytes ("Building a real-time
    /// WebSocket client", subscription registration message).
    pub fn to_data(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let variables = self.variables.as_ref().map_or("{}", |raw| raw.get());
        let mut data = String::with_capacity(self.query.len() + variables.len() + 64);
        data.push_str("{\"query\":");
        push_json_string(&mut data, &self.query);
        data.push_str(",\"variables\":");
        data.push_str(variables);
        if let Some(name) = &self.operation_name {
            data.push_str(",\"operationName\":");
            push_json_string(&mut data, name);
        }
        data.push('}');
        data
    }
}

// === impl Event ===

impl Event {
    /// Returns the number of payload bytes that this event keeps in memory while it is queued.
    pub fn size(&self) -> usize {
        match self {
            Self::Next(json) => json.len(),
            Self::Error(errors) => errors.iter().map(GraphqlError::size).sum(),
            Self::Started | Self::Missed(_) | Self::Complete | Self::Lost => 0,
        }
    }

    /// Returns whether it is the last event.
    pub fn is_ending(&self) -> bool {
        match self {
            Self::Error(_) | Self::Complete | Self::Lost => true,
            Self::Started | Self::Next(_) | Self::Missed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_keeps_variables_byte_for_byte() {
        let text =
            r#"{"query":"{ a }","variables":{"n": 1.0,  "u":"\u003c"},"extensions":{"x":1}}"#;
        let operation: Operation = serde_json::from_str(text).unwrap();
        assert_eq!(
            operation.to_body(),
            r#"{"query":"{ a }","variables":{"n": 1.0,  "u":"\u003c"},"extensions":{"x":1}}"#
        );
        assert_eq!(
            operation.to_data(),
            r#"{"query":"{ a }","variables":{"n": 1.0,  "u":"\u003c"}}"#
        );
    }

    #[test]
    fn null_means_absent() {
        let text = r#"{"query":"{ a }","variables":null,"operationName":null,"extensions":null}"#;
        let operation: Operation = serde_json::from_str(text).unwrap();
        assert_eq!(operation.to_body(), r#"{"query":"{ a }","variables":{}}"#);
    }
}
