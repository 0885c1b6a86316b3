//! Wrong signatures: requests that botocore signed, with one mistake each, and what the emulator
//! answers.
//!
//! The mistakes, and the right diagnosis of each, are in tests/clients/wrong_signatures.py.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use countersign_emulator::{Key, Options};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{World, python};

/// A mistake, and what a developer would have at hand after it.
#[derive(Debug, Deserialize)]
struct Case {
    cause: String,
    kind: String,
    change: String,
    answer: String,
}

/// Keys from AWS's documentation: one without and one with a session token.
fn keys() -> Vec<Key> {
    let key = |id: &str, secret: &str, token: Option<&str>| Key {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: token.map(str::to_owned),
    };
    vec![
        key(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        ),
        key(
            "ASIAIOSFODNN7EXAMPLE",
            "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY",
            Some("AQoDYXdzEXAMPLETOKEN=="),
        ),
    ]
}

async fn cases() -> Vec<Case> {
    let options = Options {
        keys: keys(),
        ..Options::default()
    };
    let world = World::builder().emulator(options).start().await;
    let emulator = &world.emulator;
    let mut command = python("wrong_signatures.py");
    command
        .args([&emulator.addr().to_string(), "us-east-1", &world.ca_file()])
        .args([&world.control(), emulator.api_host()])
        .args([emulator.realtime_host(), emulator.rest_host()])
        .args([emulator.http_host(), emulator.websocket_host()])
        .stdin(Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(60), command.output());
    let output = output.await.expect("the script did not end").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns how AWS's text about a mistake may begin. AWS names some mistakes; of the others, it
/// returns the canonical request that it expected.
fn words(cause: &str) -> &'static [&'static str] {
    match cause {
        "algorithm" => &[MISMATCH, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'."],
        "clock-fast" => &["Signature not yet current: 20"],
        "clock-slow" => &["Signature expired: 20"],
        "date-format" => &["Date must be in ISO-8601 'basic format'. Got '"],
        "date-missing" => &[
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        ],
        "header-removed" => &[
            "'accept' is named as a SignedHeader, but it does not exist in the HTTP request.",
            "'content-type' is named as a SignedHeader, but it does not exist in the HTTP request.",
            "'x-team' is named as a SignedHeader, but it does not exist in the HTTP request.",
        ],
        "host-not-signed" => {
            &["'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."]
        }
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

// === impl Case ===

impl Case {
    /// Returns the message of the answer.
    fn message(&self) -> String {
        let body = match self.answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 ") => body,
            _ => &self.answer,
        };
        let json: Value = serde_json::from_str(body).unwrap();
        let error = ["/message", "/errors/0/message", "/payload/errors/0/message"];
        let message = error.iter().find_map(|path| json.pointer(path)?.as_str());
        message.unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn emulator_answers_every_mistake_in_the_words_of_aws() {
    let cases = cases().await;
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in &cases {
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
    assert!(cases.len() >= 120);
    assert_eq!(kinds.len(), CAUSES);
    for (cause, kinds) in &kinds {
        assert!(kinds.len() >= 2, "{cause}: {kinds:?}");
    }
    let all: BTreeSet<&str> = kinds.into_values().flatten().collect();
    assert_eq!(all.len(), 9, "{all:?}");
}

const CAUSES: usize = 44;
