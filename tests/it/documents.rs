//! Compares what other GraphQL parsers find in a document with what the check of a `GET` finds.
//!
//! The test generates valid documents, mutations hidden in them, and random edits of both.
//! graphql-js and graphql-core parse each. If either finds a mutation, a `GET` must be refused.

use countersign_protocol::graphql::{OperationKind, select};
use tokio::process::Command;

use crate::support::{Scratch, node, python};

/// The operations of a document, or `None` if it cannot be parsed.
type Read = Option<Vec<(String, Option<String>)>>;

const NAMES: [Option<&str>; 5] = [None, Some(""), Some("A"), Some("B"), Some("mutation")];

const SEEDS: [&str; 14] = [
    "query A { a }",
    "mutation B { b }",
    "{ a }",
    "subscription A { a }",
    "query A { a } mutation B { b }",
    "mutation B { b } query A { a }",
    "query A($x: [Int!]! = [1]) @d(e: 1.5) { a(x: $x) { ...F ... on T @i(if: true) { c } } } fragment F on T { d }",
    "mutation mutation { mutation: query(mutation: {query: [\"#\"]}) }",
    "{ a(x: \"mutation B { b }\", y: \"\\\"\\\\\\u0041\") } # mutation B { b }\n",
    "{ a(x: \"\"\"\n mutation B { b } \" \"\" \n\"\"\") }",
    "{ a(x: \"\"\"\\\"\"\" mutation B { b } \"\"\") }",
    "# query A { a }\rmutation B { b } # }\r\n",
    "fragment F on T { a } mutation B { ...F }",
    "type T { a: Int } mutation B { b }",
];

const PIECES: [&str; 44] = [
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    " A ",
    " B ",
    "a",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "\"",
    "\"\"",
    "\"\"\"",
    "\\",
    "\\\"",
    "\\\\",
    "#",
    "\n",
    "\r",
    "\r\n",
    "\t",
    ",",
    "...",
    "@d",
    "$x",
    "1",
    "-1.5e3",
    "mutation B { b }",
    "query A { a }",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{b}",
    "\u{c}",
    "\u{feff}",
    "\u{a0}",
    "\u{3000}",
    "\0",
    "\u{1f980}",
];

/// Pseudorandom numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn corpus() -> Vec<String> {
    let mut texts: Vec<String> = SEEDS.map(str::to_owned).to_vec();
    for piece in PIECES {
        for text in [
            format!("query A {{ a }} #{piece} mutation B {{ b }}\n"),
            format!("#{piece} query A {{ a }} \n mutation B {{ b }}"),
            format!("{piece}mutation B {{ b }}"),
            format!("mutation{piece}B {{ b }}"),
            format!("{{ a(x: \"{piece}\") }} # \") }} mutation B {{ b }}"),
            format!("{{ a(x: \"{piece} }}) mutation B {{ b #\") }}"),
            format!("{{ a(x: \"\"\"{piece}\"\"\") }} # \"\"\") }} mutation B {{ b }}"),
            format!("query A {{ a(x: \"\"\"{piece}\"\"\") }} mutation B {{ b(x: \"\"\"\"\"\") }}"),
            format!("\"\"\"{piece}\"\"\" mutation B {{ b }}"),
            format!("\"x\" {piece} mutation B {{ b }}"),
            format!("query A {{ a }} {piece} B {{ b }}"),
        ] {
            texts.push(text);
        }
    }
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    while texts.len() < 24_000 {
        let mut text: Vec<char> = texts[numbers.below(500)].chars().collect();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len() + 1);
            let end = (at + numbers.below(6)).min(text.len());
            let piece: Vec<char> = match numbers.below(4) {
                0 => Vec::new(),
                1 => text[at..end].repeat(2),
                _ => PIECES[numbers.below(PIECES.len())].chars().collect(),
            };
            let end = if numbers.below(2) == 0 { at } else { end };
            text.splice(at..end, piece);
        }
        texts.push(text.into_iter().collect());
    }
    texts
}

async fn read(mut command: Command, file: &str) -> Vec<Read> {
    let output = command.arg(file).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns whether a parser could run a mutation for `name`, whichever operation it selects.
fn is_mutation(operations: &[(String, Option<String>)], name: Option<&str>) -> bool {
    let name = name.filter(|name| !name.is_empty());
    operations
        .iter()
        .any(|(kind, own)| kind == "mutation" && (name.is_none() || name == own.as_deref()))
}

#[tokio::test]
async fn no_mutation_that_another_parser_finds_is_sent_by_get() {
    let texts = corpus();
    let scratch = Scratch::new("documents");
    let file = scratch.file("documents.json", &serde_json::to_string(&texts).unwrap());
    let (mut mutations, mut agreed, mut refused) = (0, 0, 0);
    for (parser, found) in [
        ("graphql-js", read(node("documents.mjs"), &file).await),
        ("graphql-core", read(python("documents.py"), &file).await),
    ] {
        assert_eq!(found.len(), texts.len(), "{parser}");
        for (text, found) in texts.iter().zip(&found) {
            for name in NAMES {
                let ours = select(text, name).map(|selected| selected.kind);
                let passes = matches!(ours, Ok(OperationKind::Query | OperationKind::Subscription));
                let Some(operations) = found else {
                    continue;
                };
                if is_mutation(operations, name) {
                    mutations += 1;
                    refused += usize::from(ours.is_err());
                    assert!(
                        !passes,
                        "{parser} reads a mutation: {text:?} {name:?} {ours:?}"
                    );
                } else if passes {
                    agreed += 1;
                }
            }
        }
    }
    println!(
        "{} documents: {mutations} mutations, {refused} of them in doubt; {agreed} pass",
        texts.len()
    );
    assert!(mutations > 5_000 && agreed > 5_000 && refused < mutations);
}
