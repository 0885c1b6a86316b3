//! Documents in which parsers find different operations, and harmless documents that look similar.

use crate::graphql::{OperationKind, select, survey};

/// The result of [`select`]: the kind, or a part of the error.
#[track_caller]
fn check(query: &str, name: Option<&str>, expected: Result<OperationKind, &str>) {
    let shown: String = query.escape_debug().take(200).collect();
    match (select(query, name), expected) {
        (Ok(found), Ok(kind)) => assert_eq!(found.kind, kind, "{shown}"),
        (Err(error), Err(part)) => {
            let error = error.to_string();
            assert!(!part.is_empty() && error.contains(part), "{shown}: {error}");
            assert!(survey(query, name).is_err(), "{shown}: a policy accepts it");
        }
        (found, _) => panic!("{shown}: {found:?}, not {expected:?}"),
    }
}

/// Characters that end a comment, a line, a token or the text for some parser.
const ODD: [char; 14] = [
    '\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1a}', '\u{1b}', '\u{1c}', '\u{7f}', '\u{80}',
    '\u{85}', '\u{9f}', '\u{2028}', '\u{2029}',
];

#[test]
fn unsafe_characters_are_rejected_everywhere() {
    for c in ODD.into_iter().chain(['\u{feff}']) {
        let code = format!("U+{:04X}", u32::from(c));
        for (query, place) in [
            (
                format!("query A {{ a }} #{c} mutation B {{ b }}\n"),
                "line 1, column 16",
            ),
            (
                format!("#\n # {c} mutation B {{ b }}\n{{ a }}"),
                "line 2, column 4",
            ),
            (format!("{{ a }}{c}"), "line 1, column 6"),
            (format!("{{ é(x: \"{c}\") }}"), "syntax error"),
            (format!("{{ a(x: \"é{c}\") }}"), "line 1, column 10"),
            (format!("{{ a(x: \"\"\"\n{c}\"\"\") }}"), "line 2, column 1"),
            (format!("{{ a{c}b }}"), "line 1, column 4"),
            (format!("{{ a }}\r\n{c}"), "line 2, column 1"),
        ] {
            if place == "syntax error" {
                check(&query, None, Err(&code));
                continue;
            }
            let part = format!("{code} at {place}");
            for name in [None, Some("A"), Some("B")] {
                check(&query, name, Err(&part));
            }
        }
        if c != '\u{feff}' {
            check(
                &format!("{c}{{ a }}"),
                None,
                Err(&format!("{code} at line 1, column 1,")),
            );
        }
    }
}

#[test]
fn byte_order_mark_is_allowed_only_at_the_start() {
    check("\u{feff}{ a }", None, Ok(OperationKind::Query));
    check("\u{feff}mutation { a }", None, Ok(OperationKind::Mutation));
    check(
        "\u{feff}\u{feff}{ a }",
        None,
        Err("U+FEFF at line 1, column 2,"),
    );
    check(" \u{feff}{ a }", None, Err("U+FEFF at line 1, column 2,"));
}

#[test]
fn other_unicode_white_space_is_plain_text() {
    for c in [
        '\u{a0}', '\u{1680}', '\u{180e}', '\u{2000}', '\u{200b}', '\u{200d}', '\u{200e}',
        '\u{202e}', '\u{202f}', '\u{205f}', '\u{2060}', '\u{3000}', '\u{efbb}', '\u{fffe}',
    ] {
        // No known parser ends a comment or a string there, and real documents have these characters.
        check(
            &format!("# {c} mutation {{ b }}\n{{ a }}"),
            None,
            Ok(OperationKind::Query),
        );
        check(
            &format!("{{ a(x: \"{c}\", y: \"\"\"{c}\"\"\") }}"),
            None,
            Ok(OperationKind::Query),
        );
        for query in [
            format!("{c}{{ a }}"),
            format!("{{ a{c}b }}"),
            format!("query{c}A {{ a }}"),
            format!("{{ a }}{c}mutation {{ b }}"),
        ] {
            check(&query, None, Err("syntax error"));
        }
    }
}

