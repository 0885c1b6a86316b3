//! The audits of npm graphql-http (GraphQL over HTTP) through the built binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may panic"
)]

mod support;

use countersign::emulator::{Emulator, Options};
use support::{Daemon, Scratch, demo_key, node, passes};

async fn check(name: &str, strict: &str, mode: &[&str], least: usize) {
    let emulator = Emulator::start(Options::default()).await.unwrap();
    let scratch = Scratch::new(name);
    let ca_file = scratch.file("ca.pem", emulator.ca_pem());
    let target = format!("https://{}/graphql", emulator.api_host());
    let connect = emulator.addr().to_string();
    let mut environment = demo_key();
    environment.push(("COUNTERSIGN_ROUTE__GRAPHQL__STRICT", strict));
    let listen = ["--listen", "127.0.0.1:0"];
    let upstream = ["--connect", &connect, "--ca-file", &ca_file, &target];
    let mut daemon = Daemon::start(&[&listen[..], &upstream].concat(), &environment);
    let url = format!("http://{}/graphql", daemon.address().await);
    let direct = format!("https://{}/graphql", emulator.addr());

    let mut command = node("audit.mjs");
    command
        .envs(demo_key())
        .env("NODE_EXTRA_CA_CERTS", &ca_file);
    let arguments = [&[url.as_str(), &direct], mode].concat();
    passes(command, &arguments, least).await;
}

#[tokio::test]
async fn no_audit_is_an_error_and_no_warning_is_ours() {
    check("audit", "false", &[], 6).await;
}

#[tokio::test]
async fn a_strict_route_gives_no_warning() {
    check("audit-strict", "true", &["--strict"], 6).await;
}
