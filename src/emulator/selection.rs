//! The events of a subscription: a mutation's result, projected onto the subscription's selection.
//!
//! AppSync does not query the data source again for a subscriber. A field that the mutation did not
//! select is null for the subscriber; where the schema forbids null, an error replaces the event. This
//! module has no I/O.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use async_graphql::{Name, SelectionField, Value};
use serde::Serialize;

/// One selected field, with fragments resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedField {
    pub(super) response_key: String,
    pub(super) name: String,
    pub(super) children: Vec<Self>,
}

/// AppSync's error for a null that the schema forbids. AppSync sends null `locations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NullError {
    pub(super) path: Vec<Step>,
    pub(super) locations: Option<()>,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The type of every field of every object type.
#[derive(Debug)]
pub(super) struct Types(HashMap<(String, String), Type>);

/// Returns a mutation's result with the schema's names in place of the client's aliases.
pub(super) fn unalias(value: &Value, selection: &[SelectedField]) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields = IndexMap::new();
            for selected in selection {
                let Some(value) = object.get(selected.response_key.as_str()) else {
                    continue;
                };
                let value = unalias(value, &selected.children);
                insert_merged(&mut fields, Name::new(&selected.name), value);
            }
            Value::Object(fields)
        }
        Value::List(items) => {
            Value::List(items.iter().map(|item| unalias(item, selection)).collect())
        }
        Value::Null
        | Value::Number(_)
        | Value::String(_)
        | Value::Boolean(_)
        | Value::Binary(_)
        | Value::Enum(_) => value.clone(),
    }
}

/// Returns the value of one field of `Subscription`. It is `Null` if errors propagate to it.
pub(super) fn project(
    types: &Types,
    selected: &SelectedField,
    event: &Value,
) -> (Value, Vec<NullError>) {
    let mut projection = Projection::new(types, Source::Names);
    let value = projection.field("Subscription", selected, Some(event));
    (value.unwrap_or(Value::Null), projection.errors)
}

/// Returns a response's `data` as AppSync sends it: fields that the executor omitted are null, and a
/// null that the schema forbids has made its parent null.
pub(super) fn complete(
    types: &Types,
    root: &str,
    selection: &[SelectedField],
    data: &Value,
) -> (Value, Vec<NullError>) {
    let mut projection = Projection::new(types, Source::ResponseKeys);
    let empty = IndexMap::new();
    let object = if let Value::Object(object) = data {
        object
    } else {
        &empty
    };
    let value = projection.object(root, selection, object);
    (value.unwrap_or(Value::Null), projection.errors)
}

/// Returns the error for a forbidden null at `path`.
pub(super) fn null_error(path: Vec<Step>, field_type: &str, parent: &str) -> NullError {
    let pointer: String = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => format!("/{key}"),
            Step::Index(index) => format!("[{index}]"),
        })
        .collect();
    NullError {
        path,
        locations: None,
        message: format!(
            "Cannot return null for non-nullable type: '{field_type}' within parent '{parent}' ({pointer})"
        ),
    }
}

/// Inserts a value, or merges it into an earlier one: a field may be selected twice with different
/// subfields.
fn insert_merged(fields: &mut IndexMap<Name, Value>, name: Name, value: Value) {
    match fields.get_mut(&name) {
        Some(existing) => *existing = merge(std::mem::take(existing), value),
        None => {
            fields.insert(name, value);
        }
    }
}

fn merge(existing: Value, added: Value) -> Value {
    match (existing, added) {
        (Value::Object(mut existing), Value::Object(added)) => {
            for (name, value) in added {
                insert_merged(&mut existing, name, value);
            }
            Value::Object(existing)
        }
        (Value::List(existing), Value::List(added)) if existing.len() == added.len() => {
            Value::List(
                existing
                    .into_iter()
                    .zip(added)
                    .map(|(existing, added)| merge(existing, added))
                    .collect(),
            )
        }
        (_, added) => added,
    }
}

