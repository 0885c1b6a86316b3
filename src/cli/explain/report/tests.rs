//! Tests of the report's columns, marks and colours.

use super::{json as line, text as report, *};
use crate::diagnose::{Cause, Evidence, diagnose};

fn difference(yours: &str, aws: &str) -> String {
    let difference = Difference {
        line: "the line".to_owned(),
        yours: yours.to_owned(),
        aws: aws.to_owned(),
    };
    marked(&difference, Style::Plain)
}

#[track_caller]
fn check(yours: &str, aws: &str, expected: &str) {
    let found = difference(yours, aws);
    assert_eq!(found, expected, "\n{found}");
    assert!(found.lines().all(|line| line.chars().count() <= COLUMNS));
}

#[test]
fn the_differing_part_is_marked() {
    check(
        "20260115/us-east-1/apigateway/aws4_request",
        "20260115/us-east-1/execute-api/aws4_request",
        "the line\n  yours  20260115/us-east-1/apigateway/aws4_request\n  \
         AWS    20260115/us-east-1/execute-api/aws4_request\n                            ^^^^^^^^^^^\n",
    );
    check(
        "",
        "a=1",
        "the line\n  yours  (nothing)\n  AWS    a=1\n         ^^^^^^^^^\n",
    );
    check(
        "ab",
        "abc",
        "the line\n  yours  ab\n  AWS    abc\n           ^\n",
    );
    check(
        "aab",
        "ab",
        "the line\n  yours  aab\n  AWS    ab\n          ^\n",
    );
    check(
        "a\u{1b}[31m",
        "a\n",
        "the line\n  yours  a\\u{1b}[31m\n  AWS    a\\n\n           ^^^^^^^^^\n",
    );
    check("é", "e", "the line\n  yours  é\n  AWS    e\n         ^\n");
}

#[test]
fn long_values_are_cut_around_the_difference() {
    let (long, other) = ("a".repeat(300), "a".repeat(100));
    for (yours, aws) in [
        (format!("{long}X{long}"), format!("{long}Y{long}")),
        (format!("{long}X"), format!("{long}Y")),
        (format!("X{long}"), format!("Y{long}")),
        (format!("X{long}Y"), format!("Y{long}X")),
        (format!("{other}X{long}"), format!("{other}{long}")),
    ] {
        let text = difference(&yours, &aws);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
        let marked = lines[3].find('^').unwrap();
        let (yours, aws) = (lines[1].chars().nth(marked), lines[2].chars().nth(marked));
        assert_ne!(yours, aws, "{text}");
        assert!(lines[1].contains('…'), "{text}");
    }
}

#[test]
fn reports_fit_in_80_columns_and_begin_with_the_cause() {
    let message = "Signature expired: 20181029T181641Z is now earlier than 20181029T191126Z \
                   (20181029T191626Z - 5 min.)";
    let mut evidence = Evidence::default();
    evidence.answer.body = message.to_owned();
    let diagnosis = diagnose(&evidence);
    assert_eq!(diagnosis.cause, Some(Cause::ClockSlow));
    let text = report(&diagnosis, Style::Plain);
    assert!(text.starts_with("clock-slow: "), "{text}");
    assert!(
        text.contains("\n  yours  20181029T181641Z\n  AWS    20181029T191626Z\n"),
        "{text}"
    );
    assert!(text.contains("\nFix\n  "), "{text}");
    let is_code = |line: &str| line.starts_with("      ");
    for line in text.lines().filter(|line| !is_code(line)) {
        assert!(line.len() <= COLUMNS, "{line}");
    }
    assert!(!text.contains('\u{1b}'));
    let colored = report(&diagnosis, Style::Colored);
    assert!(
        colored.starts_with("\u{1b}[1;31mclock-slow\u{1b}[0m: "),
        "{colored}"
    );

    evidence.answer.body = "\u{1b}[2J something else".to_owned();
    let text = report(&diagnose(&evidence), Style::Plain);
    assert!(text.starts_with("unknown: "), "{text}");
    assert!(text.contains("To find the cause, add\n  --"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn paragraphs_are_wrapped_and_code_is_not() {
    let code = format!("  {}", "x".repeat(100));
    let text = format!(
        "{}\n\n  Python:\n{code}\nafter\nit",
        "word ".repeat(30).trim()
    );
    let found = wrapped(&text, 2);
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines[0].len() <= COLUMNS && lines[0].len() > 70, "{found}");
    assert_eq!(
        lines[2..],
        ["", "    Python:", &format!("  {code}"), "  after it"]
    );
}

#[test]
fn hidden_characters_are_escaped_in_both_forms() {
    let mut diagnosis = diagnose(&Evidence::default());
    let hidden = "a\u{9b}31m\u{202e}b\u{2066}\u{200b}\u{7f}\u{e0041}\u{1b}";
    diagnosis.summary = hidden.to_owned();
    diagnosis.difference = Some(Difference {
        line: hidden.to_owned(),
        yours: hidden.to_owned(),
        aws: hidden.to_owned(),
    });
    diagnosis.fix = Some(format!("{hidden}\n  {hidden}"));
    let is_plain = |text: &str| {
        text.chars()
            .all(|char| (' '..='~').contains(&char) || char == '\n')
    };
    let text = report(&diagnosis, Style::Plain);
    assert!(is_plain(&text), "{text:?}");
    let text = line(&diagnosis);
    assert!(is_plain(&text), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["summary"], hidden);
}

#[test]
fn json_has_the_documented_members() {
    let json = line(&diagnose(&Evidence::default()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "cause",
            "confidence",
            "difference",
            "fix",
            "needs",
            "summary"
        ]
    );
    assert_eq!(json["cause"], "unknown");
}
