//! The files of a crate do not import each other in circles.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{MEMBERS, Source, is_identifier, read, split_items};

#[test]
fn files_do_not_import_each_other_in_circles() {
    let sources = read("src");
    let mut found = circles(&of_root(&sources));
    for member in MEMBERS {
        found.extend(circles(&of_member(&sources, member)));
    }
    let advice = "move what these files share to a file below them";
    assert!(found.is_empty(), "{advice}:\n{}", found.join("\n"));
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(path, text, false))
            .collect();
        assert_eq!(circles(&sources), expected, "{files:?}");
    };
    let by_use = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::{B, c::C};"),
        ("b.rs", "use super::a::A as X;"),
    ];
    check(&by_use, &["a.rs b.rs"]);
    let by_path = [
        ("a.rs", "fn f() { crate::b::g() }"),
        ("b.rs", "use crate::c;"),
        ("c.rs", "fn g() { super::a::f() }"),
    ];
    check(&by_path, &["a.rs b.rs c.rs"]);
    let with_child = [
        ("a/mod.rs", "mod b;\nfn f() { b::g() }"),
        ("a/b.rs", "use super::f;"),
    ];
    check(&with_child, &["a/b.rs a/mod.rs"]);
    let by_export = [
        ("a/mod.rs", "mod b;\nmod c;\npub(super) use b::B;"),
        ("a/b.rs", "use super::c::C;"),
        ("a/c.rs", "use crate::a::B;"),
    ];
    check(&by_export, &["a/b.rs a/c.rs"]);
    // A re-export is not a use, and tests may import any file.
    let fine = [
        ("lib.rs", "mod a;\npub use a::b::B;"),
        ("a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;"),
        (
            "a/b.rs",
            "#[cfg(test)]\nmod tests { use super::super::c::C; }",
        ),
        ("a/c.rs", "use super::B; // use crate::d;"),
        ("d.rs", "use crate::a::C;\nuse std::a;"),
        ("e/mod.rs", "mod f;\nfn g() { f::h() }"),
        ("e/f.rs", "pub(in crate::e) fn h() {}"),
    ];
    check(&fine, &[]);
}

/// Returns the sources of `countersign`.
fn of_root(sources: &[Source]) -> Vec<Source> {
    let own = sources
        .iter()
        .filter(|source| !MEMBERS.contains(&source.module()));
    own.map(|source| Source::new(&source.path, &source.text, source.is_test))
        .collect()
}

/// Returns the sources of a member of the workspace, with paths relative to its root.
fn of_member(sources: &[Source], member: &str) -> Vec<Source> {
    let prefix = format!("{member}/");
    let own = sources.iter().filter_map(|source| {
        let path = source.path.strip_prefix(&prefix)?;
        Some(Source::new(path, &source.text, source.is_test))
    });
    own.collect()
}

/// Returns the circles among the files of a crate, each as the paths of its files in one text. An
/// import by way of a re-export counts as one of the file that defines the item.
fn circles(sources: &[Source]) -> Vec<String> {
    let code = sources.iter().filter(|source| !source.is_test);
    let crates: Modules<'_> = code.map(|source| (source.module_path(), source)).collect();
    let exports: Exports = crates
        .iter()
        .flat_map(|(module, source)| {
            let uses = uses(source).into_iter().filter(|each| each.is_export);
            uses.map(move |each| ((module.clone(), each.name), each.path))
        })
        .collect();
    let direct: BTreeMap<&str, BTreeSet<&str>> = crates
        .values()
        .map(|source| {
            let uses = uses(source).into_iter().filter(|each| !each.is_export);
            let paths = uses.map(|each| each.path).chain(paths_used(source));
            let files = paths.filter_map(|path| definition(&path, &crates, &exports));
            let others = files.filter(|file| *file != source.path);
            (source.path.as_str(), others.collect())
        })
        .collect();
    let reached = |start: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut left: Vec<&str> = direct[start].iter().copied().collect();
        while let Some(file) = left.pop() {
            if seen.insert(file) {
                left.extend(&direct[file]);
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<&str>> =
        direct.keys().map(|file| (*file, reached(file))).collect();
    let found: BTreeSet<String> = all
        .iter()
        .filter(|(file, reached)| reached.contains(*file))
        .map(|(file, reached)| {
            let circle = reached.iter().filter(|other| all[*other].contains(file));
            circle.copied().collect::<Vec<&str>>().join(" ")
        })
        .collect();
    found.into_iter().collect()
}

/// Files by module path.
type Modules<'a> = BTreeMap<Vec<String>, &'a Source>;
/// The targets of re-exports, by module and name.
type Exports = BTreeMap<(Vec<String>, String), Vec<String>>;

/// A path in a `use`, from the crate root, and the name that it introduces.
struct Use {
    path: Vec<String>,
    name: String,
    is_export: bool,
}

/// Returns the file that defines the item at a path.
fn definition<'a>(path: &[String], modules: &Modules<'a>, exports: &Exports) -> Option<&'a str> {
    let mut path = path.to_vec();
    // A limit, in case re-exports refer to each other.
    for _ in 0..8 {
        let length = (0..=path.len())
            .rev()
            .find(|end| modules.contains_key(&path[..*end]))?;
        let (module, rest) = path.split_at(length);
        let re_exported = rest
            .first()
            .and_then(|name| exports.get(&(module.to_vec(), name.clone())));
        match re_exported {
            Some(target) => path = [target.as_slice(), &rest[1..]].concat(),
            None => return Some(modules[module].path.as_str()),
        }
    }
    None
}

