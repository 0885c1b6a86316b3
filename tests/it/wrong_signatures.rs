//! Wrong signatures: requests that botocore signed, with one mistake each, what the emulator
//! answers, and the diagnosis.
//!
//! The mistakes, and the right diagnosis of each, are in tests/clients/wrong_signatures.py. It shares
//! no code with the diagnosis or with the emulator.

mod command;
mod words;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use countersign::diagnose::{
    Answer, Cause, Confidence, Credentials, Diagnosis, Evidence, Need, Request, diagnose,
};
use countersign_emulator::{Key, Options};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{World, python};

/// A mistake, and what a developer has at hand after it.
#[derive(Debug, Deserialize)]
struct Case {
    cause: String,
    kind: String,
    change: String,
    /// The right verdicts if everything is known; `unknown` if even that does not decide.
    full: Vec<String>,
    request: String,
    /// Absent if nothing was signed.
    canonical_request: Option<String>,
    string_to_sign: Option<String>,
    credentials: CaseCredentials,
    answer: String,
    at: String,
}

/// The credentials that the developer means to use.
#[derive(Debug, Deserialize)]
struct CaseCredentials {
    access_key: String,
    secret_key: String,
    token: Option<String>,
}

/// Keys from AWS's documentation: one without and one with a session token.
fn keys() -> Vec<Key> {
    let key = |id: &str, secret: &str, token: Option<&str>| Key {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: token.map(str::to_owned),
    };
    vec![
        key(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        ),
        key(
            "ASIAIOSFODNN7EXAMPLE",
            "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY",
            Some("AQoDYXdzEXAMPLETOKEN=="),
        ),
    ]
}

async fn cases() -> Vec<Case> {
    let options = Options {
        keys: keys(),
        ..Options::default()
    };
    let world = World::builder().emulator(options).start().await;
    let emulator = &world.emulator;
    let mut command = python("wrong_signatures.py");
    command
        .args([&emulator.addr().to_string(), "us-east-1", &world.ca_file()])
        .args([&world.control(), emulator.api_host()])
        .args([emulator.realtime_host(), emulator.rest_host()])
        .args([emulator.http_host(), emulator.websocket_host()])
        .stdin(Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(60), command.output());
    let output = output.await.expect("the script did not end").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

// === impl Case ===

impl Case {
    /// Returns the message of the answer.
    fn message(&self) -> String {
        let body = self.answer().body;
        let json: Value = serde_json::from_str(&body).unwrap();
        let error = ["/message", "/errors/0/message", "/payload/errors/0/message"];
        let message = error.iter().find_map(|path| json.pointer(path)?.as_str());
        message.unwrap_or_default().to_owned()
    }

    fn answer(&self) -> Answer {
        let Some((first, headers, body)) = http(&self.answer) else {
            return Answer {
                body: self.answer.clone(),
                ..Answer::default()
            };
        };
        Answer {
            status: first.split(' ').nth(1).unwrap().parse().ok(),
            headers,
            body: body.to_owned(),
        }
    }

    fn request(&self) -> Request {
        let Some((first, headers, body)) = http(&self.request) else {
            return Request::message(&self.request);
        };
        let mut words = first.split(' ').map(str::to_owned);
        Request {
            method: words.next().unwrap(),
            target: words.next().unwrap(),
            headers,
            body: Some(body.as_bytes().to_vec()),
        }
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            access_key_id: self.credentials.access_key.clone(),
            secret_access_key: self.credentials.secret_key.clone(),
            session_token: self.credentials.token.clone(),
        }
    }

    /// Returns all that is known but the credentials.
    fn evidence(&self) -> Evidence {
        Evidence {
            answer: self.answer(),
            request: Some(self.request()),
            canonical_request: self.canonical_request.clone(),
            string_to_sign: self.string_to_sign.clone(),
            answered_at: Some(humantime::parse_rfc3339(&self.at).unwrap()),
            ..Evidence::default()
        }
    }

    /// Returns whether only the secret access key can decide. Without it, a key that was derived wrongly
    /// leaves the evidence of a wrong secret.
    fn needs_secret(&self) -> bool {
        self.cause.starts_with("signing-key-")
    }

    /// Judges a diagnosis of all evidence, or of some of it.
    fn verdict(&self, diagnosis: &Diagnosis) -> Verdict {
        let name = diagnosis.cause_name();
        if self.full.iter().any(|right| right == name) {
            Verdict::Right
        } else if name == "unknown" {
            Verdict::Unknown
        } else {
            Verdict::Wrong
        }
    }
}