#[test]
fn line_ends_are_those_of_the_specification() {
    for end in ["\n", "\r", "\r\n"] {
        check(
            &format!("# {{ a }}{end}mutation {{ b }}"),
            None,
            Ok(OperationKind::Mutation),
        );
        check(
            &format!("{{ a }} # mutation {{ b }}{end}"),
            None,
            Ok(OperationKind::Query),
        );
        for query in [
            format!("{{ a(x: \"{end}\") }}"),
            format!("{{ a(x: \"{end} #\") }} mutation B {{ b(x: \"\") }}"),
            format!("{{ a(x: \"y{end}\") }}"),
        ] {
            check(&query, None, Err("syntax error at line 1, column"));
        }
        check(
            &format!("{{ a(x: \"\"\"{end}\"\"\") }}"),
            None,
            Ok(OperationKind::Query),
        );
        check(
            &format!("{{ a(x: \"\"{end}y: \"\") }}"),
            None,
            Ok(OperationKind::Query),
        );
    }
}

#[test]
fn strings_end_where_every_parser_ends_them() {
    for (query, expected) in [
        (
            r#"{ a(x: "\" mutation { b } ") }"#,
            Ok(OperationKind::Query),
        ),
        (
            r#"{ a(x: "\\") } # ") } mutation { b }"#,
            Ok(OperationKind::Query),
        ),
        (r#"{ a(x: "\"", y: """z""") }"#, Ok(OperationKind::Query)),
        (
            r#"{ a(x: """ " "" mutation { b } """) }"#,
            Ok(OperationKind::Query),
        ),
        (r#"{ a(x: """ \ """) }"#, Ok(OperationKind::Query)),
        (r#"{ a(x: """ \""" """) }"#, Err("line 1, column 12")),
        (r#"{ a(x: """ \" """) }"#, Err("block string")),
        (r#"{ a(x: """\\""" """) }"#, Err("block string")),
        ("{ a(x: \"\"\"\n\\\"\"\" \"\"\") }", Err("line 2, column 1")),
        (r#"{ a(x: """ \""") }"#, Err("syntax error")),
        (r#"{ a(x: """""") }"#, Ok(OperationKind::Query)),
        (r#"{ a(x: """"""") }"#, Err("syntax error")),
        (
            r#"{ a(x: "\u{22}) } mutation { b } #") }"#,
            Ok(OperationKind::Query),
        ),
        (
            r#"{ a(x: "\u0022) } mutation { b } #") }"#,
            Ok(OperationKind::Query),
        ),
        (r#"{ a(x: "\u{d800}") }"#, Err("syntax error")),
        (r#"{ a(x: "\ud83d\ude00") }"#, Ok(OperationKind::Query)),
        (r#"{ a(x: "\ud800") }"#, Err("syntax error")),
        (r#"{ a(x: "\ude00\ud83d") }"#, Err("syntax error")),
        (r#"{ a(x: "\u2028") }"#, Ok(OperationKind::Query)),
        (r#"{ a(x: "\x41") }"#, Err("syntax error")),
    ] {
        match expected {
            // A policy rejects `\"` in a document with any block string.
            Ok(kind) => assert_eq!(
                select(query, None).map(|found| found.kind),
                Ok(kind),
                "{query}"
            ),
            Err(part) => check(query, None, Err(part)),
        }
    }
}

#[test]
fn every_name_in_arguments_has_a_value() {
    for (query, expected) in [
        ("{ a(b: 1 mutation) }", Err("line 1, column 10: expected a")),
        ("{ a(b: 1, c) }", Err("expected a value")),
        ("{ a(b) }", Err("expected a value")),
        ("{ a(b c: 1) }", Err("expected a value")),
        ("{ a(b: { c }) }", Err("column 10: expected a value")),
        ("{ a(b: [1 mutation M { c }]) }", Err("expected a value")),
        ("{ a(b: { c: { d: 1 e } }) }", Err("expected a value")),
        ("{ a @b(c) }", Err("expected a value")),
        ("query @b(c) { a }", Err("expected a value")),
        ("query ($b: C = { d }) { a }", Err("expected a value")),
        ("query ($b: C @d(e)) { a }", Err("expected a value")),
        ("{ ...f @b(c) } fragment f on Q { a }", Err("expected a")),
        ("{ a } fragment f on Q { a(b: 1 c) }", Err("expected a")),
        ("{ a } query ($b: C = [{ d }]) { a }", Err("expected a")),
        ("{ a(b:) }", Err("syntax error")),
        ("{ a(b: { c: }) }", Err("syntax error")),
        (
            "{ a(b: $c d: 1 e: -1.5e3 f: \"\" g: true h: null i: J k: [] l: {}) }",
            Ok(OperationKind::Query),
        ),
        (
            "{ a(b: { c: [{ d: { e: \"\"\"f\"\"\" } }] }) }",
            Ok(OperationKind::Query),
        ),
        (
            "mutation ($b: C = { d: 1 } @e(f: 2)) { a(b: $b) }",
            Ok(OperationKind::Mutation),
        ),
    ] {
        check(query, None, expected);
    }
}

#[test]
fn definitions_are_operations_and_fragments_with_unique_names() {
    let both = "query A { a } mutation B { b }";
    for (query, name, expected) in [
        (both, Some("A"), Ok(OperationKind::Query)),
        (both, Some("B"), Ok(OperationKind::Mutation)),
        (both, None, Err("several operations")),
        (both, Some(""), Err("several operations")),
        (both, Some("C"), Err("no operation named \"C\"")),
        (both, Some("a"), Err("no operation named \"a\"")),
        ("query A { a } mutation A { b }", Some("A"), Err("A twice")),
        (
            "query A { a } query B { a } mutation B { b }",
            Some("A"),
            Err("B twice"),
        ),
        ("{ a } mutation B { b }", Some("B"), Err("without a name")),
        ("{ a } mutation { b }", None, Err("without a name")),
        ("{ a } type T { a: Int }", None, Err("more than operations")),
        (
            "type T { a: Int } mutation { b }",
            None,
            Err("more than operations"),
        ),
        (
            "schema { query: Q mutation: M } { a }",
            None,
            Err("more than operations"),
        ),
        (
            "extend type T { a: Int } { a }",
            None,
            Err("more than operations"),
        ),
        (
            "directive @d on QUERY { a }",
            None,
            Err("more than operations"),
        ),
        (
            "\"x\" fragment on T { a } { b }",
            None,
            Err("more than operations"),
        ),
        ("\"x\" query { a }", None, Err("syntax error")),
        ("\"\"\"x\"\"\" mutation M { a }", None, Err("syntax error")),
        ("\"x\" { a }", None, Err("syntax error")),
        ("subscription { a }", None, Ok(OperationKind::Subscription)),
        (
            "subscription S($r: ID) @d { a(r: $r) }",
            Some("S"),
            Ok(OperationKind::Subscription),
        ),
        (
            "mutation query { a }",
            Some("query"),
            Ok(OperationKind::Mutation),
        ),
        (
            "query mutation { mutation: query }",
            None,
            Ok(OperationKind::Query),
        ),
        (
            "fragment mutation on T { b } { a ...mutation }",
            None,
            Ok(OperationKind::Query),
        ),
        ("fragment on on T { b } { a }", None, Err("syntax error")),
        ("Mutation { a }", None, Err("syntax error")),
        ("query", None, Err("syntax error")),
        ("mutation B { b } query", None, Err("syntax error")),
    ] {
        check(query, name, expected);
    }
}
