//! Determines from a response why AWS rejected a signed request.
//!
//! The owner of an API can change the texts of API Gateway's error responses, so the type in
//! `x-amzn-errortype` takes precedence (API Gateway developer guide, "Gateway response types").

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_protocol::error_code::Code;
use countersign_protocol::rejection;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};

use crate::diagnose::parse_time;
use crate::sign::clock::system_time;

use super::foreign_page::is_of_edge;

/// A rejection of a signed request.
#[derive(Clone, Copy, Debug)]
pub struct Rejection {
    pub code: Code,
    /// AWS's time, in the text of the rejection.
    pub server_time: Option<SystemTime>,
    /// The time in the header `Date`, unless a cache may have stored the response.
    pub date: Option<SystemTime>,
    /// Whether the rejection is certainly AWS's, so that the request was not executed.
    pub is_certain: bool,
    /// Whether the rejection is AWS's, although perhaps not of this request: an application can return an
    /// error of AWS that it received itself.
    pub is_marked: bool,
}

/// What was renewed for one request. Each is renewed once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renewals {
    /// Whether upstream may execute the request twice.
    is_safe: bool,
    pub(super) credentials: bool,
    pub(super) clock: bool,
    /// The correction of the clock, in seconds, with which the request is being tried.
    pub(super) tentative: Option<i64>,
}

impl Renewals {
    /// `is_safe` determines whether upstream may execute the request twice.
    pub(super) fn new(is_safe: bool) -> Self {
        Self {
            is_safe,
            ..Self::default()
        }
    }

    /// Returns whether the request may be sent again after a rejection.
    pub(super) fn can_repeat(&self, rejection: &Rejection) -> bool {
        rejection.is_certain || self.is_safe
    }
}

/// The header with which AWS marks a response as its own error, and names the error's type.
pub static ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The longest rejection by AWS; longer responses are an application's own.
pub const MAX_REJECTION: usize = 256 * 1024;
/// A text that AWS did not mark as its error, and that names no reason in its first bytes, is an
/// application's own.
const DECIDED: usize = 2 * 1024;
/// The names of members with which AWS's errors begin, in lower case.
const MEMBERS: [&str; 12] = [
    "__type",
    "code",
    "data",
    "error",
    "errorcode",
    "errormessage",
    "errors",
    "errortype",
    "message",
    "output",
    "requestid",
    "type",
];

/// Returns why AWS rejected a request, given the response's status, `x-amzn-errortype` and body;
/// `None` if the response is not a known rejection by an AWS gateway.
pub fn rejection(status: StatusCode, kind: Option<&str>, body: &str) -> Option<Code> {
    if !is_rejection_status(status) {
        return None;
    }
    rejection::rejection(kind.unwrap_or_default(), body).or_else(|| {
        let is_bare = status == StatusCode::FORBIDDEN
            && body.eq_ignore_ascii_case(r#"{"message":"forbidden"}"#);
        is_bare.then_some(Code::Forbidden)
    })
}

/// Returns whether AWS rejects requests with this status.
pub(super) fn is_rejection_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}

/// Returns the error type with which AWS marks a response as its own error.
pub(super) fn error_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(&ERROR_TYPE)?.to_str().ok()
}

/// Returns whether a response may be a rejection by AWS, given the first bytes of its body. A response that
/// AWS marks as its own error is one at any status. The others are short, not compressed, and JSON or
/// XML that begins as AWS's errors do, or a page of a server of AWS in front of the API.
pub fn may_be_rejection(status: StatusCode, headers: &HeaderMap, start: &[u8]) -> bool {
    if headers.contains_key(&ERROR_TYPE) {
        return true;
    }
    if !is_rejection_status(status) {
        return false;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if length.is_some_and(|length: usize| length > MAX_REJECTION) {
        return false;
    }
    if text(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return false;
    }
    if is_of_edge(status, headers) {
        return true;
    }
    let kind = text(CONTENT_TYPE).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let is_text = kind.ends_with("json") || kind.ends_with("xml") || kind == "text/plain";
    if !is_text || kind.contains("ndjson") || kind.contains("stream") {
        return false;
    }
    // A short text that has arrived completely may name a reason, in whatever form.
    if length.is_some_and(|length| length <= start.len().min(DECIDED)) {
        return true;
    }
    let is_known = |start| rejection(status, None, &String::from_utf8_lossy(start)).is_some();
    begins_as_error(start) && start.get(..DECIDED).is_none_or(is_known)
}

/// Returns whether the text, of which more may follow, begins as AWS's errors do.
fn begins_as_error(start: &[u8]) -> bool {
    match start.trim_ascii_start() {
        [] => true,
        [b'{', rest @ ..] => match rest.trim_ascii_start() {
            [] => true,
            [b'"', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'"');
                let name = String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]);
                let name = name.to_ascii_lowercase();
                MEMBERS.iter().any(|member| match end {
                    Some(_) => *member == name,
                    None => member.starts_with(&name),
                })
            }
            _ => false,
        },
        [b'<', rest @ ..] => match rest {
            [] => true,
            [b'?', ..] => true,
            // `<Error>`, `<ErrorResponse>`, `<AccessDeniedException>`
            [first, ..] => first.is_ascii_uppercase() && !rest.starts_with(b"HTML"),
        },
        _ => false,
    }
}

