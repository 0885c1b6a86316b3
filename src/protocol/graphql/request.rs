//! Parses a GraphQL request so strictly that upstream cannot interpret it differently.
//!
//! The input is the bytes that will be sent; the output is the document and the `operationName`. JSON
//! parsers differ in how they treat duplicate members, unknown members and unexpected types, so
//! requests with any of these are errors.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::json::{InvalidEscape, invalid_escape};

/// The members of a request that determine the operation.
#[derive(Debug, PartialEq, Eq)]
pub struct StrictRequest {
    pub query: String,
    pub operation_name: Option<String>,
}

/// The reason why parsers may interpret a request differently. The texts do not quote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IrregularRequest {
    #[error("the request is not valid UTF-8")]
    Encoding,
    #[error("the request has an {0}")]
    Escape(InvalidEscape),
    #[error(
        "the request is not a single JSON object without duplicate members (line {line}, \
         column {column})"
    )]
    Json { line: usize, column: usize },
    #[error("the request is longer than {0} bytes")]
    Long(usize),
    #[error(
        "the request has members other than query, operationName, variables and extensions, or \
         members of the wrong type (line {line}, column {column})"
    )]
    Members { line: usize, column: usize },
    #[error("the request does not contain the text of a document")]
    NoText,
}

/// A request that was read in a single pass.
struct SinglePass {
    query: Option<String>,
    operation_name: Option<String>,
    has_document_id: bool,
}

/// The members with their types, so that serde reports the position of the first wrong one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    #[serde(rename = "query")]
    _query: Option<String>,
    #[serde(rename = "operationName")]
    _operation_name: Option<String>,
    #[serde(rename = "variables")]
    _variables: Option<HashMap<String, IgnoredAny>>,
    #[serde(rename = "extensions")]
    _extensions: Option<HashMap<String, IgnoredAny>>,
    #[serde(rename = "documentId")]
    _document_id: Option<IgnoredAny>,
}

/// Any JSON value without duplicate members, nested no deeper than serde_json allows.
struct Strict;

/// A JSON object without duplicate members, nested no deeper than serde_json allows.
struct StrictObject;

/// The maximum length in bytes, which is more than AppSync accepts.
const MAX_LENGTH: usize = 16 * 1024 * 1024;

impl StrictRequest {
    /// Reads a request in one pass.
    ///
    /// # Errors
    /// If parsers may interpret the request differently, or it has no document.
    pub fn read(bytes: &[u8]) -> Result<Self, IrregularRequest> {
        if bytes.len() > MAX_LENGTH {
            return Err(IrregularRequest::Long(MAX_LENGTH));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| IrregularRequest::Encoding)?;
        let is_object = text.trim_ascii_start().starts_with('{');
        let pass = if is_object {
            serde_json::from_str::<SinglePass>(text).ok()
        } else {
            None
        };
        let SinglePass {
            query,
            operation_name,
            has_document_id,
        } = pass.ok_or_else(|| diagnose(text, is_object))?;
        match query.filter(|query| !query.is_empty() && !has_document_id) {
            Some(query) => Ok(Self {
                query,
                operation_name,
            }),
            None => Err(IrregularRequest::NoText),
        }
    }
}

/// Finds out why a request is irregular, and where. Duplicate members are reported first, wherever they
/// are.
fn diagnose(text: &str, is_object: bool) -> IrregularRequest {
    // The messages of serde may quote values, so only the position is kept.
    let position = |error: serde_json::Error| (error.line(), error.column());
    if !is_object {
        return IrregularRequest::Json { line: 1, column: 1 };
    }
    if let Err(error) = serde_json::from_str::<Strict>(text) {
        if let Some(escape) = invalid_escape(&error) {
            return IrregularRequest::Escape(escape);
        }
        let (line, column) = position(error);
        return IrregularRequest::Json { line, column };
    }
    let members = serde_json::from_str::<Members>(text).map_err(position);
    let (line, column) = members.err().unwrap_or((1, 1));
    IrregularRequest::Members { line, column }
}

// === impl SinglePass ===

impl<'de> Deserialize<'de> for SinglePass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = SinglePass;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a GraphQL request")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SinglePass, A::Error> {
                let mut pass = SinglePass {
                    query: None,
                    operation_name: None,
                    has_document_id: false,
                };
                let mut names = HashSet::new();
                while let Some(name) = members.next_key::<String>()? {
                    match name.as_str() {
                        "query" => pass.query = members.next_value()?,
                        "operationName" => pass.operation_name = members.next_value()?,
                        "variables" | "extensions" => {
                            members.next_value::<Option<StrictObject>>()?;
                        }
                        "documentId" => {
                            let id = members.next_value::<Option<Strict>>()?;
                            pass.has_document_id = id.is_some();
                        }
                        _ => return Err(A::Error::custom("unknown member")),
                    }
                    if !names.insert(name) {
                        return Err(A::Error::custom("duplicate member"));
                    }
                }
                Ok(pass)
            }
        }

        deserializer.deserialize_map(Reader)
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

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self, A::Error> {
        StrictObject.visit_map(members)?;
        Ok(self)
    }
}

// === impl StrictObject ===

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for StrictObject {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate member"));
            }
            members.next_value::<Strict>()?;
        }
        Ok(self)
    }
}
