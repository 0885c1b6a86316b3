//! The audits of npm graphql-http (GraphQL over HTTP) against the built program.

use crate::support::{World, demo_key, node, passes};

async fn check(strict: &str, mode: &[&str], least: usize) {
    let variables = [("COUNTERSIGN_ROUTE__GRAPHQL__STRICT", strict)];
    let world = World::builder().variables(&variables).daemon().await;
    let url = format!("http://{}/graphql", world.addr);
    let direct = format!("https://{}/graphql", world.emulator.addr());

    let mut command = node("audit.mjs");
    command
        .envs(demo_key())
        .env("NODE_EXTRA_CA_CERTS", world.ca_file());
    let arguments = [&[url.as_str(), &direct], mode].concat();
    passes(command, &arguments, least).await;
}

#[tokio::test]
async fn graphql_http_audits_find_no_error_and_no_warning_of_ours() {
    check("false", &[], 6).await;
}

#[tokio::test]
async fn graphql_http_audits_find_no_warning_on_a_strict_route() {
    check("true", &["--strict"], 6).await;
}
