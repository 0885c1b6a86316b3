//! Recognizes requests of browsers, and rejects those that a web page can cause without a preflight.

use countersign_protocol::graphql::shown;
use http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN, REFERER, UPGRADE_INSECURE_REQUESTS,
};
use http::{Method, Request};

use super::{Cors, Refusal};

/// The content types that a page may send to any site without a preflight (Fetch standard,
/// "CORS-safelisted request-header").
const SIMPLE: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// The settings of a route for browsers, beyond the requests of scripts at allowed origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrowserRules {
    pub navigations: Navigations,
    pub response_headers: ResponseHeaders,
}

/// Whether a browser may load the URLs of a route as pages (`navigations`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Navigations {
    #[default]
    Refuse,
    /// Allows `GET` and `HEAD` into a top-level window, if the user typed the URL or followed a link on
    /// a page that countersign served.
    Allow,
    /// Allows them from links on pages of every site, too. Only for responses that are countersign's own:
    /// nothing is signed for them, and no other page can read or embed them.
    AllowFromEverySite,
    /// Allows pages of the same origin to load it as a script or a style, beside what `Allow` allows. Only
    /// for code of countersign's own.
    AllowAsPart,
}

/// How to handle response headers that affect browsers (`response_headers`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseHeaders {
    /// Removes headers that could affect other pages of this host.
    #[default]
    Restrict,
    /// Relays the headers of upstream unchanged.
    Pass,
}

static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
static SEC_SPECULATION_TAGS: HeaderName = HeaderName::from_static("sec-speculation-tags");
/// The values of `Sec-Fetch-Site` (W3C Fetch Metadata), which browsers send in lower case.
const SITES: [&str; 4] = ["none", "same-origin", "same-site", "cross-site"];
/// The modes of requests that a script can make.
const MODES: [&str; 4] = ["cors", "no-cors", "same-origin", "websocket"];
const NAVIGATING: [&str; 2] = ["navigate", "nested-navigate"];
/// The destinations of requests whose response is read by a script.
const DESTINATIONS: [&str; 2] = ["empty", "websocket"];
/// The destinations of the parts of countersign's own pages.
const PARTS: [&str; 2] = ["script", "style"];
/// Headers by which browsers announce a speculative request.
static PURPOSES: [HeaderName; 4] = [
    SEC_PURPOSE,
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];
/// Headers by which browsers are recognized, beside [`PURPOSES`] and those that begin with `sec-`.
static OTHERS: [HeaderName; 3] = [ORIGIN, REFERER, UPGRADE_INSECURE_REQUESTS];
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const SPECULATIVE: [&str; 3] = ["prefetch", "prerender", "preview"];

/// Returns whether the request has none of the headers by which this module and the guard recognize a
/// browser's request, so that nothing is left to check.
pub(super) fn has_no_header_of_browsers(headers: &HeaderMap) -> bool {
    let is_of_browser = |name: &HeaderName| {
        name.as_str().starts_with("sec-") || OTHERS.contains(name) || PURPOSES.contains(name)
    };
    !headers.keys().any(is_of_browser)
}

/// Requires fetch metadata to be well formed. Browsers send each header at most once.
pub(super) fn check_metadata(headers: &HeaderMap) -> Result<(), Refusal> {
    check_metadata_header(headers, &SEC_FETCH_SITE, |value| SITES.contains(&value))?;
    check_metadata_header(headers, &SEC_FETCH_MODE, |value| {
        MODES.contains(&value) || is_one_of(value, &NAVIGATING)
    })?;
    check_metadata_header(headers, &SEC_FETCH_DEST, |value| !value.is_empty())
}

fn check_metadata_header(
    headers: &HeaderMap,
    name: &HeaderName,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    if values.next().is_some() {
        return Err(Refusal::CrossSite(format!("several {name}")));
    }
    if is_known(&text) {
        Ok(())
    } else {
        Err(Refusal::CrossSite(format!("{name}: {}", shown(&text))))
    }
}

/// Returns whether the response is a page that a link on every site may open.
pub(super) fn is_page_for_every_site<B>(request: &Request<B>, navigations: Navigations) -> bool {
    let headers = request.headers();
    let has_metadata = [&SEC_FETCH_SITE, &SEC_FETCH_MODE, &SEC_FETCH_DEST]
        .into_iter()
        .any(|name| headers.contains_key(name));
    // Old browsers send no metadata, and all browsers send none to names that are not loopback.
    let is_opened = is_opened_in_a_window(headers) || !has_metadata;
    navigations == Navigations::AllowFromEverySite && is_read(request) && is_opened
}

