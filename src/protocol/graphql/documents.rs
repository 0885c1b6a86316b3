//! Caches which operation a document selects.
//!
//! Programs send the same few documents again and again, and parsing one costs more than signing
//! it. An entry is for exactly one text with exactly one `operationName`.

use std::collections::HashMap;
use std::sync::Arc;

use apollo_parser::SyntaxTree;
use parking_lot::Mutex;

use super::document::{DocumentError, SelectedOperation};
use super::executable::read;

/// A bounded cache of selections, which drops those that were not used recently. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Documents(Arc<Mutex<Generations>>);

/// When there are too many young entries, they become the old ones, and the old ones are dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, SelectedOperation>,
    old: HashMap<Box<str>, SelectedOperation>,
}

const GENERATION: usize = 512;
/// Longer documents are parsed each time, so that memory stays within 8 MiB.
const MAX_LENGTH: usize = 8 * 1024;

impl Documents {
    /// Reads `query` and selects the operation named `operation_name`, or the only one. Returns the
    /// document's tree, too, if it had to be parsed.
    ///
    /// # Errors
    /// Returns those of [`select`](super::select). Errors are not cached.
    pub(super) fn read(
        &self,
        query: &str,
        operation_name: Option<&str>,
    ) -> Result<(SelectedOperation, Option<SyntaxTree>), DocumentError> {
        let name = operation_name.unwrap_or_default();
        // With a line feed in the name, two pairs could have the same key.
        if query.len() + name.len() > MAX_LENGTH || name.contains('\n') {
            let (selected, tree) = read(query, operation_name)?;
            return Ok((selected, Some(tree)));
        }
        let key = [name, "\n", query].concat();
        if let Some(selected) = self.0.lock().get(&key) {
            return Ok((selected, None));
        }
        let (selected, tree) = read(query, operation_name)?;
        self.0.lock().insert(key.into(), selected.clone());
        Ok((selected, Some(tree)))
    }
}

impl Generations {
    fn get(&mut self, key: &str) -> Option<SelectedOperation> {
        if let Some(selected) = self.young.get(key) {
            return Some(selected.clone());
        }
        let (key, selected) = self.old.remove_entry(key)?;
        self.insert(key, selected.clone());
        Some(selected)
    }

    fn insert(&mut self, key: Box<str>, selected: SelectedOperation) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, selected);
    }
}

#[cfg(test)]
mod tests {
    use super::super::select;
    use super::*;

    #[test]
    fn a_cached_selection_equals_a_parsed_one() {
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
                let found = documents.read(query, name).map(|(selected, _)| selected);
                assert_eq!(found, select(query, name), "{query:?} {name:?}");
            }
        }
    }

    #[test]
    fn cache_is_bounded_and_keeps_used_entries() {
        let documents = Documents::default();
        let used = "query Used { a }";
        for at in 0..5 * GENERATION {
            documents.read(used, None).unwrap();
            documents.read(&format!("{{ a{at} }}"), None).unwrap();
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
