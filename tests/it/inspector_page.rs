//! The inspector's pages and GraphiQL in a real browser: `tests/clients/inspector.mjs` does what a developer does,
//! and `tests/clients/inspector-views.mjs` looks at every view.

use std::collections::HashMap;
use std::path::Path;

use crate::support::{Scratch, World, demo_key, node, passes};

#[tokio::test]
async fn page_shows_what_happens_and_repeats_it_and_graphiql_runs_operations() {
    run("inspector.mjs", &[], 25).await;
}

#[tokio::test]
async fn every_view_is_accessible_in_light_colours_and_fits_a_wide_window() {
    run("inspector-views.mjs", &["--looks", "light-1280"], 10).await;
}

#[tokio::test]
async fn every_view_is_accessible_in_dark_colours_and_fits_a_narrow_window() {
    run("inspector-views.mjs", &["--looks", "dark-400"], 10).await;
}

/// Runs a script of at least `least` checks.
async fn run(name: &str, more: &[&str], least: usize) {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    assert!(
        Path::new(&chromium).is_file(),
        "no {chromium}: run tests/run"
    );
    // The right key id and session token, and another secret.
    let key: HashMap<_, _> = demo_key().into_iter().collect();
    let profile = format!(
        "[wrong]\naws_access_key_id = {}\naws_secret_access_key = other\naws_session_token = {}\n",
        key["AWS_ACCESS_KEY_ID"], key["AWS_SESSION_TOKEN"]
    );
    let world = World::builder()
        .file(".aws/credentials", &profile)
        .start()
        .await;
    let target = "https://$API/graphql";
    let routes = world.route("graphql", target, "")
        + &world.route("wrong", target, "path = \"/wrong\"\nprofile = \"wrong\"")
        + &world.route("rest", "https://$REST/prod", "path = \"/rest\"")
        + "inspect.enabled = true\n";
    let mut daemon = world.serve(&routes, &[("COUNTERSIGN_ADMIN", "127.0.0.1:0")]);
    let admin = format!("http://{}", daemon.admin().await);
    let base = format!("http://{}", daemon.address().await);

    // The browser's profile and whatever else it writes.
    let scratch = Scratch::new(&[&[name], more].concat().join("-"));
    let mut script = node(name);
    script
        .env("CHROMIUM", &chromium)
        .env("TMPDIR", &scratch.0)
        .env("HOME", &scratch.0);
    let arguments = [&["--base", &base, "--admin", &admin], more].concat();
    passes(script, &arguments, least).await;
}
