//! A client's message on a GraphQL socket, parsed member by member: a member that cannot be read fails
//! the message's own operation, and not the socket, if the id is known.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::active_operations::MAX_ID;
use crate::graphql::{invalid_escape, read_object};

/// A message: `{"type", "id"?, "payload"?}`; other members are ignored.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) message_type: String,
    id: Option<&'a RawValue>,
    pub(super) payload: Option<&'a RawValue>,
}

/// Why a text is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the message is not a JSON object with a type")]
    NotObject,
    #[error("type {0}")]
    Type(StringError),
}

/// Why a value is not a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StringError {
    /// It is a string of JSON, whose text is not Unicode.
    #[error("has an invalid Unicode escape, half of a surrogate pair")]
    Escape,
    #[error("must be a string")]
    Type,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "type", borrow, default)]
    message_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Parses a text.
    ///
    /// # Errors
    /// If it is not an object, or its type is not a string.
    pub(super) fn parse(text: &'a str) -> Result<Self, MessageError> {
        let members: Members<'_> = read_object(text).ok_or(MessageError::NotObject)?;
        let message_type = members.message_type.ok_or(MessageError::NotObject)?;
        Ok(Self {
            message_type: read_string(message_type).map_err(MessageError::Type)?,
            id: members.id,
            payload: members.payload,
        })
    }

    /// Returns the id as JSON text: a non-empty string, or a number.
    pub(super) fn id(&self) -> Option<&'a str> {
        let text = self.id?.get();
        let is_id = text.starts_with(|first: char| first == '"' || first.is_ascii_digit());
        (is_id && text != r#""""#).then_some(text)
    }

    /// Returns the id as a string; `None` if there is none, or an empty one.
    ///
    /// # Errors
    /// If it is not a string.
    pub(super) fn string_id(&self) -> Result<Option<String>, StringError> {
        let id = self.id.map(read_string).transpose()?;
        Ok(id.filter(|id| !id.is_empty()))
    }

    /// Returns whether there is an id that is neither a string nor a number.
    pub(super) fn has_bad_id(&self) -> bool {
        self.id() != self.id.map(RawValue::get) && self.id.is_some_and(|id| id.get() != r#""""#)
    }

    /// Returns whether the id is longer than the limit.
    pub(super) fn has_long_id(&self) -> bool {
        let text = self.id().unwrap_or_default();
        text.trim_matches('"').len() > MAX_ID
    }
}

/// Reads a string.
///
/// # Errors
/// If the value is not a string, or its text is not Unicode.
pub(super) fn read_string(raw: &RawValue) -> Result<String, StringError> {
    serde_json::from_str(raw.get()).map_err(|error| match invalid_escape(&error) {
        Some(_) => StringError::Escape,
        None => StringError::Type,
    })
}
