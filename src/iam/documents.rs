//! Derives the operations to allow from files of GraphQL documents.
//!
//! Each operation is evaluated separately, with the fragments that it spreads. Fragments in the same
//! file take precedence over those in other files.

use std::collections::{HashMap, HashSet};

use countersign_protocol::graphql::{
    Definition, DefinitionKind, DocumentError, OperationKind, definitions, survey,
};

use super::RecordedOperations;

/// A problem in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// `file:line:column`, or empty if the problem has no location.
    pub location: String,
    pub message: String,
}

/// The definitions in a file.
struct Source<'a> {
    name: &'a str,
    definitions: Vec<Definition>,
}

/// The fragments by name, each with the index of its file.
type Fragments<'a> = HashMap<&'a str, Vec<(usize, &'a Definition)>>;

/// Returns the root fields of all operations in `files`, which are pairs of name and text.
///
/// # Errors
/// All problems in all files; never empty.
pub fn operations_in(
    files: &[(String, String)],
) -> Result<RecordedOperations, Vec<DocumentProblem>> {
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for (name, text) in files {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match definitions(text) {
            Ok(definitions) => sources.push(Source { name, definitions }),
            Err(errors) => problems.extend(
                errors
                    .into_iter()
                    .map(|error| DocumentProblem::of(name, error)),
            ),
        }
    }
    let fragments = fragments(&sources);
    let mut operations = RecordedOperations::default();
    for (at, source) in sources.iter().enumerate() {
        let definitions = source.definitions.iter();
        for operation in definitions.filter(|found| found.kind == DefinitionKind::Operation) {
            match root_fields(at, operation, &fragments) {
                Ok((kind, fields)) => {
                    for field in &fields {
                        operations.record(kind.root(), field);
                    }
                }
                Err(message) => problems.push(DocumentProblem {
                    location: format!("{}:{}:{}", source.name, operation.line, operation.column),
                    message,
                }),
            }
        }
    }
    if problems.is_empty() && operations.is_empty() {
        problems.push(DocumentProblem {
            location: String::new(),
            message: "the documents contain no operation".to_owned(),
        });
    }
    if problems.is_empty() {
        Ok(operations)
    } else {
        Err(problems)
    }
}

fn fragments<'a>(sources: &'a [Source<'_>]) -> Fragments<'a> {
    let mut fragments = Fragments::new();
    for (at, source) in sources.iter().enumerate() {
        for definition in &source.definitions {
            if let DefinitionKind::Fragment(name) = &definition.kind {
                fragments.entry(name).or_default().push((at, definition));
            }
        }
    }
    fragments
}

/// Returns the kind and the root fields of an operation in the file with the index `at`.
fn root_fields(
    at: usize,
    operation: &Definition,
    fragments: &Fragments<'_>,
) -> Result<(OperationKind, Vec<String>), String> {
    let mut document = operation.text.clone();
    let mut visited: HashSet<&str> = HashSet::new();
    let mut pending: Vec<(usize, &str)> = Vec::new();
    pending.extend(operation.spreads.iter().map(|name| (at, name.as_str())));
    while let Some((at, name)) = pending.pop() {
        if !visited.insert(name) {
            continue;
        }
        let found = fragments.get(name).map_or(&[][..], Vec::as_slice);
        let own = found.iter().filter(|(other, _)| *other == at);
        let own: Vec<&(usize, &Definition)> = own.collect();
        let candidates = if own.is_empty() {
            found.iter().collect()
        } else {
            own
        };
        let [(at, fragment), rest @ ..] = candidates.as_slice() else {
            return Err(format!("no file defines the fragment {name}"));
        };
        if rest
            .iter()
            .any(|(_, other)| other.text.trim() != fragment.text.trim())
        {
            return Err(format!("the fragment {name} is defined more than once"));
        }
        document.push('\n');
        document.push_str(&fragment.text);
        pending.extend(fragment.spreads.iter().map(|name| (*at, name.as_str())));
    }
    let survey = survey(&document, None).map_err(|error| error.to_string())?;
    Ok((survey.kind, survey.fields))
}

impl DocumentProblem {
    fn of(name: &str, error: DocumentError) -> Self {
        let location = match error.place() {
            Some((line, column)) => format!("{name}:{line}:{column}"),
            None => name.to_owned(),
        };
        let message = match error {
            DocumentError::Syntax { message, .. } => message,
            DocumentError::Ambiguous
            | DocumentError::Anonymous
            | DocumentError::Character { .. }
            | DocumentError::DuplicateOperation(_)
            | DocumentError::Empty
            | DocumentError::EscapedQuote { .. }
            | DocumentError::NotExecutable
            | DocumentError::Unknown(_) => error.to_string(),
        };
        Self { location, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[&str], expected: Result<&[(&str, &str)], &[&str]>) {
        let files: Vec<(String, String)> = files
            .iter()
            .enumerate()
            .map(|(at, text)| (format!("{at}"), (*text).to_owned()))
            .collect();
        match (operations_in(&files), expected) {
            (Ok(operations), Ok(expected)) => {
                let entries = operations.entries();
                let found: Vec<(&str, &str)> = entries
                    .iter()
                    .map(|(verb, name)| (*verb, name.as_str()))
                    .collect();
                assert_eq!(found, expected, "{files:?}");
            }
            (Err(problems), Err(expected)) => {
                let found: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{} {}", problem.location, problem.message))
                    .collect();
                assert_eq!(found, expected, "{files:?}");
            }
            (found, _) => panic!("{files:?}: {found:?}"),
        }
    }

    #[test]
    fn root_fields_of_every_operation_are_found() {
        check(
            &[
                "{ a { b } c: d }",
                "mutation M { e } subscription S { f } query Q { a }",
            ],
            Ok(&[
                ("Mutation", "e"),
                ("Query", "a"),
                ("Query", "d"),
                ("Subscription", "f"),
            ]),
        );
        check(
            &[
                "\u{feff}query Q { ... on Query { a } ... @skip(if: true) { b } ...F }\nfragment F on Query { c ...G }",
                "fragment G on Query { d(x: 1) { e } }",
            ],
            Ok(&[
                ("Query", "a"),
                ("Query", "b"),
                ("Query", "c"),
                ("Query", "d"),
            ]),
        );
        check(
            &[
                "fragment F on Query { own } { ...F }",
                "fragment F on Query { others }",
                "type Query { own: Int }",
            ],
            Ok(&[("Query", "own")]),
        );
        check(
            &[
                "{ ...F }",
                "fragment F on Query { a }",
                "fragment F on Query { a }",
            ],
            Ok(&[("Query", "a")]),
        );
    }

    #[test]
    fn every_problem_is_reported_with_its_location() {
        check(
            &[
                "query A {\n  a(\n}",
                "{ a }\n  query B { ...Nowhere }",
                "query C { c",
            ],
            Err(&[
                "0:3:1 expected an Argument",
                "0:3:1 expected \")\"",
                "2:1:12 expected \"}\"",
                "1:2:3 no file defines the fragment Nowhere",
            ]),
        );
        check(
            &[
                "{ ...F }",
                "fragment F on Query { a }",
                "fragment F on Query { b }",
            ],
            Err(&["0:1:1 the fragment F is defined more than once"]),
        );
        check(
            &["fragment F on Query { ...F }", "{ ...F }"],
            Err(&["1:1:1 the fragment F spreads itself"]),
        );
        check(
            &["fragment F on Query { a }"],
            Err(&[" the documents contain no operation"]),
        );
        check(&[], Err(&[" the documents contain no operation"]));
    }
}
