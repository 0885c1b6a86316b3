//! What kinds of things were asked of one API, in bounded memory.
//!
//! A thing is a verb and a name: `Query` and `rooms`, `EventPublish` and `default`, `GET` and
//! `/prod/items/7`. Where paths have too many different segments in one place, which are then
//! values rather than names, the place becomes `*`; where there are too many things, the verb does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ANY;

/// Things by verb.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    into = "BTreeMap<String, Vec<String>>",
    from = "BTreeMap<String, Vec<String>>"
)]
pub struct Asked(BTreeMap<String, Tree>);

/// What noting a thing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    Known,
    New,
    /// It was one too many: everything of the verb that has most is taken for asked.
    Everything(String),
}

/// Names by their segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tree {
    is_end: bool,
    below: BTreeMap<String, Self>,
}

/// Different segments in one place of a path. One more, and the place is `*`.
pub(super) const MOST_SEGMENTS: usize = 20;
/// Things of one API.
pub(super) const MOST_THINGS: usize = 512;
const MOST_VERBS: usize = 24;
const DEEPEST: usize = 16;
const LONGEST: usize = 128;

impl Asked {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a thing. In a `name` that begins with `/` segments become `*` where they are many.
    pub fn note(&mut self, verb: &str, name: &str) -> Noted {
        let verb = match self.0.contains_key(verb) || self.0.len() < MOST_VERBS {
            true => verb,
            false => ANY,
        };
        let mut segments: Vec<&str> = name.split('/').collect();
        if segments.len() > DEEPEST {
            segments.truncate(DEEPEST);
            segments.push(ANY);
        }
        for segment in &mut segments {
            if segment.len() > LONGEST {
                *segment = ANY;
            }
        }
        if let Some(tree) = self.0.get(verb)
            && (tree.is_everything() || tree.holds(&segments))
        {
            return Noted::Known;
        }
        let most = match name.starts_with('/') {
            true => MOST_SEGMENTS,
            false => usize::MAX,
        };
        self.0
            .entry(verb.to_owned())
            .or_default()
            .insert(&segments, most);
        let count: usize = self.0.values().map(Tree::count).sum();
        if count <= MOST_THINGS {
            return Noted::New;
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
        Noted::Everything(widened)
    }

    /// Verbs and names, in their order.
    pub fn things(&self) -> Vec<(&str, String)> {
        let mut things = Vec::new();
        for (verb, tree) in &self.0 {
            let mut names = Vec::new();
            tree.collect(&mut Vec::new(), &mut names);
            things.extend(names.into_iter().map(|name| (verb.as_str(), name)));
        }
        things
    }
}

impl From<BTreeMap<String, Vec<String>>> for Asked {
    fn from(things: BTreeMap<String, Vec<String>>) -> Self {
        let mut asked = Self::default();
        for (verb, names) in &things {
            for name in names {
                asked.note(verb, name);
            }
        }
        asked
    }
}

impl From<Asked> for BTreeMap<String, Vec<String>> {
    fn from(asked: Asked) -> Self {
        let mut things = Self::new();
        for (verb, name) in asked.things() {
            things.entry(verb.to_owned()).or_default().push(name);
        }
        things
    }
}

// === impl Tree ===

impl Tree {
    fn is_everything(&self) -> bool {
        self.below.get(ANY).is_some_and(|any| any.is_end)
    }

    fn holds(&self, segments: &[&str]) -> bool {
        match segments {
            [] => self.is_end,
            [first, rest @ ..] => {
                let below = self.below.get(ANY).or_else(|| self.below.get(*first));
                below.is_some_and(|below| below.holds(rest))
            }
        }
    }

