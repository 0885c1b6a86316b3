//! What tells a browser's request from a program's, and what a page may have sent unasked.

use http::header::{CONTENT_TYPE, HeaderMap, ORIGIN};
use http::{Method, Request};

use super::{Cors, Refusal};
use crate::graphql::shown;

/// The types that a page may send to any site without asking first (Fetch standard,
/// "CORS-safelisted request-header").
const SIMPLE: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// Browsers leave `Origin` out of some requests, such as an image's, but tell the relation.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    for value in headers.get_all("sec-fetch-site") {
        let text = String::from_utf8_lossy(value.as_bytes());
        if !matches!(text.as_ref(), "none" | "same-origin") {
            return Err(Refusal::CrossSite(shown(&text)));
        }
    }
    Ok(())
}

/// On routes that take any content type: a browser's `POST` must have one that it could not have
/// sent unasked, unless the origin was allowed by name. All other methods that change something
/// are asked for first.
///
/// # Errors
/// [`Refusal::SimpleType`]
pub fn check_type<B>(request: &Request<B>, cors: &Cors) -> Result<(), Refusal> {
    let headers = request.headers();
    let is_allowed = matches!(cors, Cors::Allowed(_));
    if request.method() != Method::POST || is_allowed || !is_from_browser(headers) {
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
    match is_type && !is_simple {
        true => Ok(()),
        false => Err(Refusal::SimpleType),
    }
}

/// Browsers say the site whenever they say anything of the kind; Node's `fetch` has a
/// `Sec-Fetch-Mode` alone.
fn is_from_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site")
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
        assert_eq!(check_type(&request, cors), expected, "{method} {headers:?}");
    }

    #[test]
    fn types_that_a_page_may_send_unasked() {
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
                check("POST", &headers, &Cors::NotAsked, refused());
                check("DELETE", &headers, &Cors::SameOrigin, Ok(()));
                check("GET", &headers, &Cors::SameOrigin, Ok(()));
                let allowed = Cors::Allowed("https://app.example.com".parse().unwrap());
                check("POST", &headers, &allowed, Ok(()));
                check("POST", &headers[1..], &Cors::NotAsked, Ok(()));
            }
            for other in ["application/json", "image/png", "application/JSON;x=y"] {
                let headers = [browser, ("content-type", other)];
                check("POST", &headers, &Cors::SameOrigin, Ok(()));
            }
            check("POST", &[browser], &Cors::SameOrigin, refused());
            let json = ("content-type", "application/json");
            check("POST", &[browser, json, json], &Cors::SameOrigin, refused());
        }
        check("POST", &[], &Cors::NotAsked, Ok(()));
        check(
            "POST",
            &[("sec-fetch-mode", "cors")],
            &Cors::NotAsked,
            Ok(()),
        );
    }
}
