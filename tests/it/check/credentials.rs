//! Faults of credentials and of the clock.

use countersign_emulator::DEMO_SECRET_ACCESS_KEY;
use serde_json::json;

use super::{Site, expect};
use crate::fakes::Endpoint;

const NONE: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", ""),
    ("AWS_SECRET_ACCESS_KEY", ""),
    ("AWS_SESSION_TOKEN", ""),
];

#[tokio::test]
async fn faults_of_credentials_are_found_before_a_request() {
    let site = Site::start().await;
    let ended = site.graphql(&[], &NONE).await;
    let expected = expect("credentials", "credentials", &["aws configure"]);
    ended.check("no credentials", 1, &expected);
    for step in ["identity", "request", "realtime"] {
        let detail = &ended.step(step)["detail"];
        assert_eq!(*detail, "skipped: it needs the step credentials", "{step}");
    }
    for step in ["dns", "tcp", "tls", "clock"] {
        assert_eq!(ended.step(step)["outcome"], "passed", "{step}");
    }

    let ended = site.graphql(&["--profile", "ghost"], &[]).await;
    let parts = ["profile \"ghost\"", "aws configure --profile ghost"];
    ended.check(
        "a profile that does not exist",
        1,
        &expect("credentials", "credentials", &parts),
    );

    let ended = site.graphql(&[], &[("AWS_SECRET_ACCESS_KEY", "")]).await;
    let parts = ["AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"];
    ended.check(
        "half a key",
        1,
        &expect("credentials", "credentials", &parts),
    );

    let past = [("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")];
    let ended = site.graphql(&[], &past).await;
    let expected = expect(
        "credentials",
        "credentials-expired",
        &["expired at 2020", "Renew"],
    );
    ended.check("credentials that have expired", 1, &expected);

    let temporary = [
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SESSION_TOKEN", ""),
    ];
    let ended = site.graphql(&[], &temporary).await;
    let expected = expect(
        "credentials",
        "token-missing",
        &["ASIA…", "AWS_SESSION_TOKEN"],
    );
    ended.check("a temporary key without its token", 1, &expected);
    site.end();
}

/// The error of STS, in XML.
async fn sts(code: &'static str, message: &'static str) -> Endpoint {
    Endpoint::start(move |_| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error></ErrorResponse>"
        );
        (403, body)
    })
    .await
}

#[tokio::test]
async fn rejections_by_sts_have_a_cause() {
    let site = Site::start().await;
    for (code, message, cause, part) in [
        (
            "ExpiredToken",
            "The security token included in the request is expired",
            "token-expired",
            "aws configure export-credentials",
        ),
        (
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
            "unknown-key",
            "token is wrong or missing",
        ),
        (
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
            "wrong-secret",
            "Copy both again",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z",
            "clock-slow",
            "sudo sntp -sS time.apple.com",
        ),
    ] {
        let sts = sts(code, message).await;
        let ended = site
            .graphql(&[], &[("AWS_ENDPOINT_URL_STS", &sts.url())])
            .await;
        let parts = [message.trim_end_matches('.'), part];
        ended.check(
            &format!("STS: {code}"),
            1,
            &expect("identity", cause, &parts),
        );
        assert_eq!(
            ended.step("request")["outcome"],
            "passed",
            "it does not need STS"
        );
    }
    site.end();
}

#[tokio::test]
async fn an_sts_that_cannot_be_reached_is_skipped() {
    let site = Site::start().await;
    let ended = site
        .graphql(&[], &[("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")])
        .await;
    println!("{}", ended.stdout);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    let identity = ended.step("identity");
    assert_eq!(identity["outcome"], "skipped");
    let detail = identity["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("skipped: STS cannot be reached"),
        "{detail}"
    );
    site.end();
}

#[tokio::test]
async fn rejections_of_the_keys_by_the_api_have_a_cause() {
    let site = Site::start().await;
    let wrong = format!("{DEMO_SECRET_ACCESS_KEY}x");
    let ended = site
        .graphql(&[], &[("AWS_SECRET_ACCESS_KEY", &wrong)])
        .await;
    let expected = expect("request", "wrong-secret", &["secret"]);
    ended.check("a wrong secret", 1, &expected);
    assert_eq!(ended.step("realtime")["outcome"], "failed");

    let ended = site
        .graphql(&[], &[("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")])
        .await;
    ended.check(
        "an unknown key",
        1,
        &expect("request", "unknown-key", &["security token"]),
    );

    let ended = site.graphql(&[], &[("AWS_SESSION_TOKEN", "")]).await;
    ended.check(
        "a token is missing",
        1,
        &expect("request", "unknown-key", &["token"]),
    );

    site.world.switch(json!({ "expire_keys": true }));
    let ended = site.graphql(&[], &[]).await;
    ended.check(
        "a session token that has expired",
        1,
        &expect("request", "token-expired", &[]),
    );
    site.end();
}

#[tokio::test]
async fn a_wrong_clock_is_found() {
    let site = Site::start().await;
    for (seconds, cause, part) in [
        (600, "clock-slow", "behind AWS's"),
        (-600, "clock-fast", "ahead of AWS's"),
    ] {
        site.world.switch(json!({ "clock_skew_s": seconds }));
        let ended = site.graphql(&[], &[]).await;
        let parts = [part, "w32tm /resync", "corrects"];
        ended.check(
            &format!("a clock off by {seconds} s"),
            1,
            &expect("clock", cause, &parts),
        );
        assert_eq!(
            ended.step("request")["outcome"],
            "passed",
            "countersign corrects it"
        );
        assert_eq!(ended.step("realtime")["outcome"], "passed");
    }
    site.world.switch(json!({ "clock_skew_s": 200_000 }));
    let ended = site.graphql(&[], &[]).await;
    ended.check(
        "a clock off by two days",
        1,
        &expect("clock", "clock-slow", &["2days"]),
    );
    assert_eq!(ended.step("request")["cause"], "clock-slow");
    let fix = ended.step("request")["fix"].as_str().unwrap();
    assert!(fix.contains("timedatectl set-ntp true"), "{fix}");
    site.world.switch(json!({ "clock_skew_s": 100 }));
    let ended = site.graphql(&[], &[]).await;
    assert_eq!(ended.code, 0, "AWS accepts five minutes: {}", ended.stdout);
    site.end();
}