    fn insert(&mut self, segments: &[&str], most: usize) {
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
                    .insert(rest, most);
                self.narrow(most);
            }
        }
    }

    /// Makes one place of too many, and of those beside a `*`.
    fn narrow(&mut self, most: usize) {
        let has_any = self.below.contains_key(ANY);
        if self.below.len() <= most && (!has_any || self.below.len() == 1) {
            return;
        }
        let mut any = Self::default();
        for (_, tree) in std::mem::take(&mut self.below) {
            any.merge(tree, most);
        }
        self.below.insert(ANY.to_owned(), any);
    }

    fn merge(&mut self, other: Self, most: usize) {
        self.is_end |= other.is_end;
        for (name, tree) in other.below {
            self.below.entry(name).or_default().merge(tree, most);
        }
        self.narrow(most);
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

    fn asked(names: &[&str]) -> Asked {
        let mut asked = Asked::default();
        for name in names {
            asked.note("GET", name);
        }
        asked
    }

    #[track_caller]
    fn check(asked: &Asked, expected: &[&str]) {
        let things = asked.things();
        let names: Vec<&str> = things.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, expected);
        let json = serde_json::to_string(asked).unwrap();
        assert_eq!(
            serde_json::from_str::<Asked>(&json).unwrap(),
            *asked,
            "{json}"
        );
    }

    #[test]
    fn things_are_noted_once() {
        let mut asked = Asked::default();
        assert_eq!(asked.note("Query", "rooms"), Noted::New);
        assert_eq!(asked.note("Query", "rooms"), Noted::Known);
        assert_eq!(asked.note("Mutation", "rooms"), Noted::New);
        assert_eq!(asked.note("EventConnect", ""), Noted::New);
        let found = asked.things();
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
    fn a_place_with_many_segments_becomes_one() {
        let many = |count: usize| -> Vec<String> {
            (0..count)
                .map(|at| format!("/prod/items/{at:03}/size"))
                .collect()
        };
        let paths = many(MOST_SEGMENTS);
        let mut few = asked(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(few.things().len(), MOST_SEGMENTS);
        few.note("GET", "/prod/items");
        assert_eq!(few.note("GET", "/prod/items/021/size"), Noted::New);
        check(&few, &["/prod/items", "/prod/items/*/size"]);
        few.note("GET", "/prod/items/022");
        check(
            &few,
            &["/prod/items", "/prod/items/*", "/prod/items/*/size"],
        );
    }

    #[test]
    fn what_was_many_stays_one() {
        let mut asked = asked(&["/prod/items/*", "/prod/items/7", "/prod/items/7/size"]);
        check(&asked, &["/prod/items/*", "/prod/items/*/size"]);
        assert_eq!(asked.note("GET", "/prod/items/8/size"), Noted::Known);
        assert_eq!(asked.note("GET", "/prod/items/8/color"), Noted::New);
        assert_eq!(asked.note("POST", "/prod/items/8"), Noted::New);
    }

    #[test]
    fn the_last_verb_was_widened_for_what_another_had_filled() {
        let mut asked = Asked::default();
        for at in 0..MOST_THINGS {
            asked.note("Query", &format!("field{at}"));
        }
        let noted = asked.note("Mutation", "one");
        assert_eq!(noted, Noted::Everything("Query".to_owned()));
        check(&asked, &["one", "*"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut asked = Asked::default();
        let mut last = Noted::Known;
        for at in 0..=MOST_THINGS {
            last = asked.note("Query", &format!("field{at}"));
        }
        assert_eq!(last, Noted::Everything("Query".to_owned()));
        check(&asked, &["*"]);
        assert_eq!(asked.note("Query", "another"), Noted::Known);

        for at in 0..100 {
            asked.note(&format!("VERB{at}"), "/x");
        }
        assert!(asked.0.len() <= MOST_VERBS + 1);
        let long = format!("/{}", "x".repeat(LONGEST + 1));
        let deep = "/x".repeat(5_000);
        let mut asked = Asked::default();
        asked.note("GET", &long);
        check(&asked, &["/*"]);
        asked.note("GET", &deep);
        assert!(asked.things().iter().all(|(_, name)| name.len() < 100));
    }
}