fn uses(source: &Source) -> Vec<Use> {
    let mut found = Vec::new();
    for (start, end) in use_statements(&source.code) {
        let line = source.code[..start].rfind('\n').map_or(0, |at| at + 1);
        let is_export = source.code[line..start].trim_start().starts_with("pub");
        let text = &source.code[start + "use ".len()..end];
        for (segments, name) in expanded(&[], text) {
            if let Some(path) = source.resolve_from_root(&segments) {
                found.push(Use {
                    path,
                    name,
                    is_export,
                });
            }
        }
    }
    found
}

/// Returns the start and the end of each `use`.
fn use_statements(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("use ").map(|(at, _)| at);
    let starts = starts.filter(|at| !code[..*at].ends_with(is_identifier));
    starts
        .map(|start| {
            let length = code[start..].find(';').unwrap_or(code.len() - start);
            (start, start + length)
        })
        .collect()
}

/// Returns the paths of a `use`, without groups, and the name that each introduces.
fn expanded(prefix: &[String], text: &str) -> Vec<(Vec<String>, String)> {
    let text = text.trim();
    if let Some((path, group)) = text.split_once('{') {
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let prefix = [prefix, &segments(path)].concat();
        let items = split_items(group);
        return items
            .iter()
            .filter(|item| !item.trim().is_empty())
            .flat_map(|item| expanded(&prefix, item))
            .collect();
    }
    let (path, alias) = match text.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim().to_owned())),
        None => (text, None),
    };
    let mut path = [prefix, &segments(path)].concat();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.or_else(|| path.last().cloned());
    vec![(path, name.unwrap_or_default())]
}

fn segments(path: &str) -> Vec<String> {
    let segments = path.split("::").map(str::trim);
    segments
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the paths in code outside of `use`, from the crate root.
fn paths_used(source: &Source) -> Vec<Vec<String>> {
    let mut code = source.code.clone();
    for (start, end) in use_statements(&source.code) {
        code.replace_range(start..end, &" ".repeat(end - start));
    }
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find(is_identifier) {
        // `pub(in crate::a)` names who may use an item, and uses nothing.
        let before = &code[..code.len() - rest.len() + at];
        let is_whole = !before.ends_with(['.', ':', '\'']) && !before.ends_with("(in ");
        let length = rest[at..]
            .find(|c: char| !is_identifier(c) && c != ':')
            .unwrap_or(rest.len() - at);
        let path = segments(&rest[at..at + length]);
        if is_whole && path.len() > 1 {
            found.extend(source.resolve_from_root(&path));
        }
        rest = &rest[at + length..];
    }
    found
}

impl Source {
    /// Returns the path of the file's module.
    fn module_path(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let names = path.split('/').filter(|_| !matches!(path, "lib" | "main"));
        names.map(str::to_owned).collect()
    }

    /// Resolves a path in the file from the crate root. Returns `None` if it leads to another crate.
    fn resolve_from_root(&self, path: &[String]) -> Option<Vec<String>> {
        let mut module = self.module_path();
        let mut rest = path;
        if let Some((first, behind)) = path.split_first()
            && first == "crate"
        {
            return Some(behind.to_vec());
        }
        while let Some((first, behind)) = rest.split_first()
            && matches!(first.as_str(), "self" | "super")
        {
            if first == "super" {
                module.pop()?;
            }
            rest = behind;
        }
        let is_child = rest.first().is_some_and(|name| {
            let declaration = format!("mod {name};");
            let mut found = self.code.match_indices(&declaration);
            found.any(|(at, _)| !self.code[..at].ends_with(is_identifier))
        });
        let is_own = rest.len() < path.len() || is_child;
        is_own.then(|| [module, rest.to_vec()].concat())
    }
}
