//! The types of an introspection's result. Names are checked, because they become SDL.

use serde::{Deserialize, Deserializer};

/// The response to an introspection query.
#[derive(Debug, Deserialize)]
pub(super) struct Response {
    pub(super) data: Data,
}

#[derive(Debug, Deserialize)]
pub(super) struct Data {
    #[serde(rename = "__schema")]
    pub(super) schema: Schema,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    pub(super) description: Option<String>,
    pub(super) query_type: Option<RootType>,
    pub(super) mutation_type: Option<RootType>,
    pub(super) subscription_type: Option<RootType>,
    pub(super) types: Vec<Type>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) directives: Vec<Directive>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RootType {
    pub(super) name: Name,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    Scalar,
    Object,
    Interface,
    Union,
    Enum,
    InputObject,
    List,
    NonNull,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Type {
    pub(super) kind: Kind,
    pub(super) name: Name,
    pub(super) description: Option<String>,
    #[serde(rename = "specifiedByURL", alias = "specifiedByUrl")]
    pub(super) specified_by: Option<String>,
    pub(super) is_one_of: Option<bool>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) fields: Vec<Field>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) input_fields: Vec<InputValue>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) interfaces: Vec<TypeRef>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) enum_values: Vec<EnumValue>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) possible_types: Vec<TypeRef>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) args: Vec<InputValue>,
    #[serde(rename = "type")]
    pub(super) kind: TypeRef,
    #[serde(flatten)]
    pub(super) deprecation: Deprecation,
}

/// An argument, or a field of an input object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InputValue {
    pub(super) name: Name,
    pub(super) description: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: TypeRef,
    pub(super) default_value: Option<Literal>,
    #[serde(flatten)]
    pub(super) deprecation: Deprecation,
}

#[derive(Debug, Deserialize)]
pub(super) struct EnumValue {
    pub(super) name: Name,
    pub(super) description: Option<String>,
    #[serde(flatten)]
    pub(super) deprecation: Deprecation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deprecation {
    pub(super) is_deprecated: Option<bool>,
    pub(super) deprecation_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directive {
    pub(super) name: Name,
    pub(super) description: Option<String>,
    pub(super) is_repeatable: Option<bool>,
    pub(super) locations: Vec<Name>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) args: Vec<InputValue>,
}

/// A named type, or a list or non-null type of another one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypeRef {
    pub(super) kind: Kind,
    pub(super) name: Option<Name>,
    pub(super) of_type: Option<Box<Self>>,
}

/// A name as GraphQL defines it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) struct Name(String);

/// A value in the language of GraphQL, without control characters.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) struct Literal(String);

/// Why a result is not a schema.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidSchema {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is not a name in GraphQL")]
    Name(String),
    #[error("the default value {0:?} has control characters")]
    Literal(String),
    #[error("a type has neither a name nor an inner type, or is nested too deeply")]
    Nested,
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidSchema;

    fn try_from(text: String) -> Result<Self, InvalidSchema> {
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let is_valid = text.bytes().next().is_some_and(is_start)
            && text
                .bytes()
                .all(|byte| is_start(byte) || byte.is_ascii_digit());
        if is_valid {
            Ok(Self(text))
        } else {
            Err(InvalidSchema::Name(text))
        }
    }
}

impl Literal {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Literal {
    type Error = InvalidSchema;

    fn try_from(text: String) -> Result<Self, InvalidSchema> {
        let is_invalid = |c: char| c.is_control() && !matches!(c, '\t' | '\n');
        if text.contains(is_invalid) {
            Err(InvalidSchema::Literal(text))
        } else {
            Ok(Self(text))
        }
    }
}

/// Reads null as an empty list: what does not apply to a kind of type is null.
fn or_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}
