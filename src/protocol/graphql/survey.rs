//! Surveys the selected operation of a document, so that a policy can evaluate it.
//!
//! The input is a document and its `operationName`. The output is the operation's kind, its root
//! fields and its measures, including those of fragments. A document that two parsers could interpret
//! differently is rejected, even if [`select`](super::select) accepts it.
//! The work is linear in the document's length, because each fragment is measured once, however
//! often it is used.

use std::collections::{HashMap, HashSet};

use apollo_parser::{SyntaxTree, cst};

use super::document::{DocumentError, OperationKind, SelectedOperation};
use super::error::shown;
use super::executable::{Executable, check_for_policy};

/// The selected operation of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    pub kind: OperationKind,
    pub name: Option<String>,
    /// The names of its root fields, without aliases and duplicates, in the order of the document.
    pub fields: Vec<String>,
    /// Whether `__schema` or `__type` is selected, at any depth.
    pub introspects: bool,
    /// The depth of nested fields; a field without a selection has the depth 1.
    pub depth: usize,
    /// The number of executed aliases: those of a fragment count wherever it is used.
    pub aliases: usize,
    /// The operations of the document.
    pub operations: usize,
    /// Whether the operations of the document have different kinds.
    pub is_mixed: bool,
}

/// Why a document cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    #[error("the fragment {0} spreads itself")]
    Cycle(String),
    #[error("the document defines the fragment {0} twice")]
    DuplicateFragment(String),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("a {} spreads a fragment on {on}", .kind.as_str())]
    OtherRoot { kind: OperationKind, on: String },
    #[error("the document does not define the fragment {0}")]
    UnknownFragment(String),
}

/// The measures of one operation or fragment, without those of the fragments that it spreads.
#[derive(Default)]
struct Body {
    fields: Vec<String>,
    /// The types of selections at the root.
    conditions: Vec<String>,
    introspects: bool,
    depth: usize,
    aliases: usize,
    spreads: Vec<Spread>,
}

struct Spread {
    fragment: String,
    /// The enclosing fields.
    depth: usize,
}

/// The measures of a body including its fragments.
#[derive(Clone, Copy)]
struct Measures {
    introspects: bool,
    depth: usize,
    aliases: usize,
}

/// The progress of measuring a fragment.
enum Progress {
    /// It is being measured, so meeting it again is a cycle.
    Open,
    Done(Measures),
}

/// Parses `query` and surveys the operation named `operation_name`, or the only one.
///
/// # Errors
/// See [`SurveyError`]; an empty `operation_name` counts as none.
pub fn survey(query: &str, operation_name: Option<&str>) -> Result<Survey, SurveyError> {
    check_for_policy(query)?;
    let tree = Executable::parse(query)?;
    survey_executable(&Executable::from_tree(&tree)?, operation_name)
}

/// Surveys a document whose tree is already known.
pub(super) fn survey_tree(
    query: &str,
    tree: &SyntaxTree,
    operation_name: Option<&str>,
) -> Result<Survey, SurveyError> {
    check_for_policy(query)?;
    survey_executable(&Executable::from_tree(tree)?, operation_name)
}

fn survey_executable(
    executable: &Executable,
    operation_name: Option<&str>,
) -> Result<Survey, SurveyError> {
    let mut fragments: HashMap<String, Body> = HashMap::new();
    for fragment in &executable.fragments {
        let (name, body) = fragment_body(fragment)?;
        let error = SurveyError::DuplicateFragment(shown(&name));
        if fragments.insert(name, body).is_some() {
            return Err(error);
        }
    }
    let operations = &executable.operations;
    let first = operations.first().map(|(selected, _)| selected.kind);
    let is_mixed = operations
        .iter()
        .any(|(selected, _)| Some(selected.kind) != first);
    let (SelectedOperation { kind, name }, operation) = executable.select(operation_name)?;
    let body = &body(None, operation.selection_set())?;
    let measures = measure(body, &fragments)?;
    Ok(Survey {
        kind: *kind,
        name: name.clone(),
        fields: root_fields(*kind, body, &fragments)?,
        introspects: measures.introspects,
        depth: measures.depth,
        aliases: measures.aliases,
        operations: operations.len(),
        is_mixed,
    })
}

fn fragment_body(fragment: &cst::FragmentDefinition) -> Result<(String, Body), SurveyError> {
    let name = fragment.fragment_name().and_then(|name| name.name());
    let on = fragment.type_condition().and_then(type_name);
    match (name, on) {
        (Some(name), Some(on)) => Ok((text(&name), body(Some(on), fragment.selection_set())?)),
        _ => Err(DocumentError::NotExecutable.into()),
    }
}

fn body(on: Option<String>, selections: Option<cst::SelectionSet>) -> Result<Body, SurveyError> {
    let mut body = Body {
        conditions: on.into_iter().collect(),
        ..Body::default()
    };
    let selections = selections.ok_or(DocumentError::NotExecutable)?;
    body.collect(&selections, 0)?;
    Ok(body)
}

