//! Rules of the project that neither the compiler nor clippy checks. They read the text of `src`.
//!
//! A rule is a function that returns the violations in a file. Each test also shows that its rule
//! fails on snippets that break it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod circles;
mod fields;
mod links;
mod phrases;
mod source;

use std::fs;

use source::{
    MEMBERS, Source, dependencies, identifiers, imported, is_identifier, read, root, split,
};

/// Returns the violations in a file: line and advice.
type Rule = fn(&Source) -> Vec<(usize, String)>;

/// The modules that each module may import, besides those in [`SHARED`]. `emulator` is another crate of
/// the workspace, and `protocol/dialect` is a module of a third one.
const IMPORTS: [(&str, &[&str]); 30] = [
    ("build", &[]),
    ("main", &["cli"]),
    (
        "cli",
        // From upstream: what a URL names.
        &[
            "app", "check", "config", "diagnose", "emulator", "iam", "memory", "schema", "server",
            "upstream",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "check",
            "config",
            "guard",
            "iam",
            "memory",
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
            "memory",
            "protocol/realtime",
            "proxy",
            "realtime",
            "server",
            "session",
            "sign",
            "trusted_file",
            "upstream",
        ],
    ),
    (
        "check",
        &[
            "diagnose",
            "protocol/graphql",
            "protocol/realtime",
            "protocol/rejection",
            "realtime",
            "sign",
            "upstream",
        ],
    ),
    ("schema", &["check"]),
    // From the server: the number of connections.
    ("admin", &["guard", "server", "sign", "upstream"]),
    (
        "server",
        &["guard", "memory", "proxy", "session", "trusted_file"],
    ),
    (
        "proxy",
        // From a dialect: its wire token, or the framing of its responses.
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
        // From the guard: the policies that must allow its operations.
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
        // From the guard: the operation policies.
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
    ("guard", &["protocol/graphql", "trusted_file"]),
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
    // From the guard: the comparison of header names.
    (
        "upstream",
        &[
            "diagnose",
            "guard",
            "iam",
            "net",
            "protocol/rejection",
            "sign",
        ],
    ),
    ("iam", &["protocol/events", "protocol/graphql"]),
    ("sign", &["net"]),
    // From iam: the partition in ARNs.
    ("diagnose", &["iam"]),
    ("net", &[]),
    ("deadline", &[]),
    ("home", &[]),
    ("platform", &[]),
    ("nearest", &[]),
    ("trusted_file", &[]),
    ("visible", &[]),
    ("lifecycle", &[]),
    ("outbox", &["protocol/graphql"]),
    ("memory", &[]),
    ("telemetry", &["trusted_file"]),
    (
        "inspector",
        &[
            "diagnose",
            "guard",
            "memory",
            "operation",
            "protocol/dialect",
            "protocol/graphql",
            "server",
            "sign",
            "upstream",
        ],
    ),
];

/// Modules that every module of `countersign` may import.
const SHARED: [&str; 9] = [
    "deadline",
    "home",
    // Its captures; its API imports the rest.
    "inspector",
    "lifecycle",
    "nearest",
    "platform",
    "protocol/error_code",
    "telemetry",
    "visible",
];

/// The crates that `src/protocol` may depend on. None of them does I/O, reads a clock or generates
/// random numbers.
const PURE_CRATES: [&str; 9] = [
    "apollo-parser",
    "base64",
    "bytes",
    "http",
    // For the lock of the cache of documents.
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
fn modules_import_only_what_they_may() {
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
        (
            "guard/mod.rs",
            "use crate::{trusted_file::{Fingerprint, read}, sign};",
        ),
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
fn no_module_re_exports_items_of_another() {
    check_all(re_exports);
    for text in [
        "pub use crate::guard::Local;",
        "pub(crate) use crate::memory::{Budget, Share};",
        "use crate::guard;\npub use super::super::guard::Local;",
        "pub use countersign_protocol::graphql::Kind;",
        "pub(super) use http::StatusCode;",
        "pub use std::sync::Arc;",
        "pub use crate::*;",
    ] {
        assert_eq!(found(re_exports, "proxy/x.rs", text).len(), 1, "{text}");
    }
    for text in [
        "pub use accept::{Accept, Form};",
        "pub use self::batch::items;",
        "pub(super) use super::relay::relay;",
        "mod http;\npub use http::Answer;",
        "pub use crate::proxy::slot::Slot;",
        "use crate::guard::Local;",
        "#[cfg(test)]\nmod tests { pub use crate::guard::Local; }",
    ] {
        assert_eq!(found(re_exports, "proxy/x.rs", text), [], "{text}");
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
    // The caller generates random ids and passes them in.
    assert_eq!(
        impure_dependencies("[dependencies]\nuuid = { features = [\"v4\"] }"),
        ["uuid"]
    );
}

/// Returns the crates in a manifest that code without I/O must not depend on.
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
fn no_test_is_ignored() {
    check_all(ignored_tests);
    check_files("tests", ignored_tests);
    for text in [
        "#[ignore]\nfn f() {}",
        "#[ignore = \"flaky\"]\nfn f() {}",
        "#[test]\n#[cfg_attr(windows, ignore)]\nfn f() {}",
    ] {
        assert_eq!(found(ignored_tests, "x.rs", text).len(), 1, "{text}");
    }
    let fine = "// #[ignore]\nlet ignore = \"#[ignore]\";";
    assert_eq!(found(ignored_tests, "x.rs", fine), []);
}

#[test]
fn every_file_begins_with_a_module_comment() {
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

/// The lints `unwrap_used` and `expect_used` find the calls themselves.
#[test]
fn a_panic_is_allowed_to_one_function_at_a_time() {
    check_all(suppressions);
    let wrong = [
        "#![allow(clippy::unwrap_used)]",
        "#![expect(clippy::expect_used, reason = \"x\")]",
        "#[expect(clippy::expect_used, reason = \"x\")]\nmod x { fn f() {} }",
        "#[expect(\n    clippy::unwrap_used,\n    reason = \"x\"\n)]\nimpl X {}",
        "#[allow(clippy::expect_used)]\nfn f() {}",
        "#[expect(clippy::dbg_macro, clippy::unwrap_used)]\n#[must_use]\nstruct X;",
    ];
    for text in wrong {
        assert_eq!(found(suppressions, "x.rs", text).len(), 1, "{text}");
        assert_eq!(found(suppressions, "x/tests.rs", text), []);
        let in_test = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}");
        assert_eq!(found(suppressions, "x.rs", &in_test), [], "{text}");
    }
    for text in [
        "#[expect(clippy::expect_used, reason = \"x\")]\nfn f() {}",
        "#[must_use]\n#[expect(\n    clippy::unwrap_used,\n)]\n#[inline]\npub(crate) fn f() {}",
        "// #[allow(clippy::unwrap_used)]",
    ] {
        assert_eq!(found(suppressions, "x.rs", text), [], "{text}");
    }
}

#[test]
fn names_use_no_vague_words() {
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
    // This includes the tests of a crate.
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
        let advice = format!("add the modules that `{module}` may import to IMPORTS in tests/tidy");
        return if module == "lib" || MEMBERS.contains(&module) {
            Vec::new()
        } else {
            vec![(1, advice)]
        };
    };
    let may = |name: &str| {
        let is_shared = SHARED.contains(&name);
        name == module || is_shared || allowed.contains(&name)
    };
    let forbidden = imported(source).into_iter().filter(|(_, name)| !may(name));
    forbidden
        .map(|(line, name)| {
            let advice = match name.as_str() {
                "*" | "self" | "as" => "import what is needed from `crate` by name".to_owned(),
                "protocol/*" | "protocol/self" | "protocol/as" => {
                    "import what is needed from `countersign_protocol` by name".to_owned()
                }
                name => format!(
                    "`{module}` must not import `{name}`: move what both need to a module that \
                     both may import (IMPORTS in tests/tidy), or pass it in"
                ),
            };
            (line, advice)
        })
        .collect()
}

/// Returns re-exports, by which a module could import what it must not under the name of another.
fn re_exports(source: &Source) -> Vec<(usize, String)> {
    let advice = "import it where it is used, from the module that defines it";
    let code = &source.code;
    let crates = dependencies();
    let uses = code.match_indices("use ").filter_map(|(at, word)| {
        let before = code[..at].rsplit(['\n', ';', '{', '}']).next()?.trim();
        let is_public = before == "pub" || (before.starts_with("pub(") && before.ends_with(')'));
        let path = code[at + word.len()..].split(';').next()?;
        is_public.then_some((at, path))
    });
    let from_others = uses.filter(|(_, path)| {
        let first = path.split("::").next().unwrap_or_default().trim();
        let is_child = code.contains(&format!("mod {first};"));
        let is_crate = ["std", "core", "alloc"].contains(&first)
            || first.starts_with("countersign")
            || crates.iter().any(|known| known == first);
        let statement = Source::new(&source.path, &format!("use {path};"), false);
        let others = imported(&statement);
        (is_crate && !is_child) || others.iter().any(|(_, name)| name != source.module())
    });
    from_others
        .map(|(at, _)| (code[..at].matches('\n').count() + 1, advice.to_owned()))
        .collect()
}

fn machine_purity(source: &Source) -> Vec<(usize, String)> {
    if source.is_test || source.module() != "protocol" {
        return Vec::new();
    }
    let advice = "a protocol machine does no I/O, reads no clock and has no global state: pass \
                  `now` in, and return actions as outputs";
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

fn ignored_tests(source: &Source) -> Vec<(usize, String)> {
    // This rule includes the code of tests.
    let (code, _) = split(&source.text);
    let has_ignore = |line: &str| {
        let is_attribute = line.trim_start().starts_with("#[");
        is_attribute && identifiers(line).any(|name| name == "ignore")
    };
    lines(&code, has_ignore, "make it pass, or remove it")
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

fn suppressions(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let lints = ["clippy::unwrap_used", "clippy::expect_used"];
    let named = lints.iter().flat_map(|lint| code.match_indices(lint));
    let wrong = named.filter(|(at, _)| {
        let attribute = &code[code[..*at].rfind('#').unwrap_or(*at)..];
        let head = after_attributes(attribute).split(['{', ';']).next();
        let is_function = head.is_some_and(|head| identifiers(head).any(|word| word == "fn"));
        !(attribute.starts_with("#[expect(") && is_function)
    });
    let advice = "handle the case, or annotate the one function with #[expect(…, reason = …)]";
    wrong
        .map(|(at, _)| (code[..at].matches('\n').count() + 1, advice.to_owned()))
        .collect()
}

/// Returns the item that attributes belong to.
fn after_attributes(mut code: &str) -> &str {
    while code.starts_with('#') {
        let mut depth = 0;
        let end = code.find(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ']' && depth == 0
        });
        code = end.map_or("", |end| code[end + 1..].trim_start());
    }
    code
}

fn words(source: &Source) -> Vec<(usize, String)> {
    let advice = |word: &str| {
        format!("`{word}` is too vague: use the terms of the glossary (client, upstream, …)")
    };
    let in_path = source.path.trim_end_matches(".rs").split('/');
    let mut found: Vec<(usize, String)> = in_path
        .filter_map(|name| banned(name).map(|word| (1, advice(&word))))
        .collect();
    let (code, _) = split(&source.text);
    let crates = dependencies();
    for (at, line) in code.lines().enumerate() {
        // Names of other crates are not ours to choose.
        let path = line
            .trim_start()
            .trim_start_matches("pub ")
            .strip_prefix("use ");
        let is_foreign = path.is_some_and(|path| {
            !["crate::", "self::", "super::"]
                .iter()
                .any(|own| path.starts_with(own))
        });
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

/// Returns a banned word in names such as `ConnectionManager`, `url_helper` or `OUTBOUND`.
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

// === running the rules ===

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