/// The names that fields have in the projected objects: the schema's, or the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Names,
    ResponseKeys,
}

struct Projection<'a> {
    types: &'a Types,
    source: Source,
    path: Vec<Step>,
    errors: Vec<NullError>,
}

// === impl Projection ===

impl<'a> Projection<'a> {
    fn new(types: &'a Types, source: Source) -> Self {
        Self {
            types,
            source,
            path: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Returns `None` for a null that the schema forbids here, so that the parent becomes null.
    fn field(
        &mut self,
        parent: &str,
        selected: &SelectedField,
        value: Option<&Value>,
    ) -> Option<Value> {
        if selected.name == "__typename" {
            return Some(Value::String(parent.to_owned()));
        }
        let Some(field_type) = self.types.field_type(parent, &selected.name) else {
            // A field of introspection, whose type the schema's SDL does not define.
            return Some(value.cloned().unwrap_or_default());
        };
        self.path.push(Step::Key(selected.response_key.clone()));
        let value = self.complete(field_type, parent, &selected.children, value);
        self.path.pop();
        value
    }

    fn complete(
        &mut self,
        field_type: &Type,
        parent: &str,
        children: &[SelectedField],
        value: Option<&Value>,
    ) -> Option<Value> {
        let value = match value {
            None | Some(Value::Null) => {
                if !field_type.nullable {
                    let name = field_type.base.to_string();
                    self.errors
                        .push(null_error(self.path.clone(), &name, parent));
                    return None;
                }
                return Some(Value::Null);
            }
            Some(value) => value,
        };
        let completed = match (&field_type.base, value) {
            (BaseType::List(field_type), Value::List(items)) => {
                self.items(field_type, parent, children, items)
            }
            (BaseType::Named(name), Value::Object(object)) => self.object(name, children, object),
            (BaseType::Named(_) | BaseType::List(_), value) => Some(value.clone()),
        };
        match completed {
            None if field_type.nullable => Some(Value::Null),
            completed => completed,
        }
    }

    fn items(
        &mut self,
        field_type: &Type,
        parent: &str,
        children: &[SelectedField],
        items: &[Value],
    ) -> Option<Value> {
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Index(index));
            let item = self.complete(field_type, parent, children, Some(item));
            self.path.pop();
            list.push(item?);
        }
        Some(Value::List(list))
    }

    fn object(
        &mut self,
        name: &str,
        children: &[SelectedField],
        object: &IndexMap<Name, Value>,
    ) -> Option<Value> {
        let mut fields = IndexMap::new();
        for child in children {
            let key = match self.source {
                Source::Names => &child.name,
                Source::ResponseKeys => &child.response_key,
            };
            let value = self.field(name, child, object.get(key.as_str()))?;
            insert_merged(&mut fields, Name::new(&child.response_key), value);
        }
        Some(Value::Object(fields))
    }
}

// === impl SelectedField ===

impl SelectedField {
    pub(super) fn from_field(field: &SelectionField<'_>) -> Self {
        Self {
            response_key: field.alias().unwrap_or(field.name()).to_owned(),
            name: field.name().to_owned(),
            children: field
                .selection_set()
                .map(|field| Self::from_field(&field))
                .collect(),
        }
    }
}

// === impl Types ===

impl Types {
    /// Parses a schema in SDL. A schema that does not parse has no types.
    pub(super) fn from_sdl(sdl: &str) -> Self {
        let definitions = parse_schema(sdl).map(|document| document.definitions);
        let mut types = HashMap::new();
        for definition in definitions.unwrap_or_default() {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let TypeKind::Object(object) = definition.node.kind else {
                continue;
            };
            for field in object.fields {
                let key = (
                    definition.node.name.node.to_string(),
                    field.node.name.node.to_string(),
                );
                types.insert(key, field.node.ty.node);
            }
        }
        Self(types)
    }

    pub(super) fn field_type(&self, parent: &str, field: &str) -> Option<&Type> {
        self.0.get(&(parent.to_owned(), field.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
