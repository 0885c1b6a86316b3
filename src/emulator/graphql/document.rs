//! The selected operation of a document, and its selection with variables and fragments resolved.

use std::collections::HashSet;
use std::ops::ControlFlow;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Value};

use crate::selection::SelectedField;

/// The number of selections in a document that are visited at most, with a fragment at each of its spreads.
const MAX_SELECTIONS: usize = 10_000;
/// The depth of selection sets at which async-graphql rejects a document.
pub(super) const RECURSION: usize = 32;

/// A parsed document, and the operation in it that is executed.
#[derive(Debug, Clone)]
pub(super) struct SelectedOperation {
    document: ExecutableDocument,
    operation: OperationDefinition,
    variables: serde_json::Value,
}

/// Returns whether a document has too many selections. A fragment of two spreads of the next fragment,
/// and so on, makes billions of them from a few bytes, all of which the validator would visit.
pub(super) fn has_too_many_selections(document: &ExecutableDocument) -> bool {
    let mut left = MAX_SELECTIONS;
    let mut operations = document.operations.iter();
    let visited = operations.try_for_each(|(_, operation)| {
        visit(document, &operation.node.selection_set.node, 0, &mut left)
    });
    visited.is_break() && left == 0
}

/// Counts the selections of a set, up to the depth at which the validator stops, too. Breaks there, and
/// when none is left.
fn visit(
    document: &ExecutableDocument,
    set: &SelectionSet,
    depth: usize,
    left: &mut usize,
) -> ControlFlow<()> {
    if depth > RECURSION {
        return ControlFlow::Break(());
    }
    for selection in &set.items {
        let Some(fewer) = left.checked_sub(1) else {
            return ControlFlow::Break(());
        };
        *left = fewer;
        let below = match &selection.node {
            Selection::Field(field) => Some(&field.node.selection_set.node),
            Selection::InlineFragment(fragment) => Some(&fragment.node.selection_set.node),
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node);
                fragment.map(|fragment| &fragment.node.selection_set.node)
            }
        };
        if let Some(below) = below.filter(|below| !below.items.is_empty()) {
            visit(document, below, depth + 1, left)?;
        }
    }
    ControlFlow::Continue(())
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

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[track_caller]
    fn check(query: &str, expected: bool) {
        let document = parse_query(query).unwrap();
        assert_eq!(has_too_many_selections(&document), expected);
    }

    /// Fragments of `spreads` spreads of the next one.
    fn fragments(count: usize, spreads: usize) -> String {
        let body = |n: usize| format!("...F{} ", n + 1).repeat(spreads);
        let all = (0..count).map(|n| format!("fragment F{n} on Query {{ {}}}\n", body(n)));
        let all: String = all.collect();
        format!("{all}fragment F{count} on Query {{ rooms {{ id }} }}\n")
    }

    #[test]
    fn selections_are_counted_at_each_spread() {
        check("{ rooms { id name } }", false);
        check(&format!("{{ {} }}", "rooms { id } ".repeat(5_000)), false);
        check(&format!("{{ {} }}", "rooms { id } ".repeat(5_001)), true);
        check(&format!("{{ ...F0 }} {}", fragments(10, 2)), false);
        check(&format!("{{ ...F0 }} {}", fragments(30, 2)), true);
        check(
            &format!("{{ a: __typename ...F0 }} {}", fragments(20, 3)),
            true,
        );
        // An operation that is not selected is validated, too.
        let two = format!(
            "query A {{ a: __typename }} query B {{ ...F0 }} {}",
            fragments(30, 2)
        );
        check(&two, true);
        check(&fragments(30, 2).replace("fragment F0 on Query", ""), true);
        // The validator stops at these by itself.
        check(&format!("{{ ...F0 }} {}", fragments(5_000, 1)), false);
        check("{ ...F } fragment F on Query { ...F ...F }", false);
        check("{ ...Missing }", false);
    }
}
