//! `countersign check` against an emulator that works, and against faults: what it says of each.
//!
//! `cargo nextest run --test it --no-capture -E 'test(/^check::/)'` prints the table of faults.

mod credentials;
mod network;
mod refusals;
mod steps;

use std::fmt::Write as _;

use countersign_emulator::Key;
use serde_json::Value;

use crate::fakes::{Endpoint, Heard};
use crate::support::{World, command, within};

/// A run of the command that has ended.
struct Ended {
    code: i32,
    /// One report for each step.
    reports: Vec<Value>,
    stdout: String,
    stderr: String,
}

/// What the report of a step must be.
struct Expected<'a> {
    step: &'a str,
    cause: &'a str,
    /// Parts of the line and of the fix.
    parts: &'a [&'a str],
}

/// A fault, and the step that finds it. Later steps may fail, too.
fn expect<'a>(step: &'a str, cause: &'a str, parts: &'a [&'a str]) -> Expected<'a> {
    Expected { step, cause, parts }
}

/// An emulator, and a fake STS that knows every key.
struct Site {
    world: World,
    sts: Endpoint,
}

/// The pages that list the causes.
const DOCUMENTED: &str = concat!(
    include_str!("../../docs/reference/check.md"),
    include_str!("../../docs/reference/causes.md"),
    include_str!("../../docs/reference/errors.md")
);
const ARN: &str = "arn:aws:sts::123456789012:assumed-role/dev/me";

fn caller(request: &Heard) -> (u16, String) {
    assert_eq!(request.form("Action").unwrap(), "GetCallerIdentity");
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Arn>{ARN}</Arn><UserId>AROA:me</UserId>\
         <Account>123456789012</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
    (200, body)
}

impl Site {
    async fn start() -> Self {
        Self {
            world: World::new().await,
            sts: Endpoint::start(caller).await,
        }
    }

    /// Runs `countersign check --json` with these arguments, and with the emulator's key unless the
    /// environment has another.
    async fn run(&self, arguments: &[String], environment: &[(&str, &str)]) -> Ended {
        let home = self.world.home.0.display().to_string();
        let key = Key::demo();
        let token = key.session_token.unwrap();
        let sts = self.sts.url();
        let own = [
            ("HOME", home.as_str()),
            ("PATH", "/usr/bin:/bin"),
            ("AWS_ACCESS_KEY_ID", &key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
            ("AWS_SESSION_TOKEN", &token),
            ("AWS_ENDPOINT_URL_STS", &sts),
        ];
        let all = ["check", "--json"].map(str::to_owned);
        let all = [&all, arguments].concat();
        let mut command = command(&all, &[&own, environment].concat());
        // An empty value removes the variable.
        for (name, _) in environment.iter().filter(|(_, value)| value.is_empty()) {
            command.env_remove(name);
        }
        let output = within("the check", command.kill_on_drop(true).output());
        let output = output.await.unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let reports = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        Ended {
            code: output.status.code().unwrap_or(-1),
            reports: reports.collect(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            stdout,
        }
    }

    /// Checks the emulator's GraphQL API with more arguments.
    async fn graphql(&self, more: &[&str], environment: &[(&str, &str)]) -> Ended {
        self.run(&self.world.arguments(more), environment).await
    }

    /// Checks another target of the emulator.
    async fn target(&self, target: &str, more: &[&str]) -> Ended {
        let address = self.world.emulator.addr();
        let arguments = self.world.arguments_to(target, address, more);
        self.run(&arguments, &[]).await
    }

    /// No check changes anything.
    fn end(self) {
        let requests = self.world.emulator.stats().requests;
        assert_eq!(requests.mutations, 0);
    }
}

impl Ended {
    /// Returns the report of a step.
    fn step(&self, name: &str) -> &Value {
        let found = self.reports.iter().find(|report| report["step"] == name);
        found.unwrap_or_else(|| panic!("no step {name}:\n{}\n{}", self.stdout, self.stderr))
    }

    /// Checks that the fault is found, and adds it to the table.
    #[track_caller]
    fn check(&self, fault: &str, code: i32, expected: &Expected<'_>) {
        let Expected { step, cause, parts } = expected;
        let report = self.step(step);
        let mut row = format!("{fault}\n");
        for report in &self.reports {
            let mark = match report["outcome"].as_str() {
                Some("failed") => '✗',
                Some("skipped") => '-',
                _ => continue,
            };
            let text = |member: &str| report[member].as_str().unwrap_or_default();
            let _ = writeln!(
                row,
                "  {mark} {} [{}] {}",
                text("step"),
                text("cause"),
                text("detail")
            );
            for line in text("fix").lines() {
                let _ = writeln!(row, "      {line}");
            }
        }
        println!("{row}");
        assert_eq!(self.code, code, "{row}\n{}", self.stderr);
        assert_eq!(report["outcome"], "failed", "{row}");
        let detail = report["detail"].as_str().unwrap_or_default();
        assert!(!detail.contains('\n'), "{row}");
        assert_eq!(report["cause"], *cause, "{row}");
        let code = cause.to_ascii_uppercase().replace('-', "_");
        let names = [
            format!("| `{cause}` |"),
            format!("[`{cause}`]"),
            format!("| `{code}` |"),
        ];
        let listed = names.iter().any(|name| DOCUMENTED.contains(name));
        assert!(listed, "docs/reference/check.md does not list {cause}");
        let shown = format!("{} {}", report["detail"], report["fix"]).replace("\\\"", "\"");
        for part in *parts {
            assert!(shown.contains(part), "no {part:?} in {row}");
        }
    }
}