/// Returns whether a browser shows the response in a window, by its fetch metadata.
pub fn is_opened_in_a_window(headers: &HeaderMap) -> bool {
    metadata_value(headers, &SEC_FETCH_MODE) == Some("navigate")
        && metadata_value(headers, &SEC_FETCH_DEST) == Some("document")
}

/// Returns whether a request only reads, as those do that open a page.
pub fn is_read<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Rejects requests for another site. Browsers omit `Origin` from some of them, such as those for
/// images, but send `Sec-Fetch-Site`.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    match metadata_value(headers, &SEC_FETCH_SITE) {
        None | Some("none" | "same-origin") => Ok(()),
        Some(site) => Err(Refusal::CrossSite(format!("sec-fetch-site: {site}"))),
    }
}

/// Rejects requests for a page, a part of a page, or a prefetch. Any page, and any link in another
/// program, can cause them, and some have `Sec-Fetch-Site: none`.
pub(super) fn check_navigation<B>(
    request: &Request<B>,
    cors: &Cors,
    navigations: Navigations,
) -> Result<(), Refusal> {
    let headers = request.headers();
    let refused = |what: String| Err(Refusal::Navigation(what));
    if let Some(what) = purpose(headers) {
        return refused(what);
    }
    let site = metadata_value(headers, &SEC_FETCH_SITE);
    let mode = metadata_value(headers, &SEC_FETCH_MODE);
    let destination = metadata_value(headers, &SEC_FETCH_DEST);
    let is_typed = matches!(navigations, Navigations::Allow | Navigations::AllowAsPart)
        && is_read(request)
        && matches!(site, Some("none" | "same-origin"))
        && is_opened_in_a_window(headers);
    let is_part = navigations == Navigations::AllowAsPart
        && is_read(request)
        && site == Some("same-origin")
        && mode.is_some_and(|mode| MODES.contains(&mode))
        && destination.is_some_and(|destination| PARTS.contains(&destination));
    let is_allowed = is_typed || is_part || is_page_for_every_site(request, navigations);
    if is_allowed && !matches!(cors, Cors::Allowed(_)) {
        return Ok(());
    }
    if let Some(mode) = mode.filter(|mode| !MODES.contains(mode)) {
        return refused(format!("sec-fetch-mode: {}", shown(mode)));
    }
    if let Some(other) = destination.filter(|value| !DESTINATIONS.contains(value)) {
        return refused(format!("sec-fetch-dest: {}", shown(other)));
    }
    // Requests of the browser itself, some of which any page can cause: Chromium fetches the issuer of
    // a server's certificate from the URL in the certificate. No script reads the response.
    if site == Some("none") && mode == Some("no-cors") {
        return refused("sec-fetch-mode: no-cors of the browser itself".to_owned());
    }
    // Browsers send these two headers only for navigations. Old browsers send the second one without
    // fetch metadata, and all browsers do over plain HTTP to names that are not loopback.
    for name in [&SEC_FETCH_USER, &UPGRADE_INSECURE_REQUESTS] {
        if headers.contains_key(name) {
            return refused(name.to_string());
        }
    }
    Ok(())
}

/// Returns the header that announces a prefetch, a prerendered page or a preview.
fn purpose(headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(&SEC_SPECULATION_TAGS) {
        return Some(SEC_SPECULATION_TAGS.to_string());
    }
    PURPOSES.iter().find_map(|name| {
        let mut values = headers.get_all(name).iter();
        // Scripts cannot set `Sec-Purpose`, and browsers use it for nothing else.
        let is_speculative = |text: &str| *name == SEC_PURPOSE || names_speculation(text);
        values.find_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            is_speculative(&text).then(|| format!("{name}: {}", shown(&text)))
        })
    })
}

fn names_speculation(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.split(|c| !is_word(c))
        .any(|word| is_one_of(word, &SPECULATIVE))
}

/// Returns the first value of a header of fetch metadata.
fn metadata_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    // A value that is not text is an unknown value.
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or("not text"))
}

