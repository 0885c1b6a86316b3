//! Explains why AWS rejected a signed request, from the response alone.
//!
//! Owners of an API in API Gateway can change the texts of its error responses, so the type in
//! `x-amzn-errortype` takes precedence (API Gateway developer guide, "Gateway response types").

use http::StatusCode;

/// Why AWS rejected a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code, for logs and metrics.
    pub code: &'static str,
    /// What to check.
    pub hint: &'static str,
}

/// An error type, a part of the message, and what both mean. The first match applies.
const REJECTIONS: [(&str, &str, Rejection); 14] = [
    ("invalidsignature", "signature expired", EXPIRED),
    ("invalidsignature", "not yet current", NOT_YET_CURRENT),
    ("invalidsignature", "correct service", SCOPE),
    ("invalidsignature", "valid region", SCOPE),
    ("invalidsignature", "", MISMATCH),
    ("expiredtoken", "", TOKEN_EXPIRED),
    (
        "",
        "security token included in the request is expired",
        TOKEN_EXPIRED,
    ),
    ("unrecognizedclient", "", TOKEN_INVALID),
    (
        "",
        "security token included in the request is invalid",
        TOKEN_INVALID,
    ),
    ("missingauthenticationtoken", "", NO_ROUTE),
    ("incompletesignature", "", INCOMPLETE),
    ("accessdenied", "", ACCESS_DENIED),
    ("", "is not authorized to perform", ACCESS_DENIED),
    ("forbidden", "", FORBIDDEN),
];

const MISMATCH: Rejection = Rejection {
    code: "SIGNATURE_MISMATCH",
    hint: "AWS computed a different signature: check the secret key, and whether a proxy on the way \
           changes the request",
};
const EXPIRED: Rejection = Rejection {
    code: "SIGNATURE_EXPIRED",
    hint: "this machine's clock is slow, or the request took more than 5 minutes to reach AWS",
};
const NOT_YET_CURRENT: Rejection = Rejection {
    code: "SIGNATURE_NOT_YET_CURRENT",
    hint: "this machine's clock is fast",
};
const SCOPE: Rejection = Rejection {
    code: "SCOPE_WRONG",
    hint: "the route's region or service is not the API's: the message names the right one",
};
const TOKEN_EXPIRED: Rejection = Rejection {
    code: "TOKEN_EXPIRED",
    hint: "AWS rejected the credentials: they have expired. Renew them, for example with: aws sso login",
};
const TOKEN_INVALID: Rejection = Rejection {
    code: "TOKEN_INVALID",
    hint: "AWS does not recognize the access key or session token in this region",
};
const NO_ROUTE: Rejection = Rejection {
    code: "NO_SUCH_ROUTE",
    hint: "a REST API sends this for a signed request to a path or method that does not exist: check \
           that the route's target includes the stage",
};
const INCOMPLETE: Rejection = Rejection {
    code: "SIGNATURE_INCOMPLETE",
    hint: "AWS could not parse the signature: check whether a proxy on the way changes the \
           Authorization header",
};
const ACCESS_DENIED: Rejection = Rejection {
    code: "ACCESS_DENIED",
    hint: "the IAM identity lacks the permission: allow execute-api:Invoke, or the service's action, \
           on this resource",
};
const FORBIDDEN: Rejection = Rejection {
    code: "FORBIDDEN",
    hint: "an HTTP API gives no reason; for a REST API, check the Host, the API key, the resource \
           policy and WAF",
};

/// Returns why AWS rejected a request, given the response's status, `x-amzn-errortype` and body;
/// `None` if the response is not a known rejection by an AWS gateway.
pub fn rejection(status: StatusCode, kind: Option<&str>, body: &str) -> Option<Rejection> {
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
    found.map(|(_, _, rejection)| *rejection).or_else(|| {
        let is_bare = status == StatusCode::FORBIDDEN && body == r#"{"message":"forbidden"}"#;
        is_bare.then_some(FORBIDDEN)
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
        let found = rejection(status, kind, &body).map(|rejection| rejection.code);
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
