//! The values in AWS's texts: times, regions, services, codes and hashes.

use super::*;

#[test]
fn a_clock_is_found_in_every_service_and_the_fix_is_for_every_system() {
    let s3 = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the \
              current time is too large.</Message><RequestTime>20260115T120000Z</RequestTime>\
              <ServerTime>2026-01-15T12:20:00Z</ServerTime></Error>";
    let ahead = s3.replace("T120000Z", "T124000Z");
    let slow = "Signature expired: 20260115T120000Z is now earlier than 20260115T121500Z (20260115T122000Z - 5 min.)";
    for (text, expected, detail) in [
        (s3, "clock-slow", "20 min behind"),
        (&ahead, "clock-fast", "20 min ahead"),
        (slow, "clock-slow", "20 min behind"),
    ] {
        check(text, expected);
        let found = diagnose(&evidence(text));
        assert!(found.summary.contains(detail), "{}", found.summary);
        let fix = found.fix.unwrap();
        for line in synchronize_clock().lines() {
            let command = line.split_once(": ").map_or("", |(_, command)| command);
            let is_host = line.starts_with("Container");
            assert!(is_host || fix.contains(command), "{line}: {fix}");
        }
        for command in ["timedatectl", "sntp -sS", "w32tm /resync", "hwclock -s"] {
            assert!(fix.contains(command), "{fix}");
        }
    }
    // The times contradict the text.
    for (yours, aws) in [("T120000Z", "T120000Z"), ("T130000Z", "T120000Z")] {
        let text = format!(
            "Signature expired: 20260115{yours} is now earlier than 20260115T115500Z (20260115{aws} - 5 min.)"
        );
        let found = diagnose(&evidence(&text));
        assert_eq!(found.summary, Cause::ClockSlow.sentence());
    }
    // The times are not known.
    let found = diagnose(&evidence(
        "An error occurred (RequestTimeTooSkewed): too large",
    ));
    assert_eq!(found.cause, None);
    let found = diagnose(&evidence(
        "The difference between the request time and the current time is too large.",
    ));
    assert!(found.cause.is_none() && found.fix.unwrap().contains("sntp -sS"));
    for other in [
        "Signature expired: your link was valid until today",
        "JWT: Signature expired: log in again",
    ] {
        check(other, "unknown");
    }
}

#[test]
fn the_region_that_s3_expects_is_named() {
    let text = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    let found = diagnose(&evidence(text));
    assert_eq!(found.cause, Some(Cause::WrongRegion));
    assert!(found.hint.unwrap().contains("--region eu-west-1"));
}

