//! Phrases that readers stumble over, in every text of the project.
//!
//! Each phrase in the list has a plain equivalent. The list is short on purpose: it does not replace
//! reading.

use std::fs;

use super::root;
use super::source::texts;

/// A phrase in lower case, and advice for replacing it.
const PHRASES: [(&str, &str); 22] = [
    (
        "is no",
        "write `is not a …`, `does not exist` or `without …`",
    ),
    (
        "tells",
        "write `determines`, `reports`, `shows` or `describes`",
    ),
    ("told of", "write `notified of` or `with … configured`"),
    ("anew", "write `again`, or use a verb such as `reopen`"),
    (
        "what nobody",
        "name it, such as `requests that the client abandoned`",
    ),
    (
        "in good faith",
        "name the rule, such as `within the grace period`",
    ),
    ("last words", "name them, such as `final responses`"),
    ("whoever", "write `every client that` or `the process that`"),
    ("for want of", "write `because … is missing` or `without`"),
    ("who shows", "write `clients that send`"),
    ("may be asked", "write `allowed operations`"),
    ("to be had", "write `available`"),
    ("can be had", "write `available`"),
    ("ever after", "write `forever` or `from then on`"),
    ("knows no", "write `does not support`"),
    ("handed on", "write `passed on`"),
    ("broke off", "write `was interrupted`"),
    ("breaks off", "write `is interrupted`"),
    ("shook hands", "write `completed the handshake`"),
    ("in its stead", "write `instead`"),
    ("stranger", "write `untrusted client`"),
    ("strangers", "write `untrusted clients`"),
];

#[test]
fn texts_use_plain_phrases() {
    let files = texts();
    let read = files.iter().filter_map(|path| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        // This file quotes the phrases.
        (name != "tests/tidy/phrases.rs").then_some(())?;
        Some((name, fs::read_to_string(path).ok()?))
    });
    let mut count = 0;
    let mut found = Vec::new();
    for (name, text) in read {
        count += 1;
        let hits = phrases(&text).into_iter();
        found.extend(hits.map(|(line, advice)| format!("{name}:{line}: {advice}")));
    }
    assert!(count > 400, "only {count} files are read");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn phrases_are_found_in_comments_strings_names_and_across_lines() {
    for text in [
        "// It is no size.",
        "error!(\"`{text}` is no size\")",
        "fn a_text_is_no_size() {}",
        "/// The limit is\n/// no size.",
        "A page that tells\nhow it is.",
        "# Whoever reaches the port",
        "<!-- for want of a token -->",
        "Told of a collector, it begins anew.",
    ] {
        assert!(!phrases(text).is_empty(), "{text}");
    }
    for text in ["this is now done", "a foretells b", "renewal", "is: no"] {
        assert_eq!(phrases(text), [], "{text}");
    }
    let lines: Vec<usize> = phrases("a\n// the last\n// words\nTELLS")
        .iter()
        .map(|(line, _)| *line)
        .collect();
    assert_eq!(lines, [2, 4]);
}

/// Returns the listed phrases in a text, with their lines.
fn phrases(text: &str) -> Vec<(usize, String)> {
    let words = words(text);
    let starts_with = |at: usize, phrase: &str| {
        let mut rest = words[at..].iter();
        phrase
            .split(' ')
            .all(|part| rest.next().is_some_and(|(_, word)| word == part))
    };
    let at = (0..words.len()).flat_map(|at| {
        let matching = PHRASES
            .iter()
            .filter(move |(phrase, _)| starts_with(at, phrase));
        matching.map(move |hit| (at, hit))
    });
    at.map(|(at, (phrase, instead))| (words[at].0, format!("`{phrase}`: {instead}")))
        .collect()
}

/// Returns the words of a text in lower case, each with its line. Names are split at `_`. Punctuation
/// that ends a clause counts as a word, so that phrases do not extend across it.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line
            .trim_start()
            .trim_start_matches(['/', '!', '#', '*', '-']);
        let parts = line.split(|c: char| !c.is_alphanumeric() && !".,;:!?()".contains(c));
        for part in parts {
            for piece in part.split_inclusive(|c: char| !c.is_alphanumeric()) {
                let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
                if !word.is_empty() {
                    words.push((at + 1, word.to_lowercase()));
                }
                if word.len() < piece.len() {
                    words.push((at + 1, String::new()));
                }
            }
        }
    }
    words
}
