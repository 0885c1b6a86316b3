//! Other people's clients, unmodified, against the built binary and the emulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

mod support;

use serde_json::{Value, json};
use std::process::Stdio;

use support::{Daemon, Scratch, demo_key, node, passes, python, within};

use countersign::emulator::{Emulator, Options};

/// The binary in front of an emulator of this process.
struct Built {
    emulator: Emulator,
    _daemon: Daemon,
    _scratch: Scratch,
    http: String,
    ws: String,
    control: String,
}

async fn built(name: &str) -> Built {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let scratch = Scratch::new(name);
    let ca_file = scratch.file("ca.pem", emulator.ca_pem());
    let target = format!("https://{}/graphql", emulator.api_host());
    let connect = emulator.addr().to_string();
    let mut environment = demo_key();
    environment.push(("COUNTERSIGN_TIMEOUTS__INIT", "2s"));
    let mut daemon = Daemon::start(
        &[
            "--listen",
            "127.0.0.1:0",
            "--connect",
            &connect,
            "--ca-file",
            &ca_file,
            &target,
        ],
        &environment,
    );
    let addr = daemon.address().await;
    Built {
        control: format!("http://{}", emulator.control_addr()),
        http: format!("http://{addr}/graphql"),
        ws: format!("ws://{addr}/graphql"),
        emulator,
        _daemon: daemon,
        _scratch: scratch,
    }
}

#[tokio::test]
async fn npm_graphql_ws() {
    let built = built("graphql-ws").await;
    passes(node("graphql-ws.mjs"), &[&built.ws, &built.control], 22).await;
}

#[tokio::test]
async fn the_graphql_transport_ws_protocol_on_the_wire() {
    let built = built("conformance").await;
    let arguments = [
        built.ws.as_str(),
        "--control",
        &built.control,
        "--init-timeout",
        "2000",
    ];
    passes(node("ws-conformance.mjs"), &arguments, 91).await;
}

#[tokio::test]
async fn python_gql_over_http_and_websockets() {
    let built = built("gql").await;
    let arguments = [built.http.as_str(), &built.ws, &built.control];
    passes(python("gql_client.py"), &arguments, 33).await;
}

#[tokio::test]
async fn curl() {
    let built = built("curl").await;
    let json = "content-type: application/json";
    let query = json!({ "query": "query Q { rooms { id } }", "operationName": "Q" });
    let answer = curl_json(&["-H", json, "-d", &query.to_string(), &built.http]).await;
    assert_eq!(answer["data"]["rooms"][0]["id"], "lobby");

    let mutation = r#"mutation M($b: String!) { postMessage(room: "lobby", body: $b) { body } }"#;
    let mutation = json!({ "query": mutation, "variables": { "b": "é \" <&>" } });
    let answer = curl_json(&["-H", json, "-d", &mutation.to_string(), &built.http]).await;
    assert_eq!(answer["data"]["postMessage"]["body"], "é \" <&>");

    let by_get = [
        "-G",
        "--data-urlencode",
        "query={ rooms { name } }",
        &built.http,
    ];
    assert_eq!(
        curl_json(&by_get).await["data"]["rooms"][1]["name"],
        "Garden"
    );
    let stats = built.emulator.stats();
    assert_eq!((stats.requests.refused, stats.requests.mutations), (0, 1));
}

async fn curl_json(arguments: &[&str]) -> Value {
    let mut curl = tokio::process::Command::new("curl");
    let output = curl
        .args(["-sS", "--noproxy", "*", "-m", "20"])
        .args(arguments)
        .output();
    let output = within("curl", output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The emulator is honest: clients that sign by themselves get what AppSync would give them.
#[tokio::test]
async fn botocore_straight_to_the_emulator() {
    direct("honest", "honest.py", 64, |_| Vec::new()).await;
}

#[tokio::test]
async fn gql_with_its_own_iam_transport_straight_to_the_emulator() {
    direct("direct", "gql_direct.py", 4, control).await;
}

#[tokio::test]
async fn botocore_straight_to_the_emulators_events() {
    let more = |emulator: &Emulator| {
        let mut more = control(emulator);
        more.push(emulator.api_host().to_owned());
        more
    };
    direct("events", "honest_events.py", 55, more).await;
}

fn control(emulator: &Emulator) -> Vec<String> {
    vec![format!("http://{}", emulator.control_addr())]
}

async fn direct(
    name: &str,
    script: &str,
    least: usize,
    more: impl FnOnce(&Emulator) -> Vec<String>,
) {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let scratch = Scratch::new(name);
    let ca_file = scratch.file("ca.pem", emulator.ca_pem());
    let url = format!("https://{}/graphql", emulator.addr());
    let more = more(&emulator);
    let mut arguments = vec![url.as_str(), "us-east-1", &ca_file];
    arguments.extend(more.iter().map(String::as_str));
    let mut command = python(script);
    command.envs(demo_key()).stderr(Stdio::piped());
    passes(command, &arguments, least).await;
}
