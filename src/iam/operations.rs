//! The operations that were requested from one API, in bounded memory.
//!
//! An operation is a verb and a name: `Query` and `rooms`, `EventPublish` and `default`, `GET` and
//! `/prod/items/7`. If a path segment has too many different values, it is replaced by `*`, because it is
//! probably an ID and not a name. If there are too many operations, all names of one verb are replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ANY;

/// The names that were requested, by verb.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    into = "BTreeMap<String, Vec<String>>",
    from = "BTreeMap<String, Vec<String>>"
)]
pub struct RecordedOperations(BTreeMap<String, Tree>);

/// How recording an operation changed the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// The operation was recorded before.
    Known,
    /// The operation was added.
    New,
    /// There were too many operations: all names of this verb, which had the most, were replaced by
    /// `*`.
    Widened(String),
}

/// Names as a tree of their segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tree {
    is_end: bool,
    below: BTreeMap<String, Self>,
}

/// The maximum number of different segments in one position of a path, before it becomes `*`.
pub(super) const MAX_SEGMENTS: usize = 20;
/// The maximum number of operations of one API.
pub(super) const MAX_OPERATIONS: usize = 512;
const MAX_VERBS: usize = 24;
const MAX_DEPTH: usize = 16;
const MAX_SEGMENT_LENGTH: usize = 128;

impl RecordedOperations {
    /// Returns whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records an operation. In names that begin with `/`, segments with many values become `*`.
    pub fn record(&mut self, verb: &str, name: &str) -> RecordOutcome {
        let verb = if self.0.contains_key(verb) || self.0.len() < MAX_VERBS {
            verb
        } else {
            ANY
        };
        let mut segments: Vec<&str> = name.split('/').collect();
        if segments.len() > MAX_DEPTH {
            segments.truncate(MAX_DEPTH);
            segments.push(ANY);
        }
        for segment in &mut segments {
            if segment.len() > MAX_SEGMENT_LENGTH {
                *segment = ANY;
            }
        }
        if let Some(tree) = self.0.get(verb)
            && (tree.matches_everything() || tree.contains(&segments))
        {
            return RecordOutcome::Known;
        }
        let max_segments = if name.starts_with('/') {
            MAX_SEGMENTS
        } else {
            usize::MAX
        };
        self.0
            .entry(verb.to_owned())
            .or_default()
            .insert(&segments, max_segments);
        let count: usize = self.0.values().map(Tree::count).sum();
        if count <= MAX_OPERATIONS {
            return RecordOutcome::New;
        }
        let everything = Tree {
            is_end: false,
            below: BTreeMap::from([(
                ANY.to_owned(),
                Tree {
                    is_end: true,
                    below: BTreeMap::new(),
                },
            )]),
        };
        let largest = self.0.iter().max_by_key(|(_, tree)| tree.count());
        let widened = largest.map_or_else(|| verb.to_owned(), |(verb, _)| verb.clone());
        self.0.insert(widened.clone(), everything);
        RecordOutcome::Widened(widened)
    }

    /// Returns all verbs and names, sorted.
    pub fn entries(&self) -> Vec<(&str, String)> {
        let mut entries = Vec::new();
        for (verb, tree) in &self.0 {
            let mut names = Vec::new();
            tree.collect(&mut Vec::new(), &mut names);
            entries.extend(names.into_iter().map(|name| (verb.as_str(), name)));
        }
        entries
    }
}

impl From<BTreeMap<String, Vec<String>>> for RecordedOperations {
    fn from(names_by_verb: BTreeMap<String, Vec<String>>) -> Self {
        let mut operations = Self::default();
        for (verb, names) in &names_by_verb {
            for name in names {
                operations.record(verb, name);
            }
        }
        operations
    }
}

impl From<RecordedOperations> for BTreeMap<String, Vec<String>> {
    fn from(operations: RecordedOperations) -> Self {
        let mut names_by_verb = Self::new();
        for (verb, name) in operations.entries() {
            names_by_verb.entry(verb.to_owned()).or_default().push(name);
        }
        names_by_verb
    }
}

// === impl Tree ===

impl Tree {
    fn matches_everything(&self) -> bool {
        self.below.get(ANY).is_some_and(|any| any.is_end)
    }

    fn contains(&self, segments: &[&str]) -> bool {
        match segments {
            [] => self.is_end,
            [first, rest @ ..] => {
                let below = self.below.get(ANY).or_else(|| self.below.get(*first));
                below.is_some_and(|below| below.contains(rest))
            }
        }
    }

    fn insert(&mut self, segments: &[&str], max_segments: usize) {
        match segments {
            [] => self.is_end = true,
            [first, rest @ ..] => {
                let key = if self.below.contains_key(ANY) {
                    ANY
                } else {
                    *first
                };
                self.below
                    .entry(key.to_owned())
                    .or_default()
                    .insert(rest, max_segments);
                self.generalize(max_segments);
            }
        }
    }

