//! Remembers what was selected from documents seen before.
//!
//! Programs send the same few documents again and again, and parsing one costs more than signing
//! it. Only the very same text with the very same `operationName` is taken for a document seen.

use std::collections::HashMap;

use countersign_protocol::graphql::{DocumentError, Selected, select};
use parking_lot::Mutex;

/// A bounded memory of selections; what has not been asked for lately is forgotten.
#[derive(Debug, Default)]
pub struct Documents(Mutex<Generations>);

/// When the young are too many, they become the old, and the old are dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Selected>,
    old: HashMap<Box<str>, Selected>,
}

const GENERATION: usize = 512;
/// Longer documents are parsed each time, so that memory stays within 8 MiB.
const MAX_LENGTH: usize = 8 * 1024;

impl Documents {
    /// What [`select`] answers.
    ///
    /// # Errors
    /// Those of [`select`]; they are not remembered.
    pub fn select(
        &self,
        query: &str,
        operation_name: Option<&str>,
    ) -> Result<Selected, DocumentError> {
        let name = operation_name.unwrap_or_default();
        // With a line feed in the name, two pairs could have the same key.
        if query.len() + name.len() > MAX_LENGTH || name.contains('\n') {
            return select(query, operation_name);
        }
        let key = [name, "\n", query].concat();
        if let Some(selected) = self.0.lock().get(&key) {
            return Ok(selected);
        }
        let selected = select(query, operation_name)?;
        self.0.lock().insert(key.into(), selected.clone());
        Ok(selected)
    }
}

impl Generations {
    fn get(&mut self, key: &str) -> Option<Selected> {
        if let Some(selected) = self.young.get(key) {
            return Some(selected.clone());
        }
        let (key, selected) = self.old.remove_entry(key)?;
        self.insert(key, selected.clone());
        Some(selected)
    }

    fn insert(&mut self, key: Box<str>, selected: Selected) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, selected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_is_parsed() {
        let documents = Documents::default();
        let two = "query A { a } mutation B { b }";
        for _ in 0..2 {
            for (query, name) in [
                ("{ a }", None),
                ("{ a }", Some("")),
                (two, Some("A")),
                (two, Some("B")),
                (two, None),
                (two, Some("C")),
                ("{ a }", Some("A")),
                ("{ a", None),
                ("", Some("query A { a }")),
                ("A\n{ a }", None),
                ("query A {\n a }", Some("A")),
                (" a }", Some("A\nquery A {")),
            ] {
                assert_eq!(
                    documents.select(query, name),
                    select(query, name),
                    "{query:?} {name:?}"
                );
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let documents = Documents::default();
        let used = "query Used { a }";
        for at in 0..5 * GENERATION {
            documents.select(used, None).unwrap();
            documents.select(&format!("{{ a{at} }}"), None).unwrap();
        }
        let generations = documents.0.lock();
        assert!(generations.young.len() <= GENERATION);
        assert!(generations.old.len() <= GENERATION);
        let key = format!("\n{used}");
        assert!(
            generations.young.contains_key(key.as_str())
                || generations.old.contains_key(key.as_str())
        );
    }
}
