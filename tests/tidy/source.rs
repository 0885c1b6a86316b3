//! The text of source files, split into code, comments and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file, split.
pub(crate) struct Source {
    /// Relative to `src`, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The code, with comments, tests and the contents of strings blanked. Lines keep their numbers.
    pub(crate) code: String,
    /// The comments, with everything else blanked. Lines keep their numbers.
    pub(crate) comments: String,
    pub(crate) is_test: bool,
}

/// The other crates of the workspace. Their manifests keep them from importing `countersign`.
pub(crate) const MEMBERS: [&str; 2] = ["emulator", "protocol"];

impl Source {
    pub(crate) fn new(path: &str, text: &str, is_test: bool) -> Self {
        let (code, comments) = split(text);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: if is_test {
                String::new()
            } else {
                without_tests(&code)
            },
            comments,
            is_test,
        }
    }

    /// Returns the top-level module that the file belongs to.
    pub(crate) fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Returns how many `super` lead to the crate root.
    fn depth(&self) -> usize {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        match path {
            "lib" | "main" => 0,
            path => path.split('/').count(),
        }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the names of the dependencies as code spells them.
pub(crate) fn dependencies() -> Vec<String> {
    let manifest = include_str!("../../Cargo.toml");
    let names = manifest.lines().filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Neither packages of npm nor what the build of the inspector's pages wrote.
        let is_foreign = path.ends_with("node_modules") || path.ends_with("web/dist");
        if path.is_dir() && !is_foreign {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

pub(crate) fn read(directory: &str) -> Vec<Source> {
    let directory = root().join(directory);
    let mut found = Vec::new();
    files(&directory, &mut found);
    assert!(!found.is_empty(), "no source file was found");
    let texts: Vec<(String, String)> = found
        .iter()
        .map(|path| {
            let below = path.strip_prefix(&directory).unwrap();
            let text = fs::read_to_string(path).unwrap();
            (below.to_str().unwrap().to_owned(), text)
        })
        .collect();
    let test_files: Vec<String> = texts
        .iter()
        .flat_map(|(path, text)| test_files(path, text))
        .collect();
    texts
        .iter()
        .map(|(path, text)| {
            let is_test =
                path.ends_with("tests.rs") || path.contains("/tests/") || test_files.contains(path);
            Source::new(path, text, is_test)
        })
        .collect()
}

/// Returns the files that `path` declares for tests only: `#[cfg(test)] mod vectors;`.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let (code, _) = split(text);
    let directory = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let items = code.split("#[cfg(test)]").skip(1);
    let declared = items.filter_map(|item| {
        let item = item.trim_start();
        let name = item.strip_prefix("mod ")?.split_once(';')?.0;
        name.chars()
            .all(is_identifier)
            .then(|| format!("{directory}/{name}.rs"))
    });
    declared.collect()
}

/// Returns the files of the project: sources, scripts and pages.
pub(crate) fn texts() -> Vec<PathBuf> {
    const DIRECTORIES: [&str; 8] = [
        ".ci", ".github", "config", "deploy", "docker", "docs", "src", "tests",
    ];
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        below(&root().join(directory), &mut files);
    }
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    files
}

fn below(directory: &Path, found: &mut Vec<PathBuf>) {
    // Output of tools, and data from other projects.
    const FOREIGN: [&str; 6] = [
        "corpus",
        "desync",
        "node_modules",
        "package-lock.json",
        "target",
        "words.dict",
    ];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if FOREIGN.iter().any(|foreign| name == *foreign) {
            continue;
        }
        if path.is_dir() {
            below(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

pub(crate) fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !is_identifier(c));
    words.filter(|word| !word.is_empty())
}

/// Returns the top-level modules that a file names, with the line of each.
pub(crate) fn imported(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    let resolve_from_root = format!("{}::", vec!["super"; source.depth()].join("::"));
    let mut roots = vec!["crate::", "countersign::", "crate as"];
    if source.depth() > 0 {
        roots.push(&resolve_from_root);
    }
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let is_whole = !before.is_some_and(|c| is_identifier(c) || c == ':');
            if is_whole {
                let line = code[..at].matches('\n').count() + 1;
                let rest = if root == "crate as" {
                    "as"
                } else {
                    &code[at + root.len()..]
                };
                found.extend(first_names(rest).into_iter().map(|name| (line, name)));
            }
        }
    }
    found.extend(members_imported(code));
    found.retain(|(_, name)| name != "super" && !name.is_empty());
    found
}

