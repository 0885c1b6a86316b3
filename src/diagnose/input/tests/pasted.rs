//! Tests of texts that are pasted from consoles, logs and SDKs, and of their diagnoses.

use super::*;
use crate::diagnose::{Diagnosis, Evidence, Need, diagnose};

fn diagnosis(text: &str) -> Diagnosis {
    let read = read_answer(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    diagnose(&Evidence {
        answer: read.answer,
        request: read.request,
        ..Evidence::default()
    })
}

/// Checks the cause and the beginning of the summary.
#[track_caller]
fn check(text: &str, cause: &str, summary: &str) {
    let found = diagnosis(text);
    assert_eq!(found.cause_name(), cause, "{text}\n→ {}", found.summary);
    assert!(
        found.summary.starts_with(summary),
        "{text}\n→ {}",
        found.summary
    );
}

#[test]
fn halves_of_surrogate_pairs_are_read() {
    for (escape, expected) in [
        (r"\ud800", "\u{fffd}"),
        (r"\udc00\ud83d\ude00\ud83d", "\u{fffd}\u{1f600}\u{fffd}"),
    ] {
        let text = format!(r#"{{"message":"{escape} is not authorized to perform: x"}}"#);
        let found: serde_json::Value = serde_json::from_str(&answer(&text).body).unwrap();
        assert_eq!(
            found["message"],
            format!("{expected} is not authorized to perform: x")
        );
    }
}

#[test]
fn error_codes_are_read_as_sdks_and_logs_print_them() {
    let unknown_key = "AWS does not know the access key";
    let expired = "The security token included in the request is expired";
    for (text, cause) in [
        (
            "An error occurred (ExpiredToken) when calling the ListApis operation: the token",
            "token-expired",
        ),
        (
            "aws: [ERROR]: An error occurred (AccessDenied) when calling the X operation: no",
            "not-authorized",
        ),
        (
            "operation error STS: GetCallerIdentity, https response error StatusCode: 403, RequestID: 1-2, \
             api error ExpiredToken: the token",
            "token-expired",
        ),
        (
            "ExpiredToken: the token\n\tstatus code: 400, request id: 1",
            "token-expired",
        ),
        (
            "com.amazonaws.AmazonServiceException: no (Service: AWSAppSync; Status Code: 403; Error Code: \
             AccessDenied; Request ID: 1; Proxy: null)",
            "not-authorized",
        ),
        (
            "{ name: 'ExpiredTokenException', '$fault': 'client', Code: 'ExpiredToken' }",
            "token-expired",
        ),
        (
            "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>m</Message></Error></ErrorResponse>",
            "token-expired",
        ),
        (
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the \
             region 'us-east-1' is wrong; expecting 'eu-central-1'</Message></Error>",
            "wrong-region",
        ),
        (
            "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the \
             current time is too large.</Message><RequestTime>20260115T110000Z</RequestTime>\
             <ServerTime>2026-01-15T12:00:00Z</ServerTime></Error>",
            "clock-slow",
        ),
    ] {
        assert_eq!(diagnosis(text).cause_name(), cause, "{text}");
    }
    for text in [
        "An error occurred (InvalidClientTokenId) when calling the X operation: the token",
        "api error InvalidAccessKeyId: no such key",
        "An error occurred (AuthFailure) when calling the DescribeRegions operation: AWS was not able to validate \
         the provided access credentials",
        r#"{"errorType":"UnrecognizedClientException","errorMessage":"The security token is wrong","trace":[]}"#,
    ] {
        check(text, "unknown", unknown_key);
    }
    let s3 = "An error occurred (InvalidToken) when calling the ListBuckets operation: The provided token is \
              malformed or otherwise invalid.";
    for text in [
        s3,
        "botocore.exceptions.ClientError: (InvalidToken)",
        "<Error><Code>InvalidToken</Code><Message>m</Message></Error>",
    ] {
        check(text, "unknown", "AWS does not know the access key");
    }
    for text in [
        r#"{"errors":[{"errorType":"MissingAuthorizationHeader","message":null}]}"#,
        r#"{"message":"MissingAuthorizationHeader"}"#,
    ] {
        check(text, "not-signed", "The request is not signed");
    }
    // CloudWatch: the message is in another member.
    let text =
        format!(r#"{{"errorType":"Error","errorMessage":"{expired}","trace":["Error: x"]}}"#);
    check(&text, "token-expired", "");
    let text = format!("2026-01-15T12:00:00Z\t1-2\tERROR\tInvoke Error\t{text}");
    check(&text, "token-expired", "");
    check(
        "An error occurred (RequestTimeTooSkewed) when calling the X operation: m",
        "unknown",
        "The clock of the machine that signs and AWS's clock differ",
    );
}

#[test]
fn texts_with_nothing_but_a_status_are_named() {
    for text in [
        "POST https://h.appsync-api.us-east-1.amazonaws.com/graphql 403 (Forbidden)",
        "GET https://a.execute-api.us-east-1.amazonaws.com/prod 403 (Forbidden)\n(anonymous) @ index.js:12\n\
         load @ index.js:30",
        "POST https://h/graphql 403 312 ms",
        "XHR POST https://h/graphql [HTTP/2 403 Forbidden 123ms]",
        "Failed to load resource: the server responded with a status of 403 ()",
        "AxiosError: Request failed with status code 403",
        "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://h/x",
        "curl: (22) The requested URL returned error: 403",
        "websocket._exceptions.WebSocketBadStatusException: Handshake status 403 Forbidden -+-+- {} -+-+- None",
        "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    \
         raise WebSocketBadStatusException\nwebsocket._exceptions.WebSocketBadStatusException: \
         Handshake status 403 Forbidden",
    ] {
        check(
            text,
            "unknown",
            "The text shows the status 403, and not AWS's answer.",
        );
        let found = diagnosis(text);
        assert_eq!(found.needs, [Need::Answer], "{text}");
        assert!(
            found.fix.is_some_and(|fix| fix.contains("network panel")),
            "{text}"
        );
    }
    // With the answer below the line, that is read.
    check(
        "POST https://h/graphql 403 (Forbidden)\n{\"message\":\"Forbidden\"}",
        "unknown",
        "AWS does not show the reason.",
    );
    check_error(
        read_answer("GET https://h/x\nhost: h"),
        InputError::NotAnswer,
    );
}

#[test]
fn texts_of_others_are_named() {
    for (text, summary) in [
        (
            "Access to fetch at 'http://localhost:4000/graphql' from origin 'http://localhost:5173' has been blocked \
             by CORS policy: No 'Access-Control-Allow-Origin' header is present on the requested resource.",
            "the browser does not show the answer to a page of another origin (CORS)",
        ),
        (
            "TypeError: Failed to fetch",
            "the client got no answer that it may show",
        ),
        (
            "TypeError: fetch failed",
            "the client got no answer that it may show",
        ),
        (
            "[cause]: Error: getaddrinfo ENOTFOUND h.appsync-api.us-east-1.amazonaws.com",
            "the host of the URL has no address",
        ),
        (
            "curl: (6) Could not resolve host: h",
            "the host of the URL has no address",
        ),
        (
            "Error: connect ECONNREFUSED 127.0.0.1:4000",
            "the connection to the server failed",
        ),
        (
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "the client does not trust the certificate",
        ),
        (
            "botocore.exceptions.NoCredentialsError: Unable to locate credentials",
            "the SDK found no credentials that are valid",
        ),
    ] {
        check(
            text,
            "unknown",
            &format!("This text is not from AWS: {summary}"),
        );
        assert!(diagnosis(text).fix.is_some(), "{text}");
    }
    // A text of AWS that has such words, too.
    check(
        "Error: Network Error: The security token included in the request is expired",
        "token-expired",
        "",
    );
}

#[test]
fn an_unknown_text_is_cut_between_words() {
    let text = "The widget that you asked for was moved to another shelf of the warehouse yesterday evening by us";
    check(
        text,
        "unknown",
        "The answer is not a known rejection by AWS: \"The widget that you asked for was moved to another shelf of \
         the warehouse…\".",
    );
    let whole = format!("HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\r\n{text}");
    assert_eq!(diagnosis(&whole).needs, [Need::Request]);
    assert_eq!(diagnosis(text).needs, [Need::Answer, Need::Request]);
}

#[test]
fn both_strings_are_read_from_xml() {
    let canonical = "GET\n/b/o\na=%26&amp;b=\nhost:h\n\nhost\n44136fa3";
    let to_sign =
        "AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/us-east-1/s3/aws4_request\n89114d36";
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The request \
         signature we calculated does not match the signature you provided. Check your key and signing \
         method.</Message><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId><StringToSign>{to_sign}</StringToSign>\
         <CanonicalRequest>{canonical}</CanonicalRequest></Error>"
    );
    let yours = canonical
        .replace("&amp;", "&")
        .replace("host:h", "host:other");
    let found = diagnose(&Evidence {
        answer: answer(&xml),
        canonical_request: Some(yours),
        ..Evidence::default()
    });
    assert_eq!(found.cause_name(), "host-wrong", "{}", found.summary);
    let found = diagnose(&Evidence {
        answer: answer(&xml),
        string_to_sign: Some(to_sign.replace("us-east-1", "eu-west-1")),
        ..Evidence::default()
    });
    assert_eq!(found.cause_name(), "wrong-region", "{}", found.summary);
}

/// It would prove that everything is equal, so that the secret must be wrong.
#[test]
fn the_canonical_request_of_aws_is_not_taken_for_the_signers() {
    let xml = format!(
        "<Error><StringToSign>x</StringToSign><CanonicalRequest>{MISMATCH}</CanonicalRequest></Error>"
    );
    let echo = MISMATCH.split_once("The Canonical").unwrap().1;
    for text in [
        MISMATCH,
        &json(MISMATCH),
        &format!("The Canonical{echo}"),
        &xml,
    ] {
        check_error(read_canonical_request(text), InputError::OfAws);
        check_error(read_string_to_sign(text), InputError::OfAws);
    }
    // A log has what the signer computed before the answer.
    let hash = "4".repeat(64);
    let own = format!("POST\n/x\n\nhost:h\n\nhost\n{hash}");
    let log = format!(
        "CanonicalRequest:\n{own}\nResponse body:\n{}",
        json(MISMATCH)
    );
    assert_eq!(read_canonical_request(&log), Ok(own));
    check_error(read_string_to_sign(&log), InputError::OfAws);
}

#[test]
fn text_with_bytes_of_another_encoding_is_read() {
    let message = b"An error occurred (ExpiredToken) when calling X: caf\xe9 \xa0 \x80\n";
    let text = decode(message).unwrap();
    assert!(text.contains("caf\u{e9} \u{a0} \u{fffd}"), "{text:?}");
    check(&text, "token-expired", "");
    // UTF-8 beside it stays.
    assert_eq!(
        decode("é and so on \u{1f600}".as_bytes()).unwrap(),
        "é and so on \u{1f600}"
    );
    assert_eq!(
        decode(b"\xc3\xa9 and so on \xe2\x82").unwrap(),
        "é and so on â\u{fffd}"
    );
    // Half of a surrogate pair in UTF-16.
    assert_eq!(decode(b"\xff\xfea\0\0\xd8b\0").unwrap(), "a\u{fffd}b");
    check_error(decode(b"\x1f\x8b\x08\xff\xfe\xfd"), InputError::Binary);
}

#[track_caller]
fn check_signing(options: &str, url: &str, region: &str, service: &str) {
    let command = format!("curl -v {options} --user AKIDEXAMPLE:secret -d '{{}}' '{url}'");
    let signing = read_curl_signing(&command).unwrap().unwrap();
    assert_eq!(
        (signing.region.as_str(), signing.service.as_str()),
        (region, service),
        "{command}"
    );
    let authorization = header(&signing.request.headers, "authorization").unwrap();
    let scope = format!("Credential=AKIDEXAMPLE/20000101/{region}/{service}/aws4_request");
    assert!(authorization.contains(&scope), "{authorization}");
    assert!(!authorization.contains("secret"), "{authorization}");
}

#[test]
fn the_scope_that_curl_signs_is_read() {
    let url = "https://abc.appsync-api.us-east-1.amazonaws.com/graphql";
    check_signing(
        "--aws-sigv4 aws:amz:eu-west-1:appsync",
        url,
        "eu-west-1",
        "appsync",
    );
    check_signing(
        "--aws-sigv4 \"aws:amz:eu-west-1:appsync\"",
        url,
        "eu-west-1",
        "appsync",
    );
    // curl takes what is missing from the host.
    check_signing("--aws-sigv4 aws:amz", url, "appsync-api", "abc");
    check_signing("--aws-sigv4 aws:amz:eu-west-1", url, "eu-west-1", "abc");
    assert!(read_curl_signing(&format!("curl {url}")).unwrap().is_none());
    assert!(
        read_curl_signing("POST /x HTTP/1.1\nhost: h")
            .unwrap()
            .is_none()
    );
    // The output of curl -v has the real signature.
    let output = format!(
        "$ curl -v --aws-sigv4 aws:amz:r:s -d '{{}}' {url}\n> POST /graphql HTTP/2\n> Host: h\n> \n"
    );
    assert!(read_curl_signing(&output).unwrap().is_none());
    check_request(&output, "POST /graphql", "Host: h", Some("{}"));
}

#[track_caller]
fn check_signed(command: &str, body: &str, cause: &str, summary: &str) {
    let signing = read_curl_signing(command).unwrap().unwrap();
    let found = signing.diagnose(&Evidence {
        answer: answer(body),
        ..Evidence::default()
    });
    assert_eq!(found.cause_name(), cause, "{body}\n→ {}", found.summary);
    assert!(
        found.summary.contains(summary),
        "{body}\n→ {}",
        found.summary
    );
}

#[test]
fn requests_that_curl_signs_are_diagnosed_as_far_as_the_command_shows_them() {
    let url = "https://a1.execute-api.us-east-1.amazonaws.com/prod/o";
    let command = |scope: &str, more: &str| {
        format!("curl --aws-sigv4 aws:amz:{scope} -u \"$KEY:$SECRET\" {more} {url}")
    };
    let forbidden = "{\"message\":\"Forbidden\"}";
    let right = command("us-east-1:execute-api", "");
    let note = "curl signs this request itself, for the service \"execute-api\" in the region \"us-east-1\". The \
                command does not contain the signature.";
    check_signed(&right, forbidden, "unknown", note);
    check_signed(&right, MISMATCH, "unknown", note);
    check_signed(
        &command("us-east-1:apigateway", ""),
        forbidden,
        "wrong-service",
        "",
    );
    check_signed(
        &command("eu-west-1:execute-api", ""),
        forbidden,
        "wrong-region",
        "",
    );
    check_signed(
        &command("us-east-1:apigateway", ""),
        "Credential should be scoped to correct service: 'execute-api'.",
        "wrong-service",
        "\"apigateway\" instead",
    );
    let invalid = "The security token included in the request is invalid.";
    let with_key = |key: &str, more: &str| {
        right
            .replace("$KEY", key)
            .replace(url, &format!("{more} {url}"))
    };
    check_signed(&with_key("ASIAEXAMPLE", ""), invalid, "token-missing", "");
    check_signed(
        &with_key("AKIAEXAMPLE", "-H 'X-Amz-Security-Token: t'"),
        invalid,
        "token-extra",
        "",
    );
    check_signed(
        &with_key("AKIAEXAMPLE", ""),
        invalid,
        "unknown-key",
        "AKIAEXAMPLE",
    );
    check_signed(
        &right,
        invalid,
        "unknown",
        "AWS does not know the access key",
    );
    // The command does not show the time, so it says nothing about clocks.
    let dated =
        format!("HTTP/1.1 403 Forbidden\r\ndate: Thu, 15 Jan 2026 12:00:00 GMT\r\n\r\n{forbidden}");
    check_signed(&right, &dated, "unknown", note);
}
