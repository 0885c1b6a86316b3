//! Answers and texts that are not about the signature: of SDKs without credentials, of clients that show only a
//! status, of other parts of AWS.

use super::*;
use crate::diagnose::{Diagnosis, Evidence, diagnose};

fn diagnosis(text: &str) -> Diagnosis {
    let answer = read_answer(text).unwrap();
    diagnose(&Evidence {
        answer: answer.answer,
        request: answer.request,
        ..Evidence::default()
    })
}

#[track_caller]
fn check(text: &str, summary: &str) {
    let found = diagnosis(text);
    assert_eq!(found.cause, None, "{text}");
    assert!(
        found.summary.contains(summary),
        "{text}\n→ {}",
        found.summary
    );
    assert!(found.fix.is_some(), "{text}");
}

#[test]
fn sdks_without_credentials_are_recognized() {
    for text in [
        "botocore.exceptions.PartialCredentialsError: Partial credentials found in env, missing: x",
        "CredentialsError: Missing credentials in config, if using AWS_CONFIG_FILE, set AWS_SDK_LOAD_CONFIG=1",
        "software.amazon.awssdk.core.exception.SdkClientException: Unable to load credentials from any of the \
         providers in the chain AwsCredentialsProviderChain(x)",
        "NoCredentials: No credentials",
        "NoValidAuthTokens: No federated jwt",
        "UserUnAuthenticatedException: User needs to be authenticated to call this API.",
    ] {
        check(text, "the SDK found no credentials that are valid");
    }
}

#[test]
fn clients_that_show_only_the_status_are_recognized() {
    for (text, status) in [
        (
            "ApolloError: Response not successful: Received status code 401",
            "the status 401",
        ),
        (
            "Invoke-RestMethod: The remote server returned an error: (403) Forbidden.",
            "the status 403",
        ),
        ("error: Unexpected server response: 401", "the status 401"),
        (
            "gql.transport.exceptions.TransportServerError: 401, message='Unauthorized', url='https://h/graphql'",
            "the status",
        ),
        (
            "WebSocket connection to 'wss://h/graphql' failed: Error during WebSocket handshake: Unexpected \
             response code: 401",
            "the status 401",
        ),
    ] {
        check(text, &format!("The text shows {status}"));
    }
}

#[test]
fn errors_of_other_parts_of_aws_are_named() {
    for (text, summary) in [
        (
            "HTTP/1.1 404 Not Found\nx-amzn-errortype: UnknownOperationException\n\n{}",
            "does not know the path of the URL",
        ),
        (
            "HTTP/1.1 500 Internal Server Error\nx-amzn-errortype: AuthorizerConfigurationException\n\n\
             {\"message\":null}",
            "The authorizer of the API failed",
        ),
        (
            r#"{"errors":[{"errorType":"UnauthorizedException","message":"Token has expired."}]}"#,
            "a token of a user pool",
        ),
        (
            r#"{"message":"The incoming token has expired"}"#,
            "a token of a user pool",
        ),
        (
            "HTTP/1.1 429 Too Many Requests\n\n{\"message\":\"Rate exceeded\"}",
            "because of a limit",
        ),
        (
            r#"{"type":"error","payload":{"errors":[{"message":"Max number of 100 subscriptions reached"}]}}"#,
            "because of a limit",
        ),
        (r#"{"message":"Limit Exceeded"}"#, "because of a limit"),
        (
            "HTTP/1.1 429 Too Many Requests\nx-amzn-errortype: LimitExceededException\n\n{\"message\":\"Limit Exceeded\"}",
            "because of a limit",
        ),
        (
            r#"{"type":"error","payload":{"errors":{"errorType":"LimitExceededError","message":"m"}}}"#,
            "because of a limit",
        ),
        (
            r#"{"errors":[{"errorType":"MalformedHttpRequestException","message":"Request body is empty."}]}"#,
            "The request has no body",
        ),
        (
            "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n\
             <hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>",
            "This page is not from the API",
        ),
        (
            "HTTP/1.1 503 Service Temporarily Unavailable\nserver: awselb/2.0\ncontent-type: text/html\n\n<html>\n\
             <head><title>503 Service Temporarily Unavailable</title></head>\n</html>",
            "This page is not from the API",
        ),
        (
            "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<title>Log in</title>",
            "This page is not from the API",
        ),
        (
            "SyntaxError: Unexpected token '<', \"<html><head\"... is not valid JSON",
            "This page is not from the API",
        ),
    ] {
        check(text, summary);
    }
}

#[test]
fn the_answer_below_a_request_in_a_console_is_read() {
    let text = "POST https://h/graphql\n401\n120 ms\nRequest Headers\nUser-Agent: PostmanRuntime/7.36.0\n\
                Response Body\n{\"errors\":[{\"errorType\":\"ExpiredTokenException\",\"message\":\"m\"}]}";
    let answer = read_answer(text).unwrap().answer;
    assert_eq!(answer.status, Some(401));
    assert_eq!(diagnosis(text).cause_name(), "token-expired");
}
