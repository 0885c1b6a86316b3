//! Other people's clients, unmodified, against the built program and the emulator.

use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::{Checks, Daemon, Running, World, demo_key, node, passes, python, within};

/// A daemon with an emulator in this process, and their URLs.
struct Built {
    world: Running<Daemon>,
    http: String,
    ws: String,
    events: String,
    control: String,
}

/// The reference servers of the protocols, in Node.
struct Reference {
    _child: Child,
    ws: String,
    sse: String,
    http: String,
    /// Reports live subscriptions as the emulator does, and has no switches.
    control: String,
}

async fn built() -> Built {
    let world = World::builder().routes(&["event"]).variables(&[
        ("COUNTERSIGN_TIMEOUTS__INIT", "2s"),
        ("COUNTERSIGN_TIMEOUTS__PING", "1s"),
        ("COUNTERSIGN_POOL__SPREAD", "200ms"),
    ]);
    let world = world.daemon().await;
    Built {
        control: world.control(),
        http: format!("http://{}/graphql", world.addr),
        ws: format!("ws://{}/graphql", world.addr),
        events: format!("http://{}/event", world.addr),
        world,
    }
}

async fn reference() -> Reference {
    let mut command = node("reference-server.mjs");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    within("the reference servers", stdout.read_line(&mut line))
        .await
        .unwrap();
    let urls: Vec<&str> = line.split_whitespace().collect();
    let [ws, sse, http, control] = urls[..] else {
        panic!("the reference servers do not tell their URLs: {line}");
    };
    Reference {
        ws: ws.to_owned(),
        sse: sse.to_owned(),
        http: http.to_owned(),
        control: control.to_owned(),
        _child: child,
    }
}

/// The known results of a suite against a reference server. The suite lists the differences and reasons.
struct Control {
    name: &'static str,
    passed: usize,
    differing: usize,
    /// Checks that need faults of an upstream, which a reference server does not have.
    unasked: usize,
}

/// Runs a suite against the program.
async fn ours(protocol: &str, script: &str, arguments: &[&str], least: usize) -> Checks {
    let ours = passes(node(script), arguments, least).await;
    let passed = ours.passed;
    assert_eq!(ours.differing, 0, "nothing may differ of the binary");
    println!("{protocol}: countersign {passed}/{passed}");
    ours
}

/// Runs a suite against the program and against the reference server, which must differ exactly as the
/// suite lists: a check that the reference cannot pass proves nothing.
async fn both(protocol: &str, script: &str, arguments: [&[&str]; 2], least: usize, known: Control) {
    let ours = ours(protocol, script, arguments[0], least).await;
    let theirs = [arguments[1], &["--reference"]].concat();
    let theirs = passes(node(script), &theirs, known.passed).await;
    let asked = theirs.passed + theirs.differing;
    let unasked = ours.passed - asked;
    println!(
        "{protocol}: {} {}/{asked}, {} known to differ, {unasked} not asked",
        known.name, theirs.passed, theirs.differing
    );
    assert_eq!(
        (theirs.differing, unasked),
        (known.differing, known.unasked)
    );
}

#[tokio::test]
async fn npm_graphql_ws_works() {
    let built = built().await;
    passes(node("graphql-ws.mjs"), &[&built.ws, &built.control], 22).await;
}

#[tokio::test]
async fn graphql_transport_ws_conforms_on_the_wire() {
    let (built, reference) = (built().await, reference().await);
    let ours = [&built.ws, "--control", &built.control];
    let theirs = [&reference.ws, "--control", &reference.control];
    let init = ["--init-timeout", "2000"];
    let arguments = [
        &[&ours, &init[..]].concat()[..],
        &[&theirs, &init[..]].concat(),
    ];
    let known = Control {
        name: "graphql-ws",
        passed: 85,
        differing: 6,
        unasked: 0,
    };
    both(
        "graphql-transport-ws",
        "ws-conformance.mjs",
        arguments,
        91,
        known,
    )
    .await;
}

