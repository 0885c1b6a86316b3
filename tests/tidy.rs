//! House rules that the compiler does not know, held against the text of `src`.
//!
//! Every rule is a function from one file to what is wrong with it, and is shown to fail on a
//! snippet that breaks it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// One file, cut up.
struct Source {
    /// Below `src`, with slashes.
    path: String,
    text: String,
    /// Without comments, the insides of strings, and tests; lines keep their numbers.
    code: String,
    /// The comments alone; lines keep their numbers.
    comments: String,
    is_test: bool,
}

/// What is wrong with a file: line, and what to do.
type Rule = fn(&Source) -> Vec<(usize, String)>;

/// Who may import whom. Everybody may import `telemetry`, too. Of the workspace's other crates,
/// which import nothing of ours, `emulator` is one, and `protocol/dialect` a module of another.
const IMPORTS: [(&str, &[&str]); 20] = [
    ("build", &[]),
    ("main", &["cli"]),
    ("cli", &["app", "config", "emulator", "iam"]),
    (
        "app",
        &[
            "admin",
            "config",
            "guard",
            "iam",
            "net",
            "operation",
            "outbox",
            "proxy",
            "realtime",
            "server",
            "session",
            "sign",
            "upstream",
        ],
    ),
    (
        "config",
        &[
            "guard",
            "protocol/realtime",
            "proxy",
            "realtime",
            "server",
            "session",
            "sign",
            "upstream",
        ],
    ),
    // Of the server, how many connections there are.
    ("admin", &["guard", "server", "sign", "upstream"]),
    ("server", &["proxy", "stamp"]),
    (
        "proxy",
        // Of a dialect, its wire token or the framing of its answers.
        &[
            "guard",
            "memory",
            "operation",
            "protocol/dialect",
            "protocol/events",
            "protocol/graphql",
            "session",
            "sign",
            "upstream",
        ],
    ),
    (
        "session",
        // Of the guard, the policies that its operations must be allowed by.
        &[
            "guard",
            "memory",
            "operation",
            "outbox",
            "protocol/dialect",
            "protocol/events",
            "protocol/graphql",
            "protocol/realtime",
            "realtime",
        ],
    ),
    (
        "operation",
        // Of the guard, the operation policies.
        &[
            "guard",
            "memory",
            "outbox",
            "protocol/graphql",
            "protocol/realtime",
            "realtime",
            "sign",
            "upstream",
        ],
    ),
    ("guard", &["protocol/graphql", "stamp"]),
    (
        "realtime",
        &[
            "outbox",
            "protocol/graphql",
            "protocol/realtime",
            "sign",
            "upstream",
        ],
    ),
    // Of the guard, how header names are compared.
    ("upstream", &["guard", "iam", "net", "sign"]),
    ("iam", &["protocol/events", "protocol/graphql"]),
    ("sign", &["net"]),
    ("net", &[]),
    ("stamp", &[]),
    ("outbox", &["protocol/graphql"]),
    ("memory", &[]),
    ("telemetry", &["stamp"]),
];

/// The workspace's other crates. The compiler sees to it that they import nothing of ours.
const MEMBERS: [&str; 2] = ["emulator", "protocol"];

/// What `src/protocol` may depend on: nothing of it does I/O, reads a clock or draws numbers.
const PURE_CRATES: [&str; 9] = [
    "apollo-parser",
    "base64",
    "bytes",
    "http",
    // A lock, for the cache of documents.
    "parking_lot",
    "serde",
    "serde_json",
    "thiserror",
    "uuid",
];

const BANNED_WORDS: [&str; 12] = [
    "backend",
    "backends",
    "downstream",
    "helper",
    "helpers",
    "inbound",
    "manager",
    "managers",
    "outbound",
    "util",
    "utils",
    "misc",
];

const MAX_LINES: usize = 450;

// === the rules ===

