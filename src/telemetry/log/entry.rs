//! A line for people, and the fields that it is made of.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tracing::field::{Field, Visit};

use crate::visible::visible;

/// A line for people, without its time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The first line.
    pub(super) head: String,
    /// Further lines, which are indented.
    pub(super) details: Vec<String>,
}

/// The fields of a line, with hidden characters as escapes.
#[derive(Debug, Default)]
pub(super) struct LineFields(BTreeMap<&'static str, String>);

/// A line that is longer is divided, in characters. It is the usual width of a terminal.
pub(super) const WIDTH: usize = 80;
/// The width of the time and the blanks after it.
pub(super) const INDENT: usize = 10;

impl LineFields {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Returns the fields as `name=value name=value`.
    pub(super) fn text(&self) -> String {
        let fields = self.0.iter();
        let fields = fields.map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(" ")
    }

    #[cfg(test)]
    pub(super) fn of(fields: &[(&'static str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| (*name, visible(value)));
        Self(fields.collect())
    }
}

impl Visit for LineFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), visible(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), visible(&format!("{value:?}")));
    }
}
