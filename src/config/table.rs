//! One table of the merged sources, and how its values are read.

use std::cell::RefCell;
use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use super::problem::{Problem, is_flag, is_variable};
use super::raw::{DEFAULT, Raw, literal, scalar};
use super::setting::Below;
use super::types::Type;
use crate::nearest::nearest;
use crate::upstream::DefaultRegion;

/// One table of the configuration while it is being resolved.
pub(super) struct Table<'a> {
    raw: &'a Raw,
    path: Vec<String>,
    dict: Option<&'a Dict>,
    problems: &'a RefCell<Vec<Problem>>,
}

/// The type of a setting's field: `T`, `Option<T>` or a list of `T`.
pub(super) trait FieldShape<T>: Sized {
    const IS_LIST: bool;

    /// Returns the value that is set, if it is valid, or else the default. Reports an invalid value.
    /// Returns `None` if the default is missing although the setting needs one.
    fn read(table: &Table<'_>, key: &str, of: &Type<T>, default: Option<&str>) -> Option<Self>;
}

impl<T: Clone> FieldShape<T> for T {
    const IS_LIST: bool = false;

    fn read(table: &Table<'_>, key: &str, of: &Type<T>, default: Option<&str>) -> Option<Self> {
        let set = table.get(key).and_then(|value| table.one(key, of, value));
        set.or_else(|| table.one(key, of, &literal(default?)?))
    }
}

impl<T: Clone> FieldShape<T> for Option<T> {
    const IS_LIST: bool = false;

    fn read(table: &Table<'_>, key: &str, of: &Type<T>, _: Option<&str>) -> Option<Self> {
        Some(table.get(key).and_then(|value| table.one(key, of, value)))
    }
}

impl<T: Clone> FieldShape<T> for Vec<T> {
    const IS_LIST: bool = true;

    fn read(table: &Table<'_>, key: &str, of: &Type<T>, default: Option<&str>) -> Option<Self> {
        let set = table.get(key).and_then(|value| table.list(key, of, value));
        set.or_else(|| table.list(key, of, &literal(default?)?))
    }
}

impl<T: Clone> FieldShape<T> for Option<Vec<T>> {
    const IS_LIST: bool = true;

    fn read(table: &Table<'_>, key: &str, of: &Type<T>, _: Option<&str>) -> Option<Self> {
        Some(table.get(key).and_then(|value| table.list(key, of, value)))
    }
}

// === impl Table ===

impl<'a> Table<'a> {
    /// Returns the top of the configuration.
    pub(super) fn root(raw: &'a Raw, problems: &'a RefCell<Vec<Problem>>) -> Self {
        Self {
            raw,
            path: Vec::new(),
            dict: Some(raw.root()),
            problems,
        }
    }

    /// Returns a table below this one; it is empty if it is not set.
    pub(super) fn table(&self, key: &str) -> Self {
        let found = self.dict.and_then(|dict| dict.get(key));
        self.below(key, found)
    }

    /// Returns the tables below `key`, by name. Reports a value that should be a table, and returns
    /// `None` for it.
    pub(super) fn tables(&self, key: &str) -> Option<Vec<(String, Option<Self>)>> {
        let table = self.table(key);
        let Some(dict) = table.dict else {
            return (!self.is_set(key)).then(Vec::new);
        };
        let tables = dict.iter().map(|(name, value)| {
            let below = table.below(name, Some(value));
            (name.clone(), below.dict.is_some().then_some(below))
        });
        Some(tables.collect())
    }

    /// Returns the value of a setting, in the shape that its field has; see [`FieldShape::read`].
    pub(super) fn read<T: Clone, S: FieldShape<T>>(
        &self,
        key: &str,
        of: &Type<T>,
        default: Option<&str>,
    ) -> Option<S> {
        S::read(self, key, of, default)
    }

    fn one<T: Clone>(&self, key: &str, of: &Type<T>, value: &Value) -> Option<T> {
        match scalar(value) {
            Some(text) => self.parsed(key, of.parse(&text)),
            None => self.problem(key, "expected one value"),
        }
    }

    /// Parses a list: an array, or one text with commas, as in an environment variable.
    fn list<T: Clone>(&self, key: &str, of: &Type<T>, value: &Value) -> Option<Vec<T>> {
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
        let parsed: Vec<Option<T>> = items.map(|item| self.parsed(key, of.parse(item))).collect();
        parsed.into_iter().collect()
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.dict?.get(key)
    }

    /// Whether no mistake in this table has been reported so far.
    pub(super) fn is_sound(&self) -> bool {
        let prefix = format!("{}.", self.path.join("."));
        let problems = self.problems.borrow();
        !problems
            .iter()
            .any(|problem| problem.key.starts_with(&prefix))
    }

    /// Whether a mistake has been reported at one of this table's keys.
    pub(super) fn has_problem(&self, key: &str) -> bool {
        let key = self.path_to(key).join(".");
        self.problems
            .borrow()
            .iter()
            .any(|problem| problem.key == key)
    }

    /// Returns the region of the environment, for hosts that do not contain one.
    pub(super) fn default_region(&self) -> Option<DefaultRegion> {
        self.raw.default_region().cloned()
    }

    /// Returns the source of a value if it is a flag or the URL.
    pub(super) fn flag_of(&self, key: &str) -> Option<String> {
        self.source(key).filter(|source| is_flag(source))
    }

    /// Returns whether a file sets the value.
    pub(super) fn is_in_file(&self, key: &str) -> bool {
        let source = self.source(key);
        source.is_some_and(|source| !is_flag(&source) && !is_variable(&source) && source != DEFAULT)
    }

