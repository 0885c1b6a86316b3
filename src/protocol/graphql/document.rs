//! Selects the operation of a document, and determines its kind.
//!
//! The parser handles fragments, comments, block strings and several operations in one document;
//! the text is never searched.

use apollo_parser::{Parser, SyntaxTree, cst};

/// The kind of an operation (GraphQL specification, section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    Query,
    Mutation,
    Subscription,
}

/// The operation that `operationName` selects from a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedOperation {
    pub kind: OperationKind,
    pub name: Option<String>,
}

/// Why no operation could be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("the document has several operations: set operationName to one of them")]
    Ambiguous,
    #[error("the document has an operation without a name, and others")]
    Anonymous,
    #[error(
        "the document contains U+{code:04X} at line {line}, column {column}, which parsers read \
         differently: send it in a variable"
    )]
    Character {
        code: u32,
        line: usize,
        column: usize,
    },
    #[error("the document defines the operation {0} twice")]
    DuplicateOperation(String),
    #[error("the document has no operation")]
    Empty,
    #[error(
        "the document contains a block string with \\\" (line {line}, column {column}), which parsers \
         read differently: send it in a variable"
    )]
    EscapedQuote { line: usize, column: usize },
    #[error("the document defines more than operations and fragments")]
    NotExecutable,
    #[error("syntax error at line {line}, column {column}: {message}")]
    Syntax {
        message: String,
        line: usize,
        column: usize,
    },
    #[error("the document has no operation named {0:?}")]
    Unknown(String),
}

/// The parser recurses, so documents with deeper selections are rejected.
const RECURSION_LIMIT: usize = 200;
/// The limit of the parser's work for one document.
pub(super) const TOKEN_LIMIT: usize = 100_000;

/// Returns the document's tree, if it is within the limits and has no errors.
pub(super) fn parse(query: &str) -> Result<SyntaxTree, DocumentError> {
    let tree = tree(query);
    let error = tree.errors().next().map(|error| syntax_error(query, error));
    match error {
        Some(error) => Err(error),
        None => Ok(tree),
    }
}

/// Returns the document's tree, with its errors.
pub(super) fn tree(query: &str) -> SyntaxTree {
    Parser::new(query)
        .recursion_limit(RECURSION_LIMIT)
        .token_limit(TOKEN_LIMIT)
        .parse()
}

/// The parser's names of tokens (GraphQL, section 2.1.8).
const PUNCTUATORS: [(&str, &str); 8] = [
    ("COLON", ":"),
    ("EQ", "="),
    ("L_BRACK", "["),
    ("L_CURLY", "{"),
    ("L_PAREN", "("),
    ("R_BRACK", "]"),
    ("R_CURLY", "}"),
    ("R_PAREN", ")"),
];

pub(super) fn syntax_error(query: &str, error: &apollo_parser::Error) -> DocumentError {
    let (line, column) = position(query, error.index());
    // The token that the parser found may be a literal, and this text is logged.
    let expected = error.message().split(", got ").next().unwrap_or_default();
    let punctuator = PUNCTUATORS
        .iter()
        .find(|(name, _)| expected.strip_prefix("expected ") == Some(name));
    let message = match punctuator {
        Some((_, token)) => format!("expected \"{token}\""),
        None => expected.to_owned(),
    };
    DocumentError::Syntax {
        message,
        line,
        column,
    }
}

/// Returns an operation's kind and name.
pub(super) fn kind_and_name(operation: &cst::OperationDefinition) -> SelectedOperation {
    let kind = match operation.operation_type() {
        None => OperationKind::Query,
        Some(kind) if kind.mutation_token().is_some() => OperationKind::Mutation,
        Some(kind) if kind.subscription_token().is_some() => OperationKind::Subscription,
        Some(_) => OperationKind::Query,
    };
    let name = operation.name().map(|name| name.text().to_string());
    SelectedOperation { kind, name }
}

/// Returns the line and column of `index`, counted from 1.
pub(super) fn position(text: &str, index: usize) -> (usize, usize) {
    let before = text.get(..index).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

// === impl DocumentError ===

impl DocumentError {
    /// Returns the line and column of the error, if it has a position.
    pub fn place(&self) -> Option<(usize, usize)> {
        match *self {
            Self::Character { line, column, .. }
            | Self::EscapedQuote { line, column }
            | Self::Syntax { line, column, .. } => Some((line, column)),
            Self::Ambiguous
            | Self::Anonymous
            | Self::DuplicateOperation(_)
            | Self::Empty
            | Self::NotExecutable
            | Self::Unknown(_) => None,
        }
    }

    /// Returns whether another parser might accept the document, and find another operation in it.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Character { .. } | Self::EscapedQuote { .. })
    }
}

// === impl OperationKind ===

impl OperationKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }

    /// Returns the type of its root, as schemas usually name it.
    pub fn root(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Mutation => "Mutation",
            Self::Subscription => "Subscription",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::executable::select;
    use super::*;

    fn check(
        query: &str,
        name: Option<&str>,
        expected: Result<(OperationKind, Option<&str>), &str>,
    ) {
        let found = select(query, name);
        match expected {
            Ok((kind, name)) => {
                let name = name.map(str::to_owned);
                assert_eq!(found, Ok(SelectedOperation { kind, name }), "{query}");
            }
            Err(part) => {
                let error = found.expect_err(query).to_string();
                assert!(error.contains(part), "{query}: {error}");
            }
        }
    }

    #[test]
    fn operations_are_selected_by_the_parser() {
        use OperationKind::{Mutation, Query, Subscription};
        check("{ a }", None, Ok((Query, None)));
        check("query Q { a }", None, Ok((Query, Some("Q"))));
        check("mutation M { a }", Some(""), Ok((Mutation, Some("M"))));
        check(
            "subscription($r: ID) { a(r: $r) }",
            None,
            Ok((Subscription, None)),
        );
        check(
            "# mutation\n{ a(s: \"mutation {\") }",
            None,
            Ok((Query, None)),
        );
        check(
            "{ a(s: \"\"\"mutation { \\\"\"\" \"\"\") }",
            None,
            Err("block string with \\\" (line 1, column 22)"),
        );
        check(
            "fragment F on T { x } mutation M { a { ...F } } query Q { a }",
            Some("M"),
            Ok((Mutation, Some("M"))),
        );
        check("query mutation { a }", None, Ok((Query, Some("mutation"))));
        check(
            "query A { a } query B { b }",
            None,
            Err("several operations"),
        );
        check("query A { a }", Some("B"), Err("no operation named \"B\""));
        check("fragment F on T { x }", None, Err("no operation"));
        check("", None, Err("syntax error at line 1"));
        check("{ a", None, Err("syntax error"));
        check("{\n  a(\n}", None, Err("line 3"));
    }

    #[test]
    fn syntax_error_does_not_quote_literals() {
        let error = select(r#"{ a(b "secret") }"#, None)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "syntax error at line 1, column 7: expected \")\"");
    }

    #[test]
    fn hostile_documents_are_errors() {
        check(&"{a".repeat(50_000), None, Err("syntax error"));
        check(&"[".repeat(50_000), None, Err("syntax error"));
        check(
            &format!("{{a(b:{})}}", "[".repeat(50_000)),
            None,
            Err("syntax error"),
        );
        check(&"query A { a } ".repeat(60_000), None, Err("syntax error"));
        check("\u{feff}\u{202e}{", None, Err("syntax error"));
        check("\u{0}\u{feff}\u{202e}{", None, Err("U+0000"));
    }
}
