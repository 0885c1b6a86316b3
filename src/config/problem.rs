//! The mistakes in a configuration.

use std::fmt;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, as in the file: `route.graphql.target`.
    pub key: String,
    /// A file and line, a variable, or a flag.
    pub source: Option<String>,
    pub message: String,
}

/// All mistakes in a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.as_deref().unwrap_or_default();
        // The message quotes the URL.
        if !source.is_empty() && source != URL {
            write!(f, "{source}: ")?;
        }
        // A user who passes a flag or sets a variable need not know its key.
        if !is_flag(source) && !is_variable(source) && !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The source of the URL on the command line.
const URL: &str = "URL";

/// Returns whether a source is a flag or the URL.
pub(super) fn is_flag(source: &str) -> bool {
    source.starts_with("--") || source == URL
}

/// Returns whether a source is an environment variable, rather than a place in a file.
pub(super) fn is_variable(source: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !source.is_empty() && source != URL && source.bytes().all(is_plain)
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