/// Returns the error type in a body: `"__type"`, `"errorType"`, or `<Code>`.
pub(super) fn type_in_body(text: &str) -> Option<&str> {
    let of_member = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        let rest = rest.trim_start().strip_prefix(':')?;
        rest.trim_start().strip_prefix('"')?.split('"').next()
    };
    let of_element = || text.split_once("<Code>")?.1.split('<').next();
    of_member(r#""__type""#)
        .or_else(|| of_member(r#""errorType""#))
        .or_else(of_element)
}

/// Returns AWS's time in the text of a rejection: the one in parentheses in `Signature expired:
/// 20181029T181641Z is now earlier than 20181029T191126Z (20181029T191626Z - 5 min.)`. No clock of AWS is
/// before 1970.
pub fn server_time(text: &str) -> Option<SystemTime> {
    let (_, after) = text.split_once("Signature ")?;
    let (_, time) = after.split_once('(')?;
    let time = system_time(parse_time(time.get(..16)?)?)?;
    (time >= UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(status: u16, kind: &str, message: &str, expected: Option<&str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let body = serde_json::json!({ "message": message }).to_string();
        let kind = (!kind.is_empty()).then_some(kind);
        let found = rejection(status, kind, &body).map(Code::as_str);
        assert_eq!(found, expected, "{kind:?} {message}");
    }

    #[test]
    fn rejections_are_recognized_by_type_and_message() {
        let invalid = "The security token included in the request is invalid.";
        check(403, "AccessDeniedException", invalid, Some("TOKEN_INVALID"));
        let missing = "Missing Authentication Token";
        let kind = "MissingAuthenticationTokenException";
        check(403, kind, missing, Some("NO_SUCH_ROUTE"));
        let kind = "IncompleteSignatureException";
        check(403, kind, "x", Some("SIGNATURE_INCOMPLETE"));
        let denied = "User: arn:aws:iam::1:user/a is not authorized to perform: execute-api:Invoke";
        check(403, "AccessDeniedException", denied, Some("ACCESS_DENIED"));
        check(403, "", denied, Some("ACCESS_DENIED"));
        check(403, "ForbiddenException", "Forbidden", Some("FORBIDDEN"));
        check(403, "", "Forbidden", Some("FORBIDDEN"));
        check(403, "", "no such customer", None);
        check(404, "ForbiddenException", "Forbidden", None);
        check(200, "", denied, None);
    }

    #[track_caller]
    fn check_start(headers: &[(&'static str, &'static str)], start: &str, expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let found = may_be_rejection(StatusCode::FORBIDDEN, &map, start.as_bytes());
        assert_eq!(found, expected, "{headers:?} {start:.80}");
    }

    #[test]
    fn responses_that_begin_unlike_errors_of_aws_are_no_rejections() {
        let json = [("content-type", "application/json")];
        for start in [
            "",
            " ",
            "{",
            "{ \"err",
            "{\n  \"errors\" : [ {",
            "{\"message\":\"The sec",
            "{\"Message\":null",
            "<",
            "<?xml version",
            "<Error><Code>",
        ] {
            check_start(&json, start, true);
            check_start(&[], start, true);
        }
        for start in [
            "[",
            "{}",
            "{\"items\":",
            "{\"mess\"",
            "\"x",
            "no",
            "<html>",
            "<!DOCTYPE",
        ] {
            check_start(&json, start, false);
            let marked = [("x-amzn-errortype", "X"), json[0]];
            check_start(&marked, start, true);
        }
        for kind in [
            "text/event-stream",
            "application/x-ndjson",
            "image/png",
            "text/html",
        ] {
            check_start(&[("content-type", kind)], "", false);
        }
        check_start(&[("content-encoding", "gzip")], "", false);
        check_start(&[("content-length", "262145")], "", false);
        check_start(&[("content-length", "5")], "plain", true);
        check_start(&[("content-length", "50")], "plain", false);
    }

    /// They were copied and searched for tokens twice.
    #[test]
    fn long_texts_that_have_arrived_completely_are_no_rejections() {
        let items = format!("{{\"items\":[\"{}\"]}}", "x".repeat(12_280));
        assert_eq!(items.len(), 12_294);
        check_start(&[("content-length", "12294")], &items, false);
    }

    #[test]
    fn long_texts_are_rejections_only_if_they_name_a_reason_first() {
        let padding = "x".repeat(DECIDED);
        check_start(&[], &format!("{{\"message\":\"{padding}"), false);
        let expired = "The security token included in the request is expired";
        check_start(&[], &format!("{{\"message\":\"{expired} {padding}"), true);
        let found = may_be_rejection(StatusCode::OK, &HeaderMap::new(), b"{\"message\":");
        assert!(!found);
    }

    #[test]
    fn the_type_is_found_in_each_form_of_a_body() {
        for body in [
            r#"{"__type" : "com.amazon.coral.service#ExpiredTokenException"}"#,
            "{\n \"errors\" : [ {\n \"errorType\" : \"com.amazon.coral.service#ExpiredTokenException\"",
            "<Error><Code>com.amazon.coral.service#ExpiredTokenException</Code>",
        ] {
            let found = type_in_body(body);
            assert_eq!(
                found,
                Some("com.amazon.coral.service#ExpiredTokenException"),
                "{body}"
            );
        }
        assert_eq!(type_in_body(r#"{"__type":null}"#), None);
    }

    #[test]
    fn the_time_of_aws_is_read_from_the_text() {
        let at = Some(UNIX_EPOCH + Duration::from_secs(1_540_840_586));
        let late = "Signature expired: 20181029T181641Z is now earlier than 20181029T191126Z \
                    (20181029T191626Z - 5 min.)";
        assert_eq!(server_time(late), at);
        let early = "Signature not yet current: 20181029T201641Z is still later than \
                     20181029T192126Z (20181029T191626Z + 5 min.)";
        assert_eq!(server_time(early), at);
        for text in [
            "",
            "Signature expired: x (",
            "Signature expired (20181029T19162éZ",
            "Signature expired: x (19691231T235959Z - 5 min.)",
            "Signature expired: x (00000101T000000Z - 5 min.)",
        ] {
            assert_eq!(server_time(text), None, "{text}");
        }
    }
}
