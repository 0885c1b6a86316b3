//! Surveys as data, including hostile documents.

use super::*;

/// `kind name fields depth aliases`, with `introspects` and `mixed` if they hold; or a part of the
/// error.
#[track_caller]
fn check(query: &str, name: Option<&str>, expected: Result<&str, &str>) {
    let shown: String = query.chars().take(200).collect();
    match (survey(query, name), expected) {
        (Ok(found), expected) => {
            let mut summary = format!(
                "{} {} [{}] depth {} aliases {}",
                found.kind.as_str(),
                found.name.as_deref().unwrap_or("-"),
                found.fields.join(" "),
                found.depth,
                found.aliases,
            );
            for (is, word) in [
                (found.introspects, " introspects"),
                (found.is_mixed, " mixed"),
            ] {
                summary.push_str(if is { word } else { "" });
            }
            assert_eq!(Ok(summary.as_str()), expected, "{shown}");
        }
        (Err(error), Err(part)) => {
            let error = error.to_string();
            assert!(!part.is_empty() && error.contains(part), "{shown}: {error}");
        }
        (Err(error), Ok(_)) => panic!("{shown}: {error}"),
    }
}

#[test]
fn operations_are_surveyed() {
    check("{ a }", None, Ok("query - [a] depth 1 aliases 0"));
    check(
        "query Q($x: Int = 1) @d(a: \"}\") { b: a(x: $x) { c { d } } a e }",
        Some(""),
        Ok("query Q [a e] depth 3 aliases 1"),
    );
    check(
        "mutation M { a } query Q { b }",
        Some("M"),
        Ok("mutation M [a] depth 1 aliases 0 mixed"),
    );
    check(
        "query A { a } query B { b }",
        Some("B"),
        Ok("query B [b] depth 1 aliases 0"),
    );
    check(
        "subscription { on(id: 1) { id } }",
        None,
        Ok("subscription - [on] depth 2 aliases 0"),
    );
    check(
        "query query { mutation: query on fragment true }",
        Some("query"),
        Ok("query query [query on fragment true] depth 1 aliases 1"),
    );
    check(
        "# { a }\n,query,Q,{,a # }\n b(x: \"\"\" } { \" # \"\"\", y: \"#\\\"\\u007d\") }",
        None,
        Err("block string"),
    );
    check(
        "# é { a }\r,query,Q,{,a # }\n b(x: \"\"\" } { \" # \"\"\", y: \"# }\") }",
        None,
        Ok("query Q [a b] depth 1 aliases 0"),
    );
    check(
        "{ a(x: \"é \\\" \\u{1f980} } evil\") }",
        None,
        Ok("query - [a] depth 1 aliases 0"),
    );
}

#[test]
fn fragments_are_followed() {
    check(
        "{ ...F ... @include(if: false) { z } ... on Query { y { ...G } } } \
         fragment F on Query { x ...H } fragment G on T { i: j { k } } fragment H on Query { w }",
        None,
        Ok("query - [z y x w] depth 3 aliases 1"),
    );
    check(
        "{ a { ...F } b: c { ...F } } fragment F on T { d: e f: g }",
        None,
        Ok("query - [a c] depth 2 aliases 5"),
    );
    check(
        "{ a { ...F } } fragment F on T { b { ... { c { __type(name: \"T\") { name } } } } }",
        None,
        Ok("query - [a] depth 5 aliases 0 introspects"),
    );
    check(
        "{ s: __schema { types { name } } t: __typename }",
        None,
        Ok("query - [__schema __typename] depth 3 aliases 2 introspects"),
    );
    // Unused fragments are not executed.
    check(
        "{ a } fragment F on T { b: __schema { c } ...F ...Nowhere }",
        None,
        Ok("query - [a] depth 1 aliases 0"),
    );
}

