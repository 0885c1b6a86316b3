//! What the daemon's process keeps from others of the same machine, seen from outside.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may panic"
)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;
use std::time::Duration;

use countersign::emulator;
use support::{Scratch, demo_key, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Somebody who is not root, to whom everything would be open: this user, or `nobody`.
fn user() -> u32 {
    match fs::metadata("/proc/self").unwrap().uid() {
        0 => 65_534,
        user => user,
    }
}

fn by_user(program: &str) -> Command {
    let mut command = Command::new(program);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(user()).gid(user());
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What the user gets of another process's environment, which holds AWS's keys.
async fn environment(of: &Child) -> Option<String> {
    let path = format!("/proc/{}/environ", of.id().unwrap());
    let output = by_user("cat").arg(path).output();
    let output = within("cat", output).await.unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

fn core_limit(of: &Child) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", of.id().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core"));
    let words = line.unwrap().split_whitespace();
    words.skip(4).take(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_core_is_dumped_and_nobody_reads_the_memory() {
    // Where any user finds it.
    let scratch = Scratch::new("process");
    let program = scratch.0.join("countersign");
    fs::copy(env!("CARGO_BIN_EXE_countersign"), &program).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();

    let open = by_user("sleep")
        .arg("60")
        .env_clear()
        .envs(demo_key())
        .spawn()
        .unwrap();
    // It has become `sleep` when its environment is the one given.
    let shown = async {
        loop {
            match environment(&open).await {
                Some(text) if text.contains(emulator::DEMO_SECRET_ACCESS_KEY) => return,
                Some(_) | None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within("the environment of a process that hides nothing", shown).await;

    let serve = [
        "serve",
        "https://a.appsync-api.eu-west-1.amazonaws.com/graphql",
    ];
    for arguments in [&serve[..], &["demo"]] {
        let mut daemon = by_user(program)
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .env_clear()
            .envs(demo_key())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
        loop {
            let line = within("the daemon", log.next_line()).await.unwrap();
            if line.expect("it runs").contains("listening on") {
                break;
            }
        }
        assert_eq!(core_limit(&daemon), ["0", "0"], "{arguments:?}");
        assert_eq!(environment(&daemon).await, None, "{arguments:?}");
        assert_eq!(daemon.try_wait().unwrap(), None);
        daemon.kill().await.unwrap();
    }
}
