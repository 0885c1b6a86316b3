//! Sets the CORS headers of responses. Those of upstream are removed, because AppSync allows every
//! origin.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request};

use super::{Origin, Refusal};

/// The origin of a request, as determined by the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// The request has no `Origin`.
    NoOrigin,
    /// A page that countersign served sent the request.
    SameOrigin,
    /// A page of this allowed origin sent the request.
    Allowed(HeaderValue),
}

impl Cors {
    /// Returns the CORS headers of a refusal. The pages of a developer's own server on this machine may
    /// read why they are refused.
    pub fn of_refusal(refusal: &Refusal, request: &HeaderMap) -> Self {
        let mut origins = request.get_all(ORIGIN).iter();
        match (refusal, origins.next(), origins.next()) {
            (Refusal::OriginNotAllowed(_), Some(value), None) => {
                let origin = value.to_str().ok().and_then(Origin::parse);
                match origin.filter(Origin::is_probably_loopback) {
                    Some(_) => Self::Allowed(value.clone()),
                    None => Self::NoOrigin,
                }
            }
            _ => Self::NoOrigin,
        }
    }

    /// Returns whether `request` is a preflight (Fetch standard, "CORS-preflight request").
    pub fn is_preflight<B>(request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Replaces the CORS headers of a response.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let is_cors = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let upstreams: Vec<HeaderName> = headers.keys().filter(is_cors).cloned().collect();
        for name in upstreams {
            headers.remove(name);
        }
        if let Self::Allowed(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Adds the headers that the response to a preflight needs in addition to [`Cors::apply`].
    pub fn apply_preflight(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        if let Self::Allowed(_) = self {
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
            );
            if let Some(names) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn allowed() -> Cors {
        Cors::Allowed(HeaderValue::from_static("https://app.example.com"))
    }

    #[test]
    fn cors_headers_of_upstream_are_replaced() {
        let upstream = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "x"),
            ("access-control-allow-methods", "GET"),
            ("access-control-expose-headers", "x"),
            ("access-control-max-age", "1"),
            ("access-control-allow-private-network", "true"),
            ("vary", "accept"),
            ("x-kept", "1"),
        ];
        let kept = [("vary", "accept"), ("x-kept", "1")];
        for cors in [Cors::NoOrigin, Cors::SameOrigin] {
            let mut headers = map(&upstream);
            cors.apply(&mut headers);
            assert_eq!(headers, map(&kept));
        }
        let mut headers = map(&upstream);
        allowed().apply(&mut headers);
        let ours = [
            ("access-control-allow-origin", "https://app.example.com"),
            ("access-control-expose-headers", "*"),
            ("vary", "origin"),
        ];
        assert_eq!(headers, map(&[kept.as_slice(), &ours].concat()));
    }

    #[test]
    fn preflights_of_allowed_origins_are_answered() {
        let check = |method: &str, headers: &[(&str, &str)], expected| {
            let mut request = Request::builder().method(method).body(()).unwrap();
            *request.headers_mut() = map(headers);
            assert_eq!(
                Cors::is_preflight(&request),
                expected,
                "{method} {headers:?}"
            );
        };
        let preflight = [("access-control-request-method", "POST")];
        check("OPTIONS", &preflight, true);
        check("OPTIONS", &[], false);
        check("POST", &preflight, false);

        let requested = map(&[("access-control-request-headers", "content-type, x-team")]);
        let mut headers = HeaderMap::new();
        allowed().apply_preflight(&requested, &mut headers);
        assert_eq!(
            headers["access-control-allow-headers"],
            "content-type, x-team"
        );
        assert_eq!(headers["access-control-max-age"], "600");
        assert!(headers.contains_key("access-control-allow-methods"));
        let mut headers = HeaderMap::new();
        Cors::SameOrigin.apply_preflight(&requested, &mut headers);
        assert!(headers.is_empty());
    }
}
