//! Determines from an error of AWS why a signed request was rejected.

use crate::error_code::Code;

/// A prefix of the error type, a part of the text, and the code for both, all in lower case. The first
/// match applies. Without a prefix, the type is one of this table or missing: the text of another error,
/// such as a resolver's, may be anything.
const REJECTIONS: [(&str, &str, Code); 22] = [
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
    // AppSync's type for a bad signature, in realtime frames and in newer responses.
    ("badrequest", "signature expired: ", Code::SignatureExpired),
    (
        "badrequest",
        "signature not yet current: ",
        Code::SignatureNotYetCurrent,
    ),
    (
        "badrequest",
        "credential should be scoped",
        Code::ScopeWrong,
    ),
    (
        "badrequest",
        "request signature we calculated",
        Code::SignatureMismatch,
    ),
    ("requestexpired", "", Code::SignatureExpired),
    ("requesttimetooskewed", "", Code::ClockSkew),
    ("expiredtoken", "", Code::TokenExpired),
    (
        "",
        "security token included in the request is expired",
        Code::TokenExpired,
    ),
    ("unrecognizedclient", "", Code::TokenInvalid),
    ("invalidclienttokenid", "", Code::TokenInvalid),
    ("invalidaccesskeyid", "", Code::TokenInvalid),
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

/// Returns why AWS rejected a request, given the type and the text of its error; `None` if the error is
/// not a known rejection. A namespace before `#` and an address after `:` in the type are ignored.
pub fn rejection(kind: &str, text: &str) -> Option<Code> {
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let kind = kind.split(':').next().unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    let text = text.to_ascii_lowercase();
    let found = REJECTIONS.iter().find(|(prefix, part, _)| {
        let is_kind = if prefix.is_empty() {
            may_be_rejection(&kind)
        } else {
            kind.starts_with(prefix)
        };
        is_kind && text.contains(part)
    });
    found.map(|(_, _, code)| *code)
}

/// Returns whether AWS rejects requests with errors of this type.
fn may_be_rejection(kind: &str) -> bool {
    let mut prefixes = REJECTIONS.iter().map(|(prefix, ..)| *prefix);
    kind.is_empty()
        || kind == "unauthorizedexception"
        || prefixes.any(|prefix| !prefix.is_empty() && kind.starts_with(prefix))
}

/// Returns whether other credentials may avoid the rejection.
pub fn is_of_credentials(code: Code) -> bool {
    matches!(code, Code::TokenExpired | Code::TokenInvalid)
}

/// Returns whether AWS rejected the time of the signature.
pub fn is_of_clock(code: Code) -> bool {
    matches!(
        code,
        Code::SignatureExpired | Code::SignatureNotYetCurrent | Code::ClockSkew
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, text: &str, expected: Option<&str>) {
        let found = rejection(kind, text).map(Code::as_str);
        assert_eq!(found, expected, "{kind:?} {text}");
    }

    #[test]
    fn rejections_are_recognized_by_type_and_text() {
        let late = "Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z";
        let early = "Signature not yet current: 20260101T000000Z is still later than 2025";
        for kind in [
            "InvalidSignatureException",
            "BadRequestException",
            "com.amazonaws.deepdish.graphql.auth#BadRequestException",
        ] {
            check(kind, late, Some("SIGNATURE_EXPIRED"));
            check(kind, early, Some("SIGNATURE_NOT_YET_CURRENT"));
            let scope = "Credential should be scoped to correct service: 'execute-api'.";
            check(kind, scope, Some("SCOPE_WRONG"));
            let region = "Credential should be scoped to a valid region.";
            check(kind, region, Some("SCOPE_WRONG"));
            let mismatch = "The request signature we calculated does not match";
            check(kind, mismatch, Some("SIGNATURE_MISMATCH"));
        }
        check("BadRequestException", "Input exceeded 5 events", None);
        check("ValidationException", late, None);
        check("RequestExpired", "", Some("SIGNATURE_EXPIRED"));
        check("RequestTimeTooSkewed", "", Some("CLOCK_SKEW"));
        let expired = "The security token included in the request is expired";
        check("", expired, Some("TOKEN_EXPIRED"));
        for kind in ["ExpiredTokenException", "ExpiredToken"] {
            check(kind, "", Some("TOKEN_EXPIRED"));
        }
        let invalid = "The security token included in the request is invalid.";
        check("AccessDeniedException", invalid, Some("TOKEN_INVALID"));
        let denied = "User: x is not authorized to perform: appsync:GraphQL";
        for kind in ["", "UnauthorizedException"] {
            check(kind, denied, Some("ACCESS_DENIED"));
        }
        for kind in ["Lambda:Unhandled", "DynamoDB:ValidationException", "Custom"] {
            for text in [expired, invalid, denied] {
                check(kind, text, None);
            }
        }
        for kind in [
            "UnrecognizedClientException:http://internal.amazon.com/x",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
        ] {
            check(kind, "", Some("TOKEN_INVALID"));
        }
        check("UnauthorizedException", "Permission denied", None);
        check("", "", None);
    }
}