    /// Merges the children into `*` if there are more than `max_segments`, or if one of them is `*`.
    fn generalize(&mut self, max_segments: usize) {
        let has_any = self.below.contains_key(ANY);
        if self.below.len() <= max_segments && (!has_any || self.below.len() == 1) {
            return;
        }
        let mut any = Self::default();
        for (_, tree) in std::mem::take(&mut self.below) {
            any.merge(tree, max_segments);
        }
        self.below.insert(ANY.to_owned(), any);
    }

    fn merge(&mut self, other: Self, max_segments: usize) {
        self.is_end |= other.is_end;
        for (name, tree) in other.below {
            self.below
                .entry(name)
                .or_default()
                .merge(tree, max_segments);
        }
        self.generalize(max_segments);
    }

    fn count(&self) -> usize {
        usize::from(self.is_end) + self.below.values().map(Self::count).sum::<usize>()
    }

    fn collect(&self, above: &mut Vec<String>, names: &mut Vec<String>) {
        if self.is_end {
            names.push(above.join("/"));
        }
        for (segment, tree) in &self.below {
            above.push(segment.clone());
            tree.collect(above, names);
            above.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(names: &[&str]) -> RecordedOperations {
        let mut operations = RecordedOperations::default();
        for name in names {
            operations.record("GET", name);
        }
        operations
    }

    #[track_caller]
    fn check(operations: &RecordedOperations, expected: &[&str]) {
        let entries = operations.entries();
        let names: Vec<&str> = entries.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, expected);
        let json = serde_json::to_string(operations).unwrap();
        assert_eq!(
            serde_json::from_str::<RecordedOperations>(&json).unwrap(),
            *operations,
            "{json}"
        );
    }

    #[test]
    fn operations_are_recorded_once() {
        let mut operations = RecordedOperations::default();
        assert_eq!(operations.record("Query", "rooms"), RecordOutcome::New);
        assert_eq!(operations.record("Query", "rooms"), RecordOutcome::Known);
        assert_eq!(operations.record("Mutation", "rooms"), RecordOutcome::New);
        assert_eq!(operations.record("EventConnect", ""), RecordOutcome::New);
        let found = operations.entries();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(verb, name)| (*verb, name.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("EventConnect", ""),
                ("Mutation", "rooms"),
                ("Query", "rooms")
            ]
        );
    }

    #[test]
    fn segments_with_many_values_become_a_wildcard() {
        let many = |count: usize| -> Vec<String> {
            (0..count)
                .map(|at| format!("/prod/items/{at:03}/size"))
                .collect()
        };
        let paths = many(MAX_SEGMENTS);
        let mut few = operations(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(few.entries().len(), MAX_SEGMENTS);
        few.record("GET", "/prod/items");
        assert_eq!(
            few.record("GET", "/prod/items/021/size"),
            RecordOutcome::New
        );
        check(&few, &["/prod/items", "/prod/items/*/size"]);
        few.record("GET", "/prod/items/022");
        check(
            &few,
            &["/prod/items", "/prod/items/*", "/prod/items/*/size"],
        );
    }

    #[test]
    fn wildcards_are_kept() {
        let mut operations = operations(&["/prod/items/*", "/prod/items/7", "/prod/items/7/size"]);
        check(&operations, &["/prod/items/*", "/prod/items/*/size"]);
        assert_eq!(
            operations.record("GET", "/prod/items/8/size"),
            RecordOutcome::Known
        );
        assert_eq!(
            operations.record("GET", "/prod/items/8/color"),
            RecordOutcome::New
        );
        assert_eq!(
            operations.record("POST", "/prod/items/8"),
            RecordOutcome::New
        );
    }

    #[test]
    fn verb_with_the_most_names_is_widened() {
        let mut operations = RecordedOperations::default();
        for at in 0..MAX_OPERATIONS {
            operations.record("Query", &format!("field{at}"));
        }
        let outcome = operations.record("Mutation", "one");
        assert_eq!(outcome, RecordOutcome::Widened("Query".to_owned()));
        check(&operations, &["one", "*"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut operations = RecordedOperations::default();
        let mut last = RecordOutcome::Known;
        for at in 0..=MAX_OPERATIONS {
            last = operations.record("Query", &format!("field{at}"));
        }
        assert_eq!(last, RecordOutcome::Widened("Query".to_owned()));
        check(&operations, &["*"]);
        assert_eq!(operations.record("Query", "another"), RecordOutcome::Known);

        for at in 0..100 {
            operations.record(&format!("VERB{at}"), "/x");
        }
        assert!(operations.0.len() <= MAX_VERBS + 1);
        let long = format!("/{}", "x".repeat(MAX_SEGMENT_LENGTH + 1));
        let deep = "/x".repeat(5_000);
        let mut operations = RecordedOperations::default();
        operations.record("GET", &long);
        check(&operations, &["/*"]);
        operations.record("GET", &deep);
        assert!(
            operations
                .entries()
                .iter()
                .all(|(_, name)| name.len() < 100)
        );
    }
}
