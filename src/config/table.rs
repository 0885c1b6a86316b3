//! One table of the merged sources, and how its values are read.

use std::cell::RefCell;
use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use super::problem::Problem;
use super::raw::{Raw, scalar};

/// One table of the configuration while it is being resolved.
pub(super) struct Table<'a> {
    raw: &'a Raw,
    path: Vec<String>,
    dict: Option<&'a Dict>,
    known: RefCell<BTreeSet<&'static str>>,
    problems: &'a RefCell<Vec<Problem>>,
}

// === impl Table ===

impl<'a> Table<'a> {
    /// The whole configuration.
    pub(super) fn root(raw: &'a Raw, problems: &'a RefCell<Vec<Problem>>) -> Self {
        Self {
            raw,
            path: Vec::new(),
            dict: Some(raw.root()),
            known: RefCell::default(),
            problems,
        }
    }

    /// A table below this one; empty if it was not said.
    pub(super) fn table(&self, key: &'static str) -> Self {
        self.known.borrow_mut().insert(key);
        let found = self.dict.and_then(|dict| dict.get(key));
        self.below(key, found)
    }

    /// The tables below `key`, by name. What should be a table and is none is a problem, and
    /// `None`.
    pub(super) fn tables(&self, key: &'static str) -> Option<Vec<(String, Option<Self>)>> {
        let table = self.table(key);
        let Some(dict) = table.dict else {
            return (!self.is_said(key)).then(Vec::new);
        };
        let tables = dict.iter().map(|(name, value)| {
            let below = table.below(name, Some(value));
            (name.clone(), below.dict.is_some().then_some(below))
        });
        Some(tables.collect())
    }

    /// One value, parsed; `None` if it was not said or is wrong, which is then a problem.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match scalar(value) {
            Some(text) => self.parsed(key, parse(&text)),
            None => self.problem(key, "expected one value"),
        }
    }

    /// A list; from the environment also as one text with commas.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let items: Option<Vec<String>> = if let Value::Array(_, items) = value {
            items.iter().map(scalar).collect()
        } else {
            let split = |text: String| text.split(',').map(|item| item.trim().to_owned()).collect();
            scalar(value).map(split)
        };
        let Some(items) = items else {
            return self.problem(key, "expected a list of plain values");
        };
        let items = items.iter().filter(|item| !item.is_empty());
        // Every bad item is reported, not only the first.
        let parsed: Vec<Option<T>> = items.map(|item| self.parsed(key, parse(item))).collect();
        parsed.into_iter().collect()
    }

    pub(super) fn is_said(&self, key: &str) -> bool {
        self.dict.is_some_and(|dict| dict.contains_key(key))
    }

    /// Reports a mistake at one of this table's keys.
    pub(super) fn report(&self, key: &str, message: impl Into<String>) {
        let value = self.dict.and_then(|dict| dict.get(key));
        let path = self.path_to(key);
        let source = value.map(|value| self.raw.source(value.tag(), &path));
        self.problems.borrow_mut().push(Problem {
            key: path.join("."),
            source: source.filter(|source| source != "default"),
            message: message.into(),
        });
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for key in self.dict.into_iter().flat_map(Dict::keys) {
            if !known.contains(key.as_str()) {
                let message = match nearest(key, &known) {
                    Some(nearest) => format!("unknown key; did you mean `{nearest}`?"),
                    None => format!(
                        "unknown key; known here: {}",
                        known.iter().copied().collect::<Vec<_>>().join(", ")
                    ),
                };
                self.report(key, message);
            }
        }
    }

    fn below(&self, key: &str, value: Option<&'a Value>) -> Self {
        let dict = match value {
            Some(Value::Dict(_, dict)) => Some(dict),
            Some(_) => {
                self.report(key, "expected a table");
                None
            }
            None => None,
        };
        Self {
            raw: self.raw,
            path: self.path_to(key),
            dict,
            known: RefCell::default(),
            problems: self.problems,
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key);
        self.dict?.get(key)
    }

    fn parsed<T>(&self, key: &str, parsed: Result<T, String>) -> Option<T> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(message) => self.problem(key, &message),
        }
    }

    fn problem<T>(&self, key: &str, message: &str) -> Option<T> {
        self.report(key, message);
        None
    }

    fn path_to(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }
}

fn nearest<'k>(key: &str, known: &BTreeSet<&'k str>) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}
