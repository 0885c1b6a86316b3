//! Pages of countersign's own. They have no script and load nothing, and pages of other origins can neither
//! read nor embed them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_protocol::error_code::{Code, Sent};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use http::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::body::Body;

/// The page that explains the port.
pub(super) const TEMPLATE: &str = include_str!("page.html");
/// The body of the page for an error, after the head of [`TEMPLATE`].
const ERROR: &str = include_str!("error.html");

/// Allows nothing but the style of the template, by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = TEMPLATE.split_once("<style>").map(|(_, rest)| rest);
    let style = style.and_then(|rest| rest.split_once("</style>"));
    let (style, _) = style.unwrap_or_default();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("sandbox"))
});

/// Returns the page for an error.
pub(super) fn explain(status: StatusCode, code: Code, sent: Sent, message: &str) -> Response<Body> {
    html(&render_error(status, code, sent, message))
}

fn render_error(status: StatusCode, code: Code, sent: Sent, message: &str) -> String {
    let (head, _) = TEMPLATE.split_once("<body>").unwrap_or_default();
    let body = fill(ERROR, |name| match name {
        "version" => escape(env!("CARGO_PKG_VERSION")),
        "status" => escape(&status.to_string()),
        "message" => escape(message),
        "code" => escape(code.as_str()),
        "sent" => escape(match sent {
            Sent::No => "Nothing was sent to AWS",
            Sent::Maybe => "It may have been sent to AWS",
            Sent::Yes => "It was sent to AWS",
        }),
        _ => String::new(),
    });
    format!("{head}{body}")
}

/// Returns the response with a page.
pub(super) fn html(page: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(page.to_owned()));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, html);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Replaces each `{{NAME}}` by its value. Values are not searched.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = template.split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        page.push_str(&value(name));
        page.push_str(rest);
    }
    page
}

/// Escapes a text for HTML, also inside quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_an_error_shows_it_escaped() {
        let page = render_error(
            StatusCode::NOT_FOUND,
            Code::NoRoute,
            Sent::No,
            "no route matches \"/<script>{{version}}\"",
        );
        for text in [
            "<!doctype html>",
            "<style>",
            "<h1>404 Not Found</h1>",
            "no route matches &quot;/&lt;script&gt;{{version}}&quot;",
            "<code>NO_ROUTE</code>",
            "Nothing was sent to AWS",
        ] {
            assert!(page.contains(text), "no {text} in {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn templates_have_no_script_and_load_nothing() {
        for forbidden in [
            "<script", "<img", "<link", "src=", "url(", "@import", "style=",
        ] {
            for template in [TEMPLATE, ERROR] {
                assert!(!template.contains(forbidden), "{forbidden}");
            }
        }
        for template in [TEMPLATE, ERROR] {
            let links = template.matches("<a href=").count();
            assert_eq!(
                template.matches("href=").count(),
                links,
                "a link is not loaded"
            );
        }
        assert!(!ERROR.contains("<style"), "its hash is not in the policy");
        let policy = POLICY.to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
    }
}
