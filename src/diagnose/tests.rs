//! Diagnoses of AWS's texts in each of their forms.

use super::*;

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
