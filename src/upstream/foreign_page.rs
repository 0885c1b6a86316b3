//! Pages of servers that answer in place of AWS: firewalls, load balancers and proxies. AppSync and API
//! Gateway answer with JSON.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, SERVER};

use crate::sign::redact;
use crate::visible::visible;

/// An HTML page with an error status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignPage {
    /// `403 with text/html: "Request blocked"`, in one line without control characters.
    pub description: String,
    /// Whether the page has the marks of a firewall.
    pub is_firewall: bool,
}

/// The longest line of a page that is shown, in characters.
const MAX_LINE: usize = 200;
/// Where AWS WAF asks for a puzzle, it names the action in this header.
const WAF_ACTION: HeaderName = HeaderName::from_static("x-amzn-waf-action");
/// Servers of AWS that answer 403 themselves only if AWS WAF or a geographic restriction blocks a request.
const EDGES: [&str; 2] = ["cloudfront", "awselb"];
/// Texts in the pages of firewalls, in lower case: CloudFront, Cloudflare, Akamai, Imperva, F5, and those of
/// company networks.
const MARKS: [&str; 12] = [
    "the request could not be satisfied",
    "request blocked",
    "cloudflare",
    "errors.edgesuite.net",
    "incapsula",
    "the requested url was rejected",
    "firewall",
    "zscaler",
    "fortiguard",
    "forcepoint",
    "barracuda",
    "mod_security",
];

impl ForeignPage {
    /// Returns the page in a response; `None` if it is not a page with an error status.
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &str) -> Option<Self> {
        let is_error = status.is_client_error() || status.is_server_error();
        let kind = media_type(headers);
        let is_html = kind.eq_ignore_ascii_case("text/html") || {
            let start: String = body.trim_start().chars().take(9).collect();
            let start = start.to_ascii_lowercase();
            start.starts_with("<html") || start.starts_with("<!doctype")
        };
        if !is_error || !is_html {
            return None;
        }
        let kind = if kind.is_empty() { "text/html" } else { kind };
        let line = first_line(body).unwrap_or_default();
        let lower = body.to_ascii_lowercase();
        Some(Self {
            description: format!("{} with {kind}: \"{line}\"", status.as_u16()),
            is_firewall: status.is_client_error()
                && (is_of_edge(status, headers)
                    || headers.contains_key(WAF_ACTION)
                    || MARKS.iter().any(|mark| lower.contains(mark))),
        })
    }
}

/// Returns whether a server of AWS in front of the API refused the request with a page of its own.
pub(super) fn is_of_edge(status: StatusCode, headers: &HeaderMap) -> bool {
    let server = headers.get(SERVER).and_then(|value| value.to_str().ok());
    let server = server.unwrap_or_default().to_ascii_lowercase();
    status == StatusCode::FORBIDDEN
        && media_type(headers).eq_ignore_ascii_case("text/html")
        && EDGES.iter().any(|edge| server.starts_with(edge))
}

/// Returns the media type of a response without parameters; empty if there is none.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Returns the title of a page, its first text, or the first line of another text, without session tokens, in
/// at most [`MAX_LINE`] characters.
pub fn first_line(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|at| {
        let start = at + "<title>".len();
        let end = start + lower.get(start..)?.find("</title>")?;
        text.get(start..end)
    });
    let is_blank = |text: &&str| text.trim().is_empty();
    let first_text = || {
        let texts = text.split('>').skip(1);
        let mut texts = texts.filter_map(|part| part.split('<').next());
        let found = text
            .trim_start()
            .starts_with('<')
            .then(|| texts.find(|text| !is_blank(text)));
        found.flatten()
    };
    let line = title.filter(|title| !is_blank(title)).or_else(first_text);
    let line = line.or_else(|| text.lines().find(|line| !is_blank(line)))?;
    Some(one_line(line).chars().take(MAX_LINE).collect())
}

/// Returns a text of a peer in one line, without session tokens, and with hidden characters as escapes.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    visible(&redact::mask_tokens(&words.join(" ")))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(status: u16, server: &'static str, body: &str, expected: Option<(&str, bool)>) {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(SERVER, HeaderValue::from_static(server));
        let status = StatusCode::from_u16(status).unwrap();
        let found = ForeignPage::of(status, &headers, body);
        let found = found.map(|page| (page.description, page.is_firewall));
        let expected = expected.map(|(text, is_firewall)| (text.to_owned(), is_firewall));
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn a_page_is_that_of_a_firewall_only_if_it_has_marks_of_one() {
        let cloudfront = "<HTML><TITLE>ERROR: The request could not be satisfied</TITLE>";
        let title = "403 with text/html: \"ERROR: The request could not be satisfied\"";
        check(403, "", cloudfront, Some((title, true)));
        let plain = "<html><body><h1>403 Forbidden</h1></body></html>";
        let shown = "403 with text/html: \"403 Forbidden\"";
        check(403, "nginx", plain, Some((shown, false)));
        check(403, "awselb/2.0", plain, Some((shown, true)));
        check(403, "CloudFront", plain, Some((shown, true)));
        let title = "503 with text/html: \"ERROR: The request could not be satisfied\"";
        check(503, "CloudFront", cloudfront, Some((title, false)));
        let blocked = "<html><body>Your company's Firewall blocked this</body></html>";
        let shown = "403 with text/html: \"Your company's Firewall blocked this\"";
        check(403, "", blocked, Some((shown, true)));
        check(200, "", cloudfront, None);
    }

    #[test]
    fn control_characters_of_a_title_are_visible() {
        let body = "<title>a\u{1b}[31m\u{202e}b\u{9b}</title>";
        let shown = r#"403 with text/html: "a\u{1b}[31m\u{202e}b\u{9b}""#;
        check(403, "", body, Some((shown, false)));
    }

    #[test]
    fn the_first_line_is_the_title_the_first_text_or_the_first_line() {
        for (text, expected) in [
            ("<title>\n A\n b </title>", Some("A b")),
            (
                "<!DOCTYPE html>\n<html><title></title><p>first</p>",
                Some("first"),
            ),
            ("<html>", Some("<html>")),
            ("\n{\"a\":\n1}", Some("{\"a\":")),
            ("1 > 0", Some("1 > 0")),
            (" \n", None),
        ] {
            assert_eq!(first_line(text).as_deref(), expected, "{text}");
        }
        let long = first_line(&"x".repeat(MAX_LINE + 1));
        assert_eq!(long.map(|line| line.len()), Some(MAX_LINE));
    }
}
