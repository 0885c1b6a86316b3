//! `countersign explain`: what it prints about requests that hand-written signers sent to the emulator.

use std::process::{Output, Stdio};

use countersign_emulator::{DEMO_SECRET_ACCESS_KEY, DEMO_SESSION_TOKEN, Key};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Scratch, World, command, demo_key, node, python, within};

const EXPIRED: &str = "Signature expired: 20260115T120000Z is now earlier than 20260115T120500Z \
                       (20260115T121000Z - 5 min.)";

/// Runs `explain` with this input and returns its output.
pub(super) async fn explain(arguments: &[&str], input: &str) -> Output {
    let mut command = command(&[&["explain"], arguments].concat(), &[]);
    run(&mut command, input).await
}

pub(super) async fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    within("explain", child.wait_with_output()).await.unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, stdout_start: &str, stderr: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = stdout(output);
    assert_eq!(output.status.code(), Some(code), "{text}\n{errors}");
    assert!(text.starts_with(stdout_start), "{text}");
    assert!(errors.contains(stderr), "{errors}");
}

/// Runs a script that sends a wrong request, and returns the files that it saved.
pub(super) async fn refused(world: &World, case: &str, key: &[(&str, &str)]) -> Scratch {
    let saved = Scratch::new("refused");
    let emulator = &world.emulator;
    let address = emulator.addr().to_string();
    let directory = saved.0.display().to_string();
    let ca_file = world.ca_file();
    let (api, rest) = (emulator.api_host(), emulator.rest_host());
    let mut command = if case == "token" {
        let mut command = node("refused.mjs");
        command.args([&address, api, "us-east-1", &ca_file, &directory]);
        command
    } else {
        let mut command = python("refused.py");
        command.args([case, &address, api, rest, "us-east-1", &ca_file, &directory]);
        command
    };
    let output = command.envs(key.iter().copied()).output();
    let output = within(case, output).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {errors}");
    saved
}

/// The mistakes that the scripts make.
pub(super) const CASES: [&str; 8] = [
    "connect", "start", "token", "query", "service", "clock", "secret", "header",
];

/// A mistake, and how the first line begins with the answer alone, then with everything.
const MISTAKES: [(&str, &str, &str); 8] = [
    (
        "connect",
        "unknown: The signature does not match, and what was signed is not known.",
        "path-wrong: The path that was signed is not the path that AWS verifies: the",
    ),
    (
        "start",
        "unknown: The signature does not match, and what was signed is not known.",
        "path-wrong: The path that was signed is not the path that AWS verifies: a query",
    ),
    (
        "token",
        "unknown: AWS does not know the access key, or the session token does not belong",
        "token-missing: The credentials are temporary, and the request does not have",
    ),
    (
        "query",
        "unknown: The signature does not match, and what was signed is not known.",
        "query-unsorted: The parameters of the signed query are not sorted: it is not",
    ),
    (
        "service",
        "wrong-service: The request is signed for another service: AWS expects",
        "wrong-service: The request is signed for another service: \"apigateway\" instead",
    ),
    (
        "clock",
        "clock-slow: The signature is older than AWS accepts: the clock is behind, or the",
        "clock-slow: The signature is older than AWS accepts: the clock is behind, or the",
    ),
    (
        "secret",
        "unknown: The signature does not match, and what was signed is not known.",
        "wrong-secret: What was signed is right, so the secret access key is wrong, or",
    ),
    (
        "header",
        "unknown: The signature does not match, and what was signed is not known.",
        "header-changed: A header that was signed has another value when it arrives:",
    ),
];

/// Returns a world whose credentials are temporary, as AWS names them.
async fn temporary() -> (World, Vec<(&'static str, &'static str)>) {
    let key = Key {
        access_key_id: "ASIAEXAMPLEEXAMPLE01".to_owned(),
        ..Key::demo()
    };
    let variables = demo_key().into_iter().map(|(name, value)| match name {
        "AWS_ACCESS_KEY_ID" => (name, "ASIAEXAMPLEEXAMPLE01"),
        _ => (name, value),
    });
    (
        World::builder().keys(vec![key]).start().await,
        variables.collect(),
    )
}

