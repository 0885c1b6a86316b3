//! Determines from a response why AWS rejected a signed request.
//!
//! The owner of an API can change the texts of API Gateway's error responses, so the type in
//! `x-amzn-errortype` takes precedence (API Gateway developer guide, "Gateway response types").

use http::StatusCode;

use countersign_protocol::error_code::Code;

/// A prefix of the error type, a part of the body, and the code for both. All text is in lower case. The
/// first match applies.
const REJECTIONS: [(&str, &str, Code); 14] = [
    (
        "invalidsignature",
        "signature expired",
        Code::SignatureExpired,
    ),
    (
        "invalidsignature",
        "not yet current",
        Code::SignatureNotYetCurrent,
    ),
    ("invalidsignature", "correct service", Code::ScopeWrong),
    ("invalidsignature", "valid region", Code::ScopeWrong),
    ("invalidsignature", "", Code::SignatureMismatch),
    ("expiredtoken", "", Code::TokenExpired),
    (
        "",
        "security token included in the request is expired",
        Code::TokenExpired,
    ),
    ("unrecognizedclient", "", Code::TokenInvalid),
    (
        "",
        "security token included in the request is invalid",
        Code::TokenInvalid,
    ),
    ("missingauthenticationtoken", "", Code::NoSuchRoute),
    ("incompletesignature", "", Code::SignatureIncomplete),
    ("accessdenied", "", Code::AccessDenied),
    ("", "is not authorized to perform", Code::AccessDenied),
    ("forbidden", "", Code::Forbidden),
];

/// Returns why AWS rejected a request, given the response's status, `x-amzn-errortype` and body;
/// `None` if the response is not a known rejection by an AWS gateway.
pub fn rejection(status: StatusCode, kind: Option<&str>, body: &str) -> Option<Code> {
    let is_rejection_status = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    if !is_rejection_status {
        return None;
    }
    let kind = kind.and_then(|kind| kind.split(':').next());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let body = body.to_ascii_lowercase();
    let found = REJECTIONS
        .iter()
        .find(|(prefix, text, _)| kind.starts_with(prefix) && body.contains(text));
    found.map(|(_, _, code)| *code).or_else(|| {
        let is_bare = status == StatusCode::FORBIDDEN && body == r#"{"message":"forbidden"}"#;
        is_bare.then_some(Code::Forbidden)
    })
}

#[cfg(test)]
mod tests {
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
        let signature = "InvalidSignatureException";
        check(
            403,
            signature,
            "The request signature we calculated does not match the signature you provided.",
            Some("SIGNATURE_MISMATCH"),
        );
        let late = "Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z";
        check(403, signature, late, Some("SIGNATURE_EXPIRED"));
        let early = "Signature not yet current: 20260101T000000Z is still later than 2025";
        check(403, signature, early, Some("SIGNATURE_NOT_YET_CURRENT"));
        let scope = "Credential should be scoped to correct service: 'execute-api'.";
        check(403, signature, scope, Some("SCOPE_WRONG"));
        let region = "Credential should be scoped to a valid region.";
        check(403, signature, region, Some("SCOPE_WRONG"));
        let expired = "The security token included in the request is expired";
        check(403, "ExpiredTokenException", expired, Some("TOKEN_EXPIRED"));
        let invalid = "The security token included in the request is invalid.";
        let kind = "UnrecognizedClientException:http://internal.amazon.com/x";
        check(403, kind, invalid, Some("TOKEN_INVALID"));
        check(403, "AccessDeniedException", invalid, Some("TOKEN_INVALID"));
        let missing = "Missing Authentication Token";
        let kind = "MissingAuthenticationTokenException";
        check(403, kind, missing, Some("NO_SUCH_ROUTE"));
        check(
            403,
            "IncompleteSignatureException",
            "x",
            Some("SIGNATURE_INCOMPLETE"),
        );
        let denied = "User: arn:aws:iam::1:user/a is not authorized to perform: execute-api:Invoke";
        check(403, "AccessDeniedException", denied, Some("ACCESS_DENIED"));
        check(403, "", denied, Some("ACCESS_DENIED"));
        check(403, "ForbiddenException", "Forbidden", Some("FORBIDDEN"));
        check(403, "", "Forbidden", Some("FORBIDDEN"));
        check(403, "", "no such customer", None);
        check(404, "ForbiddenException", "Forbidden", None);
        check(200, "", denied, None);
    }
}