#[test]
fn codes_about_credentials_have_the_same_cause_for_sts_and_in_an_answer() {
    let mismatch = "The request signature we calculated does not match the signature you provided.";
    let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z";
    for (code, message, expected) in [
        ("ExpiredToken", "", Some(Cause::TokenExpired)),
        ("ExpiredTokenException", "", Some(Cause::TokenExpired)),
        ("InvalidClientTokenId", "", Some(Cause::UnknownKey)),
        ("InvalidAccessKeyId", "", Some(Cause::UnknownKey)),
        ("UnrecognizedClientException", "", Some(Cause::UnknownKey)),
        ("AuthFailure", "", Some(Cause::UnknownKey)),
        ("SignatureDoesNotMatch", mismatch, Some(Cause::WrongSecret)),
        ("SignatureDoesNotMatch", expired, Some(Cause::ClockSlow)),
        (
            "InvalidSignatureException",
            mismatch,
            Some(Cause::WrongSecret),
        ),
        ("RegionDisabledException", "", None),
        ("Throttling", "", None),
    ] {
        assert_eq!(credentials_cause(code, message), expected, "{code}");
        let answer = format!(r#"{{"__type":"{code}","message":"{message}"}}"#);
        let key = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/r/s/aws4_request, SignedHeaders=host, \
                   Signature=ab";
        let evidence = Evidence {
            credentials: Some(Credentials {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                ..Credentials::default()
            }),
            ..with_headers(&answer, &[("authorization", key)])
        };
        let found = diagnose(&evidence).cause;
        // Without the canonical request, a mismatch can have other causes.
        if expected != Some(Cause::WrongSecret) {
            assert_eq!(found, expected, "{code}");
        }
    }
}

#[test]
fn a_code_that_other_services_use_too_is_less_certain() {
    let jwt = r#"{"code":"ExpiredToken","message":"JWT expired at noon","service":"my-auth"}"#;
    check(jwt, "unknown");
    assert_eq!(credentials_cause("ExpiredToken", "JWT expired"), None);
    for (message, confidence) in [
        ("", Confidence::Certain),
        ("The provided token has expired.", Confidence::Certain),
        (
            "The security token included in the request is expired",
            Confidence::Certain,
        ),
        ("Log in again.", Confidence::Likely),
    ] {
        let body = format!(r#"{{"code":"ExpiredToken","message":"{message}"}}"#);
        let found = diagnose(&evidence(&body));
        assert_eq!(found.cause, Some(Cause::TokenExpired), "{body}");
        assert_eq!(found.confidence, confidence, "{body}");
    }
}

/// Returns the diagnosis of a mismatch of two canonical requests with these queries and hosts.
fn compared(yours: (&str, &str), aws: (&str, &str)) -> Diagnosis {
    let canonical = |(query, host): (&str, &str)| {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        format!("GET\n/p\n{query}\nhost:{host}\n\nhost\n{hash}")
    };
    let answer = format!(
        "The request signature we calculated does not match the signature you provided.\n\n\
         The Canonical String for this request should have been\n'{}'\n\n\
         The String-to-Sign should have been\n'AWS4-HMAC-SHA256\nx\ny\nz'",
        canonical(aws)
    );
    diagnose(&Evidence {
        canonical_request: Some(canonical(yours)),
        ..evidence(&answer)
    })
}

#[test]
fn codes_and_texts_of_other_services_have_their_cause() {
    for (body, expected) in [
        (
            "<Code>XAmzContentSHA256Mismatch</Code><Message>The provided 'x-amz-content-sha256' header does not \
             match what was computed.</Message>",
            "content-sha-header",
        ),
        (
            "Missing required header for this request: x-amz-content-sha256",
            "content-sha-header",
        ),
        (
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            "not-sigv4",
        ),
        (
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
            "signed-twice",
        ),
        (
            "<Code>AuthorizationQueryParametersError</Code><Message>Error parsing the X-Amz-Credential parameter; \
             the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".\
             </Message>",
            "scope-malformed",
        ),
        (
            r#"{"error":{"type":"security_exception","reason":"no permissions for [indices:data/read/search] and User [name=arn:aws:iam::1:role/a]"},"status":403}"#,
            "not-authorized",
        ),
        (
            "no permissions for [indices:data/read/search] and User [name=arn:aws:iam::1:role/a]",
            "not-authorized",
        ),
    ] {
        check(body, expected);
    }
}

#[test]
fn a_function_url_names_what_it_needs() {
    let body = r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs"}"#;
    let found = diagnose(&evidence(body));
    assert_eq!(found.cause, None);
    let fix = found.fix.unwrap();
    for part in [
        "AWS_IAM",
        "service lambda",
        "lambda:InvokeFunctionUrl",
        "resource policy",
    ] {
        assert!(fix.contains(part), "{fix}");
    }
    let signature = |service: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/r/{service}/aws4_request, SignedHeaders=host, \
             Signature=ab"
        )
    };
    let (wrong, right) = (signature("execute-api"), signature("lambda"));
    for (headers, expected) in [
        (vec![], "not-signed"),
        (vec![("authorization", wrong.as_str())], "wrong-service"),
        (vec![("authorization", right.as_str())], "unknown"),
    ] {
        let found = diagnose(&with_headers(body, &headers));
        assert_eq!(found.cause_name(), expected, "{found:?}");
        assert!(found.fix.unwrap().len() > 40);
    }
}

