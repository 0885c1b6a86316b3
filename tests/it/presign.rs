//! Signatures in the query: routes that presign, and `countersign presign`. They are verified by the
//! emulator, through Python's websockets and curl, and by botocore.

use countersign_emulator::{Change, Key};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Answer, World, command, get, python, within};

const KEY_ID: &str = "AKIDPRESIGN";
const SECRET: &str = "sec/ret+of/tests";
const TOKEN: &str = "tok/en+with/all==";
const TOKEN_ENCODED: &str = "tok%2Fen%2Bwith%2Fall%3D%3D";
const STREAM: &str = "/start-network-analyzer-stream";

fn key() -> Vec<(&'static str, &'static str)> {
    vec![
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", TOKEN),
    ]
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn run(mut command: Command) -> Run {
    let output = within("the command", command.kill_on_drop(true).output());
    let output = output.await.unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `countersign presign` with the emulator's key.
async fn presign(arguments: &[&str]) -> Run {
    run(command(&[&["presign"], arguments].concat(), &key())).await
}

/// Returns the one line that a successful `presign` prints.
async fn url(arguments: &[&str]) -> String {
    let Run {
        code,
        stdout,
        stderr,
    } = presign(arguments).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    let url = stdout.strip_suffix('\n').unwrap();
    assert!(!url.contains(['\n', ' ']), "{url:?}");
    url.to_owned()
}

/// Returns the encoded value of a parameter.
fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(candidate, _)| *candidate == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1
}

/// Presigns the request of `url` with botocore.
async fn botocore(url: &str, service: &str, mode: &str) -> String {
    let mut command = python("presign.py");
    command.args(["sign", url, service, "us-east-1", mode]);
    command.envs(key());
    let run = run(command).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.trim().to_owned()
}

/// Starts an emulator that accepts only [`KEY_ID`].
async fn start() -> World {
    let key = Key {
        access_key_id: KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: Some(TOKEN.to_owned()),
    };
    World::builder().keys(vec![key]).start().await
}

fn stream_url(world: &World) -> String {
    world.expand(&format!("wss://$ANALYZER{STREAM}"))
}

/// Opens a presigned URL directly at the emulator.
async fn open_at(world: &World, url: &str) -> Value {
    let address = world.emulator.addr().to_string();
    open(&["open", url, &address, &world.ca_file()]).await
}

/// Requests a presigned URL directly from the emulator, and returns status and body.
async fn curl(world: &World, url: &str, more: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-g", "--path-as-is", "--noproxy", "*"])
        .args(["--cacert", &world.ca_file()])
        .args(["--connect-to", &format!("::{}", world.emulator.addr())])
        .args(["-w", "\n%{http_code}"])
        .args(more)
        .arg(url);
    let run = run(curl).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (body, status) = run.stdout.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

async fn open(arguments: &[&str]) -> Value {
    let mut command = python("presign.py");
    command.args(arguments);
    let run = run(command).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

#[track_caller]
fn check_packets(opened: &Value, configuration: &str) {
    assert_eq!(opened["status"], 101, "{opened}");
    let packets = opened["packets"].as_array().unwrap();
    for (n, packet) in (1..).zip(packets) {
        assert_eq!(packet["frameCount"], n, "{packet}");
        assert_eq!(
            packet["networkAnalyzerConfigurationName"], configuration,
            "{packet}"
        );
    }
    assert_eq!(packets.len(), 3);
}

#[track_caller]
fn check_secret(what: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
    }
}

#[tokio::test]
async fn presigned_routes_work_and_their_urls_are_not_logged() {
    let world = start().await;
    let keys = format!(
        "[wrong]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = other\naws_session_token = {TOKEN}\n"
    );
    let keys = world.home.file("credentials", &keys);
    let wrong = "auth = \"presign\"\nprofile = \"wrong\"";
    let config = [
        "log.filter = \"trace\"\n".to_owned(),
        world.route("analyzer", "https://$ANALYZER/", ""),
        world.route("rest", "https://$REST/prod", "auth = \"presign\""),
        world.route("wrong", "https://$REST/prod", wrong),
        world.route("tunnel", "https://$WS/prod", wrong),
    ];
    let environment = [key(), vec![("AWS_SHARED_CREDENTIALS_FILE", keys.as_str())]].concat();
    let mut daemon = world.serve(&config.concat(), &environment);
    let addr = daemon.address().await;

    let stream = format!("ws://{addr}/analyzer{STREAM}");
    check_packets(
        &open(&["open", &stream]).await,
        "NetworkAnalyzerConfig_Default",
    );
    let named = format!("{stream}?configuration-name=m%20y+1");
    check_packets(&open(&["open", &named]).await, "m y 1");
    assert_eq!(world.emulator.stats().gateway.analyzer_streams, 2);

    let answer = get(addr, "/rest/items?b=2&a=1", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let echo = answer.json();
    assert_eq!(echo["presigned"], true);
    assert_eq!(echo["signed_headers"], serde_json::json!(["host"]));
    let target = echo["target"].as_str().unwrap();
    assert!(
        target.starts_with("/prod/items?b=2&a=1&X-Amz-Algorithm="),
        "{target}"
    );
    // The API has verified the token. Its echo is masked, although the response is a success.
    let masked = parameter(target, "X-Amz-Security-Token");
    assert!(masked.starts_with("[redacted]"), "{masked}");
    assert_eq!(masked.len(), TOKEN_ENCODED.len());
    let signature = parameter(target, "X-Amz-Signature").to_owned();

    // Rejections quote what was signed, and the client must not see the token in them.
    let secrets = [SECRET, TOKEN, TOKEN_ENCODED, "tok%252Fen"];
    let refused: Answer = get(addr, "/wrong/items", &[]).await;
    let mismatch = "The request signature we calculated does not match";
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains(mismatch), "{refused:?}");
    check_secret("a refusal", &refused.body, &secrets);
    let refused = open(&["open", &format!("ws://{addr}/tunnel?a=1")]).await;
    assert_eq!(refused["status"], 403, "{refused}");
    let body = refused["body"].as_str().unwrap();
    assert!(body.contains(mismatch), "{body}");
    check_secret("a refused upgrade", body, &secrets);

    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(
        daemon.log.contains("transport=\"tunnel\""),
        "{}",
        daemon.log
    );
    assert!(daemon.log.contains("SIGNATURE_MISMATCH"), "{}", daemon.log);
    let in_log = [
        &secrets[..],
        &[
            signature.as_str(),
            "X-Amz-Signature",
            "X-Amz-Credential",
            KEY_ID,
        ],
    ];
    check_secret("the log", &daemon.log, &in_log.concat());
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn presigned_urls_open_websockets_at_the_emulator() {
    let world = start().await;
    let stream = stream_url(&world);
    let default = url(&[&stream]).await;
    assert_eq!(parameter(&default, "X-Amz-Expires"), "300");
    assert_eq!(parameter(&default, "X-Amz-SignedHeaders"), "host");
    assert_eq!(parameter(&default, "X-Amz-Security-Token"), TOKEN_ENCODED);
    check_packets(
        &open_at(&world, &default).await,
        "NetworkAnalyzerConfig_Default",
    );
    check_packets(
        &open_at(&world, &default).await,
        "NetworkAnalyzerConfig_Default",
    );

    let named = url(&[&format!("{stream}?configuration-name=a=b%2fc")]).await;
    check_packets(&open_at(&world, &named).await, "a=b/c");
    let refused = open_at(&world, &named.replace("=a%3Db", "=a%3Dc")).await;
    assert_eq!(refused["status"], 403, "{refused}");
    assert_eq!(refused["type"], "InvalidSignatureException");

    let appended = url(&["--session-token", "appended", &stream]).await;
    assert_ne!(
        botocore(&appended, "iotwireless", "signed").await,
        botocore(&appended, "iotwireless", "appended").await
    );
    assert_eq!(
        parameter(&appended, "X-Amz-Signature"),
        botocore(&appended, "iotwireless", "appended").await
    );
    check_packets(
        &open_at(&world, &appended).await,
        "NetworkAnalyzerConfig_Default",
    );

    let websocket = world.emulator.websocket_host();
    let api = url(&[&format!("wss://{websocket}/prod?status=418")]).await;
    let refused = open_at(&world, &api).await;
    // The signature was valid, because the integration was called.
    assert_eq!(refused["status"], 418, "{refused}");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn presigned_urls_expire_by_the_service_clock() {
    let world = start().await;
    let short = url(&["--expires", "1s", &stream_url(&world)]).await;
    assert_eq!(parameter(&short, "X-Amz-Expires"), "1");
    let long = url(&["--expires", "5m", &stream_url(&world)]).await;
    let skew = |seconds| {
        let change = Change {
            clock_skew_s: Some(seconds),
            ..Change::default()
        };
        world.emulator.switch(&change).unwrap();
    };
    let message = |refused: &Value| {
        assert_eq!(refused["status"], 403, "{refused}");
        assert_eq!(refused["type"], "InvalidSignatureException", "{refused}");
        let body: Value = serde_json::from_str(refused["body"].as_str().unwrap()).unwrap();
        body["message"].as_str().unwrap().to_owned()
    };
    skew(60);
    let refused = message(&open_at(&world, &short).await);
    assert!(refused.starts_with("Signature expired: "), "{refused}");
    assert!(refused.ends_with(" - 1 sec.)"), "{refused}");
    check_packets(
        &open_at(&world, &long).await,
        "NetworkAnalyzerConfig_Default",
    );
    skew(360);
    let refused = message(&open_at(&world, &long).await);
    assert!(refused.ends_with(" - 5 min.)"), "{refused}");
    skew(-360);
    let refused = message(&open_at(&world, &long).await);
    assert!(
        refused.starts_with("Signature not yet current: "),
        "{refused}"
    );
    skew(0);
    // IoT Wireless accepts five minutes at most and reports that itself.
    let longer = url(&["--expires", "10m", &stream_url(&world)]).await;
    assert_eq!(open_at(&world, &longer).await["type"], "ForbiddenException");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn the_token_is_appended_for_iot_core() {
    let mqtt = url(&["wss://x-ats.iot.us-east-1.amazonaws.com/mqtt"]).await;
    let (_, token) = mqtt.rsplit_once('&').unwrap();
    assert_eq!(token, format!("X-Amz-Security-Token={TOKEN_ENCODED}"));
    assert!(parameter(&mqtt, "X-Amz-Credential").contains("%2Fiotdevicegateway%2F"));
    let signature = parameter(&mqtt, "X-Amz-Signature");
    assert_eq!(
        signature,
        botocore(&mqtt, "iotdevicegateway", "appended").await
    );
    assert_ne!(
        signature,
        botocore(&mqtt, "iotdevicegateway", "signed").await
    );
}

#[tokio::test]
async fn presigned_urls_work_with_curl() {
    let world = start().await;
    let rest = world.emulator.rest_host();
    let target = format!("https://{rest}/prod/a%2Fb/@c?b=2&a=x+y&X-Amz-Signature=1");
    let report = url(&["--expires", "1h", &target]).await;
    let shown = format!("https://{rest}/prod/a%2Fb/@c?b=2&a=x%20y&X-Amz-Algorithm=");
    assert!(report.starts_with(&shown), "{report}");
    let (status, body) = curl(&world, &report, &[]).await;
    assert_eq!(status, 200, "{body}");
    let (status, _) = curl(&world, &report, &["-X", "POST"]).await;
    assert_eq!(status, 403, "another method");

    let header = ["--header", "X-Team: red ant", "--method", "DELETE"];
    let delete = url(&[&header[..], &[&target]].concat()).await;
    assert_eq!(parameter(&delete, "X-Amz-SignedHeaders"), "host%3Bx-team");
    let sent = ["-X", "DELETE", "-H", "x-team: red ant"];
    let (status, body) = curl(&world, &delete, &sent).await;
    assert_eq!(status, 200, "{body}");
    for wrong in [&sent[..2], &["-X", "DELETE", "-H", "x-team: blue"]] {
        let (status, _) = curl(&world, &delete, wrong).await;
        assert_eq!(status, 403, "{wrong:?}");
    }

    let lattice = "https://x.vpc-lattice-svcs.us-east-1.on.aws/k";
    let unsigned = presign(&["--method", "PUT", lattice]).await;
    assert_eq!(
        unsigned.stderr,
        "countersign: send it with the header x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
    );
    let told = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
    let body = ["-X", "PUT", "-d", "any body", "-H", told];
    let (status, body) = curl(&world, unsigned.stdout.trim(), &body).await;
    assert_eq!(status, 200, "{body}");
    world.emulator.shutdown().await;
}

/// Checks the exit code and the text of standard error. Standard output is empty, and no secret leaks.
async fn check_refused(arguments: &[&str], code: i32, wanted: &[&str]) {
    let run = presign(arguments).await;
    assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
    assert_eq!(run.stdout, "", "{arguments:?}");
    for text in wanted {
        assert!(run.stderr.contains(text), "{arguments:?}: {}", run.stderr);
    }
    check_secret("an error", &run.stderr, &[SECRET, TOKEN, "pass"]);
}

#[tokio::test]
async fn urls_that_cannot_be_presigned_are_refused() {
    let scheme = "the URL must begin with https:// or wss://, such as https://";
    let no_url = "the URL is not valid: percent-encode";
    check_refused(&["https://x.example.com/a b"], 2, &[no_url]).await;
    check_refused(&[""], 2, &[scheme]).await;
    check_refused(&["x.example.com/a"], 2, &[scheme]).await;
    check_refused(&["/prod"], 2, &[scheme]).await;
    check_refused(&["http://x.example.com/a"], 2, &[scheme]).await;
    check_refused(
        &["ws://x.execute-api.us-east-1.amazonaws.com"],
        2,
        &[scheme],
    )
    .await;
    let api = "https://x.execute-api.us-east-1.amazonaws.com";
    let user = api.replace("//", "//user:pass@");
    check_refused(&[&user], 2, &["the URL must not have a user"]).await;
    check_refused(&[&format!("{api}:99999/a")], 2, &["port"]).await;
    check_refused(&[&format!("{api}/a//b")], 2, &["empty segment"]).await;
    check_refused(&[&format!("{api}/a/../b")], 2, &["'..' segment"]).await;

    let appsync = "https://x.appsync-api.us-east-1.amazonaws.com/graphql";
    check_refused(&[appsync], 2, &["does not apply to AppSync"]).await;
    let event = appsync.replace("graphql", "event");
    check_refused(&[&event], 2, &["does not apply to AppSync"]).await;
    check_refused(
        &["https://b.s3.us-east-1.amazonaws.com/k"],
        2,
        &["cannot sign for S3"],
    )
    .await;
    let custom = "https://api.example.com/k";
    let in_region = ["--region", "us-east-1", custom];
    let s3 = ["--service", "s3"];
    check_refused(&[&s3[..], &in_region].concat(), 2, &["cannot sign for S3"]).await;
    check_refused(&[custom], 2, &["--region", "--service"]).await;
    check_refused(&in_region, 2, &["--service"]).await;
    check_refused(&["--service", "lambda", custom], 2, &["--region"]).await;
    let elsewhere = ["--region", "eu-west-1", api];
    check_refused(&elsewhere, 2, &["is in us-east-1"]).await;

    for (expires, text) in [
        ("8d", "at most 7 days"),
        ("0s", "more than zero"),
        ("1500ms", "whole seconds"),
        ("soon", "--expires"),
    ] {
        check_refused(&["--expires", expires, api], 2, &[text]).await;
    }
    for (header, text) in [
        ("x-team", "it must be NAME: VALUE"),
        ("a b: c", "not a header name"),
        ("x-team: a  b", "two consecutive spaces"),
        ("x-team: é", "ASCII"),
        ("Host: other", "the URL or the signature sets this header"),
        (
            "authorization: x",
            "the URL or the signature sets this header",
        ),
        (
            "X-Amz-Security-Token: x",
            "the URL or the signature sets this header",
        ),
    ] {
        check_refused(&["--header", header, api], 2, &[text]).await;
    }
    check_refused(&["--method", "GE T", api], 2, &["--method"]).await;
    check_refused(&["--session-token", "odd", api], 2, &["appended"]).await;
    check_refused(&["--payload", "odd", api], 2, &["unsigned"]).await;
    let unknown = ["--profile", "no-such", api];
    check_refused(&unknown, 3, &["no valid AWS credentials", "no-such"]).await;
    let without = run(command(&["presign", api], &[])).await;
    assert_eq!((without.code, without.stdout.as_str()), (3, ""));
    assert!(
        without.stderr.contains("AWS_ACCESS_KEY_ID"),
        "{}",
        without.stderr
    );
}
