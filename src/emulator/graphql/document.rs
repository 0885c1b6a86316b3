//! The selected operation of a document, and its selection with variables and fragments resolved.

use std::collections::HashSet;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Value};

use crate::selection::SelectedField;

/// A parsed document, and the operation in it that is executed.
#[derive(Debug, Clone)]
pub(super) struct SelectedOperation {
    document: ExecutableDocument,
    operation: OperationDefinition,
    variables: serde_json::Value,
}

// === impl SelectedOperation ===

impl SelectedOperation {
    pub(super) fn new(
        document: &ExecutableDocument,
        name: Option<&str>,
        variables: &serde_json::Value,
    ) -> Option<Self> {
        let mut operations = document.operations.iter();
        let (_, operation) = match name {
            Some(name) => operations
                .find(|(candidate, _)| candidate.is_some_and(|candidate| candidate == name))?,
            None => operations.next()?,
        };
        Some(Self {
            document: document.clone(),
            operation: operation.node.clone(),
            variables: variables.clone(),
        })
    }

    pub(super) fn operation_type(&self) -> OperationType {
        self.operation.ty
    }

    /// Returns the name of the root type.
    pub(super) fn root(&self) -> &'static str {
        match self.operation_type() {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        }
    }

    /// Returns the names of the root fields. Visits each fragment once, so it terminates for any document.
    pub(super) fn root_fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        let mut visited: HashSet<&Name> = HashSet::new();
        let mut sets = vec![&self.operation.selection_set.node];
        while let Some(set) = sets.pop() {
            for selection in &set.items {
                match &selection.node {
                    Selection::Field(field) => fields.push(field.node.name.node.to_string()),
                    Selection::InlineFragment(fragment) => {
                        sets.push(&fragment.node.selection_set.node);
                    }
                    Selection::FragmentSpread(spread) => {
                        let name = &spread.node.fragment_name.node;
                        let fragment = self.document.fragments.get(name);
                        if let Some(fragment) = fragment.filter(|_| visited.insert(name)) {
                            sets.push(&fragment.node.selection_set.node);
                        }
                    }
                }
            }
        }
        fields
    }

    /// Returns the error for the first required variable without a value.
    pub(super) fn missing_variable(&self) -> Option<String> {
        self.operation
            .variable_definitions
            .iter()
            .map(|definition| &definition.node)
            .find(|definition| {
                !definition.var_type.node.nullable
                    && definition.default_value.is_none()
                    && self
                        .variables
                        .get(definition.name.node.as_str())
                        .is_none_or(serde_json::Value::is_null)
            })
            .map(|definition| {
                format!(
                    "Variable '{}' has coerced Null value for NonNull type '{}'",
                    definition.name.node, definition.var_type.node
                )
            })
    }

    /// Returns the selection. The document must be validated: otherwise its fragments may be recursive.
    pub(super) fn selection(&self) -> Vec<SelectedField> {
        let mut fields = Vec::new();
        self.collect(&self.operation.selection_set.node, &mut fields);
        fields
    }

    /// Collects fields. All type conditions hold, because the schema has no abstract types.
    fn collect(&self, set: &SelectionSet, fields: &mut Vec<SelectedField>) {
        for selection in &set.items {
            if self.is_skipped(selection.node.directives()) {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => {
                    let mut children = Vec::new();
                    self.collect(&field.node.selection_set.node, &mut children);
                    fields.push(SelectedField {
                        response_key: field.node.response_key().node.to_string(),
                        name: field.node.name.node.to_string(),
                        children,
                    });
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.collect(&fragment.node.selection_set.node, fields);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.collect(&fragment.node.selection_set.node, fields);
                }
            }
        }
    }

    fn is_skipped(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().any(|directive| {
            let skip_value = match directive.node.name.node.as_str() {
                "skip" => true,
                "include" => false,
                _ => return false,
            };
            let condition = directive.node.get_argument("if").and_then(|condition| {
                let condition = condition.node.clone();
                condition
                    .into_const_with(|name| self.variable(&name).ok_or(()))
                    .ok()
            });
            condition == Some(Value::Boolean(skip_value))
        })
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        match self.variables.get(name.as_str()) {
            Some(value) => Value::from_json(value.clone()).ok(),
            None => self
                .operation
                .variable_definitions
                .iter()
                .find(|definition| definition.node.name.node == *name)
                .and_then(|definition| definition.node.default_value.as_ref())
                .map(|default| default.node.clone()),
        }
    }
}
