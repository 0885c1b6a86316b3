//! Why AWS refused a request that was signed, by the answer alone.
//!
//! API Gateway's owners may change the texts of their refusals, so the type in `x-amzn-errortype`
//! counts first (API Gateway developer guide, "Gateway response types").

use http::StatusCode;

/// A refusal that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A stable name, for logs and metrics.
    pub code: &'static str,
    /// What to look at.
    pub hint: &'static str,
}

/// Type, what the message has in it, and what both mean; the first that fits counts.
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
    hint: "AWS computed another signature: is there a proxy between that changes the request, or a \
           wrong secret key?",
};
const EXPIRED: Rejection = Rejection {
    code: "SIGNATURE_EXPIRED",
    hint: "this machine's clock is behind, or the request was under way for more than 5 minutes",
};
const NOT_YET_CURRENT: Rejection = Rejection {
    code: "SIGNATURE_NOT_YET_CURRENT",
    hint: "this machine's clock is ahead",
};
const SCOPE: Rejection = Rejection {
    code: "SCOPE_WRONG",
    hint: "the route's region or service is another than the API's: see the message",
};
const TOKEN_EXPIRED: Rejection = Rejection {
    code: "TOKEN_EXPIRED",
    hint: "the credentials have expired",
};
const TOKEN_INVALID: Rejection = Rejection {
    code: "TOKEN_INVALID",
    hint: "AWS does not know the access key or session token, or not in this region",
};
const NO_ROUTE: Rejection = Rejection {
    code: "NO_SUCH_ROUTE",
    hint: "a REST API says so of a signed request for a path or method that it does not have: is the \
           stage in the route's target?",
};
const INCOMPLETE: Rejection = Rejection {
    code: "SIGNATURE_INCOMPLETE",
    hint: "AWS could not read the signature: does a proxy between change the Authorization header?",
};
const ACCESS_DENIED: Rejection = Rejection {
    code: "ACCESS_DENIED",
    hint: "the identity may not do this: allow execute-api:Invoke, or the service's action, on it",
};
const FORBIDDEN: Rejection = Rejection {
    code: "FORBIDDEN",
    hint: "an HTTP API says no more; of a REST API: the wrong Host, a missing API key, its policy or WAF",
};

/// What an answer with this status, `x-amzn-errortype` and body refuses; `None` if it is no refusal
/// of a gateway's.
pub fn rejection(status: StatusCode, kind: Option<&str>, body: &str) -> Option<Rejection> {
    let is_refusal = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    if !is_refusal {
        return None;
    }
    let kind = kind.and_then(|kind| kind.split(':').next());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let body = body.to_ascii_lowercase();
    let found = REJECTIONS.iter().find(|(wanted, text, _)| {
        let is_kind = match *wanted {
            "" => true,
            wanted => kind.starts_with(wanted),
        };
        is_kind && body.contains(text)
    });
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
    fn the_403_family() {
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
