//! Splits a document into its operations and fragments.
//!
//! Operations in files may use fragments of other files. The definitions of several files can be
//! combined into a document with one operation.

use apollo_parser::SyntaxKind;
use apollo_parser::cst::{self, CstNode as _};

use super::document::{DocumentError, position, syntax_error, tree};

/// One definition of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub kind: DefinitionKind,
    pub text: String,
    /// The names of the fragments that it uses, at any depth.
    pub spreads: Vec<String>,
    /// The line where it starts, counted from 1.
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionKind {
    Operation,
    /// A fragment, with its name.
    Fragment(String),
    /// A definition of a schema.
    Schema,
}

/// Splits `text` into definitions.
///
/// # Errors
/// Returns all syntax errors of the text; the list is never empty.
pub fn definitions(text: &str) -> Result<Vec<Definition>, Vec<DocumentError>> {
    let tree = tree(text);
    let errors: Vec<DocumentError> = tree
        .errors()
        .map(|error| syntax_error(text, error))
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let definitions = tree.document().definitions();
    Ok(definitions.map(|found| definition(text, &found)).collect())
}

fn definition(text: &str, definition: &cst::Definition) -> Definition {
    let kind = if let cst::Definition::OperationDefinition(_) = definition {
        DefinitionKind::Operation
    } else if let cst::Definition::FragmentDefinition(fragment) = definition {
        let name = fragment.fragment_name().and_then(|name| name.name());
        let name = name.map(|name| name.text().to_string());
        DefinitionKind::Fragment(name.unwrap_or_default())
    } else {
        DefinitionKind::Schema
    };
    let syntax = definition.syntax();
    let spreads = syntax.descendants().filter_map(cst::FragmentSpread::cast);
    let spreads = spreads.filter_map(|spread| spread.fragment_name()?.name());
    let spreads = spreads.map(|name| name.text().to_string()).collect();
    let mut token = syntax.first_token();
    while let Some(passed) = token.take_if(|token| is_trivia(token.kind())) {
        token = passed.next_token();
    }
    let start = token.map_or(syntax.text_range(), |token| token.text_range());
    let (line, column) = position(text, start.start().into());
    Definition {
        kind,
        text: syntax.text().to_string(),
        spreads,
        line,
        column,
    }
}

fn is_trivia(kind: SyntaxKind) -> bool {
    kind == SyntaxKind::WHITESPACE || kind == SyntaxKind::COMMENT || kind == SyntaxKind::COMMA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_separated_and_have_lines() {
        let text = "# first\nquery A { a }\n\n  fragment F on Query { b } { c { ...F d { ... { ...G } } } } type T { d: Int }";
        let found: Vec<(DefinitionKind, usize, usize)> = definitions(text)
            .unwrap()
            .into_iter()
            .map(|found| (found.kind, found.line, found.column))
            .collect();
        let expected = [
            (DefinitionKind::Operation, 2, 1),
            (DefinitionKind::Fragment("F".to_owned()), 4, 3),
            (DefinitionKind::Operation, 4, 29),
            (DefinitionKind::Schema, 4, 63),
        ];
        assert_eq!(found, expected);
        let texts = definitions(text).unwrap();
        assert_eq!(texts[1].text.trim(), "fragment F on Query { b }");
        assert_eq!(texts[2].spreads, ["F", "G"]);
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let errors = definitions("query A { a( }\nquery B { b(: 1) }\n{ c }").unwrap_err();
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for line in [1, 2] {
            let expected = format!("at line {line},");
            assert!(
                messages.iter().any(|error| error.contains(&expected)),
                "{messages:?}"
            );
        }
    }
}
