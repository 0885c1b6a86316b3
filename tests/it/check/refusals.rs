//! Faults of the configuration and of the API: what is refused, by AWS or before it.

use serde_json::{Value, json};

use super::{Site, expect};
use crate::fakes::{Heard, TlsPeer};
use tokio::io::{AsyncWriteExt as _, BufReader};

#[tokio::test]
async fn mistakes_in_the_configuration_are_a_step() {
    let site = Site::start().await;
    for (fault, arguments, parts) in [
        (
            "no URL",
            &[][..],
            &["no API is given", "countersign --config FILE"][..],
        ),
        (
            "a custom domain without a region",
            &["https://api.example.com/graphql"],
            &["cannot infer the region", "--region"],
        ),
        (
            "a path that AppSync does not have",
            &["https://abc.appsync-api.us-east-1.amazonaws.com/v1"],
            &["AppSync has no path \"/v1\"", "/graphql"],
        ),
        (
            "another region than in the host",
            &[
                "https://abc.appsync-api.us-east-1.amazonaws.com/graphql",
                "--region",
                "eu-west-1",
            ],
            &["is in us-east-1", "eu-west-1"],
        ),
        (
            "a VPC endpoint without the API's host",
            &["https://vpce-0a1-b2.appsync-api.us-east-1.vpce.amazonaws.com/graphql"],
            &["--host"],
        ),
        (
            "a CA file without a certificate",
            &[
                "https://abc.appsync-api.us-east-1.amazonaws.com/graphql",
                "--ca-file",
                "/dev/null",
            ],
            &["no PEM certificate"],
        ),
    ] {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let ended = site.run(&arguments, &[]).await;
        ended.check(fault, 2, &expect("configuration", "configuration", parts));
        assert!(
            ended.stderr.contains("nothing was checked"),
            "{}",
            ended.stderr
        );
    }
    site.end();
}

#[tokio::test]
async fn wrong_scopes_and_hosts_are_told_apart() {
    let site = Site::start().await;
    // A loopback name is a custom domain.
    let port = site.world.emulator.addr().port();
    let target = format!("https://localhost:{port}/graphql");
    let ended = site.target(&target, &["--region", "eu-west-1"]).await;
    let expected = expect("request", "wrong-region", &["\"eu-west-1\"", "--region"]);
    ended.check("a custom domain with the wrong region", 1, &expected);
    let ended = site.target(&target, &["--region", "us-east-1"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stdout);

    let ended = site
        .target("https://$REST/prod", &["--service", "lambda"])
        .await;
    let expected = expect("request", "wrong-service", &["\"lambda\"", "--service"]);
    ended.check("a wrong service", 1, &expected);

    let host = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
    let ended = site.graphql(&["--host", host], &[]).await;
    let parts = [host, "--host"];
    let expected = expect("request", "path-wrong", &parts);
    ended.check("the Host of another API", 1, &expected);
    site.end();
}

fn errors(kind: &str, message: &str) -> String {
    json!({ "errors": [{ "errorType": kind, "message": message }] }).to_string()
}

#[tokio::test]
async fn refusals_by_appsync_are_told_apart() {
    let site = Site::start().await;
    let answer = |status: u16, content_type: &str, error_type: Option<&str>, body: &str| {
        json!({ "answer_http": {
            "status": status, "content_type": content_type, "error_type": error_type, "body": body,
        } })
    };
    let json_answer = |status, kind: &str, message: &str| {
        answer(
            status,
            "application/json",
            Some(kind),
            &errors(kind, message),
        )
    };
    let cases: Vec<(&str, Value, &str, &[&str])> = vec![
        (
            "IAM is not enabled",
            json_answer(
                401,
                "UnauthorizedException",
                "Valid authorization header not provided.",
            ),
            "iam-not-enabled",
            &["does not accept IAM", "authenticationType=AWS_IAM"],
        ),
        (
            "IAM is not enabled, the API has JWTs",
            json_answer(401, "UnauthorizedException", "Unable to parse JWT token."),
            "iam-not-enabled",
            &["authenticationType=AWS_IAM"],
        ),
        (
            "a page of a firewall",
            answer(
                403,
                "text/html",
                None,
                "<html><head><title>ERROR: The request could not be satisfied</title></head><body>x</body></html>",
            ),
            "waf",
            &[
                "403 with text/html: \"ERROR: The request could not be satisfied\"",
                "web ACL",
            ],
        ),
        (
            "a page without the marks of a firewall",
            answer(
                403,
                "text/html",
                None,
                "<html><title>403 \u{1b}[31mForbidden</title></html>",
            ),
            "not-aws",
            &[
                "403 with text/html: \"403 \\\\u{1b}[31mForbidden\"",
                "another server answered",
            ],
        ),
        (
            "AWS WAF",
            json_answer(403, "WAFForbiddenException", "403 Forbidden"),
            "waf",
            &["web ACL"],
        ),
        (
            "a page of a load balancer",
            answer(
                503,
                "text/html",
                None,
                "<html><body><h1>503 Service Unavailable</h1></body></html>",
            ),
            "not-aws",
            &[
                "503 with text/html: \"503 Service Unavailable\"",
                "another server answered",
            ],
        ),
        (
            "throttling",
            json_answer(429, "ThrottlingException", "Rate exceeded"),
            "throttled",
            &["Rate exceeded"],
        ),
        (
            "an internal error",
            json_answer(500, "InternalFailure", "Internal failure"),
            "upstream-error",
            &["the API's own log", "for the request "],
        ),
        (
            "a query that the schema does not allow",
            answer(
                200,
                "application/json",
                None,
                &errors("ValidationError", "Field 'x' is undefined"),
            ),
            "refused",
            &["Field 'x' is undefined", "--query"],
        ),
        (
            "a field with a directive",
            answer(
                200,
                "application/json",
                None,
                &errors(
                    "Unauthorized",
                    "Not Authorized to access rooms on type Query",
                ),
            ),
            "not-authorized",
            &[
                "Not Authorized to access rooms on type Query",
                "@aws_iam",
                "echo 'query { rooms }' | countersign policy --region us-east-1 -",
            ],
        ),
    ];
    for (fault, change, cause, parts) in cases {
        site.world.switch(change);
        let ended = site.graphql(&[], &[]).await;
        ended.check(fault, 1, &expect("request", cause, parts));
    }
    site.world.switch(json!({ "answer_http": null }));

    let only = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"appsync:GraphQL",
        "Resource":"*/types/Query/fields/__typename"}]}"#;
    site.world.switch(json!({ "policy": only }));
    assert_eq!(site.graphql(&[], &[]).await.code, 0);
    let ended = site.graphql(&["--query", "{ rooms { id } }"], &[]).await;
    let parts = [
        "Permission denied",
        "appsync:GraphQL",
        "types/Query/fields/rooms",
        "echo 'query { rooms }' | countersign policy --region us-east-1 -",
    ];
    ended.check(
        "a field that the policy denies",
        1,
        &expect("request", "not-authorized", &parts),
    );
    let ended = site.target("https://$API/event", &[]).await;
    let expected = expect("events", "not-authorized", &["appsync:EventConnect"]);
    ended.check("a connect to Events that the policy denies", 1, &expected);
    site.end();
}