/// The first line, the headers and the body of a request or a response.
type Parts<'a> = (&'a str, Vec<(String, String)>, &'a str);

/// Returns the parts of HTTP; `None` for the JSON of a message.
fn http(text: &str) -> Option<Parts<'_>> {
    if text.starts_with('{') {
        return None;
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    Some((first, headers.collect(), body))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Unknown,
    Wrong,
}

/// How many diagnoses had each verdict.
#[derive(Clone, Copy, Default)]
struct Tally {
    right: usize,
    unknown: usize,
    wrong: usize,
}

/// A row of the table: the verdicts with all evidence, without the credentials, with the answer alone.
#[derive(Clone, Copy, Default)]
struct Row([Tally; 3]);

// === impl Tally ===

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Wrong => self.wrong += 1,
        }
    }
}

// === impl Row ===

impl Row {
    fn cells(&self) -> String {
        let cells = self.0.iter().map(|tally| {
            let Tally {
                right,
                unknown,
                wrong,
            } = tally;
            format!("| {right:>5} {unknown:>7} {wrong:>5} ")
        });
        cells.collect()
    }
}

/// With everything that is known, the diagnosis is right. With the answer alone, it is right, or it is
/// unknown.
#[tokio::test]
async fn every_mistake_is_diagnosed() {
    let cases = cases().await;
    words::check(&cases);
    command::check(&cases).await;
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let evidence = case.evidence();
        let all = Evidence {
            credentials: Some(case.credentials()),
            ..evidence.clone()
        };
        let alone = Evidence {
            answer: evidence.answer.clone(),
            ..Evidence::default()
        };
        let row = rows.entry(&case.cause).or_default();
        for (at, (evidence, name)) in [
            (&all, "all evidence"),
            (&evidence, "no credentials"),
            (&alone, "the answer alone"),
        ]
        .into_iter()
        .enumerate()
        {
            let diagnosis = diagnose(evidence);
            // With the answer alone, the right verdict may be unknown, but it finds nothing.
            let finds_nothing = at == 2 && diagnosis.cause.is_none();
            let verdict = if finds_nothing {
                Verdict::Unknown
            } else {
                case.verdict(&diagnosis)
            };
            row.0[at].count(verdict);
            let is_allowed = match verdict {
                Verdict::Right => true,
                Verdict::Unknown => at > 0,
                Verdict::Wrong => {
                    at == 1
                        && case.needs_secret()
                        && diagnosis.cause == Some(Cause::WrongSecret)
                        && diagnosis.confidence == Confidence::Possible
                        && diagnosis.needs == [Need::Credentials]
                }
            };
            if !is_allowed {
                let Case {
                    cause,
                    kind,
                    change,
                    ..
                } = case;
                let Diagnosis { summary, .. } = &diagnosis;
                let found = diagnosis.cause_name();
                failures.push(format!(
                    "{cause} ({change}) to {kind}, with {name}: {found}: {summary}"
                ));
            }
        }
    }
    println!("{}", table(&rows));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Returns causes against verdicts.
fn table(rows: &BTreeMap<&str, Row>) -> String {
    let mut text = format!(
        "{:25} {:^20} {:^21} {:^21}\n{:25} {:>7} {:>7} {:>5} {:>7} {:>7} {:>5} {:>7} {:>7} {:>5}\n",
        "",
        "all evidence",
        "no credentials",
        "answer alone",
        "cause",
        "right",
        "unknown",
        "wrong",
        "right",
        "unknown",
        "wrong",
        "right",
        "unknown",
        "wrong",
    );
    let mut total = Row::default();
    for (cause, row) in rows {
        text.push_str(&format!("{cause:25} {}\n", row.cells()));
        for (sum, tally) in total.0.iter_mut().zip(&row.0) {
            sum.right += tally.right;
            sum.unknown += tally.unknown;
            sum.wrong += tally.wrong;
        }
    }
    text.push_str(&format!("{:25} {}", "all", total.cells()));
    text
}

/// The number of causes of which there are cases.
const CAUSES: usize = 57;
