//! Diagnoses of AWS's texts in each of their forms.

mod cases;
mod permissions;
mod reference;
mod values;

use proptest::prelude::*;

use super::*;
use cases::Case;

fn evidence(body: &str) -> Evidence {
    Evidence {
        answer: Answer {
            body: body.to_owned(),
            ..Answer::default()
        },
        ..Evidence::default()
    }
}

#[track_caller]
fn check(body: &str, expected: &str) {
    let diagnosis = diagnose(&evidence(body));
    assert_eq!(diagnosis.cause_name(), expected, "{body}\n{diagnosis:?}");
}

/// Returns a message in each form in which AWS, SDKs and logs write it.
fn forms(kind: &str, message: &str) -> Vec<String> {
    let json = serde_json::Value::from(message).to_string();
    let errors = format!(r#"{{"errors":[{{"errorType":"{kind}","message":{json}}}]}}"#);
    let frame = format!(
        r#"{{"payload":{{"errors":[{{"errorType":"com.amazonaws.deepdish.graphql.auth#{kind}","message":{json},"errorCode":400}}]}},"type":"connection_error"}}"#
    );
    vec![
        message.to_owned(),
        format!(r#"{{"message":{json}}}"#),
        format!(r#"{{"Message" : {json}}}"#),
        format!(r#"{{"__type":"com.amazon.coral.service#{kind}","message":{json}}}"#),
        format!(
            "{{\n  \"errors\" : [ {{\n    \"errorType\" : \"{kind}\",\n    \"message\" : {json}\n  }} ]\n}}"
        ),
        format!("Error: 403 {errors}"),
        format!("{}", serde_json::Value::from(frame.clone())),
        format!("An error occurred ({kind}) when calling the GraphQL operation: {message}"),
        frame,
        format!(
            r#"{{"type":"connection_error","errors":[{{"errorType":"{kind}","message":{json}}}]}}"#
        ),
        format!(
            r#"{{"id":"1","type":"error","payload":{{"errors":{{"errorType":"{kind}","message":{json}}}}}}}"#
        ),
        format!("<Error><Code>{kind}</Code><Message>{message}</Message></Error>"),
        errors,
    ]
}

#[test]
fn texts_that_name_the_cause_decide_in_every_form() {
    let cases = [
        (
            "Signature expired: 20181029T181641Z is now earlier than 20181029T191126Z (20181029T191626Z - 5 min.)",
            "clock-slow",
        ),
        (
            "Signature not yet current: 20181029T201641Z is still later than 20181029T192126Z (20181029T191626Z + 5 min.)",
            "clock-fast",
        ),
        (
            "Credential should be scoped to a valid region, not 'us-east-1'.",
            "wrong-region",
        ),
        (
            "Credential should be scoped to a valid Region, not 'us-east-1'. ",
            "wrong-region",
        ),
        (
            "The credential must be scoped to a valid region.",
            "wrong-region",
        ),
        (
            "'Host' must be a 'SignedHeader' in the AWS Authorization.",
            "host-not-signed",
        ),
        (
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization header.",
            "host-not-signed",
        ),
        (
            "Authorization header must begin with the algorithm name, which cannot include an equal-sign",
            "authorization-malformed",
        ),
        (
            "Credential should be scoped to correct service: 'execute-api'.",
            "wrong-service",
        ),
        (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260114' != '20260115', from '20260115T120000Z'.",
            "scope-date",
        ),
        (
            "'accept' is named as a SignedHeader, but it does not exist in the HTTP request.",
            "header-removed",
        ),
    ];
    for (message, expected) in cases {
        for body in forms("InvalidSignatureException", message) {
            check(&body, expected);
        }
    }
}

#[test]
fn answers_without_a_reason_are_unknown_and_name_what_would_decide() {
    for body in [
        "",
        "{}",
        "null",
        "[",
        "nonsense",
        r#"{"message":"Forbidden"}"#,
    ] {
        let diagnosis = diagnose(&evidence(body));
        assert_eq!(diagnosis.cause, None, "{body}");
        assert!(!diagnosis.needs.is_empty(), "{body}");
    }
}

#[test]
fn every_mistake_is_found_with_full_evidence_and_none_is_guessed_from_the_answer() {
    let cases = Case::all();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in &cases {
        let found = diagnose(&case.everything());
        if found.cause_name() != case.cause {
            wrong.push(format!("{}: {} {found:?}", case.name, case.cause));
        }
        let found = diagnose(&case.answer_alone());
        if found.cause_name() != case.alone {
            wrong.push(format!("{}, alone: {} {found:?}", case.name, case.alone));
        }
        assert!(
            found.cause.is_some() || !found.needs.is_empty(),
            "{}",
            case.name
        );
        let found = diagnose(&case.with_request());
        if ![case.cause.as_str(), "unknown"].contains(&found.cause_name()) {
            wrong.push(format!(
                "{}, with the request: {} {found:?}",
                case.name, case.cause
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_cause_has_a_case() {
    let cases = Case::all();
    let missing = Cause::ALL
        .iter()
        .filter(|cause| !cases.iter().any(|case| case.cause == cause.as_str()));
    let missing: Vec<&str> = missing.map(|cause| cause.as_str()).collect();
    assert_eq!(missing, ["x"; 0]);
}

/// A part of a text that a parser expects, or anything.
fn fragment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "The request signature we calculated does not match the signature you provided.",
        "The Canonical String for this request should have been\n'",
        "'\n\nThe String-to-Sign should have been\n'",
        "POST\n/graphql\n\nhost:a\n\nhost\n",
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/r/s/aws4_request\n",
        "AWS4-HMAC-SHA256 Credential=A/20260115/r/s/aws4_request, SignedHeaders=host;x, Signature=ab",
        "Authorization header requires 'Credential' parameter. Authorization=",
        "Signature expired: 20260115T120000Z is now earlier than x (20260115T120000Z - 5 min.)",
        "User: arn:aws:iam::1:user/a",
        " is not authorized to perform: a:B on resource: arn:aws:execute-api:r:*1:b",
        " with an explicit deny in a permissions boundary",
        "<RequestTime>20260115T120000Z</RequestTime><ServerTime>2026-01-15T12:20:00Z",
        "The difference between the request time and the current time is too large",
        "Credential should be scoped to correct service: '",
        "' is named as a SignedHeader",
        "Not Authorized to access a on type b",
        r#"{"type":"start","payload":{"data":"x","extensions":{"authorization":{"a":"b"}}}}"#,
        "{\"errors\":[{\"message\":\"",
        "\\n",
        "\\u00e9\\ud83d\\",
        "é%E9%2",
        "?a=%&b+=;&&=",
        "\n",
        "'",
        "Forbidden",
    ]);
    prop_oneof![known.prop_map(str::to_owned), any::<String>()]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..6).prop_map(|parts| parts.concat())
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("authorization".to_owned()),
        Just("x-amz-date".to_owned()),
        Just("host".to_owned()),
        Just("sec-websocket-protocol".to_owned()),
        Just("x-amz-content-sha256".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec((name, text()), 0..6)
}

proptest! {
    /// Whatever a peer or a file contains, the diagnosis does not panic.
    #[test]
    fn hostile_evidence_does_not_panic(
        (body, status, answer_headers) in (text(), any::<Option<u16>>(), headers()),
        (method, target, request_headers, request_body) in (text(), text(), headers(), text()),
        (canonical, string, is_own) in (any::<bool>(), text(), any::<bool>()),
        has_request in any::<bool>(),
    ) {
        let request = Request { method, target, headers: request_headers, body: Some(request_body.into_bytes()) };
        let evidence = Evidence {
            answer: Answer { status, headers: answer_headers, body },
            request: has_request.then_some(request),
            canonical_request: canonical.then(|| string.clone()),
            string_to_sign: (!canonical).then_some(string),
            answered_at: None,
            credentials: is_own.then(Credentials::default),
            is_own,
        };
        let diagnosis = diagnose(&evidence);
        prop_assert_eq!(diagnosis.cause.is_none(), diagnosis.confidence == Confidence::Unknown);
        prop_assert!(serde_json::to_string(&diagnosis).is_ok());
        // What is logged, sent to clients and pasted into policies has the form that AWS documents.
        let denial = diagnosis.denial.unwrap_or_default();
        for (value, longest) in [(denial.identity, 2048), (denial.resource, 2048), (denial.action, 128)] {
            let value = value.unwrap_or_default();
            prop_assert!(value.len() <= longest && value.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

#[test]
fn diagnoses_contain_no_secrets() {
    for case in Case::all() {
        for evidence in [case.answer_alone(), case.with_request(), case.everything()] {
            let shown = format!("{:?} {evidence:?}", diagnose(&evidence));
            for secret in case.secrets() {
                assert!(!shown.contains(&secret), "{}: {shown}", case.name);
            }
        }
    }
}

/// Returns evidence with a request whose headers are `headers`.
fn with_headers(body: &str, headers: &[(&str, &str)]) -> Evidence {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Evidence {
        request: Some(Request {
            method: "POST".to_owned(),
            target: "/graphql".to_owned(),
            headers: headers.collect(),
            body: None,
        }),
        ..evidence(body)
    }
}
