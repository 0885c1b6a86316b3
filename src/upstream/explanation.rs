//! Explains a rejection by AWS: the cause, what was denied, and what to do.

use std::fmt;

use bytes::Bytes;
use countersign_protocol::error_code::Code;
use countersign_protocol::rejection::rejection as of_error;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Method, Uri};

use super::foreign_page::ForeignPage;
use super::rejection::{error_type, is_rejection_status};
use super::{Upstream, UpstreamKind, rejection};
use crate::diagnose::{Answer, Cause, Confidence, Diagnosis, Evidence, Request, diagnose};
use crate::iam::required_permissions;
use crate::telemetry::{Record, RecordedRejection};

/// A request as it was signed and sent. It travels with its response if that may be a rejection.
#[derive(Clone)]
pub struct SentRequest {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// `None` if the body is long.
    pub(super) body: Option<Bytes>,
    pub(super) kind: UpstreamKind,
    pub(super) region: String,
}

/// A request of AppSync's realtime protocol, which is signed as a `POST`.
#[derive(Clone, Copy, Debug)]
pub struct RealtimeRequest<'a> {
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

/// Why AWS rejected a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable name.
    pub cause: &'static str,
    pub confidence: Confidence,
    /// What to do.
    pub hint: String,
    /// The ARN of the IAM identity.
    pub identity: Option<String>,
    /// The IAM action and the resource that are not allowed.
    pub denied: Option<String>,
}

/// Longer request bodies are not kept for an explanation.
const MAX_KEPT: usize = 256 * 1024;
/// Longer responses are not explained. AWS's longest quotes the headers of the request, of which API Gateway takes
/// 10 KiB.
const MAX_EXPLAINED: usize = 64 * 1024;
/// The longest list of permissions that is shown, in bytes. Clients choose the names of fields.
const MAX_REQUIRED: usize = 2048;
/// The type of AppSync's error for a body that it cannot parse.
const MALFORMED: &str = "MalformedHttpRequestException";
/// The cause if a text in the body is not Unicode.
const INVALID_UNICODE: &str = "invalid-unicode";
/// The cause if another server answers in place of AWS.
pub const NOT_AWS: &str = "not-aws";
/// What to do about a firewall.
pub const WAF: &str = "A firewall refused the request before AWS checked its signature: AWS WAF, CloudFront, \
    or a proxy of the network. Allow the request in the rules of the API's web ACL; their sampled requests show \
    which rule blocked it.";
/// What to do if another server answers.
pub const OTHER_SERVER: &str = "AppSync and API Gateway answer with JSON: another server answered, such as a load \
    balancer or a proxy. Check the URL, --connect and HTTPS_PROXY.";

impl Explanation {
    /// Explains a response; `None` if it is not a rejection by AWS, or neither its cause nor its code is known.
    pub fn of_response(head: &Parts, body: &str) -> Option<Self> {
        let (status, headers) = (head.status, &head.headers);
        let kind = error_type(headers);
        let code = rejection(status, kind, body);
        let Some(sent) = head.extensions.get::<SentRequest>() else {
            return code.map(Self::unknown);
        };
        if kind == Some(MALFORMED)
            && let Some(error) = sent.body.as_deref().and_then(lone_surrogate)
        {
            return Some(Self::of_lone_surrogate(&error));
        }
        // The texts of an application's own responses may be anything.
        let is_of_aws = kind.is_some() || sent.kind != UpstreamKind::Http || code.is_some();
        if !is_rejection_status(status) || !is_of_aws {
            return None;
        }
        if body.len() > MAX_EXPLAINED {
            return code.map(Self::unknown);
        }
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let pairs = |headers: &HeaderMap| -> Vec<(String, String)> {
            let pairs = headers.iter();
            pairs
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect()
        };
        let diagnosis = diagnose(&Evidence {
            answer: Answer {
                status: Some(status.as_u16()),
                headers: pairs(headers),
                body: body.to_owned(),
            },
            request: Some(Request {
                method: sent.method.as_str().to_owned(),
                target: sent.target.clone(),
                headers: pairs(&sent.headers),
                body: sent.body.as_ref().map(|body| body.to_vec()),
            }),
            is_own: true,
            ..Evidence::default()
        });
        let required =
            || required_permissions(sent.body.as_deref()?, sent.kind == UpstreamKind::Events);
        Self::new(diagnosis, code, sent.kind, &sent.region, required)
    }

    fn of_lone_surrogate(error: &serde_json::Error) -> Self {
        Self {
            cause: INVALID_UNICODE,
            confidence: Confidence::Likely,
            hint: format!(
                "The body has an invalid Unicode escape at line {}, column {}: half of a surrogate pair. \
                 Clients send one when they cut a text within an emoji: send whole characters.",
                error.line(),
                error.column()
            ),
            identity: None,
            denied: None,
        }
    }

