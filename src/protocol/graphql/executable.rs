//! Reads a document so that every GraphQL parser finds the same operations in it.
//!
//! The text of a document goes in; out come its operations and fragments. AppSync's parser is not
//! ours: where two parsers may disagree about where a comment, a string or a definition ends, a
//! mutation could be hidden in what looks like a query, so such a document is an error. All that
//! depends on the kind of an operation reads documents here: `GET`, sockets, streams and policies.

use std::collections::HashSet;

use apollo_parser::cst::{self, CstNode as _};
use apollo_parser::{Lexer, SyntaxKind, SyntaxTree, TokenKind};

use super::document::{DocumentError, Selected, heading, parse, position};
use super::error::shown;

/// The definitions of a document that can be executed.
pub(super) struct Executable {
    pub(super) operations: Vec<(Selected, cst::OperationDefinition)>,
    pub(super) fragments: Vec<cst::FragmentDefinition>,
}

const BOM: char = '\u{feff}';
const BLOCK: &str = "\"\"\"";
const ESCAPED_QUOTE: &str = "\\\"";

impl Executable {
    /// Parses a document.
    ///
    /// # Errors
    /// When the document is invalid, or parsers may disagree about it.
    pub(super) fn parse(query: &str) -> Result<SyntaxTree, DocumentError> {
        check_characters(query)?;
        check_strings(query)?;
        let tree = parse(query)?;
        check_values(query, &tree)?;
        Ok(tree)
    }

    /// Finds the definitions in a tree of [`Executable::parse`].
    ///
    /// # Errors
    /// When the document defines something else than operations and fragments.
    pub(super) fn of(tree: &SyntaxTree) -> Result<Self, DocumentError> {
        let mut executable = Self {
            operations: Vec::new(),
            fragments: Vec::new(),
        };
        for definition in tree.document().definitions() {
            if let cst::Definition::OperationDefinition(operation) = definition {
                let heading = heading(&operation);
                executable.operations.push((heading, operation));
            } else if let cst::Definition::FragmentDefinition(fragment) = definition {
                // The parser takes a string for the keyword.
                let keyword = fragment.syntax().first_token();
                if keyword.is_none_or(|token| token.text() != "fragment") {
                    return Err(DocumentError::NotExecutable);
                }
                executable.fragments.push(fragment);
            } else {
                return Err(DocumentError::NotExecutable);
            }
        }
        Ok(executable)
    }

    /// Returns the operation named `operation_name`, or the only one. An empty name counts as
    /// none, as in AppSync.
    ///
    /// # Errors
    /// When there is no such operation, or the names of the operations are not unique.
    pub(super) fn selected(
        &self,
        operation_name: Option<&str>,
    ) -> Result<&(Selected, cst::OperationDefinition), DocumentError> {
        self.check_names()?;
        let wanted = operation_name.filter(|name| !name.is_empty());
        match (wanted, self.operations.as_slice()) {
            (_, []) => Err(DocumentError::Empty),
            (None, [only]) => Ok(only),
            (None, _) => Err(DocumentError::Ambiguous),
            (Some(wanted), operations) => operations
                .iter()
                .find(|(heading, _)| heading.name.as_deref() == Some(wanted))
                .ok_or_else(|| DocumentError::Unknown(shown(wanted))),
        }
    }

    fn check_names(&self) -> Result<(), DocumentError> {
        let mut names = HashSet::new();
        for (heading, _) in &self.operations {
            match &heading.name {
                None if self.operations.len() > 1 => return Err(DocumentError::Anonymous),
                Some(name) if !names.insert(name) => {
                    return Err(DocumentError::DuplicateOperation(shown(name)));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

/// Refuses characters that end a comment, are white space or end the text for some parsers:
/// graphql-java up to 14 ends comments at U+2028 and U+2029, others at any control character or at
/// what Unicode counts as a line end. A byte order mark is allowed where it is one, at the start
/// (GraphQL specification, section 2.1.1).
fn check_characters(query: &str) -> Result<(), DocumentError> {
    let is_odd = |(at, c): &(usize, char)| match *c {
        '\t' | '\n' | '\r' => false,
        '\u{2028}' | '\u{2029}' => true,
        BOM => *at > 0,
        c => c.is_control(),
    };
    match query.char_indices().find(is_odd) {
        Some((at, c)) => Err(odd(query, at, c)),
        None => Ok(()),
    }
}

/// Returns the error for `c`, which is at `at`.
pub(super) fn odd(query: &str, at: usize, c: char) -> DocumentError {
    let (line, column) = position(query, at);
    let code = c.into();
    DocumentError::Character { code, line, column }
}

/// Refuses strings whose end depends on the parser: a block string with `\"` in it, and a string
/// that holds a line end, which the parser below lets pass as its first character.
fn check_strings(query: &str) -> Result<(), DocumentError> {
    let is_block_escaped = query.contains(BLOCK) && query.contains(ESCAPED_QUOTE);
    if !is_block_escaped && !query.contains("\"\n") && !query.contains("\"\r") {
        return Ok(());
    }
    // Errors of the lexer are the parser's to report.
    let tokens = Lexer::new(query).with_limit(super::document::TOKEN_LIMIT);
    let strings = tokens
        .filter_map(Result::ok)
        .filter(|token| token.kind() == TokenKind::StringValue);
    for token in strings {
        let (at, text) = (token.index(), token.data());
        if text.starts_with(BLOCK) {
            if let Some(inner) = text.find(ESCAPED_QUOTE) {
                return Err(escaped_quote(query, at + inner));
            }
        } else if text.contains(['\n', '\r']) {
            let (line, column) = position(query, at);
            let message = "a string ends on the line where it begins".to_owned();
            return Err(DocumentError::Syntax {
                message,
                line,
                column,
            });
        }
    }
    Ok(())
}

/// Refuses an argument, or a field of an input object, that has no value: the parser below lets its
/// name pass alone, so that `{ a(b: 1 mutation) }` would count as a query.
fn check_values(query: &str, tree: &SyntaxTree) -> Result<(), DocumentError> {
    let document = tree.document();
    let mut nodes = document.syntax().descendants();
    let without_value = nodes.find(|node| {
        let is_named = matches!(node.kind(), SyntaxKind::ARGUMENT | SyntaxKind::OBJECT_FIELD);
        is_named
            && !node
                .children()
                .any(|child| cst::Value::can_cast(child.kind()))
    });
    let Some(node) = without_value else {
        return Ok(());
    };
    let (line, column) = position(query, node.text_range().start().into());
    let message = "expected a value after a name".to_owned();
    Err(DocumentError::Syntax {
        message,
        line,
        column,
    })
}

fn escaped_quote(query: &str, at: usize) -> DocumentError {
    let (line, column) = position(query, at);
    DocumentError::EscapedQuote { line, column }
}

/// Refuses what a policy does not take even where [`select`](super::select) does: a byte order
/// mark, and `\"` anywhere beside a block string.
///
/// # Errors
/// With the place of either.
pub(super) fn check_for_policy(query: &str) -> Result<(), DocumentError> {
    if query.starts_with(BOM) {
        return Err(odd(query, 0, BOM));
    }
    match query.find(ESCAPED_QUOTE) {
        Some(at) if query.contains(BLOCK) => Err(escaped_quote(query, at)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