#[tokio::test]
async fn the_first_line_names_the_cause_of_each_mistake() {
    let (world, key) = temporary().await;
    let mut wrong = Vec::new();
    for (case, expected_alone, expected) in MISTAKES {
        let saved = refused(&world, case, &key).await;
        let path = |name: &str| saved.0.join(format!("{name}.txt")).display().to_string();
        let (answer, request) = (path("answer"), path("request"));
        let (canonical, string) = (path("canonical"), path("string"));
        let alone = explain(&["--answer", &answer], "").await;
        let arguments = [
            "--answer",
            &answer,
            "--request",
            &request,
            "--canonical-request",
            &canonical,
            "--string-to-sign",
            &string,
        ];
        let full = explain(&arguments, "").await;
        for (output, expected) in [(&alone, expected_alone), (&full, expected)] {
            let text = stdout(output);
            let first = text.lines().next().unwrap_or_default();
            let is_unknown = first.starts_with("unknown: ");
            assert_eq!(
                output.status.code(),
                Some(i32::from(is_unknown)),
                "{output:?}"
            );
            println!("({case}) {first}");
            if first != expected {
                wrong.push(format!("{case}: {text}"));
            }
            assert!(!text.contains(DEMO_SECRET_ACCESS_KEY), "{text}");
            assert!(!text.contains(DEMO_SESSION_TOKEN), "{text}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With the credentials, a key is found wrong for certain.
#[tokio::test]
async fn credentials_of_the_environment_are_compared() {
    let (world, key) = temporary().await;
    for (case, cause) in [("token", "token-missing"), ("secret", "wrong-secret")] {
        let saved = refused(&world, case, &key).await;
        let path = |name: &str| saved.0.join(format!("{name}.txt")).display().to_string();
        let (answer, request, canonical) = (path("answer"), path("request"), path("canonical"));
        let arguments = [
            "explain",
            "--json",
            "--credentials",
            "--answer",
            &answer,
            "--request",
            &request,
            "--canonical-request",
            &canonical,
        ];
        let output = run(&mut command(&arguments, &key), "").await;
        check(&output, 0, "{", "");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&json["cause"], &json["confidence"]),
            (&cause.into(), &"certain".into()),
            "{json}"
        );
        let text = stdout(&output);
        assert!(
            !text.contains(DEMO_SECRET_ACCESS_KEY) && !text.contains(DEMO_SESSION_TOKEN),
            "{text}"
        );
    }
    let output = explain(&["--credentials"], EXPIRED).await;
    check(
        &output,
        2,
        "",
        "--credentials needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
}

#[tokio::test]
async fn exit_codes_tell_apart_cause_unknown_and_unreadable() {
    let saved = Scratch::new("explain");
    check(&explain(&[], EXPIRED).await, 0, "clock-slow: ", "");
    check(
        &explain(&["--answer", "-"], EXPIRED).await,
        0,
        "clock-slow: ",
        "",
    );
    check(
        &explain(&[], "it does not work").await,
        1,
        "unknown: ",
        "does not decide",
    );
    for (arguments, input, error) in [
        (vec![], "", "standard input is empty"),
        (vec![], "\0", "standard input is not text"),
        (
            vec!["--answer", "/absent"],
            "",
            "cannot read /absent: No such file",
        ),
        (
            vec!["--request", "-"],
            EXPIRED,
            "standard input can be only one of the inputs",
        ),
        (
            vec!["--at", "noon"],
            EXPIRED,
            "--at \"noon\" is not a time: use a form such as 2026-",
        ),
        (
            vec![],
            "curl https://h",
            "standard input is a request, not an answer: give it with --request",
        ),
        (vec!["--unknown"], EXPIRED, "--unknown"),
    ] {
        check(&explain(&arguments, input).await, 2, "", error);
    }
    for (option, text, error) in [
        ("--request", "hello", "has no request: it must be HTTP text"),
        (
            "--request",
            "curl 'x",
            "has a curl command with an unclosed quote",
        ),
        ("--string-to-sign", "hello", "is not a string to sign"),
        ("--canonical-request", "\n", "is empty"),
    ] {
        let file = saved.file("input.txt", text);
        let output = explain(&[option, &file], EXPIRED).await;
        check(&output, 2, "", &format!("{file} {error}"));
    }
    let long = "x".repeat(5 << 20);
    check(
        &explain(&[], &long).await,
        2,
        "",
        "standard input is longer than 4 MiB",
    );
}

/// curl signs when it runs: its command shows region, service and access key.
#[tokio::test]
async fn a_command_with_which_curl_signs_is_read() {
    let saved = Scratch::new("explain");
    let forbidden = "{\"message\":\"Forbidden\"}";
    for (scope, user, code, start) in [
        (
            "us-east-1:apigateway",
            "AKIAEXAMPLE:canary/Secret",
            0,
            "wrong-service: ",
        ),
        ("eu-west-1:execute-api", "$KEY:$SECRET", 0, "wrong-region: "),
        (
            "us-east-1:execute-api",
            "AKIAEXAMPLE:canary/Secret",
            1,
            "unknown: ",
        ),
    ] {
        let command = format!(
            "curl --aws-sigv4 \"aws:amz:{scope}\" --user \"{user}\" \\\n  \
             https://a1.execute-api.us-east-1.amazonaws.com/prod"
        );
        let file = saved.file("curl.txt", &command);
        let output = explain(&["--request", &file], forbidden).await;
        check(&output, code, start, "");
        assert!(!stdout(&output).contains("canary"), "{output:?}");
        if code == 1 {
            let text = stdout(&output).replace('\n', " ");
            for part in [
                "curl signs this request itself, for the service \"execute-api\" in the region \"us-east-1\".",
                "curl -v … 2>&1 | countersign explain",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
        let output = explain(&["--request", &file, "--json"], forbidden).await;
        check(&output, code, "{", "");
    }
}

#[tokio::test]
async fn json_is_one_line_for_scripts() {
    let output = explain(&["--json"], EXPIRED).await;
    check(&output, 0, "{", "");
    assert_eq!(stdout(&output).lines().count(), 1);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["cause"], "clock-slow");
    assert_eq!(json["confidence"], "certain");
    assert_eq!(json["difference"]["yours"], "20260115T120000Z");
    assert_eq!(json["difference"]["aws"], "20260115T121000Z");
    assert!(json["summary"].is_string() && json["fix"].is_string() && json["needs"].is_array());
    let output = explain(&["--json"], "it does not work").await;
    check(&output, 1, "{", "");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["cause"], "unknown");
    assert!(
        json["needs"]
            .as_array()
            .is_some_and(|needs| !needs.is_empty())
    );
}

/// Runs `explain` on a pseudoterminal, as a user does.
async fn on_a_terminal(variables: &str) -> String {
    let program = env!("CARGO_BIN_EXE_countersign");
    let mut command = Command::new("script");
    command.args([
        "-qec",
        &format!("{variables} {program} explain"),
        "/dev/null",
    ]);
    let output = run(&mut command, &format!("{EXPIRED}\n\u{4}")).await;
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn terminals_are_prompted_and_have_colours() {
    let colored = on_a_terminal("env -u NO_COLOR").await;
    assert!(
        colored.contains("Paste AWS's answer: the error text"),
        "{colored}"
    );
    assert!(colored.contains("press Enter and Ctrl-D"), "{colored}");
    assert!(
        colored.contains("\u{1b}[1;31mclock-slow\u{1b}[0m: "),
        "{colored}"
    );
    let plain = on_a_terminal("env NO_COLOR=1").await;
    assert!(plain.contains("clock-slow: "), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain}");
    // Without a terminal, neither is written.
    let output = explain(&[], EXPIRED).await;
    assert!(output.stderr.is_empty() && !stdout(&output).contains('\u{1b}'));
}
