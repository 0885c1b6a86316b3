//! A request as a line for a shell: through countersign, or signed for AWS.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use serde_json::{Value, json};

use super::entry::Entry;
use super::json::millis_of;
use super::resend::ResentRequest;
use super::respond::ApiError;
use super::state::StateSources;
use crate::sign::{RequestTarget, Signable, clock};
use crate::upstream::UpstreamKind;

/// How long AWS accepts a signature.
const VALIDITY: Duration = Duration::from_secs(5 * 60);

/// A request to sign.
pub(super) struct Unsigned {
    route: String,
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    body: String,
}

/// Returns the command that sends a request through countersign.
pub(super) fn local(request: &ResentRequest, sources: &StateSources) -> Value {
    let url = format!("{}{}", sources.base_url, request.path);
    let mut line = command(&request.method, &url);
    for header in &request.headers {
        add_header(&mut line, &header.name, &header.value);
    }
    if sources.needs_token {
        line.push_str(" -H \"x-countersign-token: $COUNTERSIGN_TOKEN\"");
    }
    add_body(&mut line, request.body.as_deref());
    json!({ "text": line })
}

impl Unsigned {
    /// Returns the request that an entry sent to AWS, without its signature.
    ///
    /// # Errors
    /// If nothing was sent, or the request was not stored whole.
    pub(super) fn of_entry(entry: &Entry, sources: &StateSources) -> Result<Self, ApiError> {
        let request = ResentRequest::of_entry(entry, &sources.routes)?;
        let sent = entry.upstream.as_ref();
        let sent = sent.ok_or(ApiError::NotReplayable("nothing was sent to AWS"))?;
        let uri: Uri = sent.url.parse().map_err(|_| ApiError::NoEntry)?;
        let method = Method::from_bytes(sent.method.as_bytes());
        let headers = sent.headers.iter().filter_map(|header| {
            let value = header.value.as_deref()?;
            let is_kept = matches!(header.name.as_str(), "accept" | "content-type")
                || header.name.starts_with("x-") && !header.name.starts_with("x-amz-");
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            is_kept.then(|| Some((name, HeaderValue::from_str(value).ok()?)))?
        });
        Ok(Self {
            route: request.route,
            method: method.map_err(|_| ApiError::NoEntry)?,
            path: uri.path().to_owned(),
            query: Some(sent.query.clone()).filter(|query| !query.is_empty()),
            headers: headers.collect(),
            body: request.body.unwrap_or_default(),
        })
    }

    /// Returns the command that sends the request to AWS, with a new signature. It is not stored.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub(super) async fn signed(self, sources: &StateSources) -> Result<Value, ApiError> {
        let route = sources.routes.iter().find(|route| route.name == self.route);
        let upstream = &route.ok_or(ApiError::NoEntry)?.upstream;
        let target = RequestTarget::new(&self.path, self.query.as_deref());
        let target = target.map_err(|error| ApiError::NotSigned(error.to_string()))?;
        let now = clock::now();
        let body = self.body.as_bytes();
        let signed = upstream.signed_request(&self.method, &target, self.headers, body, now);
        let (uri, headers) = signed
            .await
            .map_err(|error| ApiError::NotSigned(error.to_string()))?;
        let mut line = command(self.method.as_str(), &uri.to_string());
        for (name, value) in &headers {
            add_header(&mut line, name.as_str(), value.to_str().unwrap_or_default());
        }
        // curl adds one of its own, which the signature would not cover.
        if !headers.contains_key(CONTENT_TYPE) && !self.body.is_empty() {
            line.push_str(" -H 'content-type:'");
        }
        add_body(
            &mut line,
            Some(&self.body)
                .filter(|body| !body.is_empty())
                .map(String::as_str),
        );
        Ok(json!({ "text": line, "expires": millis_of(now + VALIDITY) }))
    }

    /// Returns the presigned URL of the request. It is not stored.
    ///
    /// # Errors
    /// If a URL alone is not the whole request, or it cannot be signed.
    pub(super) async fn presigned(self, sources: &StateSources) -> Result<Value, ApiError> {
        let route = sources.routes.iter().find(|route| route.name == self.route);
        let upstream = &route.ok_or(ApiError::NoEntry)?.upstream;
        if upstream.endpoint().kind != UpstreamKind::Http {
            return Err(ApiError::NotPresigned("AppSync takes no operations by GET"));
        }
        if self.method != Method::GET || !self.body.is_empty() {
            return Err(ApiError::NotPresigned("it is not a GET without a body"));
        }
        let target = RequestTarget::new(&self.path, self.query.as_deref());
        let target = target.map_err(|error| ApiError::NotSigned(error.to_string()))?;
        let signer = upstream.signer().presigning();
        let now = clock::now();
        let credentials = signer.credentials(now).await;
        let credentials = credentials.map_err(|error| ApiError::NotSigned(error.to_string()))?;
        let signable = Signable {
            method: self.method.as_str(),
            target: target.as_str(),
            headers: &[],
            body: &[],
        };
        let signed = signer.sign(&credentials, &signable, now);
        let signed = signed.map_err(|error| ApiError::NotSigned(error.to_string()))?;
        if !signed.headers.is_empty() {
            return Err(ApiError::NotPresigned("the service needs signed headers"));
        }
        let host = signer.host();
        let url = format!("https://{host}{}", signed.target(&target));
        Ok(json!({ "text": url, "expires": millis_of(now + VALIDITY) }))
    }
}

fn command(method: &str, url: &str) -> String {
    format!("curl -X {} {}", quoted(method), quoted(url))
}

fn add_header(line: &mut String, name: &str, value: &str) {
    let _ = write!(line, " -H {}", quoted(&format!("{name}: {value}")));
}

fn add_body(line: &mut String, body: Option<&str>) {
    if let Some(body) = body {
        let _ = write!(line, " --data-binary {}", quoted(body));
    }
}

/// Returns a text in single quotes, for every POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
