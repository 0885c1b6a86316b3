//! A running Prometheus, and promtool.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Scratch, get, within};

pub(crate) struct Prometheus {
    pub(crate) addr: SocketAddr,
    child: Child,
    _scratch: Scratch,
}

/// The interval of scrapes and of rule evaluation.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// The timeout of everything that is waited for here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(75);

/// Returns the program that `tests/run` has unpacked, or else the one in PATH.
fn tool(name: &str) -> Command {
    let unpacked = root().join("target/tools/prometheus/usr/bin").join(name);
    let program = match unpacked.is_file() {
        true => unpacked,
        false => PathBuf::from(name),
    };
    let mut command = Command::new(program);
    command.kill_on_drop(true).current_dir(root());
    command
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs promtool, which must accept `input`, and returns its output.
pub(crate) async fn promtool(arguments: &[&str], input: &str) -> String {
    let child = tool("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("no promtool: run tests/run");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within("promtool", child.wait_with_output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `targets` as the job `countersign` and evaluates `rules`.
    pub(crate) async fn start(name: &str, targets: &[(&str, SocketAddr)], rules: &str) -> Self {
        let scratch = Scratch::new(name);
        let rules = scratch.file("rules.yaml", rules);
        let interval = format!("{}ms", INTERVAL.as_millis());
        let mut config = format!(
            "global: {{ scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval} }}\n\
             rule_files: [{rules:?}]\nscrape_configs:\n- job_name: countersign\n  static_configs:\n"
        );
        for (instance, target) in targets {
            let labels = format!("{{ instance: {instance:?} }}");
            config.push_str(&format!(
                "  - {{ targets: [{:?}], labels: {labels} }}\n",
                target.to_string()
            ));
        }
        let config = scratch.file("prometheus.yaml", &config);
        let child = tool("prometheus")
            .arg(format!("--config.file={config}"))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.0.join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("no prometheus: run tests/run");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let addr = loop {
            let line = within("prometheus", lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("prometheus ended:\n{log}"));
            log.push_str(&line);
            log.push('\n');
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                break address.trim().parse().unwrap();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let prometheus = Self {
            addr,
            child,
            _scratch: scratch,
        };
        let all = targets.len() as f64;
        prometheus.reaches("count(up == 1)", all).await;
        prometheus
    }

    /// Returns the value of an expression with one series, if there is one.
    pub(crate) async fn value(&self, expression: &str) -> Option<f64> {
        let series = self.series(expression).await;
        assert!(series.len() <= 1, "{expression}: {series:?}");
        let value = series.first()?;
        value["value"][1].as_str().unwrap().parse().ok()
    }

    /// Returns the series of an expression.
    pub(crate) async fn series(&self, expression: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = get(self.addr, &path, &[]).await;
        // The storage may not be open yet.
        if answer.status == 503 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{expression}: {answer:?}");
        let result = &answer.json()["data"]["result"];
        result.as_array().unwrap().clone()
    }

    /// Waits until the one series of an expression has this value.
    pub(crate) async fn reaches(&self, expression: &str, wanted: f64) {
        let mut last = None;
        let reached = async {
            while last != Some(wanted) {
                tokio::time::sleep(INTERVAL / 4).await;
                last = self.value(expression).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("{expression} is {last:?} and not {wanted}");
        }
    }

    /// Waits until an alert of an instance fires, and returns its summary.
    pub(crate) async fn fires(&self, alert: &str, instance: &str) -> String {
        let mut alerts = Value::Null;
        let fired = async {
            loop {
                alerts = get(self.addr, "/api/v1/alerts", &[]).await.json();
                let all = alerts["data"]["alerts"].as_array().unwrap();
                let found = all.iter().find(|found| {
                    let labels = &found["labels"];
                    labels["alertname"] == alert
                        && labels["instance"] == instance
                        && found["state"] == "firing"
                });
                if let Some(found) = found {
                    let texts = found["annotations"].to_string();
                    assert!(!texts.contains("<error"), "{alert}: {texts}");
                    assert!(!texts.contains("<no value>"), "{alert}: {texts}");
                    return found["annotations"]["summary"].as_str().unwrap().to_owned();
                }
                tokio::time::sleep(INTERVAL / 4).await;
            }
        };
        match tokio::time::timeout(PATIENCE, fired).await {
            Ok(summary) => summary,
            Err(_) => panic!("{alert} of {instance} did not fire: {alerts:#}"),
        }
    }

    pub(crate) async fn end(mut self) {
        within("prometheus's end", self.child.kill()).await.unwrap();
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