#[test]
fn modules_import_only_whom_they_may() {
    check_all(imports);
    let from = |path: &str, text: &str| found(imports, path, text);
    let broken = [
        ("outbox.rs", "use crate::upstream::Kind;"),
        ("outbox.rs", "use crate::{guard, telemetry::Record};"),
        ("upstream/x.rs", "use countersign_protocol::graphql::Kind;"),
        (
            "guard/mod.rs",
            "use countersign_protocol::{dialect::Close, graphql::Kind};",
        ),
        ("guard/mod.rs", "use countersign_protocol::*;"),
        ("guard/mod.rs", "use countersign_protocol as protocol;"),
        ("app.rs", "use countersign_emulator::Emulator;"),
        ("app.rs", "use countersign_emulator as emulator;"),
        ("sign/x.rs", "fn f() { crate::config::load(); }"),
        ("upstream/x/y.rs", "use super::super::super::proxy::Proxy;"),
        ("upstream/mod.rs", "use super::proxy::Proxy;"),
        ("upstream/x.rs", "use super::super::{proxy::Proxy};"),
        ("telemetry.rs", "use super::sign;"),
        ("session/mod.rs", "use crate::{\n    config,\n};"),
        ("main.rs", "use countersign::app::App;"),
        ("guard/mod.rs", "use crate::{stamp::{Stamp, of}, sign};"),
        ("guard/mod.rs", "use crate::*;"),
        ("guard/mod.rs", "use crate::{self as root};"),
        ("guard/mod.rs", "use crate as root;"),
        ("newcomer/mod.rs", "use crate::graphql::Kind;"),
    ];
    for (path, text) in broken {
        assert_eq!(from(path, text).len(), 1, "{path}: {text}");
    }
    let fine = [
        (
            "guard/x.rs",
            "use countersign_protocol::graphql::{Kind, select};\nuse super::Close;",
        ),
        ("upstream/x/y.rs", "use super::super::error::Error;"),
        (
            "session/mod.rs",
            "use crate::{outbox::{Inbox, Outbox}, telemetry};",
        ),
        (
            "sign/mod.rs",
            "// crate::proxy\nconst X: &str = \"crate::proxy\";",
        ),
        (
            "sign/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::proxy::X; }",
        ),
        ("main.rs", "countersign::cli::main()"),
        (
            "cli/demo.rs",
            "use countersign_emulator::{self as emulator, Emulator};",
        ),
        ("protocol/dialect/x.rs", "use crate::graphql::Kind;"),
    ];
    for (path, text) in fine {
        assert_eq!(from(path, text), [], "{path}: {text}");
    }
}

#[test]
fn machines_have_no_io_and_no_clock() {
    check_all(machine_purity);
    for text in [
        "use tokio::sync::Notify;",
        "let now = Instant::now();",
        "let now = clock::now();",
        "use std::time::SystemTime;",
        "use tokio_util::sync::X;",
        "async fn f() {}",
        "static COUNT: AtomicU64 = AtomicU64::new(0);",
        "pub(super) static X: u8 = 1;",
        "thread_local! {}",
        "let id = Uuid::new_v4();",
    ] {
        for path in ["protocol/lib.rs", "protocol/dialect/x.rs"] {
            assert_eq!(found(machine_purity, path, text).len(), 1, "{text}");
        }
        assert_eq!(found(machine_purity, "realtime/driver.rs", text), []);
    }
    let fine = "fn f(now: Instant) -> &'static str {} // tokio";
    assert_eq!(found(machine_purity, "protocol/dialect/x.rs", fine), []);
}

#[test]
fn the_protocol_crate_depends_on_pure_crates_only() {
    let manifest = fs::read_to_string(root().join("src/protocol/Cargo.toml")).unwrap();
    assert_eq!(impure_dependencies(&manifest), [""; 0]);
    for table in [
        "dependencies",
        "build-dependencies",
        "target.x.dependencies",
    ] {
        for line in ["tokio.workspace = true", "rand = { version = \"1\" }"] {
            let broken = format!("[{table}]\nbytes = \"1\"\n{line}\n\n[lints]\nx = 1");
            assert_eq!(impure_dependencies(&broken).len(), 1, "{broken}");
        }
    }
    let broken = "[dependencies.tokio]\nversion = \"1\"\n";
    assert_eq!(impure_dependencies(broken), ["tokio"]);
    let fine = "[dependencies]\nbytes = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n";
    assert_eq!(impure_dependencies(fine), [""; 0]);
    // Random ids are drawn by whoever passes them in.
    assert_eq!(
        impure_dependencies("[dependencies]\nuuid = { features = [\"v4\"] }"),
        ["uuid"]
    );
}

