//! The table of causes, and the reference page that is generated from it.

use std::fmt::Write as _;
use std::path::Path;

use super::super::Cause;

const COMMAND: &str = "REGENERATE=1 cargo test --lib diagnose::tests::reference";
const FILE: &str = "docs/reference/causes.md";
const INTRODUCTION: &str = r#"# Causes of rejections

`countersign explain` names one of these causes in its first line. The same names appear in log lines and in
`extensions.cause` of errors. A name never changes its meaning.

If the evidence does not decide, the cause is `unknown`, and the output names the evidence that would decide.
Each other cause has a confidence: `certain` (AWS's text or the comparison proves it), `likely` (nothing
contradicts it, and other causes are rare) or `possible` (other causes would leave the same evidence).

The signer's canonical request is compared with AWS's line by line, and the first difference is reported. A
request with several mistakes can therefore have another cause after the first one is fixed.

"#;

/// Regenerates the page if the variable REGENERATE is set.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line of its own"
)]
fn the_reference_page_matches_the_table() {
    let mut page =
        format!("<!-- Generated from src/diagnose/cause.rs. Do not edit; run: {COMMAND} -->\n\n");
    page.push_str(INTRODUCTION);
    page.push_str("| cause | meaning |\n|---|---|\n");
    for cause in Cause::ALL {
        writeln!(page, "| [`{cause}`](#{cause}) | {} |", cause.sentence()).unwrap();
    }
    for cause in Cause::ALL {
        let (sentence, explanation, fix) = (cause.sentence(), cause.explanation(), cause.fix());
        write!(
            page,
            "\n## {cause}\n\n**{sentence}**\n\n{explanation}\n\n{fix}\n"
        )
        .unwrap();
        for (language, code) in cause.code() {
            let code = code.replace('\n', "\n    ");
            write!(page, "\n{language}:\n\n    {code}\n").unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{FILE} is out of date. Run: {COMMAND}");
}

#[test]
fn every_cause_is_declared_once_and_in_order() {
    let names: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for cause in Cause::ALL {
        assert_eq!(Cause::from_name(cause.as_str()), Some(*cause));
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(cause.as_str().bytes().all(is_name), "{cause}");
        for text in [cause.sentence(), cause.explanation()] {
            assert!(text.ends_with('.'), "{cause}: {text}");
        }
        assert!(cause.sentence().len() < 120, "{cause}");
        assert!(!cause.sentence().contains('\n'), "{cause}");
        let lines = cause.explanation().lines();
        assert!((2..=5).contains(&lines.clone().count()), "{cause}");
        assert!(lines.clone().all(|line| line.len() <= 110), "{cause}");
        assert!(cause.fix().ends_with(['.', ':']), "{cause}");
    }
}
