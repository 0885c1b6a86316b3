//! Replays every file of `tests/fuzz/corpus` through its fuzz target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the targets keep the lints of their own crate"
)]
mod targets;

use targets::TARGETS;

/// The limits keep a corpus readable.
const MAX_FILES: usize = 60;
const MAX_BYTES: u64 = 200 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn files(name: &str) -> Vec<PathBuf> {
    let directory = root().join("corpus").join(name);
    let names = names(&directory).into_iter();
    names.map(|name| directory.join(name)).collect()
}

#[test]
fn every_corpus_is_replayed() {
    let mut broken = Vec::new();
    for (name, run) in TARGETS {
        for path in files(name) {
            let data = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| run(&data)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "rules are broken by {broken:#?}");
}

#[test]
fn every_target_has_a_corpus_and_a_binary() {
    let wanted: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(wanted.len(), TARGETS.len(), "a name is used twice");
    assert_eq!(names(&root().join("corpus")), wanted);
    let sources = wanted.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&root().join("fuzz_targets")), sources);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in &wanted {
        let path = root().join(format!("fuzz_targets/{name}.rs"));
        let source = fs::read_to_string(path).unwrap();
        assert!(source.contains(&format!("::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

#[test]
fn corpora_are_neither_empty_nor_large() {
    for (name, _) in TARGETS {
        let files = files(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        assert!(files.len() <= MAX_FILES, "{name}: {} files", files.len());
        let sizes = files.iter().map(|path| fs::metadata(path).unwrap().len());
        let bytes: u64 = sizes.sum();
        assert!(bytes <= MAX_BYTES, "{name}: {bytes} bytes");
    }
}