fn type_name(condition: cst::TypeCondition) -> Option<String> {
    condition.named_type()?.name().map(|name| text(&name))
}

fn text(name: &cst::Name) -> String {
    name.text().to_string()
}

/// Adds up the measures of `body` and its fragments, without recursion: a document may have
/// thousands of fragments, each of which uses the next.
fn measure(body: &Body, fragments: &HashMap<String, Body>) -> Result<Measures, SurveyError> {
    let mut progress: HashMap<&str, Progress> = HashMap::new();
    let mut open: Vec<(&str, &Body, usize)> = vec![("", body, 0)];
    while let Some((_, body, at)) = open.last_mut() {
        if let Some(spread) = body.spreads.get(*at) {
            *at += 1;
            let name = spread.fragment.as_str();
            match progress.get(name) {
                Some(Progress::Done(_)) => {}
                Some(Progress::Open) => return Err(SurveyError::Cycle(shown(name))),
                None => {
                    let fragment = fragments.get(name);
                    let unknown = || SurveyError::UnknownFragment(shown(name));
                    progress.insert(name, Progress::Open);
                    open.push((name, fragment.ok_or_else(unknown)?, 0));
                }
            }
            continue;
        }
        if let Some((name, body, _)) = open.pop() {
            let done = body.total(&progress);
            progress.insert(name, Progress::Done(done));
        }
    }
    Ok(body.total(&progress))
}

/// Returns the root fields of an operation, including those of fragments that it uses at its root.
fn root_fields(
    kind: OperationKind,
    body: &Body,
    fragments: &HashMap<String, Body>,
) -> Result<Vec<String>, SurveyError> {
    let mut fields = Vec::new();
    let (mut known, mut spread) = (HashSet::new(), HashSet::new());
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        if let Some(on) = body.conditions.iter().find(|on| is_other_root(kind, on)) {
            let on = on.clone();
            return Err(SurveyError::OtherRoot { kind, on });
        }
        let new = body.fields.iter().filter(|field| known.insert(*field));
        fields.extend(new.cloned());
        for at in body.spreads.iter().rev().filter(|at| at.depth == 0) {
            let fragment = fragments.get(&at.fragment);
            let unknown = || SurveyError::UnknownFragment(shown(&at.fragment));
            let fragment = fragment.ok_or_else(unknown)?;
            if spread.insert(at.fragment.as_str()) {
                pending.push(fragment);
            }
        }
    }
    Ok(fields)
}

/// Returns whether `on` is the root type of another kind of operation. Such a selection is invalid, or
/// the schema gives its root types misleading names.
fn is_other_root(kind: OperationKind, on: &str) -> bool {
    let named = match on {
        "Query" => OperationKind::Query,
        "Mutation" => OperationKind::Mutation,
        "Subscription" => OperationKind::Subscription,
        _ => return false,
    };
    named != kind
}

// === impl Body ===

impl Body {
    /// Adds selections. Recurses as deep as they are nested, which the parser has limited.
    fn collect(&mut self, selections: &cst::SelectionSet, depth: usize) -> Result<(), SurveyError> {
        for selection in selections.selections() {
            match selection {
                cst::Selection::Field(field) => {
                    let name = field.name().ok_or(DocumentError::NotExecutable)?;
                    let name = text(&name);
                    self.depth = self.depth.max(depth + 1);
                    self.aliases += usize::from(field.alias().is_some());
                    self.introspects |= matches!(name.as_str(), "__schema" | "__type");
                    if depth == 0 {
                        self.fields.push(name);
                    }
                    if let Some(inner) = field.selection_set() {
                        self.collect(&inner, depth + 1)?;
                    }
                }
                cst::Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name());
                    let fragment = text(&name.ok_or(DocumentError::NotExecutable)?);
                    self.spreads.push(Spread { fragment, depth });
                }
                cst::Selection::InlineFragment(fragment) => {
                    let on = fragment.type_condition().and_then(type_name);
                    self.conditions.extend(on.filter(|_| depth == 0));
                    let inner = fragment.selection_set();
                    self.collect(&inner.ok_or(DocumentError::NotExecutable)?, depth)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the measures including its fragments, which have been measured.
    fn total(&self, progress: &HashMap<&str, Progress>) -> Measures {
        let mut total = Measures {
            introspects: self.introspects,
            depth: self.depth,
            aliases: self.aliases,
        };
        for spread in &self.spreads {
            if let Some(Progress::Done(inner)) = progress.get(spread.fragment.as_str()) {
                total.introspects |= inner.introspects;
                total.depth = total.depth.max(spread.depth.saturating_add(inner.depth));
                total.aliases = total.aliases.saturating_add(inner.aliases);
            }
        }
        total
    }
}

#[cfg(test)]
mod tests;
