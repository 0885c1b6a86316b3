//! The words in which AWS answers each mistake.

use std::collections::{BTreeMap, BTreeSet};

use super::{CAUSES, Case};

/// Checks that the emulator answers in the words of AWS.
pub(super) fn check(cases: &[Case]) {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        kinds.entry(&case.cause).or_default().push(&case.kind);
        let message = case.message();
        let is_expected = match case.kind.as_str() {
            // HTTP APIs give no reason.
            "http-api" => message == "Forbidden",
            _ => words(&case.cause)
                .iter()
                .any(|words| message.starts_with(words)),
        };
        let Case {
            cause,
            kind,
            change,
            ..
        } = case;
        assert!(is_expected, "{cause} ({change}) to {kind}: {message}");
    }
    println!("{} cases of {} causes", cases.len(), kinds.len());
    assert!(cases.len() >= 450);
    assert_eq!(kinds.len(), CAUSES);
    for (cause, kinds) in &kinds {
        assert!(kinds.len() >= 2, "{cause}: {kinds:?}");
    }
    let all: BTreeSet<&str> = kinds.into_values().flatten().collect();
    assert_eq!(all.len(), 9, "{all:?}");
}

/// Returns how AWS's text about a mistake may begin. AWS names some mistakes; of the others, it
/// returns the canonical request that it expected.
fn words(cause: &str) -> &'static [&'static str] {
    match cause {
        "algorithm" => &[MISMATCH, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'."],
        "authorization-malformed" => &[
            "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 ",
            "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256 ",
        ],
        "clock-fast" => &["Signature not yet current: 20"],
        "clock-slow" => &["Signature expired: 20"],
        "date-format" => &["Date must be in ISO-8601 'basic format'. Got '"],
        "date-missing" => &[
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        ],
        "header-not-signed" => &["'x-amz-meta' must be a 'SignedHeader' in the AWS Authorization."],
        "header-removed" => &[
            "'accept' is named as a SignedHeader, but it does not exist in the HTTP request.",
            "'content-type' is named as a SignedHeader, but it does not exist in the HTTP request.",
            "'x-team' is named as a SignedHeader, but it does not exist in the HTTP request.",
        ],
        "host-not-signed" => {
            &["'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."]
        }
        "no-subprotocol" => &["NoProtocolError"],
        "not-authorized" => &[
            "Permission denied",
            "You are not authorized to make this call.",
            "User: arn:aws:iam::123456789012:user/demo is not authorized to perform: execute-api:Invoke",
        ],
        "not-signed" => &[
            "Missing authorization header",
            "Missing Authentication Token",
            "Required headers are missing.",
        ],
        "not-sigv4" => &[
            "Valid authorization header not provided.",
            "You are not authorized to make this call.",
            "'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl' not a valid key=value pair",
            "'dXNlcjpwYXNz' not a valid key=value pair",
        ],
        "scope-date" => &["Date in Credential scope does not match YYYYMMDD"],
        "scope-malformed" => &["Credential must have exactly 5 slash-delimited elements"],
        "scope-terminator" => {
            &["Credential should be scoped with a valid terminator: 'aws4_request', not '"]
        }
        "token-expired" => &["The security token included in the request is expired"],
        "token-extra" | "token-missing" | "token-wrong" | "unknown-key" => {
            &["The security token included in the request is invalid."]
        }
        "wrong-region" => &["Credential should be scoped to a valid region."],
        "wrong-service" => &["Credential should be scoped to correct service: '"],
        _ => &[MISMATCH],
    }
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you \
                        provided. Check your AWS Secret Access Key and signing method. Consult the \
                        service documentation for details.\n\nThe Canonical String for this request \
                        should have been\n'";