#[test]
fn an_undecided_rejection_names_what_to_check_first() {
    let mismatch = "The request signature we calculated does not match the signature you provided.";
    for (text, part) in [
        (mismatch, "secret access key"),
        (
            "The security token included in the request is invalid.",
            "x-amz-security-token",
        ),
        (r#"{"message":"Missing Authentication Token"}"#, "stage"),
        (r#"{"message":"Forbidden"}"#, "execute-api:Invoke"),
        (
            "UnauthorizedException: You are not authorized to make this call.",
            "AWS_IAM",
        ),
        (r#"{"message":"Unauthorized"}"#, "AWS_IAM"),
    ] {
        let found = diagnose(&evidence(text));
        assert_eq!(found.cause, None, "{text}");
        let fix = found.fix.unwrap();
        assert!(fix.starts_with("Check, in this order: "), "{fix}");
        assert!(fix.contains(part), "{text}: {fix}");
    }
}

#[test]
fn the_last_error_of_a_text_is_the_one_that_is_diagnosed() {
    let expired = "The security token included in the request is expired";
    let slow = "Signature expired: 20260115T120000Z is now earlier than 20260115T121500Z (20260115T122000Z - 5 min.)";
    let region = "Credential should be scoped to a valid region, not 'us-east-1'.";
    let mismatch = "The request signature we calculated does not match the signature you provided.";
    let denied = |field: &str| format!("Not Authorized to access {field} on type Query");
    let errors = [
        (expired.to_owned(), "token-expired"),
        (slow.to_owned(), "clock-slow"),
        (region.to_owned(), "wrong-region"),
        (mismatch.to_owned(), "unknown"),
        (denied("rooms"), "not-authorized"),
        (
            "An error occurred (AccessDenied) when calling the ListBuckets operation: Access Denied".to_owned(),
            "not-authorized",
        ),
    ];
    for (first, _) in &errors {
        for (second, expected) in &errors {
            let text =
                format!("10:00 WARN {first}\n10:01 retry\n10:02 ERROR {second}\n    at main\n");
            check(&text, expected);
        }
    }
    let found = diagnose(&evidence(&format!(
        "{}\n{}\n",
        denied("rooms"),
        denied("posts")
    )));
    assert!(found.summary.contains("fields/posts"), "{}", found.summary);
    // A type on a line of its own belongs to the text before it.
    check(
        &format!(
            "Error: {slow}\n    at f (a.js:1)\n  __type: 'com.amazon.coral.service#AccessDeniedException'\n"
        ),
        "clock-slow",
    );
}

#[test]
fn an_error_of_a_data_source_is_not_that_of_the_client() {
    let error = |kind: &str, path: &str, message: &str| {
        format!(
            r#"{{"data":null,"errors":[{{"path":{path},"errorType":"{kind}","message":"{message}"}}]}}"#
        )
    };
    let role = "User: arn:aws:sts::1:assumed-role/r/APPSYNC is not authorized to perform: dynamodb:GetItem on \
                resource: arn:aws:dynamodb:r:1:table/t";
    let expired = "The security token included in the request is expired";
    for (kind, path, message) in [
        ("Lambda:Unhandled", r#"["rooms"]"#, expired),
        ("Lambda:Unhandled", "null", expired),
        ("DynamoDB:DynamoDbException", r#"["rooms"]"#, role),
        ("DynamoDB:AccessDeniedException", r#"["rooms"]"#, role),
        ("AccessDeniedException", r#"["rooms"]"#, role),
    ] {
        let found = diagnose(&evidence(&error(kind, path, message)));
        assert_eq!(found.cause, None, "{kind}: {found:?}");
        assert!(found.summary.contains("data source"), "{}", found.summary);
        assert!(found.summary.contains(kind), "{}", found.summary);
        assert!(found.fix.unwrap().contains("service role"));
    }
    let denied = "Not Authorized to access rooms on type Query";
    check(
        &error("Unauthorized", r#"["rooms"]"#, denied),
        "not-authorized",
    );
    check(
        &error("ExpiredTokenException", "null", expired),
        "token-expired",
    );
}

#[test]
fn a_host_and_a_plus_sign_are_compared_in_the_right_direction() {
    for (yours, aws, expected) in [
        ("a:8443", "a", "host-port"),
        ("a", "a:8443", "host-port"),
        ("a", "b", "host-wrong"),
        ("ABC.execute-api", "abc.execute-api", "host-wrong"),
        ("ABC.execute-api:443", "abc.execute-api", "host-wrong"),
    ] {
        let found = compared(("", yours), ("", aws));
        assert_eq!(found.cause_name(), expected, "{yours}: {found:?}");
        let is_case = yours == "ABC.execute-api";
        assert_eq!(found.summary.contains("lower case"), is_case, "{yours}");
    }
    for (yours, aws, expected) in [
        ("a=b%2Bc", "a=b%20c", "query-plus"),
        ("a=b+c", "a=b%20c", "query-plus"),
        ("a=b%20c", "a=b%2Bc", "query-changed"),
    ] {
        let found = compared((yours, "a"), (aws, "a"));
        assert_eq!(found.cause_name(), expected, "{yours}: {found:?}");
    }
}

#[test]
fn only_the_documented_values_declare_an_unsigned_body() {
    let echoed = "POST\n/graphql\n\nhost:a\n\nhost\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for (hash, expected) in [
        ("UNSIGNED-PAYLOAD", "body-hash-unsigned"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "body-hash-unsigned"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "body-hash-unsigned"),
        ("UNDEFINED", "canonical-form"),
        ("[Object Uint8Array]", "canonical-form"),
        (
            "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
            "canonical-form",
        ),
        (
            "44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A",
            "hash-case",
        ),
    ] {
        let yours = format!("POST\n/graphql\n\nhost:a\n\nhost\n{hash}");
        let answer = format!(
            "The request signature we calculated does not match the signature you provided.\n\n\
             The Canonical String for this request should have been\n'{echoed}'\n\n\
             The String-to-Sign should have been\n'AWS4-HMAC-SHA256\nx\ny\nz'"
        );
        let found = diagnose(&Evidence {
            canonical_request: Some(yours),
            ..evidence(&answer)
        });
        assert_eq!(found.cause_name(), expected, "{hash}: {found:?}");
    }
}

#[test]
fn the_fix_names_the_service_and_the_region_that_aws_expects() {
    let text = |name: &str| format!("Credential should be scoped to correct service: '{name}'.");
    let found = diagnose(&evidence(&text("execute-api")));
    let fix = found.fix.unwrap();
    assert!(
        fix.contains("SigV4Auth(credentials, \"execute-api\", region)"),
        "{fix}"
    );
    assert!(!fix.contains("SERVICE"), "{fix}");
    let hint = found.hint.unwrap();
    assert!(
        hint.contains("countersign --service execute-api URL"),
        "{hint}"
    );
    for hostile in ["", "\u{1b}[31m", "x; curl evil|sh", "X", &"a".repeat(41)] {
        let found = diagnose(&evidence(&text(hostile)));
        assert_eq!(
            found.fix,
            Some(Cause::WrongService.fix_with_code()),
            "{hostile:?}"
        );
    }
    let text = "Credential should be scoped to a valid Region, not 'us-east-1'. ";
    let host = "a1.execute-api.eu-west-1.amazonaws.com";
    let found = diagnose(&with_headers(text, &[("host", host)]));
    let hint = found.hint.unwrap();
    assert!(
        hint.contains("countersign --region eu-west-1 URL"),
        "{hint}"
    );
}

#[test]
fn a_request_with_the_scope_that_aws_expects_is_another_one() {
    let signed = |scope: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260115/{scope}/aws4_request, SignedHeaders=host, Signature=ab"
        )
    };
    for text in [
        "Credential should be scoped to correct service: 'execute-api'.",
        "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'eu-west-1'",
    ] {
        let authorization = signed("eu-west-1/execute-api");
        let found = diagnose(&with_headers(text, &[("authorization", &authorization)]));
        assert_eq!(found.cause, None, "{found:?}");
        assert_eq!(found.difference, None);
        assert!(
            found.summary.ends_with("AWS rejected another request."),
            "{found:?}"
        );
    }
    let date = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                '20260115' != '20260115', from '20260115T120000Z'.";
    assert_eq!(diagnose(&evidence(date)).difference, None);
}