    /// Returns the keys that are set.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.dict.into_iter().flatten().map(|(key, _)| key.as_str())
    }

    fn source(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        Some(self.raw.source(value.tag(), &self.path_to(key)))
    }

    /// Whether no source but the defaults sets the value.
    pub(super) fn is_default(&self, key: &str) -> bool {
        self.source(key).is_some_and(|source| source == DEFAULT)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.dict.is_some_and(|dict| dict.contains_key(key))
    }

    /// Reports a mistake of users who may have written no file, so that no key is shown.
    pub(super) fn report_without_key(&self, message: &str) {
        self.problems.borrow_mut().push(Problem {
            key: String::new(),
            source: None,
            message: message.to_owned(),
        });
    }

    /// Reports a mistake at one of this table's keys.
    pub(super) fn report(&self, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            key: self.path_to(key).join("."),
            source: self.source(key).filter(|source| source != DEFAULT),
            message: message.into(),
        });
    }

    /// Reports the keys in this table and below that are not settings.
    pub(super) fn report_unknown_keys(&self) {
        let mut known = BTreeSet::new();
        let mut has_any_name = false;
        let sections = self.raw.sections().iter();
        for below in sections.filter_map(|section| section.below(&self.path)) {
            match below {
                Below::Settings(settings) => known.extend(settings.iter().map(|it| it.key)),
                Below::Table(name) => {
                    known.insert(name);
                }
                Below::AnyName => has_any_name = true,
            }
        }
        for (key, value) in self.dict.into_iter().flatten() {
            if !has_any_name && !known.contains(key.as_str()) {
                let variable = self.raw.unknown_variable(value.tag());
                let message = variable.unwrap_or_else(|| self.unknown_key(key, value, &known));
                self.report(key, message);
            } else if matches!(value, Value::Dict(..)) && self.has_table(key) {
                self.below(key, Some(value)).report_unknown_keys();
            }
        }
    }

    /// Returns what to write instead of a value that should be a table.
    fn not_a_table(&self, key: &str, value: &Value) -> String {
        let path = self.path_to(key);
        let mut sections = self.raw.sections().iter();
        let first = sections.find_map(|section| {
            let setting = section.settings.first()?;
            section.is_at(&path).then_some((section, setting))
        });
        let is_variable = is_variable(&self.raw.source(value.tag(), &path));
        match first {
            Some((section, setting)) if is_variable => {
                let variable = section.variable(setting);
                format!("expected one of its keys, such as {variable}")
            }
            Some((_, setting)) => format!(
                "expected a table: write [{}] and a key below it, such as `{}`",
                path.join("."),
                setting.key
            ),
            None => "expected a table".to_owned(),
        }
    }

    /// Returns what to do about a key that is not a setting of this table.
    fn unknown_key(&self, key: &str, value: &Value, known: &BTreeSet<&str>) -> String {
        let is_top = self.path.is_empty();
        if is_top
            && value
                .as_dict()
                .is_some_and(|dict| dict.contains_key("target"))
        {
            return format!("unknown table; did you mean [route.{key}]?");
        }
        let other = OTHER_KEYS.iter().find(|(keys, _)| keys.contains(&key));
        match other {
            Some((_, meant)) if known.contains(meant) => {
                return format!("unknown key; did you mean `{meant}`?");
            }
            Some((_, TARGET)) if is_top => {
                return format!("unknown key; write it as `{TARGET}` into a table [route.NAME]");
            }
            Some(_) | None => {}
        }
        let sections = self.raw.sections().iter();
        let owners = sections.filter(|section| section.settings.iter().any(|it| it.key == key));
        let owners: Vec<String> = owners
            .map(|section| format!("[{}]", section.path))
            .filter(|owner| owner != "[]")
            .collect();
        if !owners.is_empty() && value.as_dict().is_none() {
            return format!("unknown key here; it belongs to {}", owners.join(" or "));
        }
        match nearest(key, known.iter().copied()).first() {
            Some(nearest) => format!("unknown key; did you mean `{nearest}`?"),
            None => format!(
                "unknown key; known here: {}",
                known.iter().copied().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// Returns whether an unknown key is set that is probably meant as `key`.
    pub(super) fn has_other_key(&self, key: &str) -> bool {
        let mut other = OTHER_KEYS.iter().filter(|(_, meant)| *meant == key);
        other.any(|(keys, _)| keys.iter().any(|key| self.is_set(key)))
    }

    fn has_table(&self, key: &str) -> bool {
        let path = self.path_to(key);
        let mut sections = self.raw.sections().iter();
        sections.any(|section| section.below(&path).is_some())
    }

    fn below(&self, key: &str, value: Option<&'a Value>) -> Self {
        let dict = match value {
            Some(Value::Dict(_, dict)) => Some(dict),
            Some(_) if self.path == ["route"] => {
                self.report(
                    key,
                    "a route needs a name: write [route.graphql], not [route]",
                );
                None
            }
            Some(value) => {
                self.report(key, self.not_a_table(key, value));
                None
            }
            None => None,
        };
        Self {
            raw: self.raw,
            path: self.path_to(key),
            dict,
            problems: self.problems,
        }
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

/// Keys that users try, and those that they look for.
const OTHER_KEYS: [(&[&str], &str); 3] = [
    (&["api", "endpoint", "upstream", "uri", "url"], TARGET),
    (&["addr", "address", "bind", "host", "port"], "listen"),
    (&["level"], "filter"),
];
const TARGET: &str = "target";
