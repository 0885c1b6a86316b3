//! Reads a document in such a way that every GraphQL parser finds the same operations in it.
//!
//! The text of a document comes in; its operations and fragments go out. AppSync uses another
//! parser: if two parsers may disagree about where a comment, a string or a definition ends, a
//! mutation could be hidden in a text that looks like a query, so such a document is an error. All
//! code that depends on the kind of an operation uses this module: `GET`, sockets, streams and
//! policies.

use std::collections::HashSet;

use apollo_parser::cst::{self, CstNode as _};
use apollo_parser::{Lexer, SyntaxKind, SyntaxTree, TokenKind};

use super::document::{DocumentError, SelectedOperation, kind_and_name, parse, position};
use super::error::shown;

/// The executable definitions of a document.
pub(super) struct Executable {
    pub(super) operations: Vec<(SelectedOperation, cst::OperationDefinition)>,
    pub(super) fragments: Vec<cst::FragmentDefinition>,
}

const BOM: char = '\u{feff}';
const BLOCK: &str = "\"\"\"";
const ESCAPED_QUOTE: &str = "\\\"";

/// Parses `query` and selects the operation named `operation_name`, or the only one.
///
/// # Errors
/// See [`DocumentError`]; an empty `operation_name` counts as none.
pub fn select(
    query: &str,
    operation_name: Option<&str>,
) -> Result<SelectedOperation, DocumentError> {
    let (selected, _) = read(query, operation_name)?;
    Ok(selected)
}

/// Parses and selects like [`select`], and returns the document's tree, too.
pub(super) fn read(
    query: &str,
    operation_name: Option<&str>,
) -> Result<(SelectedOperation, SyntaxTree), DocumentError> {
    let tree = Executable::parse(query)?;
    let executable = Executable::from_tree(&tree)?;
    let (selected, _) = executable.select(operation_name)?;
    Ok((selected.clone(), tree))
}

impl Executable {
    /// Parses a document.
    ///
    /// # Errors
    /// If the document is invalid, or parsers may disagree about it.
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
    /// If the document defines anything other than operations and fragments.
    pub(super) fn from_tree(tree: &SyntaxTree) -> Result<Self, DocumentError> {
        let mut executable = Self {
            operations: Vec::new(),
            fragments: Vec::new(),
        };
        for definition in tree.document().definitions() {
            if let cst::Definition::OperationDefinition(operation) = definition {
                let selected = kind_and_name(&operation);
                executable.operations.push((selected, operation));
            } else if let cst::Definition::FragmentDefinition(fragment) = definition {
                // The parser accepts a string in place of the keyword.
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
    /// If the document lacks that operation, or the names of its operations are not unique.
    pub(super) fn select(
        &self,
        operation_name: Option<&str>,
    ) -> Result<&(SelectedOperation, cst::OperationDefinition), DocumentError> {
        self.check_names()?;
        let name = operation_name.filter(|name| !name.is_empty());
        match (name, self.operations.as_slice()) {
            (_, []) => Err(DocumentError::Empty),
            (None, [only]) => Ok(only),
            (None, _) => Err(DocumentError::Ambiguous),
            (Some(name), operations) => operations
                .iter()
                .find(|(selected, _)| selected.name.as_deref() == Some(name))
                .ok_or_else(|| DocumentError::Unknown(shown(name))),
        }
    }

    fn check_names(&self) -> Result<(), DocumentError> {
        let mut names = HashSet::new();
        for (selected, _) in &self.operations {
            match &selected.name {
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

/// Rejects characters that end a comment, are white space or end the text for some parsers:
/// graphql-java up to 14 ends comments at U+2028 and U+2029, others at any control character or at
/// a Unicode line end. A byte order mark is allowed at the start (GraphQL specification, section
/// 2.1.1).
fn check_characters(query: &str) -> Result<(), DocumentError> {
    let is_unsafe = |(at, c): &(usize, char)| match *c {
        '\t' | '\n' | '\r' => false,
        '\u{2028}' | '\u{2029}' => true,
        BOM => *at > 0,
        c => c.is_control(),
    };
    match query.char_indices().find(is_unsafe) {
        Some((at, c)) => Err(unsafe_character(query, at, c)),
        None => Ok(()),
    }
}

/// Returns the error for `c`, at position `at`.
pub(super) fn unsafe_character(query: &str, at: usize, c: char) -> DocumentError {
    let (line, column) = position(query, at);
    let code = c.into();
    DocumentError::Character { code, line, column }
}

/// Rejects strings whose end depends on the parser: a block string that contains `\"`, and a string
/// that contains a line end, which the parser below accepts as the first character.
fn check_strings(query: &str) -> Result<(), DocumentError> {
    let is_block_escaped = query.contains(BLOCK) && query.contains(ESCAPED_QUOTE);
    if !is_block_escaped && !query.contains("\"\n") && !query.contains("\"\r") {
        return Ok(());
    }
    // The parser reports errors of the lexer.
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

/// Rejects an argument, or a field of an input object, without a value: the parser below accepts
/// the name alone, so that `{ a(b: 1 mutation) }` would count as a query.
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

/// Rejects documents that [`select`] accepts but a policy does not: those with a byte order mark, or
/// with both a block string and `\"`.
///
/// # Errors
/// Returns the position of the byte order mark or of `\"`.
pub(super) fn check_for_policy(query: &str) -> Result<(), DocumentError> {
    if query.starts_with(BOM) {
        return Err(unsafe_character(query, 0, BOM));
    }
    match query.find(ESCAPED_QUOTE) {
        Some(at) if query.contains(BLOCK) => Err(escaped_quote(query, at)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
