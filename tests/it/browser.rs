//! Pages in a real browser, Chromium, against countersign: one origin is allowed, and others try all
//! that a page can do. `tests/clients/browser.mjs` checks what each page sees, and these tests check
//! what the emulator saw.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use countersign_emulator::Stats;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::support::{GATEWAY, Scratch, World, node, passes, within};

/// The timeout for all pages of one mode.
const RUN: Duration = Duration::from_secs(300);

/// Runs the pages of a mode, all of at least `least` checks, and returns what the emulator saw.
async fn run(mode: &str, least: usize) -> Stats {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    assert!(
        Path::new(&chromium).is_file(),
        "no {chromium}: run tests/run"
    );
    // The browser's profile and whatever else it writes.
    let scratch = Scratch::new(&format!("browser-{mode}"));
    let mut script = node("browser.mjs")
        .arg(mode)
        .env("CHROMIUM", &chromium)
        .env("TMPDIR", &scratch.0)
        .env("HOME", &scratch.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(script.stdout.take().unwrap());
    let mut line = String::new();
    within("the origins", stdout.read_line(&mut line))
        .await
        .unwrap();
    let origins: Value = serde_json::from_str(&line).unwrap();
    let allowed = origins["allowed"].as_str().unwrap();

    let settings = [
        ("guard.allow_origins", allowed),
        ("route.event.target", "https://$API/event"),
    ];
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&settings)
        .in_process()
        .await;
    let control = format!("http://{}", world.emulator.control_addr());
    let told = json!({ "host": world.addr.to_string(), "control": control });
    let mut stdin = script.stdin.take().unwrap();
    stdin
        .write_all(format!("{told}\n").as_bytes())
        .await
        .unwrap();

    let mut shown = String::new();
    let ended = async {
        stdout.read_to_string(&mut shown).await.unwrap();
        script.wait().await.unwrap()
    };
    let ended = tokio::time::timeout(RUN, ended).await;
    println!("{shown}");
    let status = ended.unwrap_or_else(|_| panic!("{mode}: not within {RUN:?}"));
    assert!(status.success(), "{mode}: {status}");
    let passed = shown.lines().filter(|line| line.starts_with("ok - "));
    let passed = passed.count();
    assert!(passed >= least, "{mode}: only {passed} checks ran");
    let stats = world.emulator.stats();
    world.drained().await;
    stats
}

#[tokio::test]
async fn a_page_of_the_allowed_origin_does_everything() {
    let stats = run("allowed", 53).await;
    assert_eq!(stats.requests.refused, 0, "{:?}", stats.last_refusal);
    assert_eq!(stats.mutations["lobby/a page"], 1);
}

#[tokio::test]
async fn pages_of_other_origins_do_not_reach_upstream() {
    assert_eq!(run("foreign", 98).await, Stats::default());
}

#[tokio::test]
async fn a_page_of_a_rebound_name_does_not_reach_upstream() {
    assert_eq!(run("rebound", 46).await, Stats::default());
}

#[tokio::test]
async fn a_page_of_a_public_address_needs_a_permission_and_an_origin() {
    let stats = run("public", 15).await;
    assert_eq!(stats.requests.refused, 0, "{:?}", stats.last_refusal);
    assert_eq!(stats.mutations["lobby/a page"], 1);
}

#[tokio::test]
async fn nothing_that_a_foreign_page_or_link_causes_is_signed() {
    assert_eq!(run("vectors", 400).await, Stats::default());
}

#[tokio::test]
async fn nothing_that_a_public_page_or_link_causes_is_signed() {
    assert_eq!(run("vectors-public", 400).await, Stats::default());
}

#[tokio::test]
async fn only_pages_of_an_allowed_origin_open_a_tunnel() {
    let [allowed, foreign] = free_ports();
    let origin = format!("http://127.0.0.1:{allowed}");
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[("guard.allow_origins", &origin)])
        .in_process()
        .await;
    let ws = format!("ws://{}/ws", world.addr);
    let [allowed, foreign] = [allowed, foreign].map(|port| port.to_string());
    let arguments = [
        ["--ws", &ws],
        ["--allowed-port", &allowed],
        ["--foreign-port", &foreign],
    ];
    passes(node("browser-tunnel.mjs"), arguments.as_flattened(), 4).await;
    // The API rejected the third request, and countersign the fourth.
    assert_eq!(world.emulator.stats().gateway.verified, 3);
    world.drained().await;
}

/// An origin must be known to countersign before its page is served.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
