//! `docs/troubleshooting.md`: every command on the page is run, and must print what the page shows.
//!
//! `REGENERATE=1 cargo test --test it troubleshooting` writes the outputs into the page.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::explain::run;
use crate::support::Scratch;

/// The line before a block with the content of a file.
const FILE: &str = "<!-- file: ";
const CONSOLE: &str = "```console\n$ ";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md")
}

fn page() -> String {
    fs::read_to_string(path()).unwrap()
}

/// Returns each heading, and the text below it.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let sections = page.split("\n## ").skip(1);
    sections
        .map(|section| section.split_once('\n').unwrap())
        .collect()
}

/// Returns the blocks of files in a section, with their names.
fn files(section: &str) -> Vec<(&str, &str)> {
    let parts = section.split(FILE).skip(1);
    parts
        .map(|part| {
            let fence = part.split_once(" -->\n```");
            let (name, rest) = fence.expect("a fence after its mark");
            let (_, rest) = rest.split_once('\n').unwrap();
            let (text, _) = rest.split_once("\n```").expect("the end of the fence");
            (name, text)
        })
        .collect()
}

/// Returns the page with the outputs that its commands have now.
async fn regenerated(page: &str) -> String {
    let mut sections = page.split("\n## ");
    let mut after = sections.next().unwrap().to_owned();
    for section in sections {
        let scratch = Scratch::new("troubleshooting");
        for (name, text) in files(section) {
            scratch.file(name, text);
        }
        after.push_str("\n## ");
        let mut parts = section.split(CONSOLE);
        after.push_str(parts.next().unwrap());
        for part in parts {
            let (block, rest) = part.split_once("\n```").expect("the end of the fence");
            let command = block.lines().next().unwrap();
            let printed = output(command, &scratch).await;
            after.push_str(&format!(
                "{CONSOLE}{command}\n{}\n```{rest}",
                printed.trim_end()
            ));
        }
    }
    after
}

/// Runs a command of the page where its files are.
async fn output(line: &str, scratch: &Scratch) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(&scratch.0);
    shell.env_clear().env("PATH", path);
    let output = run(&mut shell, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{line}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn commands_on_the_page_print_what_it_shows() {
    let before = page();
    let after = regenerated(&before).await;
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(path(), &after).unwrap();
        return;
    }
    let advice = "run REGENERATE=1 cargo test --test it troubleshooting";
    for (old, new) in before.lines().zip(after.lines()) {
        assert_eq!(old, new, "{advice}");
    }
    assert!(before == after, "{advice}");
    let commands = before.matches(CONSOLE).count();
    assert!(commands >= 20, "only {commands} commands");
}

/// Users paste what they see into a search engine, so a heading is a part of the text.
#[test]
fn headings_are_the_texts_that_the_files_contain() {
    let page = page();
    let sections = sections(&page);
    assert!(sections.len() >= 20, "{}", sections.len());
    for (heading, section) in sections {
        let files = files(section);
        if files.is_empty() {
            assert!(!section.contains(CONSOLE), "{heading}");
            continue;
        }
        let is_found = |text: &str| files.iter().any(|(_, file)| file.contains(text));
        for text in heading.split(" … ") {
            let text = text.trim_matches(['`', '…', ' ']).replace('"', "\\\"");
            assert!(
                is_found(&text) || is_found(&text.replace("\\\"", "\"")),
                "{heading}: {text}"
            );
        }
    }
}