#[tokio::test]
async fn refusals_by_api_gateway_are_told_apart() {
    let site = Site::start().await;
    let answer = |status: u16, kind: &str, message: &str| {
        json!({ "answer_http": {
            "status": status, "content_type": "application/json", "error_type": kind,
            "body": json!({ "message": message }).to_string(),
        } })
    };
    for (fault, change, cause, parts) in [
        (
            "a path without a method",
            answer(
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            "no-such-route",
            &["no such route", "countersign check https://"][..],
        ),
        (
            "a path of an HTTP API that does not exist",
            answer(404, "", "Not Found"),
            "path-wrong",
            &["Not Found"],
        ),
        (
            "an explicit deny",
            answer(
                403,
                "AccessDeniedException",
                "User: arn:aws:iam::123456789012:user/demo is not authorized to perform: execute-api:Invoke on \
                 resource: arn:aws:execute-api:us-east-1:********9012:a/prod/GET/ with an explicit deny in a \
                 service control policy",
            ),
            "not-authorized",
            &["Remove or narrow the explicit deny in a service control policy"],
        ),
        (
            "a resource policy",
            answer(403, "ForbiddenException", "Forbidden"),
            "forbidden",
            &["resource policy", "x-api-key"],
        ),
    ] {
        site.world.switch(change);
        let ended = site.target("https://$REST/prod", &[]).await;
        ended.check(fault, 1, &expect("request", cause, parts));
    }
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"x:Y","Resource":"*"}]}"#;
    site.world
        .switch(json!({ "answer_http": null, "policy": deny }));
    let ended = site.target("https://$REST/prod", &[]).await;
    let parts = [
        "is not authorized to perform: execute-api:Invoke",
        "Allow execute-api:Invoke on arn:aws:execute-api:us-east-1:123456789012:",
        "\"Effect\": \"Allow\"",
    ];
    ended.check(
        "an action that the policy denies",
        1,
        &expect("request", "not-authorized", &parts),
    );
    site.end();
}

