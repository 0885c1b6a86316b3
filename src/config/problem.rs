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
        if !source.is_empty() {
            write!(f, "{source}: ")?;
        }
        // A user who passes a flag need not know its key.
        let is_flag = source.starts_with("--") || source == "URL";
        if !is_flag && !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
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
