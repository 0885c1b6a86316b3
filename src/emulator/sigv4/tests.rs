//! Each vector is accepted unchanged, and rejected after any change.

use time::macros::datetime;

use super::vectors::{HOST, Inputs, TOKEN, Vector, vectors};
use super::*;

fn vector(name: &str) -> Vector {
    vectors()
        .into_iter()
        .find(|(candidate, _)| *candidate == name)
        .unwrap()
        .1
}

#[test]
fn vectors_are_accepted() {
    for (name, vector) in vectors() {
        let headers = vector.headers();
        assert_eq!(
            vector
                .verify_changed(&headers, |_| ())
                .map(|ok| ok.signed_headers.join(";")),
            Ok(vector.signed_headers()),
            "{name}"
        );
        let received = Received {
            method: vector.method,
            path: vector.path,
            query: vector.query,
            headers: &headers,
            body: vector.body.as_bytes(),
        };
        let signed: Vec<String> = vector
            .signed_headers()
            .split(';')
            .map(str::to_owned)
            .collect();
        let canonical = canonical::request(&received, &signed);
        if let Some(expected) = vector.canonical {
            assert_eq!(sha256_hex(canonical.as_bytes()), expected, "{name}");
        }
    }
}

#[test]
fn altered_vectors_do_not_match() {
    for (name, vector) in vectors() {
        let headers = vector.headers();
        let is_mismatch = |change: &dyn Fn(&mut Inputs)| {
            matches!(
                vector.verify_changed(&headers, change),
                Err(AppSyncError::BadSignature(text)) if text.starts_with("The request signature we calculated")
            )
        };
        assert!(is_mismatch(&|inputs| inputs.body.push(' ')), "{name}: body");
        assert!(is_mismatch(&|inputs| inputs.path.push('x')), "{name}: path");
        assert!(
            is_mismatch(&|inputs| inputs.query.push_str("&a=1")),
            "{name}: query"
        );
        assert!(
            is_mismatch(&|inputs| inputs.keys[0].secret_access_key.push('x')),
            "{name}: secret"
        );
        for signed in vector
            .signed
            .split(';')
            .filter(|signed| *signed != "x-amz-date")
        {
            let mut altered = headers.clone();
            altered.set(signed, "altered");
            let result = vector.verify_changed(&altered, |_| ());
            assert!(
                matches!(result, Err(AppSyncError::BadSignature(_))),
                "{name}: {signed}"
            );
        }
    }
}

#[track_caller]
fn check_error(name: &str, change: impl FnOnce(&mut Headers, &mut Inputs), message: &str) {
    let vector = vector(name);
    let mut headers = vector.headers();
    let mut inputs = vector.inputs();
    change(&mut headers, &mut inputs);
    let text = vector
        .verify_inputs(&headers, &inputs)
        .unwrap_err()
        .to_string();
    assert!(text.starts_with(message), "{text}");
}

fn authorization(headers: &mut Headers, from: &str, to: &str) {
    let value = headers.joined("authorization").unwrap();
    assert!(value.contains(from));
    headers.set("authorization", &value.replace(from, to));
}