/// Returns what a file names of the other crates of the workspace: `emulator`, `protocol/dialect`.
fn members_imported(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for member in MEMBERS {
        let name = format!("countersign_{member}");
        for (at, _) in code.match_indices(&name) {
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + name.len()..];
            let names = match rest.strip_prefix("::") {
                _ if member == "emulator" => vec![member.to_owned()],
                Some(path) => first_names(path)
                    .iter()
                    .map(|name| format!("{member}/{name}"))
                    .collect(),
                None => vec![format!("{member}/as")],
            };
            found.extend(names.into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// Returns `a` for `a::b`, `a` and `b` for `{a::{x, y}, b}`, and `*` for `*`.
fn first_names(path: &str) -> Vec<String> {
    let name = |item: &str| {
        let item = item.trim_start();
        match item.strip_prefix('*') {
            Some(_) => "*".to_owned(),
            None => item.chars().take_while(|c| is_identifier(*c)).collect(),
        }
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    split_items(group).iter().map(|item| name(item)).collect()
}

/// Returns `a::{x, y}` and `b` for `a::{x, y}, b}`.
pub(crate) fn split_items(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().unwrap().push(c);
    }
    items
}

/// Blanks items after `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::with_capacity(code.len());
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let length = item_length(&rest[at..]);
        let blank = rest[at..at + length].chars().filter(|c| *c == '\n');
        kept.extend(blank);
        rest = &rest[at + length..];
    }
    kept + rest
}

/// Returns the length up to the `;` or closing brace that ends an item with its attributes.
fn item_length(code: &str) -> usize {
    let (mut braces, mut others) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            _ => {}
        }
        let is_end = c == '}' || c == ';';
        if is_end && braces <= 0 && others == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Returns the code with comments and the contents of strings blanked, and the comments alone.
pub(crate) fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_comment, is_blank) = token(rest, code.chars().next_back());
        let length = length.max(first.len_utf8());
        for c in rest[..length].chars() {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if is_comment || is_blank { blank } else { c });
            comments.push(if is_comment { c } else { blank });
        }
        rest = &rest[length..];
    }
    (code, comments)
}

/// Returns the length of the token at the start, and whether it is a comment or a literal.
fn token(text: &str, before: Option<char>) -> (usize, bool, bool) {
    if text.starts_with("//") {
        return (text.find('\n').unwrap_or(text.len()), true, false);
    }
    if text.starts_with("/*") {
        return (
            text.find("*/").map_or(text.len(), |end| end + 2),
            true,
            false,
        );
    }
    let is_inside_word = before.is_some_and(is_identifier);
    if !is_inside_word && let Some(length) = raw_string(text) {
        return (length, false, true);
    }
    if text.starts_with('"') {
        return (quoted(text), false, true);
    }
    if let Some(rest) = text.strip_prefix('\'') {
        let is_escape = rest.starts_with('\\');
        let closes = rest.chars().nth(1) == Some('\'');
        if is_escape || closes {
            return (character(text), false, true);
        }
    }
    (0, false, false)
}

/// `r"…"`, `r#"…"#`, `br"…"`
fn raw_string(text: &str) -> Option<usize> {
    let prefix = if text.starts_with("br") { 2 } else { 1 };
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)?;
    Some(prefix + hashes + 1 + length + end.len())
}

fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn character(text: &str) -> usize {
    let skipped = if text[1..].starts_with('\\') { 3 } else { 2 };
    let mut rest = text.char_indices().skip(skipped);
    rest.find(|(_, c)| *c == '\'')
        .map_or(text.len(), |(at, _)| at + 1)
}

#[test]
fn code_and_comments_are_distinguished() {
    let text = "a(\"// b \\\" \", r#\"\"c\"#, 'd', '\\'', '\"', b\"e\"); // f \"g\n/* h\n */ fn i<'j>(k: &'j str) {}";
    let (code, comments) = split(text);
    let words: Vec<&str> = identifiers(&code).collect();
    assert_eq!(words, ["a", "b", "fn", "i", "j", "k", "j", "str"]);
    assert_eq!(identifiers(&comments).collect::<Vec<_>>(), ["f", "g", "h"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn files_declared_for_tests_only_are_found() {
    let text = "#[cfg(test)]\nmod vectors;\nmod real;\n#[cfg(test)]\nmod tests {}";
    assert_eq!(test_files("a/b/mod.rs", text), ["a/b/vectors.rs"]);
    assert_eq!(test_files("a/c.rs", text), ["a/c/vectors.rs"]);
}