#[test]
fn ambiguous_documents_are_errors() {
    for (query, name, part) in [
        ("", None, "syntax error"),
        ("{ a", None, "syntax error"),
        ("{ a } }", None, "syntax error"),
        ("{ }", None, "syntax error"),
        ("{ a } extra", None, "syntax error"),
        ("fragment F on T { a }", None, "no operation"),
        ("{ a } { b }", None, "without a name"),
        ("{ a } query Q { b }", Some("Q"), "without a name"),
        ("query Q { a } mutation Q { b }", Some("Q"), "Q twice"),
        ("query A { a } mutation B { b }", None, "several operations"),
        (
            "query A { a } query B { b }",
            Some(""),
            "several operations",
        ),
        ("query A { a }", Some("B"), "no operation named"),
        ("{ a }", Some("A"), "no operation named"),
        (
            "{ ...F } fragment F on Query { a } fragment F on Query { b }",
            None,
            "F twice",
        ),
        ("{ ...F }", None, "not define the fragment F"),
        ("{ a { ...F } }", None, "not define the fragment F"),
        ("{ ...F } fragment F on Query { ...F }", None, "F spreads"),
        (
            "{ ...F } fragment F on Q { a { ...G } } fragment G on T { b { ...F } }",
            None,
            "F spreads",
        ),
        (
            "{ ...F } fragment F on Mutation { deletePost }",
            None,
            "query spreads a fragment on Mutation",
        ),
        (
            "{ ... { ... on Mutation { deletePost } } }",
            None,
            "fragment on Mutation",
        ),
        (
            "subscription { ...F } fragment F on Query { a }",
            None,
            "fragment on Query",
        ),
        ("{ a } type T { a: Int }", None, "more than operations"),
        ("{ a } extend schema @x", None, "more than operations"),
        (
            "\"x\" fragment on T { a } { b }",
            None,
            "more than operations",
        ),
        ("\"x\" query { a }", None, "syntax error"),
    ] {
        check(query, name, Err(part));
    }
    for c in [
        '\0', '\u{b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}',
    ] {
        let code = format!("U+{:04X}", u32::from(c));
        for query in [
            format!("{c}{{ a }}"),
            format!("{{ a # {c} b\n}}"),
            format!("{{ a(x: \"{c}\") }}"),
            format!("{{ a }}{c}"),
        ] {
            check(&query, None, Err(&code));
        }
    }
    for c in ['\u{a0}', '\u{200b}', '\u{202e}', 'а', '．', '\\', '%', ';'] {
        check(&format!("{{ a{c} }}"), None, Err("syntax error"));
    }
}

/// In the grammar of AppSync's parser, U+2028 ends a comment.
#[test]
fn line_separator_in_a_comment_is_an_error() {
    let hidden = "query A { a } #\u{2028} mutation B { b }\n";
    check(hidden, Some("A"), Err("U+2028"));
    check("#\u{2028} mutation \n { b }", None, Err("U+2028"));
}

#[test]
fn fragment_bombs_are_measured_in_linear_time() {
    let mut bomb = String::from("{ ...F0 }");
    for at in 0..2_000 {
        let next = at + 1;
        bomb.push_str(&format!(
            " fragment F{at} on T {{ x: y {{ ...F{next} }} z {{ ...F{next} ...F{next} }} }}"
        ));
    }
    bomb.push_str(" fragment F2000 on T { last }");
    let expected = format!("query - [y z] depth 2001 aliases {}", usize::MAX);
    check(&bomb, None, Ok(&expected));

    let mut chain = String::from("{ ...F0 }");
    for at in 0..6_000 {
        chain.push_str(&format!(" fragment F{at} on T {{ ...F{} }}", at + 1));
    }
    check(&chain, None, Err("fragment F6000"));
    chain.push_str(" fragment F6000 on T { ...F0 }");
    check(&chain, None, Err("F0 spreads itself"));
}

#[test]
fn deep_and_long_documents_are_errors() {
    check(&"{a".repeat(50_000), None, Err("syntax error"));
    let deep = format!("{}a{}", "{a".repeat(201), "}".repeat(201));
    check(&deep, None, Err("syntax error"));
    let deep = format!("{{a(x: {}1{})}}", "[".repeat(300), "]".repeat(300));
    check(&deep, None, Err("syntax error"));
    check(&"query A { a } ".repeat(60_000), None, Err("syntax error"));
    let fine = format!("{}{{a{}", "{a".repeat(150), "}".repeat(151));
    let expected = "query - [a] depth 151 aliases 0";
    check(&fine, None, Ok(expected));
}
