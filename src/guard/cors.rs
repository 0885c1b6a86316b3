//! CORS headers: ours alone. Upstream's are removed, because AppSync allows every origin.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use http::{Method, Request};

/// What the guard found out about a request's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// No browser asked.
    NotAsked,
    /// A page of ours asked.
    SameOrigin,
    /// A page of this allowed origin asked.
    Allowed(HeaderValue),
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const UPSTREAM: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

impl Cors {
    /// Whether `request` is a preflight (Fetch standard, "CORS-preflight request").
    pub fn is_preflight<B>(request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Replaces the CORS headers of a response by ours.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &UPSTREAM {
            headers.remove(name);
        }
        if let Self::Allowed(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
            headers.append(VARY, HeaderValue::from_static("origin"));
        } else {
            // Pages of other sites cannot even show it (Fetch standard, "CORP").
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        }
    }

    /// Adds what the answer to a preflight of an allowed origin needs beside [`Cors::apply`].
    pub fn apply_preflight(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
        if let Self::Allowed(_) = self {
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
            );
            if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
}
