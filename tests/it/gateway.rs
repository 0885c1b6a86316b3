//! The emulator's API Gateway accepts what other signers sign, and rejects altered requests.

use std::process::Stdio;

use countersign_emulator::{
    CustomHost, DEMO_ACCESS_KEY_ID, DEMO_SECRET_ACCESS_KEY, DEMO_SESSION_TOKEN, Options,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{GATEWAY, JSON, World, demo_key, get, passes, post, python, within};

#[tokio::test]
async fn the_emulators_gateway_accepts_botocore() {
    let custom = CustomHost {
        host: "api.example.com".to_owned(),
        service: "execute-api".to_owned(),
        region: "eu-west-1".to_owned(),
    };
    let options = Options {
        custom_hosts: vec![custom],
        ..Options::default()
    };
    let world = World::builder().emulator(options).start().await;
    let emulator = &world.emulator;
    let address = emulator.addr().to_string();
    let (ca_file, control) = (world.ca_file(), world.control());
    let arguments = [
        &address,
        "us-east-1",
        &ca_file,
        &control,
        emulator.rest_host(),
        emulator.http_host(),
        emulator.websocket_host(),
        emulator.analyzer_host(),
    ];
    let mut command = python("honest_gateway.py");
    command.envs(demo_key()).stderr(Stdio::piped());
    passes(command, &arguments, 216).await;
}

/// Sends a request with curl's own signature to the emulator over HTTP/2, where another library parses
/// the target. Returns status and body.
async fn curl(world: &World, secret: &str, target: &str, more: &[&str]) -> (u16, String) {
    let host = world.emulator.rest_host();
    let output = Command::new("curl")
        .args(["-sS", "-g", "--http2", "--path-as-is", "--noproxy", "*"])
        .args(["--aws-sigv4", "aws:amz:us-east-1:execute-api"])
        .args(["--user", &format!("{DEMO_ACCESS_KEY_ID}:{secret}")])
        .args(["-H", &format!("x-amz-security-token: {DEMO_SESSION_TOKEN}")])
        .args(["--cacert", &world.ca_file()])
        .args([
            "--connect-to",
            &format!("{host}:443:{}", world.emulator.addr()),
        ])
        .args(["-w", "\n%{http_version} %{http_code}"])
        .args(more)
        .arg(format!("https://{host}{target}"))
        .kill_on_drop(true)
        .output();
    let output = within("curl", output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let (body, status) = shown.rsplit_once('\n').unwrap();
    let status = status.strip_prefix("2 ").unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_emulators_gateway_accepts_curl_over_http2() {
    let world = World::new().await;
    for target in ["/prod/items", "/prod/a|b/{c}//./d", "/prod/x?a=1&b=2"] {
        let (status, body) = curl(&world, DEMO_SECRET_ACCESS_KEY, target, &[]).await;
        let is_plain = !target.contains('|');
        // curl's canonical path equals AWS's only for plain paths. The target is unchanged in any case.
        assert_eq!(status, if is_plain { 200 } else { 403 }, "{target}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        if is_plain {
            assert_eq!(answer["target"], target);
            assert_eq!(answer["version"], "HTTP/2.0");
            assert_eq!(answer["headers"][0][0], "host");
        } else {
            let message = answer["message"].as_str().unwrap();
            assert!(
                message.contains("'GET\n/prod/a%7Cb/%7Bc%7D//./d\n"),
                "{message}"
            );
        }
    }
    let body = ["-d", "{}", "-H", "content-type: application/json"];
    let (status, answer) = curl(&world, DEMO_SECRET_ACCESS_KEY, "/prod/sink", &body).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"length\":2"), "{answer}");
    let (status, answer) = curl(&world, DEMO_SECRET_ACCESS_KEY, "/prod/sse", &[]).await;
    assert_eq!(
        (status, answer.matches("data: ").count()),
        (200, 3),
        "{answer}"
    );
    let (status, answer) = curl(&world, "wrong", "/prod/items", &[]).await;
    assert_eq!(status, 403, "{answer}");
    let refused = world.emulator.stats().gateway.refused;
    assert_eq!(refused["mismatch"], 2, "{refused:?}");
}

#[tokio::test]
async fn the_emulators_gateway_accepts_countersign() {
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[("route.dev.target", "https://$REST/dev")])
        .in_process()
        .await;
    for (path, target) in [
        ("/rest/items/7?b=2&a=1", "/prod/items/7?b=2&a=1"),
        ("/dev/items/7", "/dev/items/7"),
        ("/http/items/7?b=2&a=1", "/items/7?b=2&a=1"),
    ] {
        let answer = get(world.addr, path, &[("x-team", "red")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let echo = answer.json();
        assert_eq!(echo["target"], target);
        let headers = echo["headers"].as_array().unwrap();
        let team = serde_json::json!(["x-team", "red"]);
        assert!(headers.contains(&team), "{headers:?}");
    }
    let answer = post(world.addr, "/rest/sink", &[JSON], "{}").await;
    assert_eq!(answer.json()["length"], 2, "{answer:?}");
    let stats = world
        .saw("four requests", |stats| stats.gateway.verified == 4)
        .await;
    assert_eq!(stats.gateway.refused, Default::default());
    world.drained().await;
}

#[tokio::test]
async fn a_client_that_disconnects_ends_the_request_upstream() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let request = format!(
        "GET /rest/stream?chunks=100000&every=5 HTTP/1.1\r\nhost: {}\r\n\r\n",
        world.addr
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("chunk 2\n") {
        let more = within("a chunk", stream.read_buf(&mut read)).await.unwrap();
        assert!(more > 0, "{}", String::from_utf8_lossy(&read));
    }
    assert_eq!(world.emulator.stats().gateway.cut, 0);
    drop(stream);
    world
        .saw("the client's end", |stats| stats.gateway.cut == 1)
        .await;
    world.drained().await;
}
