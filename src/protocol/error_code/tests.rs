//! The catalogue, and the reference page that is generated from it.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const COMMAND: &str = "REGENERATE=1 cargo test -p countersign-protocol --lib error_code";
const FILE: &str = "docs/reference/errors.md";
const INTRODUCTION: &str = r#"# Error codes

Errors of countersign have the header `x-countersign-error` and, on GraphQL routes, sockets and streams,
the usual GraphQL shape:

    {"errors":[{"message":"…","extensions":{"code":"UPSTREAM_TIMEOUT","sent":"maybe"}}]}

On other routes the body is `{"message":"…","code":"…","sent":"…"}`. `sent` states whether AWS may have
acted on the request: `no`, `maybe` or `yes`. A mutation that fails with `no` can be repeated.

Log lines (`error.type`) and the metric `countersign_requests_total` have the same codes. A code without an HTTP status
appears on sockets and streams; one that has no `sent` either, only in the log and the metrics. AWS's own
errors are passed on with their members; session tokens which they echo are masked. An error that rejects
the request also has `extensions.cause`, one of the [causes](causes.md), `not-aws` if another server answered
with a page, or `invalid-unicode` if a text in the body has half of a surrogate pair; `extensions.confidence` (`certain`, `likely`, `possible` or `unknown`); `extensions.hint`, what to do;
and `extensions.denied`, the IAM action and resource that are not allowed. The log line of a rejection is a WARN
and has the same `cause`, `confidence` and `denied`, the hint as `fix`, and `identity`, the ARN, if AWS names it.
`exception.message` is the text of other errors. A realtime connection that AppSync refuses is one WARN; the lines of its
subscriptions have the `cause` only.

A response with results is passed on unchanged, byte by byte, also if AppSync denied one of its fields (`errorType`
`Unauthorized`). Its log line is a WARN with the code `ACCESS_DENIED`, and `cause`, `denied` and `fix` of the first
such field. A compressed response is not searched.

| code | HTTP status | `sent` | meaning | what to do |
|---|---|---|---|---|
"#;
const NOTES: &str = "
`UPSTREAM_BROKEN` is also the code when upstream's response cannot be read: it is not valid HTTP, its
`Content-Length` values differ, its `Transfer-Encoding` is not chunked, or it is a `101` that the request
did not ask for. A `Content-Length` beside chunked coding is ignored, equal values count as one, and 204
and 205 have no body (RFC 9112, section 6.3).
";

/// Regenerates the page if the variable REGENERATE is set.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line of its own"
)]
fn the_reference_page_matches_the_catalogue() {
    let mut page = format!(
        "<!-- Generated from src/protocol/error_code.rs. Do not edit; run: {COMMAND} -->\n\n"
    );
    page.push_str(INTRODUCTION);
    for code in Code::ALL {
        let status = match code.status() {
            Status::OneOf(statuses) => {
                let all = statuses.iter().map(|status| status.as_str().to_owned());
                all.collect::<Vec<_>>().join(", ")
            }
            Status::Upstream => "AWS's own".to_owned(),
            Status::None => String::new(),
        };
        let sent = code
            .sent()
            .iter()
            .map(|sent| format!("`{}`", sent.as_str()));
        let sent = sent.collect::<Vec<_>>().join(", ");
        let (meaning, remedy) = (code.meaning(), code.remedy());
        writeln!(
            page,
            "| `{code}` | {status} | {sent} | {meaning} | {remedy} |"
        )
        .unwrap();
    }
    page.push_str(NOTES);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(FILE);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{FILE} is out of date. Run: {COMMAND}");
}

#[test]
fn every_code_is_declared_once_and_in_order() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.as_str()), Some(*code));
        let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        assert!(code.as_str().bytes().all(is_code), "{code}");
        for text in [code.meaning(), code.remedy()] {
            assert!(text.ends_with('.') && text.len() < 120, "{code}: {text}");
        }
        // A code with an HTTP status is received.
        assert!(
            code.status() == Status::None || !code.sent().is_empty(),
            "{code}"
        );
    }
    assert_eq!(Code::from_name("Unauthorized"), None);
}