/// The crates in a manifest that code without I/O may not depend on.
fn impure_dependencies(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_open = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            let of_tests = table.starts_with("dev-dependencies");
            is_open = table.ends_with("dependencies") && !of_tests;
            if let Some((_, name)) = table.split_once("dependencies.").filter(|_| !of_tests) {
                found.push(name);
            }
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_open) {
            let name = name.split('.').next().unwrap_or_default().trim();
            if !PURE_CRATES.contains(&name) || value.contains("\"v4\"") {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn nothing_unfinished_is_left() {
    check_all(unfinished);
    check_files("tests", unfinished);
    for text in [
        "fn f() { todo!() }",
        "fn f() { unimplemented!() }",
        "dbg!(x);",
        "#[ignore]\nfn f() {}",
        "#[ignore = \"flaky\"]\nfn f() {}",
        "#[test]\n#[cfg_attr(windows, ignore)]\nfn f() {}",
    ] {
        assert_eq!(found(unfinished, "x.rs", text).len(), 1, "{text}");
    }
    assert_eq!(
        found(
            unfinished,
            "x.rs",
            "writeln!(f)?; // todo!\nlet ignore = \"dbg!\";"
        ),
        []
    );
}

#[test]
fn nothing_is_printed_by_macros() {
    check_all(prints);
    for text in ["println!(\"x\");", "eprintln!(\"x\");", "print!(\"x\");"] {
        assert_eq!(found(prints, "x.rs", text).len(), 1, "{text}");
    }
    let fine = "write!(f)?; blueprint!(); // println!\nlet x = \"print!\";";
    assert_eq!(found(prints, "x.rs", fine), []);
}

#[test]
fn every_file_begins_with_what_it_is() {
    check_all(module_doc);
    assert_eq!(
        found(module_doc, "x.rs", "use std::fs;\n//! Late.").len(),
        1
    );
    assert_eq!(found(module_doc, "x.rs", "// No doc.").len(), 1);
    assert_eq!(found(module_doc, "x.rs", "//! What it is."), []);
}

#[test]
fn no_file_is_too_long() {
    check_all(length);
    let long = "x\n".repeat(MAX_LINES + 1);
    assert_eq!(found(length, "x.rs", &long).len(), 1);
    assert_eq!(found(length, "x/tests.rs", &long), []);
    assert_eq!(found(length, "x.rs", &"x\n".repeat(MAX_LINES)), []);
}

#[test]
fn nothing_panics_on_purpose() {
    check_all(panics);
    for text in ["x.unwrap();", "x\n    .expect(\"y\");", "x.unwrap_err();"] {
        assert_eq!(found(panics, "x.rs", text).len(), 1, "{text}");
        assert_eq!(found(panics, "x/tests.rs", text), []);
        let in_test = format!("#[cfg(test)]\n#[allow(x)]\nmod tests {{ fn f() {{ {text} }} }}");
        assert_eq!(found(panics, "x.rs", &in_test), [], "{text}");
    }
    let after = "#[cfg(test)]\nmod tests { fn f() { '}'; } }\nfn g() { x.unwrap(); }";
    assert_eq!(found(panics, "x.rs", after).len(), 1);
    let annotated =
        "#[expect(clippy::expect_used, reason = \"x\")]\nfn f() {\n    x.expect(\"y\");\n}";
    assert_eq!(found(panics, "x.rs", annotated), []);
    let next = format!("{annotated}\nfn g() {{\n    x.expect(\"y\");\n}}");
    assert_eq!(found(panics, "x.rs", &next).len(), 1);
    assert_eq!(
        found(panics, "x.rs", "x.unwrap_or_default(); // .unwrap()"),
        []
    );
}

#[test]
fn words_are_those_of_the_design() {
    check_all(words);
    for text in [
        "struct ConnectionManager;",
        "fn url_helper() {}",
        "mod util;",
        "use crate::util::x;",
        "const OUTBOUND: u8 = 1;",
        "// the backend",
        "//! What is downstream of us.",
    ] {
        assert_eq!(found(words, "x.rs", text).len(), 1, "{text}");
    }
    for path in ["helper.rs", "utils/x.rs", "proxy/session_manager.rs"] {
        assert_eq!(found(words, path, "").len(), 1, "{path}");
    }
    for text in [
        "use tokio_util::task::TaskTracker;",
        "use tracing_subscriber::util::SubscriberInitExt as _;",
        "const X: &str = \"backend\";",
        "fn utility(managed: u8) {}",
        "let x = tokio_util::sync::CancellationToken::new();",
    ] {
        assert_eq!(found(words, "x.rs", text), [], "{text}");
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    // In the tests of a crate, too.
    for (path, table) in [
        ("Cargo.toml", "[workspace.lints.rust]\n"),
        ("tests/fuzz/Cargo.toml", "[lints.rust]\n"),
    ] {
        let manifest = fs::read_to_string(root().join(path)).unwrap();
        let (_, lints) = manifest.split_once(table).expect(path);
        let lints = lints.split("\n[").next().unwrap();
        assert!(
            lints.lines().any(|line| line == "unsafe_code = \"forbid\""),
            "put `unsafe_code = \"forbid\"` back into the lints of {path}"
        );
    }
    let members = MEMBERS.map(|member| format!("src/{member}/Cargo.toml"));
    for path in members.iter().map(String::as_str).chain(["Cargo.toml"]) {
        let manifest = fs::read_to_string(root().join(path)).unwrap();
        assert!(
            manifest.contains("\n[lints]\nworkspace = true\n"),
            "let {path} inherit the lints of the workspace"
        );
    }
}

fn imports(source: &Source) -> Vec<(usize, String)> {
    let module = source.module();
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        let advice = format!("say in IMPORTS of tests/tidy.rs whom `{module}` may import");
        return if module == "lib" || MEMBERS.contains(&module) {
            Vec::new()
        } else {
            vec![(1, advice)]
        };
    };
    let may = |name: &str| name == module || name == "telemetry" || allowed.contains(&name);
    let strangers = imported(source).into_iter().filter(|(_, name)| !may(name));
    strangers
        .map(|(line, name)| {
            let advice = match name.as_str() {
                "*" | "self" | "as" => "import what is needed from `crate` by name".to_owned(),
                "protocol/*" | "protocol/self" | "protocol/as" => {
                    "import what is needed from `countersign_protocol` by name".to_owned()
                }
                name => format!(
                    "`{module}` must not import `{name}`: move what both need to a module that \
                     both may import (IMPORTS in tests/tidy.rs), or pass it in"
                ),
            };
            (line, advice)
        })
        .collect()
}

fn machine_purity(source: &Source) -> Vec<(usize, String)> {
    if source.is_test || source.module() != "protocol" {
        return Vec::new();
    }
    let advice = "a protocol machine does no I/O, reads no clock and has no global state: pass \
                  `now` in, and answer what is to be done as an output";
    let is_impure = |line: &str| {
        let identifiers: Vec<&str> = identifiers(line).collect();
        let has = |name: &str| identifiers.contains(&name);
        let has_tokio = identifiers.iter().any(|name| name.starts_with("tokio"));
        let reads_clock = ["Instant::now", "clock::now"]
            .iter()
            .any(|call| line.contains(call));
        let is_static = line.split_once("static ").is_some_and(|(before, _)| {
            let before = before.chars().next_back();
            !before.is_some_and(|c| c == '\'' || is_identifier(c))
        });
        let is_global = is_static || has("thread_local") || has("new_v4");
        has_tokio || reads_clock || is_global || has("SystemTime") || has("async")
    };
    lines(&source.code, is_impure, advice)
}

fn unfinished(source: &Source) -> Vec<(usize, String)> {
    // Tests are not left out here.
    let (code, _) = split(&source.text);
    let macros = ["todo", "unimplemented", "dbg"];
    let has_ignore = |line: &str| {
        let is_attribute = line.trim_start().starts_with("#[");
        is_attribute && identifiers(line).any(|name| name == "ignore")
    };
    let advice = "finish it, or take it out";
    lines(
        &code,
        |line| calls_macro(line, &macros) || has_ignore(line),
        advice,
    )
}

fn prints(source: &Source) -> Vec<(usize, String)> {
    let macros = ["print", "println", "eprint", "eprintln"];
    let advice = "log it with `tracing`, or write it with `cli::print`: a macro panics when its \
                  stream is closed";
    lines(&source.code, |line| calls_macro(line, &macros), advice)
}

fn calls_macro(line: &str, names: &[&str]) -> bool {
    let mut calls = line.split('!').rev().skip(1);
    calls.any(|before| {
        let name = before.rsplit(|c: char| !is_identifier(c)).next();
        name.is_some_and(|name| names.contains(&name))
    })
}

fn module_doc(source: &Source) -> Vec<(usize, String)> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    let advice = "begin with `//!`: what this is for, what flows in and out, what it never does";
    vec![(1, advice.to_owned())]
}

fn length(source: &Source) -> Vec<(usize, String)> {
    let count = source.text.lines().count();
    if source.is_test || count <= MAX_LINES {
        return Vec::new();
    }
    vec![(
        count,
        format!("split it: it has {count} lines, and {MAX_LINES} are allowed"),
    )]
}

fn panics(source: &Source) -> Vec<(usize, String)> {
    if source.is_test {
        return Vec::new();
    }
    let is_panic = |line: &str| {
        [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("]
            .iter()
            .any(|call| line.contains(call))
    };
    let advice = "handle the case, or annotate the function with #[expect(clippy::expect_used, \
                  reason = …)]";
    let mut found = lines(&source.code, is_panic, advice);
    found.retain(|(line, _)| !is_annotated(&source.code, *line));
    found
}

fn words(source: &Source) -> Vec<(usize, String)> {
    let advice = |word: &str| {
        format!("`{word}` says nothing here: use the words of the design (client, upstream, …)")
    };
    let in_path = source.path.trim_end_matches(".rs").split('/');
    let mut found: Vec<(usize, String)> = in_path
        .filter_map(|name| banned(name).map(|word| (1, advice(&word))))
        .collect();
    let (code, _) = split(&source.text);
    for (at, line) in code.lines().enumerate() {
        // What others have named is theirs.
        let path = line
            .trim_start()
            .trim_start_matches("pub ")
            .strip_prefix("use ");
        let is_foreign = path.is_some_and(|path| {
            !["crate::", "self::", "super::"]
                .iter()
                .any(|own| path.starts_with(own))
        });
        let crates = dependencies();
        let own = identifiers(line).filter(|name| !crates.iter().any(|known| known == name));
        let names = own.filter(|_| !is_foreign);
        found.extend(names.filter_map(banned).map(|word| (at + 1, advice(&word))));
    }
    for (at, line) in source.comments.lines().enumerate() {
        let names = identifiers(line).filter(|name| !name.contains('_'));
        found.extend(names.filter_map(banned).map(|word| (at + 1, advice(&word))));
    }
    found
}

// === reading the source ===

impl Source {
    fn new(path: &str, text: &str, is_test: bool) -> Self {
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

    /// The module of the crate's root that the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// How many `super` lead to the crate's root.
    fn depth(&self) -> usize {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        match path {
            "lib" | "main" => 0,
            path => path.split('/').count(),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of crates as code spells them.
fn dependencies() -> Vec<String> {
    let manifest = include_str!("../Cargo.toml");
    let names = manifest.lines().filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn read(directory: &str) -> Vec<Source> {
    let directory = root().join(directory);
    let mut found = Vec::new();
    files(&directory, &mut found);
    assert!(!found.is_empty(), "nothing is read");
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

/// Files that `path` declares for tests only: `#[cfg(test)] mod vectors;`.
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

#[track_caller]
fn check_all(rule: Rule) {
    check_files("src", rule);
}

#[track_caller]
fn check_files(directory: &str, rule: Rule) {
    let sources = read(directory);
    let found = sources.iter().flat_map(|source| {
        let broken = rule(source).into_iter();
        broken.map(|(line, advice)| format!("{directory}/{}:{line}: {advice}", source.path))
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn found(rule: Rule, path: &str, text: &str) -> Vec<(usize, String)> {
    rule(&Source::new(path, text, path.ends_with("tests.rs")))
}

fn lines(code: &str, is_wrong: impl Fn(&str) -> bool, advice: &str) -> Vec<(usize, String)> {
    let lines = code.lines().enumerate();
    let wrong = lines.filter(|(_, line)| is_wrong(line));
    wrong.map(|(at, _)| (at + 1, advice.to_owned())).collect()
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !is_identifier(c));
    words.filter(|word| !word.is_empty())
}

/// A banned word in `ConnectionManager`, `url_helper` or `OUTBOUND`.
fn banned(name: &str) -> Option<String> {
    let mut words = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && was_lower {
            words.push('_');
        }
        was_lower = c.is_lowercase();
        words.extend(c.to_lowercase());
    }
    let mut words = words.split('_');
    words
        .find(|word| BANNED_WORDS.contains(word))
        .map(str::to_owned)
}

/// The modules of the crate's root that a file names, with the line of each.
fn imported(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    let from_root = format!("{}::", vec!["super"; source.depth()].join("::"));
    let mut roots = vec!["crate::", "countersign::", "crate as"];
    if source.depth() > 0 {
        roots.push(&from_root);
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

/// What a file names of the workspace's other crates: `emulator`, `protocol/dialect`.
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

/// `a` of `a::b`, `a` and `b` of `{a::{x, y}, b}`, `*`.
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
    items.iter().map(|item| name(item)).collect()
}

/// Whether the function around a line carries an `#[expect(clippy::…)]` of its own.
fn is_annotated(code: &str, line: usize) -> bool {
    let lines: Vec<&str> = code.lines().take(line).collect();
    let is_function = |line: &&str| identifiers(line).any(|word| word == "fn");
    let Some(function) = lines.iter().rposition(is_function) else {
        return false;
    };
    let attributes = lines[..function].iter().rev();
    attributes
        .take_while(|line| line.trim_start().starts_with("#["))
        .any(|line| {
            line.contains("#[expect(clippy::expect_used")
                || line.contains("#[expect(clippy::unwrap_used")
        })
}

/// Blanks items behind `#[cfg(test)]`.
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

/// Up to the `;` or the closing brace that ends an item with its attributes.
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

/// Code with blank strings and without comments, and the comments alone.
fn split(text: &str) -> (String, String) {
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

/// Length of what stands at the start, and whether it is a comment or a literal.
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
fn code_and_comments_are_told_apart() {
    let text = "a(\"// b \\\" \", r#\"\"c\"#, 'd', '\\'', '\"', b\"e\"); // f \"g\n/* h\n */ fn i<'j>(k: &'j str) {}";
    let (code, comments) = split(text);
    let words: Vec<&str> = identifiers(&code).collect();
    assert_eq!(words, ["a", "b", "fn", "i", "j", "k", "j", "str"]);
    assert_eq!(identifiers(&comments).collect::<Vec<_>>(), ["f", "g", "h"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn files_for_tests_only_are_known_by_their_declaration() {
    let text = "#[cfg(test)]\nmod vectors;\nmod real;\n#[cfg(test)]\nmod tests {}";
    assert_eq!(test_files("a/b/mod.rs", text), ["a/b/vectors.rs"]);
    assert_eq!(test_files("a/c.rs", text), ["a/c/vectors.rs"]);
}
