//! A real browser, Chromium without a window: a page of an allowed origin does everything, the
//! same page of another origin and a page of a rebound name do nothing that is signed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

mod support;

use std::net::TcpListener;

use countersign::emulator::{Emulator, Options};
use support::{Daemon, Scratch, Stage, demo_key, node, passes};

#[tokio::test]
async fn only_pages_of_an_allowed_origin_reach_upstream() {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let scratch = Scratch::new("browser");
    let ca_file = scratch.file("ca.pem", emulator.ca_pem());
    let [allowed, foreign] = free_ports();
    let origin = format!("http://127.0.0.1:{allowed}");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--allow-origin",
        &origin,
        "--connect",
        &emulator.addr().to_string(),
        "--ca-file",
        &ca_file,
        &format!("https://{}/graphql", emulator.api_host()),
    ];
    let mut daemon = Daemon::start(&arguments, &demo_key());
    let addr = daemon.address().await;
    let [http, ws] = ["http", "ws"].map(|scheme| format!("{scheme}://{addr}/graphql"));
    let control = format!("http://{}", emulator.control_addr());
    let [allowed, foreign] = [allowed, foreign].map(|port| port.to_string());
    let arguments = [
        ["--http", &http],
        ["--ws", &ws],
        ["--control", &control],
        ["--allowed-port", &allowed],
        ["--foreign-port", &foreign],
    ];
    passes(node("browser.mjs"), arguments.as_flattened(), 53).await;
    assert_eq!(emulator.stats().requests.refused, 0);
}

#[tokio::test]
async fn only_pages_of_an_allowed_origin_open_a_tunnel() {
    let [allowed, foreign] = free_ports();
    let origin = format!("http://127.0.0.1:{allowed}");
    let stage = Stage::with_gateway(&[("guard.allow_origins", &origin)]).await;
    let ws = format!("ws://{}/ws", stage.addr);
    let [allowed, foreign] = [allowed, foreign].map(|port| port.to_string());
    let arguments = [
        ["--ws", &ws],
        ["--allowed-port", &allowed],
        ["--foreign-port", &foreign],
    ];
    passes(node("browser-tunnel.mjs"), arguments.as_flattened(), 4).await;
    // The third was refused by the API, the fourth here.
    assert_eq!(stage.emulator.stats().gateway.verified, 3);
    stage.drained().await;
}

/// An origin must be known to countersign before its page is served.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