/// API Gateway refuses a `GET` of a WebSocket API with 426.
#[tokio::test]
async fn a_websocket_api_is_checked_by_a_signed_handshake() {
    let site = Site::start().await;
    let ended = site.target("https://$WS/prod", &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let expected = "WebSocket handshake: 101 Switching Protocols";
    assert_eq!(ended.step("request")["detail"], expected);

    let wrong = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    let arguments = site.world.arguments_to(
        &site.world.expand("https://$WS/prod"),
        site.world.emulator.addr(),
        &[],
    );
    let ended = site.run(&arguments, &wrong).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    let deny = r#"{"Version":"2012-10-17","Statement":[]}"#;
    site.world.switch(json!({ "policy": deny }));
    let ended = site.target("https://$WS/prod", &[]).await;
    assert_eq!(
        ended.step("request")["outcome"],
        "failed",
        "{}",
        ended.stdout
    );
    println!("{}", ended.stdout);
    site.end();
}

#[tokio::test]
async fn a_vpc_endpoint_without_the_apis_host_is_found() {
    let site = Site::start().await;
    let name = "vpce-0a1b-c2d3.execute-api.us-east-1.vpce.amazonaws.com";
    let peer = TlsPeer::start(&[name], &["http/1.1"], async |_, stream| {
        let mut stream = BufReader::new(stream);
        while Heard::read(&mut stream).await.is_some() {
            let answer = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\n\
                          x-amzn-errortype: ForbiddenException\r\ncontent-length: 23\r\n\r\n\
                          {\"message\":\"Forbidden\"}";
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let ca_file = site.world.home.file("vpce.pem", &peer.ca_pem);
    let (connect, target) = (peer.addr.to_string(), format!("https://{name}/prod"));
    let arguments = ["--connect", &connect, "--ca-file", &ca_file, &target].map(str::to_owned);
    let ended = site.run(&arguments, &[]).await;
    let parts = [name, "--host ID.execute-api.us-east-1.amazonaws.com"];
    ended.check(
        "a VPC endpoint without the API's Host",
        1,
        &expect("request", "host-wrong", &parts),
    );
    let clock = ended.step("clock");
    assert_eq!(
        clock["detail"],
        "skipped: AWS's time is not known: the response has no Date header"
    );
}

#[tokio::test]
async fn refused_realtime_connects_are_told_apart() {
    let site = Site::start().await;
    site.world.switch(json!({ "refuse_realtime": true }));
    let ended = site.graphql(&[], &[]).await;
    ended.check(
        "realtime is down",
        1,
        &expect("realtime", "upstream-error", &["503", "wss://"]),
    );
    assert_eq!(ended.step("request")["outcome"], "passed");
    site.world.switch(json!({ "refuse_realtime": false }));
    for (payload, cause, parts) in [
        (
            errors(
                "UnauthorizedException",
                "Valid authorization header not provided.",
            ),
            "iam-not-enabled",
            &["connection_error", "AWS_IAM"][..],
        ),
        (
            errors("com.amazon.coral.service.http#HttpNotFoundException", ""),
            "host-wrong",
            &["HttpNotFoundException", "--host"],
        ),
        (
            errors("LimitExceededError", "Rate exceeded"),
            "throttled",
            &["Rate exceeded", "Try again later"],
        ),
    ] {
        site.world.switch(json!({ "refuse_connect": payload }));
        let ended = site.graphql(&[], &[]).await;
        ended.check(
            &format!("connection_error: {cause}"),
            1,
            &expect("realtime", cause, parts),
        );
    }
    site.end();
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_found_in_time() {
    let site = Site::start().await;
    site.world.switch(json!({ "delay_ms": 100_000 }));
    let limits = [
        ("COUNTERSIGN_TIMEOUTS__FIRST_BYTE", "1s"),
        ("COUNTERSIGN_POOL__HANDSHAKE", "1s"),
    ];
    let ended = site.graphql(&[], &limits).await;
    let expected = expect(
        "request",
        "upstream-timeout",
        &["within 1s", "COUNTERSIGN_TIMEOUTS__FIRST_BYTE=60s"],
    );
    ended.check("an API that does not answer", 1, &expected);
    assert_eq!(ended.step("clock")["outcome"], "skipped");
    site.world
        .switch(json!({ "delay_ms": 0, "connect_delay_ms": 100_000 }));
    let ended = site.graphql(&[], &limits).await;
    let expected = expect(
        "realtime",
        "upstream-timeout",
        &["within 1s", "COUNTERSIGN_POOL__HANDSHAKE=20s"],
    );
    ended.check("a realtime endpoint that does not answer", 1, &expected);
    site.end();
}
