//! Rejections because of permissions.

use super::*;

#[test]
fn permission_denied_of_other_programs_is_not_a_rejection_by_aws() {
    for other in [
        "git@github.com: Permission denied (publickey).",
        "bash: ./deploy.sh: Permission denied",
        "PermissionError: [Errno 13] Permission denied: '/etc/shadow'",
        "ERROR: Permission denied for table rooms",
        "java.nio.file.AccessDeniedException: /etc/shadow: Permission denied",
        r#"{"message":"Permission denied for relation rooms"}"#,
        "org.springframework.security.access.AccessDeniedException: Access is denied",
        "Caused by: com.example.web.AccessDeniedException: no",
    ] {
        check(other, "unknown");
    }
    for of_appsync in [
        "Permission denied",
        r#"{"errors":[{"errorType":"UnauthorizedException","message":"Permission denied"}]}"#,
        "UnauthorizedException: Permission denied",
    ] {
        check(of_appsync, "not-authorized");
    }
    let bare = diagnose(&evidence("Permission denied"));
    assert_eq!(bare.confidence, Confidence::Possible);
}

#[test]
fn a_denial_without_the_request_is_likely_and_needs_the_request() {
    for (kind, text) in [
        (
            "Unauthorized",
            "Not Authorized to access rooms on type Query",
        ),
        ("UnauthorizedException", "Permission denied"),
        ("UnauthorizedException", "Required headers are missing."),
    ] {
        let body = format!(r#"{{"errors":[{{"errorType":"{kind}","message":"{text}"}}]}}"#);
        let found = diagnose(&evidence(&body));
        assert_eq!(found.confidence, Confidence::Likely, "{body}: {found:?}");
        let fix = found.fix.unwrap();
        let is_denial = found.cause == Some(Cause::NotAuthorized);
        assert_eq!(fix.contains("@aws_api_key"), is_denial, "{fix}");
        let signed = "AWS4-HMAC-SHA256 Credential=A/20260115/r/appsync/aws4_request, SignedHeaders=host, \
                      Signature=ab";
        let found = diagnose(&with_headers(&body, &[("authorization", signed)]));
        let expected = is_denial.then_some(Confidence::Certain);
        let expected = expected.unwrap_or(Confidence::Unknown);
        assert_eq!(found.confidence, expected, "{body}: {found:?}");
    }
    let none = diagnose(&with_headers("Required headers are missing.", &[]));
    assert_eq!(
        (none.cause, none.confidence),
        (Some(Cause::NotSigned), Confidence::Certain)
    );
}

#[test]
fn an_access_denied_exception_is_read_by_its_text() {
    let unsigned = "<Error><Code>AccessDenied</Code><Message>There were headers present in the request which were \
                    not signed</Message><HeadersNotSigned>x-amz-meta-a</HeadersNotSigned></Error>";
    let s3 =
        |text: &str| format!("<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>");
    let sdk = |text: &str| {
        format!(
            "An error occurred (AccessDeniedException) when calling the Invoke operation: {text}"
        )
    };
    let date = "AWS authentication requires a valid Date or x-amz-date header";
    let key = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, \
               or you are not allowed to access.";
    for (body, expected, confidence) in [
        (s3("Request has expired"), "clock-slow", Confidence::Likely),
        (
            s3("Request is not yet valid"),
            "clock-fast",
            Confidence::Likely,
        ),
        (s3(date), "date-missing", Confidence::Certain),
        (
            unsigned.to_owned(),
            "header-not-signed",
            Confidence::Certain,
        ),
        (s3("Access Denied"), "not-authorized", Confidence::Likely),
        (
            sdk("Missing Authentication Token"),
            "unknown",
            Confidence::Unknown,
        ),
        (sdk(key), "not-authorized", Confidence::Possible),
        (
            "com.amazonaws.services.kms.model.AccessDeniedException: no (Service: AWSKMS)"
                .to_owned(),
            "not-authorized",
            Confidence::Likely,
        ),
        (
            "software.amazon.awssdk.services.kms.model.AccessDeniedException: no".to_owned(),
            "not-authorized",
            Confidence::Likely,
        ),
    ] {
        let found = diagnose(&evidence(&body));
        assert_eq!(
            (found.cause_name(), found.confidence),
            (expected, confidence),
            "{body}: {found:?}"
        );
    }
    let found = diagnose(&evidence(unsigned));
    assert!(
        found.summary.contains("\"x-amz-meta-a\""),
        "{}",
        found.summary
    );
    // No type of S3.
    check("Request has expired", "unknown");
}

#[test]
fn a_denied_request_without_a_signature_is_not_called_signed() {
    let denied = "Not Authorized to access rooms on type Query";
    for (header, caller, directive) in [
        (("x-api-key", "da2-abc"), "an API key", "@aws_api_key"),
        (("authorization", "eyJabc.def.ghi"), "a token", "@aws_oidc"),
        (("authorization", "Bearer eyJabc"), "a token", "@aws_oidc"),
    ] {
        for body in [denied, "Permission denied"] {
            let found = diagnose(&with_headers(body, &[header]));
            assert_eq!(found.cause, Some(Cause::NotAuthorized), "{found:?}");
            assert!(found.summary.contains(caller), "{found:?}");
            assert!(found.fix.unwrap().contains(directive), "{header:?}");
            assert_eq!(found.denial, None);
        }
    }
    let signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/eu-central-1/appsync/aws4_request, \
                     SignedHeaders=host, Signature=ab";
    let found = diagnose(&with_headers(denied, &[("authorization", signature)]));
    let fix = found.fix.unwrap();
    let command = "echo 'query { rooms }' | countersign policy --region eu-central-1 -";
    assert!(fix.ends_with(command), "{fix}");
    assert!(found.hint.unwrap().ends_with(command));
}

#[test]
fn an_explicit_deny_is_not_fixed_by_allowing_the_action() {
    let text = "User: arn:aws:iam::111122223333:user/a is not authorized to perform: execute-api:Invoke on \
                resource: arn:aws:execute-api:us-east-1:********3333:a1/prod/GET/o with an explicit deny";
    let anonymous = text.replace("arn:aws:iam::111122223333:user/a", "anonymous");
    let authorizer = "User is not authorized to access this resource with an explicit deny";
    for (message, confidence) in [
        (text, Confidence::Certain),
        (&anonymous, Confidence::Certain),
        (authorizer, Confidence::Likely),
    ] {
        for body in forms("AccessDeniedException", message) {
            let found = diagnose(&evidence(&body));
            assert_eq!(found.cause, Some(Cause::NotAuthorized), "{body}");
            assert_eq!(found.confidence, confidence, "{body}");
            assert!(found.denial.unwrap().explicit_deny, "{body}");
            assert!(found.summary.contains("explicit"), "{}", found.summary);
            for text in [found.fix.unwrap(), found.hint.unwrap()] {
                assert!(!text.contains("Allow execute-api"), "{text}");
                assert!(text.contains("deny") || text.contains("Deny"), "{text}");
            }
        }
    }
    check(
        "User is not authorized to access this resource",
        "not-authorized",
    );
}

#[test]
fn an_operation_that_aws_cannot_determine_is_a_wrong_route() {
    let text = "Unable to determine service/operation name to be authorized";
    for body in forms("AccessDeniedException", text) {
        check(&body, "no-such-route");
    }
}

#[test]
fn the_denied_action_and_its_identity_are_read_from_the_text() {
    let text = "User: arn:aws:iam::111122223333:user/a is not authorized to perform: execute-api:Invoke on \
                resource: arn:aws:execute-api:us-east-1:********3333:a1/prod/GET/o because no identity-based \
                policy allows the execute-api:Invoke action";
    for body in forms("AccessDeniedException", text) {
        let denial = diagnose(&evidence(&body)).denial.unwrap();
        assert_eq!(
            denial.identity.as_deref(),
            Some("arn:aws:iam::111122223333:user/a"),
            "{body}"
        );
        assert_eq!(
            denial.action.as_deref(),
            Some("execute-api:Invoke"),
            "{body}"
        );
        let resource = "arn:aws:execute-api:us-east-1:********3333:a1/prod/GET/o";
        assert_eq!(denial.resource.as_deref(), Some(resource), "{body}");
    }
}

#[test]
fn answers_and_log_lines_of_countersign_keep_their_cause() {
    let answer = r#"{"errors":[{"errorType":"UnauthorizedException","message":"Permission denied","extensions":{"code":"UnauthorizedException","sent":"no","cause":"not-authorized","confidence":"certain","hint":"Allow it.","denied":"appsync:GraphQL on types/Query/fields/rooms"}}]}"#;
    let line = "2026-11-30T10:00:00Z  WARN request route=graphql http.response.status_code=401 error.type=\"UnauthorizedException\" \
                cause=\"not-authorized\" confidence=\"certain\" \
                denied=\"appsync:GraphQL on types/Query/fields/rooms\" fix=\"Allow it.\"";
    for own in [answer, line, &format!("INFO started\n{line}\n")] {
        let found = diagnose(&evidence(own));
        assert_eq!(found.confidence, Confidence::Certain, "{own}");
        assert_eq!(
            found.summary,
            "AWS denied appsync:GraphQL on types/Query/fields/rooms."
        );
        assert!(
            found.fix.unwrap().contains("echo 'query { rooms }'"),
            "{own}"
        );
    }
    let line = line.replace("not-authorized", "clock-slow");
    check(&line.replace("certain", "likely"), "clock-slow");
    // What is not from countersign, or not in its form, decides nothing.
    for other in [
        line.replace("clock-slow", "$(reboot)"),
        line.replace(" fix=", " f="),
    ] {
        check(&other, "unknown");
    }
    let hostile = answer.replace("types/Query/fields/rooms", "types/'; rm -rf $HOME");
    assert!(
        !diagnose(&evidence(&hostile))
            .fix
            .unwrap()
            .contains("rm -rf")
    );
}