fn is_one_of(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns whether a browser sent the request. Node's `fetch`, which sets `Sec-Fetch-Mode`, counts as a
/// browser here.
pub fn is_from_browser(headers: &HeaderMap) -> bool {
    let is_fetch_metadata = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
    headers.contains_key(ORIGIN) || headers.keys().any(is_fetch_metadata)
}

/// Checks the content type on routes that accept any type: a `POST` from a browser must have a type
/// that requires a preflight, unless the origin is allowed explicitly. Browsers send a preflight before
/// all other methods that change something.
///
/// # Errors
/// [`Refusal::SimpleType`].
pub fn check_content_type<B>(request: &Request<B>, cors: &Cors) -> Result<(), Refusal> {
    let headers = request.headers();
    let is_allowed = matches!(cors, Cors::Allowed(_));
    if request.method() != Method::POST || is_allowed || !has_origin_or_site(headers) {
        return Ok(());
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::SimpleType);
    };
    let Ok(text) = value.to_str() else {
        return Err(Refusal::SimpleType);
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_type = essence
        .split_once('/')
        .is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty() && !text.contains(','));
    let is_simple = SIMPLE
        .iter()
        .any(|simple| essence.eq_ignore_ascii_case(simple));
    if is_type && !is_simple {
        Ok(())
    } else {
        Err(Refusal::SimpleType)
    }
}

/// Returns whether a browser sent the request. A browser that sends fetch metadata always sends
/// `Sec-Fetch-Site`, whereas Node's `fetch` sends only `Sec-Fetch-Mode`.
fn has_origin_or_site(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(&SEC_FETCH_SITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, headers: &[(&str, &str)], cors: &Cors, expected: Result<(), Refusal>) {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        assert_eq!(
            check_content_type(&request, cors),
            expected,
            "{method} {headers:?}"
        );
    }

    #[test]
    fn every_header_that_is_checked_is_one_of_browsers() {
        let checked = [
            &SEC_FETCH_DEST,
            &SEC_FETCH_MODE,
            &SEC_FETCH_SITE,
            &SEC_FETCH_USER,
            &SEC_SPECULATION_TAGS,
            &SEC_PURPOSE,
        ];
        for name in checked.into_iter().chain(&PURPOSES).chain(&OTHERS) {
            let mut headers = HeaderMap::new();
            headers.insert("accept", "x".parse().unwrap());
            assert!(has_no_header_of_browsers(&headers));
            headers.insert(name, "x".parse().unwrap());
            assert!(!has_no_header_of_browsers(&headers), "{name}");
        }
    }

    #[test]
    fn browsers_are_recognized_by_their_headers() {
        for (name, expected) in [
            ("origin", true),
            ("sec-fetch-site", true),
            ("sec-fetch-mode", true),
            ("sec-fetch-tomorrow", true),
            ("referer", false),
            ("user-agent", false),
            ("sec-websocket-key", false),
        ] {
            let mut headers = HeaderMap::new();
            let name: HeaderName = name.parse().unwrap();
            headers.insert(&name, "x".parse().unwrap());
            assert_eq!(is_from_browser(&headers), expected, "{name}");
        }
    }

    #[test]
    fn browsers_must_not_post_types_without_a_preflight() {
        let site = ("sec-fetch-site", "same-origin");
        let origin = ("origin", "http://localhost:4100");
        let refused = || Err(Refusal::SimpleType);
        for browser in [site, origin] {
            for simple in [
                "text/plain",
                "TEXT/PLAIN; charset=utf-8",
                "multipart/form-data; boundary=x",
                "application/x-www-form-urlencoded",
                "",
                "x",
                "/",
                "text/plain, application/json",
                "application/json, text/plain",
            ] {
                let headers = [browser, ("content-type", simple)];
                check("POST", &headers, &Cors::SameOrigin, refused());
                check("POST", &headers, &Cors::NoOrigin, refused());
                check("DELETE", &headers, &Cors::SameOrigin, Ok(()));
                check("GET", &headers, &Cors::SameOrigin, Ok(()));
                let allowed = Cors::Allowed("https://app.example.com".parse().unwrap());
                check("POST", &headers, &allowed, Ok(()));
                check("POST", &headers[1..], &Cors::NoOrigin, Ok(()));
            }
            for other in ["application/json", "image/png", "application/JSON;x=y"] {
                let headers = [browser, ("content-type", other)];
                check("POST", &headers, &Cors::SameOrigin, Ok(()));
            }
            check("POST", &[browser], &Cors::SameOrigin, refused());
            let json = ("content-type", "application/json");
            check("POST", &[browser, json, json], &Cors::SameOrigin, refused());
        }
        check("POST", &[], &Cors::NoOrigin, Ok(()));
        check(
            "POST",
            &[("sec-fetch-mode", "cors")],
            &Cors::NoOrigin,
            Ok(()),
        );
    }
}
