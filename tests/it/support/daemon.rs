//! The built program as a process of its own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;

use countersign_emulator as emulator;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::within;

/// The built program.
pub struct Daemon {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
    pub log: String,
}

impl Daemon {
    /// Starts the program with this environment and no other variable.
    pub fn start(arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Self {
        Self::spawn(&mut command(arguments, environment))
    }

    /// Starts the program with a command that the test has built.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            log: String::new(),
        }
    }

    /// Reads the log up to a line that contains `text`, and returns that line.
    pub async fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = within(text, self.stderr.read_line(&mut line))
                .await
                .unwrap();
            self.log.push_str(&line);
            if line.contains(text) {
                return line;
            }
            assert!(read > 0, "the daemon ended without {text:?}:\n{}", self.log);
        }
    }

    /// Reads the log up to a line that contains `text`, unless one has been read before.
    pub async fn logged(&mut self, text: &str) {
        if !self.log.contains(text) {
            self.line(text).await;
        }
    }

    /// Returns the address that the program listens on, in either log format.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.line("listening on http://127.").await;
        let (_, address) = line.trim().rsplit_once("http://").unwrap();
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        address[..end].parse().unwrap()
    }

    /// Returns the address of the admin listener. Call it before [`Self::address`].
    pub async fn admin(&mut self) -> SocketAddr {
        let line = self.line("health and metrics on http://").await;
        let (_, address) = line.trim().rsplit_once("http://").unwrap();
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        address[..end].parse().unwrap()
    }

    pub fn pid(&self) -> String {
        self.child.id().unwrap().to_string()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Reads the log to its end and returns the exit code.
    pub async fn exited(&mut self) -> i32 {
        let read = self.stderr.read_to_string(&mut self.log);
        within("the daemon's end", read).await.unwrap();
        let status = within("the daemon's end", self.child.wait()).await.unwrap();
        status.code().unwrap_or(-1)
    }
}

pub fn command(arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(arguments)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // Tests run in parallel, so the default port would be taken.
        .env("COUNTERSIGN_ADMIN", "off")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        // A test that fails while it waits for the program ends it.
        .kill_on_drop(true);
    command
}

/// Returns the variables with the emulator's key.
pub fn demo_key() -> Vec<(&'static str, &'static str)> {
    vec![
        ("AWS_ACCESS_KEY_ID", emulator::DEMO_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", emulator::DEMO_SECRET_ACCESS_KEY),
        ("AWS_SESSION_TOKEN", emulator::DEMO_SESSION_TOKEN),
    ]
}