    /// Explains a page of a server that answers in place of AWS.
    pub fn of_page(page: &ForeignPage) -> Self {
        let (cause, hint) = if page.is_firewall {
            (Cause::Waf.as_str(), WAF)
        } else {
            (NOT_AWS, OTHER_SERVER)
        };
        Self {
            cause,
            confidence: Confidence::Likely,
            hint: hint.to_owned(),
            identity: None,
            denied: None,
        }
    }

    /// Returns the explanation of a rejection whose code is known, and whose cause is not.
    fn unknown(code: Code) -> Self {
        Self {
            cause: "unknown",
            confidence: Confidence::Unknown,
            hint: code.remedy().to_owned(),
            identity: None,
            denied: None,
        }
    }

    /// `code` is that of a rejection whose cause may be unknown.
    fn new(
        diagnosis: Diagnosis,
        code: Option<Code>,
        kind: UpstreamKind,
        region: &str,
        required: impl FnOnce() -> Option<String>,
    ) -> Option<Self> {
        let Some(cause) = diagnosis.cause else {
            return code.map(Self::unknown);
        };
        let hint = diagnosis.hint.unwrap_or_default();
        let denial = diagnosis.denial.unwrap_or_default();
        let required = (cause == Cause::NotAuthorized && kind != UpstreamKind::Http)
            .then(required)
            .flatten()
            .filter(|required| required.len() <= MAX_REQUIRED);
        let completed = denial.clone().or_required(required.as_deref());
        let hint = if completed == denial {
            hint
        } else {
            completed.hint(Some(region))
        };
        let denied = completed.denied();
        let identity = completed.identity;
        Some(Self {
            cause: cause.as_str(),
            confidence: diagnosis.confidence,
            hint,
            identity,
            denied,
        })
    }

    /// Returns the members of `extensions` that explain an error to a client.
    pub fn extensions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let denied = self.denied.as_deref().map(|denied| ("denied", denied));
        let members = [
            ("cause", self.cause),
            ("confidence", self.confidence.as_str()),
            ("hint", self.hint.as_str()),
        ];
        members.into_iter().chain(denied)
    }

    /// Adds the explanation to the record of the request.
    pub fn record(&self, record: &mut Record) {
        record.cause = Some(self.cause.to_owned());
        record.rejection = Some(Box::new(RecordedRejection {
            confidence: self.confidence.as_str().to_owned(),
            identity: self.identity.clone(),
            denied: self.denied.clone(),
            fix: self.hint.clone(),
        }));
    }
}

impl Upstream {
    /// Returns the request that was signed with these headers, for an explanation of its response.
    pub(super) fn sent_request(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> SentRequest {
        if let Ok(host) = HeaderValue::from_str(self.signer().host()) {
            headers.insert(HOST, host);
        }
        let target = uri.path_and_query().map(ToString::to_string);
        SentRequest {
            method,
            target: target.unwrap_or_default(),
            headers,
            body: Some(body).filter(|body| body.len() <= MAX_KEPT),
            kind: self.endpoint().kind,
            region: self.signer().scope().region.clone(),
        }
    }

    /// Explains the error of a field that AppSync denied in a response with results, given its message.
    pub fn explain_field(&self, message: &str) -> Option<Explanation> {
        let request = RealtimeRequest {
            target: &self.endpoint().path,
            headers: &[],
            body: "",
        };
        self.explain_realtime(request, "Unauthorized", message)
    }

    /// Explains an error of AppSync's realtime protocol, given its type and message; `None` if it is not a
    /// rejection, or its cause is not known.
    ///
    /// The request is signed again for the comparison, with the time in AWS's string to sign.
    pub fn explain_realtime(
        &self,
        request: RealtimeRequest<'_>,
        error_type: &str,
        message: &str,
    ) -> Option<Explanation> {
        let code = of_error(error_type, message);
        if message.len() > MAX_EXPLAINED {
            return code.map(Explanation::unknown);
        }
        let mut headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        headers.push((HOST.as_str().to_owned(), self.signer().host().to_owned()));
        let scope = self.signer().scope();
        // countersign signs the time and the token that it sends, so AWS's text has the same.
        let echoed = |name: &str| {
            let (_, rest) = message.split_once(&format!("\n{name}:"))?;
            Some(rest.split('\n').next().unwrap_or_default().to_owned())
        };
        let date = echoed("x-amz-date").unwrap_or_default();
        let token = echoed("x-amz-security-token");
        let mut signed = vec!["host", "x-amz-date"];
        signed.extend(request.headers.iter().map(|(name, _)| *name));
        signed.extend(token.as_ref().map(|_| "x-amz-security-token"));
        signed.sort_unstable();
        let day = date.get(..8).unwrap_or_default();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=-/{day}/{}/{}/aws4_request, SignedHeaders={}, Signature=-",
            scope.region,
            scope.service,
            signed.join(";"),
        );
        headers.push(("authorization".to_owned(), authorization));
        headers.push(("x-amz-date".to_owned(), date));
        headers.extend(token.map(|token| ("x-amz-security-token".to_owned(), token)));
        let diagnosis = diagnose(&Evidence {
            answer: Answer {
                status: None,
                headers: vec![("x-amzn-errortype".to_owned(), error_type.to_owned())],
                body: message.to_owned(),
            },
            request: Some(Request {
                method: "POST".to_owned(),
                target: request.target.to_owned(),
                headers,
                body: Some(request.body.as_bytes().to_vec()),
            }),
            is_own: true,
            ..Evidence::default()
        });
        let kind = self.endpoint().kind;
        let required =
            || required_permissions(request.body.as_bytes(), kind == UpstreamKind::Events);
        Explanation::new(diagnosis, code, kind, &scope.region, required)
    }
}