#[test]
fn errors_use_aws_wording() {
    check_error(
        "A",
        |headers, _| headers.set("authorization", ""),
        "Missing authorization header",
    );
    check_error(
        "A",
        |headers, _| headers.set("authorization", "Bearer x"),
        "Valid authorization header",
    );
    check_error(
        "A",
        |headers, _| {
            headers.set(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/a/b/c/d",
            )
        },
        "Authorization header requires 'Signature' parameter. \
         Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "/aws4_request", ""),
        "Credential must have exactly 5",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "=content-type", "=accept-x;content-type"),
        "'accept-x' is named as a SignedHeader, but it does not exist in the HTTP request.",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, ";host", ""),
        "'Host' or ':authority' must be",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "content-type;host", "host;content-type"),
        "The request signature we calculated",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "AKID", "AKIX"),
        "The security token included in the request is invalid.",
    );
    check_error(
        "A",
        |_, inputs| inputs.expired = true,
        "The security token included in the request is expired",
    );
    check_error(
        "A",
        |_, inputs| inputs.region = "eu-west-1",
        "Credential should be scoped to a valid region.",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "/appsync/", "/execute-api/"),
        "Credential should be scoped to correct service: 'appsync'.",
    );
    check_error(
        "A",
        |headers, _| authorization(headers, "/20260115", "/20260114"),
        "Date in Credential scope",
    );
    check_error(
        "A",
        |headers, inputs| {
            authorization(headers, "20260115", "20260114");
            inputs.region = "eu-west-1";
        },
        "Credential should be scoped to a valid region. Date in Credential scope does not match \
         YYYYMMDD from ISO-8601 version of date from HTTP: '20260114' != '20260115'",
    );
    check_error(
        "A",
        |headers, _| headers.set("x-amz-date", "Thu, 15 Jan 2026"),
        "Date must be in ISO-8601",
    );
}

#[test]
fn token_must_belong_to_the_key() {
    let invalid = "The security token included in the request is invalid.";
    check_error(
        "B",
        |headers, _| headers.set("x-amz-security-token", "other"),
        invalid,
    );
    check_error(
        "B",
        |headers, _| headers.set("x-amz-security-token", ""),
        invalid,
    );
    check_error(
        "B",
        |_, inputs| inputs.keys[0].session_token = None,
        invalid,
    );
    check_error(
        "A",
        |_, inputs| inputs.keys[0].session_token = Some("t".into()),
        invalid,
    );
    check_error(
        "A",
        |headers, _| headers.set("x-amz-security-token", TOKEN),
        "'x-amz-security-token' must be a 'SignedHeader'",
    );
}

#[test]
fn date_may_differ_by_five_minutes() {
    check_error(
        "A",
        |_, inputs| inputs.now = datetime!(2026-01-15 12:05:01 UTC),
        "Signature expired: 20260115T120000Z is now earlier than 20260115T120001Z (20260115T120501Z - 5 min.)",
    );
    check_error(
        "A",
        |_, inputs| inputs.now = datetime!(2026-01-15 11:54:59 UTC),
        "Signature not yet current: 20260115T120000Z is still later than 20260115T115959Z (20260115T115459Z + 5 min.)",
    );
    let a = vector("A");
    for now in [
        datetime!(2026-01-15 12:05:00 UTC),
        datetime!(2026-01-15 11:55:00 UTC),
    ] {
        assert!(
            a.verify_changed(&a.headers(), |inputs| inputs.now = now)
                .is_ok()
        );
    }
}

#[test]
fn mismatch_echoes_only_signed_headers() {
    let f = vector("F");
    let Err(AppSyncError::BadSignature(text)) =
        f.verify_changed(&f.headers(), |inputs| inputs.body.clear())
    else {
        panic!("accepted");
    };
    assert!(text.contains(&format!(
        "should have been\n'POST\n/graphql/connect\n\nhost:{HOST}\nx-amz-date:20260115T120000Z\n\nhost;x-amz-date\n"
    )));
    assert!(text.contains(
        "'AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/us-east-1/appsync/aws4_request\n"
    ));
}

#[test]
fn separator_needs_no_space() {
    let a = vector("A");
    let mut headers = a.headers();
    authorization(&mut headers, ", ", ",");
    assert!(a.verify_changed(&headers, |_| ()).is_ok());
}

#[test]
fn canonical_request_is_strictly_encoded() {
    let headers = Headers::default();
    let canonical = canonical::request(
        &Received {
            method: "GET",
            path: "/a%20b/c",
            query: "b=2&a=x+y&a=%7e!&flag",
            headers: &headers,
            body: b"",
        },
        &[],
    );
    assert!(
        canonical.starts_with("GET\n/a%2520b/c\na=x%20y&a=~%21&b=2&flag=\n"),
        "{canonical}"
    );
}
