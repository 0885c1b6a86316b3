//! The type of a setting's value: how it is written, checked and described.

use std::fmt;

/// The type of a setting's value.
pub(super) struct Type<T: 'static> {
    pub(super) name: &'static str,
    /// A valid value, as TOML.
    pub(super) example: &'static str,
    /// The explanation in the reference, for all settings of the type; may be empty.
    pub(super) about: &'static str,
    pub(super) syntax: Syntax<T>,
    /// The conditions that a well-formed value must meet.
    pub(super) bounds: &'static [Bound<T>],
}

pub(super) enum Syntax<T: 'static> {
    /// Parses a value, or returns what is wrong with it.
    Parse(fn(&str) -> Result<T, String>),
    Choice(&'static [(&'static str, T)]),
}

pub(super) struct Bound<T> {
    pub(super) holds: fn(&T) -> bool,
    /// Completes "must be …".
    pub(super) text: &'static str,
}

/// The description of a type, independent of the Rust type of its values.
pub trait Describe: fmt::Debug {
    fn name(&self) -> &'static str;
    /// A valid value, as TOML.
    fn example(&self) -> &'static str;
    /// An explanation for the reference; may be empty.
    fn about(&self) -> &'static str;
    /// The valid values, if they can be listed.
    fn choices(&self) -> Vec<&'static str>;
    /// Each completes "must be …".
    fn bounds(&self) -> Vec<&'static str>;
    /// Whether `text` is a valid value.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, text: &str) -> Result<(), String>;
}

impl<T> Type<T> {
    pub(super) const fn parsed(
        name: &'static str,
        example: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        Self {
            name,
            example,
            about: "",
            syntax: Syntax::Parse(parse),
            bounds: &[],
        }
    }

    pub(super) const fn choice(choices: &'static [(&'static str, T)]) -> Self {
        Self {
            name: "choice",
            example: "",
            about: "",
            syntax: Syntax::Choice(choices),
            bounds: &[],
        }
    }
}

impl<T: Clone> Type<T> {
    /// Parses a value and checks its bounds.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn parse(&self, text: &str) -> Result<T, String> {
        let value = match self.syntax {
            Syntax::Parse(parse) => parse(text)?,
            Syntax::Choice(choices) => {
                let found = choices.iter().find(|(name, _)| *name == text);
                let found = found.map(|(_, value)| value.clone());
                found.ok_or_else(|| self.not_a_choice(text))?
            }
        };
        let broken = self.bounds.iter().find(|bound| !(bound.holds)(&value));
        match broken {
            Some(bound) => Err(format!("must be {}", bound.text)),
            None => Ok(value),
        }
    }

    fn not_a_choice(&self, text: &str) -> String {
        let quoted: Vec<String> = self
            .choices()
            .iter()
            .map(|name| format!("{name:?}"))
            .collect();
        match quoted.as_slice() {
            [first @ .., last] => {
                format!(
                    "invalid value {text:?}: expected {} or {last}",
                    first.join(", ")
                )
            }
            [] => format!("invalid value {text:?}"),
        }
    }
}

impl<T: Clone> Describe for Type<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn choices(&self) -> Vec<&'static str> {
        match self.syntax {
            Syntax::Parse(_) => Vec::new(),
            Syntax::Choice(choices) => choices.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn bounds(&self) -> Vec<&'static str> {
        self.bounds.iter().map(|bound| bound.text).collect()
    }

    fn check(&self, text: &str) -> Result<(), String> {
        self.parse(text).map(|_| ())
    }
}

impl<T> fmt::Debug for Type<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Type").field(&self.name).finish()
    }
}