/// Returns the error for an escape in a body that is half of a surrogate pair. countersign itself does not parse
/// variables, and forwards them as they are.
fn lone_surrogate(body: &[u8]) -> Option<serde_json::Error> {
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(body);
    // serde_json does not expose its error codes.
    let is_escape = |error: &serde_json::Error| error.to_string().contains("hex escape");
    parsed.err().filter(is_escape)
}

/// Shows neither headers, target nor body, which contain signatures and the client's data.
impl fmt::Debug for SentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentRequest")
            .field("method", &self.method)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};

    use super::*;

    fn explained(query: &str, message: &str) -> Explanation {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::FORBIDDEN;
        let kind = HeaderValue::from_static("UnauthorizedException");
        head.headers.insert("x-amzn-errortype", kind);
        let body = serde_json::json!({ "query": query }).to_string();
        let authorization = "AWS4-HMAC-SHA256 Credential=A/20260115/us-east-1/appsync/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=0";
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static(authorization));
        head.extensions.insert(SentRequest {
            method: Method::POST,
            target: "/graphql".to_owned(),
            headers,
            body: Some(body.into()),
            kind: UpstreamKind::Graphql,
            region: "us-east-1".to_owned(),
        });
        let answer = serde_json::json!({ "message": message }).to_string();
        Explanation::of_response(&head, &answer).unwrap()
    }

    #[test]
    fn what_a_policy_denies_explicitly_is_not_to_be_allowed() {
        let arn = "arn:aws:iam::123456789012:user/a";
        let denied = |why: &str| {
            let message = format!(
                "User: {arn} is not authorized to perform: appsync:GraphQL on resource: \
                 arn:aws:appsync:us-east-1:123456789012:apis/b/types/Query/fields/rooms {why}"
            );
            explained("{ rooms }", &message)
        };
        let explicit = denied("with an explicit deny in an identity-based policy");
        assert_eq!(explicit.identity.as_deref(), Some(arn));
        assert!(explicit.hint.contains("explicit deny"), "{}", explicit.hint);
        assert!(!explicit.hint.contains("Allow"), "{}", explicit.hint);
        let implicit = denied("because no identity-based policy allows it");
        assert!(
            implicit.hint.starts_with("Allow appsync:GraphQL"),
            "{}",
            implicit.hint
        );
    }

    #[test]
    fn long_responses_are_not_searched_for_a_cause() {
        let denied = "User: arn:aws:iam::123456789012:user/a is not authorized to perform: appsync:GraphQL \
                      on resource: arn:aws:appsync:us-east-1:123456789012:apis/b/types/Query/fields/rooms";
        let cause = |length: usize| {
            let padding = " ".repeat(length - r#"{"message":""}"#.len() - denied.len());
            explained("{ rooms }", &format!("{denied}{padding}")).cause
        };
        assert_eq!(cause(MAX_EXPLAINED), "not-authorized");
        assert_eq!(cause(MAX_EXPLAINED + 1), "unknown");
    }

    #[test]
    fn texts_of_peers_are_taken_only_in_the_form_of_names_and_are_bounded() {
        let long = "a".repeat(MAX_EXPLAINED / 4);
        for identity in [
            "arn:aws:iam::1:user/\u{1b}[31m".to_owned(),
            format!("arn:aws:iam::123456789012:user/{long}"),
        ] {
            let message = format!(
                "User: {identity} is not authorized to perform: x:{long} on resource: arn:{long}"
            );
            let found = explained("{ rooms }", &message);
            assert_eq!(found.identity, None);
            let size = found.hint.len() + found.denied.map_or(0, |denied| denied.len());
            assert!(size < 8192, "{size}");
        }
        let found = explained(&format!("{{ {long} }}"), "Permission denied");
        assert_eq!((found.cause, found.denied), ("not-authorized", None));
        assert!(found.hint.len() < 1024, "{}", found.hint.len());
        let found = explained("{ rooms }", "Permission denied");
        let denied = found.denied.as_deref();
        assert_eq!(denied, Some("appsync:GraphQL on types/Query/fields/rooms"));
    }
}
