//! A GraphQL error in the form of the specification.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error_code::{Code, Sent};

/// Returns the start of a text that a client chose, for errors and log lines.
pub fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// `{"message", "path"?, "locations"?, "extensions"?}` (GraphQL specification, section 7.1.2).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphqlError {
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locations: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extensions: Map<String, Value>,
    /// The IAM identity that AWS rejected, for the log. Clients do not receive it.
    #[serde(skip)]
    pub identity: Option<Box<RejectedIdentity>>,
}

/// The ARN of an IAM identity. An error holds a pointer to it, because few have one.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedIdentity(pub String);

impl GraphqlError {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            path: None,
            locations: None,
            extensions: Map::new(),
            identity: None,
        }
    }

    /// Creates an error of countersign: `extensions.code` is stable, `extensions.sent` states
    /// whether upstream may have acted (`no`, `maybe` or `yes`).
    pub fn coded(message: impl Into<String>, code: Code, sent: Sent) -> Self {
        let error = Self::new(message).with("code", code.as_str());
        error.with("sent", sent.as_str())
    }

    /// Returns the size of its texts in bytes.
    pub fn size(&self) -> usize {
        let values = self
            .extensions
            .values()
            .chain(&self.path)
            .chain(&self.locations);
        let texts = values.map(|value| value.as_str().map_or(0, str::len));
        self.message.len() + texts.sum::<usize>()
    }

    /// Adds why AWS rejected the request: members of `extensions`, and the ARN of the IAM identity.
    #[must_use]
    pub fn explained<'a>(
        self,
        members: impl Iterator<Item = (&'static str, &'a str)>,
        identity: Option<&str>,
    ) -> Self {
        let mut error = members.fold(self, |error, (name, value)| error.with(name, value));
        error.identity = identity.map(|arn| Box::new(RejectedIdentity(arn.to_owned())));
        error
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(key.to_owned(), value.into());
        self
    }
}
