//! Restricts what a response can do in a browser.
//!
//! To a browser, all routes share one host with every other server of this machine, and one origin with
//! each other. So a relayed response must not set state for the host, and must not run as a page of
//! countersign's origin, whose scripts could send requests that are signed.

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::body::Body;
use crate::guard::{Cors, ResponseHeaders};

/// Marks a response whose head came from upstream. The value is the setting of its route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed(pub(super) ResponseHeaders);

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Removes headers that would change a browser's state for this host. Other programs receive them,
/// because they keep cookies for themselves only.
pub(super) fn keep_state<B>(response: &mut Response<B>) {
    if setting(response) != Some(ResponseHeaders::Pass) {
        response.headers_mut().remove(SET_COOKIE);
        response.headers_mut().remove(CLEAR_SITE_DATA);
    }
}

/// Prevents a browser from serving a cached response to a page that the guard would reject.
pub(super) fn vary_by_site<B>(response: &mut Response<B>) {
    if setting(response).is_some() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let site = HeaderValue::from_static("sec-fetch-site");
        response.headers_mut().append(VARY, site);
    }
}

/// Prevents browsers from guessing another content type, from running the response as a page of
/// countersign's origin, and from exposing it to pages of other origins. Handshakes are not changed.
pub(super) fn restrict(response: &mut Response<Body>, cors: &Cors) {
    let setting = setting(response);
    response.extensions_mut().remove::<Relayed>();
    let is_handshake = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_handshake || setting == Some(ResponseHeaders::Pass) {
        return;
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if setting.is_some() {
        // Added to upstream's policy, because browsers apply all policies. The only HTML of countersign's
        // own has a policy.
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
    // Pages of an allowed origin may use responses of countersign's own in any way.
    if setting.is_some() || !matches!(cors, Cors::Allowed(_)) {
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
}

fn setting<B>(response: &Response<B>) -> Option<ResponseHeaders> {
    let relayed = response.extensions().get::<Relayed>();
    relayed.map(|Relayed(setting)| *setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: [(&str, &str); 5] = [
        ("set-cookie", "a=b"),
        ("clear-site-data", "\"cookies\""),
        ("content-security-policy", "default-src 'self'"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "sniff"),
    ];
    const COOKIE: &str = "clear-site-data: \"cookies\"; set-cookie: a=b";
    const OTHERS: &str = "content-security-policy: default-src 'self'; \
                          cross-origin-resource-policy: cross-origin; x-content-type-options: sniff";
    const RESTRICTED: &str = "content-security-policy: default-src 'self'; \
                              content-security-policy: sandbox; \
                              cross-origin-resource-policy: same-origin; \
                              x-content-type-options: nosniff";

    const VARIES: &str = "vary: sec-fetch-site";

    #[track_caller]
    fn check(
        status: u16,
        relayed: Option<ResponseHeaders>,
        is_from_browser: bool,
        cors: &Cors,
        expected: &[&str],
    ) {
        let mut response = Response::new(Body::full(""));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(setting) = relayed {
            response.extensions_mut().insert(Relayed(setting));
            for (name, value) in UPSTREAM {
                let value = HeaderValue::from_static(value);
                response.headers_mut().append(name, value);
            }
        }
        if is_from_browser {
            keep_state(&mut response);
            vary_by_site(&mut response);
        }
        restrict(&mut response, cors);
        let headers = response.headers().iter();
        let mut found: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        let mut expected: Vec<&str> = expected.iter().flat_map(|part| part.split("; ")).collect();
        expected.sort_unstable();
        assert_eq!(
            found, expected,
            "{status} {relayed:?} {is_from_browser} {cors:?}"
        );
    }

    #[test]
    fn relayed_responses_cannot_run_as_pages_of_countersign() {
        use ResponseHeaders::{Pass, Restrict};
        let allowed = Cors::Allowed(HeaderValue::from_static("https://app.example.com"));
        for cors in [&Cors::NoOrigin, &Cors::SameOrigin, &allowed] {
            check(200, Some(Restrict), false, cors, &[COOKIE, RESTRICTED]);
            check(404, Some(Restrict), true, cors, &[RESTRICTED, VARIES]);
            check(200, Some(Pass), false, cors, &[COOKIE, OTHERS]);
            check(200, Some(Pass), true, cors, &[COOKIE, OTHERS, VARIES]);
            check(101, Some(Restrict), true, cors, &[OTHERS]);
            check(101, Some(Pass), true, cors, &[COOKIE, OTHERS]);
        }
    }

    #[test]
    fn own_responses_are_restricted_to_allowed_origins() {
        let ours = "x-content-type-options: nosniff";
        let same_origin = "cross-origin-resource-policy: same-origin";
        for cors in [Cors::NoOrigin, Cors::SameOrigin] {
            check(403, None, true, &cors, &[ours, same_origin]);
        }
        let allowed = Cors::Allowed(HeaderValue::from_static("https://app.example.com"));
        check(403, None, true, &allowed, &[ours]);
        check(101, None, true, &allowed, &[]);
    }
}