#[tokio::test]
async fn legacy_graphql_ws_conforms_on_the_wire() {
    let (built, reference) = (built().await, reference().await);
    let ours = [built.ws.as_str(), "--control", &built.control];
    let theirs = [reference.ws.as_str(), "--control", &reference.control];
    let known = Control {
        name: "subscriptions-transport-ws",
        passed: 62,
        differing: 4,
        unasked: 19,
    };
    both(
        "legacy graphql-ws",
        "legacy-conformance.mjs",
        [&ours, &theirs],
        85,
        known,
    )
    .await;
}

#[tokio::test]
async fn appsyncs_graphql_ws_conforms_on_the_wire() {
    let built = built().await;
    let arguments = [built.ws.as_str(), "--control", &built.control];
    ours(
        "AppSync's own graphql-ws",
        "native-conformance.mjs",
        &arguments,
        83,
    )
    .await;
}

#[tokio::test]
async fn graphql_over_sse_conforms_on_the_wire() {
    let (built, reference) = (built().await, reference().await);
    let pid = built.world.countersign.pid();
    let ours = [
        built.http.as_str(),
        "--control",
        &built.control,
        "--pid",
        &pid,
    ];
    let theirs = [
        reference.sse.as_str(),
        "--control",
        &reference.control,
        "--chat",
        &reference.http,
    ];
    let known = Control {
        name: "graphql-sse",
        passed: 50,
        differing: 10,
        unasked: 13,
    };
    both(
        "GraphQL over SSE",
        "sse-conformance.mjs",
        [&ours, &theirs],
        73,
        known,
    )
    .await;
}

#[tokio::test]
async fn multipart_subscriptions_conform_on_the_wire() {
    let built = built().await;
    let pid = built.world.countersign.pid();
    let arguments = [
        built.http.as_str(),
        "--control",
        &built.control,
        "--pid",
        &pid,
    ];
    ours("multipart", "multipart-conformance.mjs", &arguments, 87).await;
}

#[tokio::test]
async fn appsync_events_conform_on_the_wire() {
    let built = built().await;
    let arguments = [built.events.as_str(), "--control", &built.control];
    ours("AppSync Events", "events-conformance.mjs", &arguments, 91).await;
}

#[tokio::test]
async fn graphql_over_http_conforms_on_the_wire() {
    let built = built().await;
    let arguments = [built.http.as_str(), "--control", &built.control];
    ours("GraphQL over HTTP", "http-conformance.mjs", &arguments, 79).await;
}

#[tokio::test]
async fn python_gql_works_over_http_and_websockets() {
    let built = built().await;
    let arguments = [built.http.as_str(), &built.ws, &built.control];
    passes(python("gql_client.py"), &arguments, 33).await;
}

#[tokio::test]
async fn curl_queries_and_mutates() {
    let built = built().await;
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
    let stats = built.world.emulator.stats();
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

/// Clients that sign requests themselves get the responses that AppSync would give.
#[tokio::test]
async fn the_emulator_accepts_botocore() {
    direct("honest.py", 64, |_| Vec::new()).await;
}

#[tokio::test]
async fn the_emulator_accepts_gqls_own_iam_transport() {
    direct("gql_direct.py", 4, control).await;
}

#[tokio::test]
async fn the_emulators_events_api_accepts_botocore() {
    let more = |world: &World| vec![world.control(), world.emulator.api_host().to_owned()];
    direct("honest_events.py", 55, more).await;
}

fn control(world: &World) -> Vec<String> {
    vec![world.control()]
}

async fn direct(script: &str, least: usize, more: impl FnOnce(&World) -> Vec<String>) {
    let world = World::new().await;
    let ca_file = world.ca_file();
    let url = format!("https://{}/graphql", world.emulator.addr());
    let more = more(&world);
    let mut arguments = vec![url.as_str(), "us-east-1", &ca_file];
    arguments.extend(more.iter().map(String::as_str));
    let mut command = python(script);
    command.envs(demo_key()).stderr(Stdio::piped());
    passes(command, &arguments, least).await;
}
