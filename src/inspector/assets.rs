//! The page of the inspector, as it was built from `web/`.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, LOCATION,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};

use super::respond::Answer;

/// Name, content type, and contents in gzip.
type File = (&'static str, &'static str, &'static [u8]);

const FILES: &[File] = include!("web/dist/files.rs");
/// The policy of the inspector's page, which needs no exceptions.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";
/// The page of GraphiQL. It has a policy of its own.
const GRAPHIQL: &str = "graphiql.html";

/// Returns the file at a path; `None` if there is none. `base_url` is the proxied port, which GraphiQL uses.
pub(super) fn answer(path: &str, headers: &HeaderMap, base_url: &str) -> Option<Answer> {
    if path == "/inspect" {
        let mut answer = Response::new(Full::default().boxed_unsync());
        *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let page = HeaderValue::from_static("/inspect/");
        answer.headers_mut().insert(LOCATION, page);
        return Some(answer);
    }
    let name = match path.strip_prefix("/inspect/")? {
        "" => "index.html",
        "graphiql" => GRAPHIQL,
        name => name,
    };
    let (name, kind, contents) = FILES.iter().find(|(found, ..)| *found == name)?;
    let tag = Sha256::digest(contents);
    let tag: String = tag
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = HeaderValue::try_from(format!("\"{tag}\"")).ok()?;
    let is_known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let body = if is_known { &[] } else { *contents };
    let mut answer = Response::new(Full::new(Bytes::from_static(body)).boxed_unsync());
    if is_known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    // The names of assets contain the hash of their contents.
    let caching = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let policy = if *name == GRAPHIQL {
        HeaderValue::try_from(graphiql_policy(base_url)).ok()?
    } else {
        HeaderValue::from_static(POLICY)
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(ETAG, tag);
    Some(answer)
}

/// GraphiQL's editor creates style elements, so its page is separate, and allows them. It connects to the
/// proxied port.
fn graphiql_policy(base_url: &str) -> String {
    let socket = base_url.replacen("http", "ws", 1);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; connect-src 'self' {base_url} {socket}; \
         worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
