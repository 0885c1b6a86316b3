//! Parses a GraphQL request so strictly that upstream cannot interpret it differently.
//!
//! The input is the bytes that will be sent; the output is the document and the `operationName`. JSON
//! parsers differ in how they treat duplicate members, unknown members and unexpected types, so
//! requests with any of these are rejected.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::policy::Rule;

/// The members of a request that determine the operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GraphqlRequest {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    query: Option<String>,
    operation_name: Option<String>,
    #[serde(rename = "variables")]
    _variables: Option<HashMap<String, IgnoredAny>>,
    #[serde(rename = "extensions")]
    _extensions: Option<HashMap<String, IgnoredAny>>,
    document_id: Option<IgnoredAny>,
}

/// Any JSON value without duplicate members, nested no deeper than serde_json allows.
struct Strict;

/// More than AppSync accepts, in bytes.
const MAX_LENGTH: usize = 16 * 1024 * 1024;

impl GraphqlRequest {
    /// Parses a request.
    ///
    /// # Errors
    /// The [`Rule`] that the request violates.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Rule> {
        if bytes.len() > MAX_LENGTH {
            return Err(Rule::Long(MAX_LENGTH));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Rule::Encoding)?;
        // The messages of serde may quote values, so only the position is kept.
        let at = |error: serde_json::Error| (error.line(), error.column());
        let is_object = text.trim_ascii_start().starts_with('{');
        let strict = if is_object {
            serde_json::from_str::<Strict>(text).map_err(at)
        } else {
            Err((1, 1))
        };
        strict.map_err(|(line, column)| Rule::Json { line, column })?;
        let members = serde_json::from_str::<Members>(text).map_err(at);
        let members = members.map_err(|(line, column)| Rule::Members { line, column })?;
        let query = members.query.filter(|query| !query.is_empty());
        match query {
            Some(query) if members.document_id.is_none() => Ok(Self {
                query,
                operation_name: members.operation_name,
            }),
            Some(_) | None => Err(Rule::NoText),
        }
    }
}

// === impl Strict ===

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate member"));
            }
            members.next_value::<Self>()?;
        }
        Ok(self)
    }
}
