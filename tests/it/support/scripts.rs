//! Scripts of `tests/clients`, in JavaScript and Python.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Returns a command that runs a script of `tests/clients` with Node.js.
pub fn node(script: &str) -> Command {
    let clients = clients();
    let modules = clients.join("node_modules");
    assert!(modules.is_dir(), "no {}: run tests/run", modules.display());
    let mut command = Command::new("node");
    command.arg(clients.join(script)).kill_on_drop(true);
    command
}

/// Returns a command that runs a script of `tests/clients` with Python.
pub fn python(script: &str) -> Command {
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients-venv/bin/python");
    let shown = interpreter.display();
    assert!(interpreter.is_file(), "no {shown}: run tests/run");
    let mut command = Command::new(interpreter);
    command.arg(clients().join(script)).kill_on_drop(true);
    command
}

/// Writes `input` to a command, and returns what it prints. It must end within `limit`.
pub async fn filter(command: &mut Command, input: &str, limit: Duration) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(limit, child.wait_with_output());
    let output = output.await.expect("the command did not end").unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// The result of a script of checks.
pub struct Checks {
    pub passed: usize,
    /// Checks that failed and that the script lists as known differences.
    pub differing: usize,
}

/// Runs a script of checks. It must run at least `least` checks, and all must pass.
pub async fn passes(mut command: Command, arguments: &[&str], least: usize) -> Checks {
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(Duration::from_secs(300), output);
    let output = output.await.expect("the script did not end").unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{errors}");
    let count = |verdict| {
        let lines = shown.lines();
        lines.filter(|line| line.starts_with(verdict)).count()
    };
    let passed = count("ok - ");
    assert!(
        passed >= least,
        "only {passed} checks ran:\n{shown}\n{errors}"
    );
    Checks {
        passed,
        differing: count("differs - "),
    }
}
