//! Transcripts of the machines: inputs and the expected outputs.
//!
//! The lines of a transcript: `>` the client's frame, `.` an input of the session (or time that
//! passes), `<` countersign's frame, `!` an action for the session. Outputs follow the input that
//! caused them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Close, Dialect, Limits, Output, Times};
use crate::graphql::{Event, GraphqlError, Json, Operation, OperationKey};

pub(super) const TIMES: Times = Times {
    init: Duration::from_secs(10),
    keepalive: Duration::from_secs(15),
};
pub(super) const LIMITS: Limits = Limits {
    subscriptions: 2,
    operations: 2,
};

/// A machine and its clock.
pub(super) struct Harness<D> {
    pub(super) machine: D,
    pub(super) now: Instant,
}

impl<D: Dialect> Harness<D> {
    pub(super) fn new(make: impl FnOnce(Instant) -> D) -> Self {
        let now = Instant::now();
        Self {
            machine: make(now),
            now,
        }
    }

    /// Starts at the acknowledgement.
    pub(super) fn ready(mut self) -> Self {
        let init = r#"{"type":"connection_init"}"#;
        self.machine.handle_text(self.now, init);
        self.machine.accept(self.now);
        self.outputs();
        self
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.handle_timeout(self.now);
    }

    pub(super) fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.poll_output())
            .map(|output| show(&output))
            .collect()
    }

    pub(super) fn input(&mut self, line: &str) {
        let now = self.now;
        if let Some(frame) = line.strip_prefix("> ") {
            return self.machine.handle_text(now, frame);
        }
        let mut words = line.trim_start_matches(". ").splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        let key = OperationKey(first.parse().unwrap_or_default());
        let event = match verb {
            "accept" => return self.machine.accept(now),
            "binary" => return self.machine.handle_binary(),
            "closing" => return self.machine.begin_closing(),
            "close" => {
                let close = Close::new(first.parse().unwrap(), rest.to_owned());
                return self.machine.close(close);
            }
            "wait" => return self.pass(humantime::parse_duration(first).unwrap()),
            "started" => Event::Started,
            "lost" => Event::Lost,
            "complete" => Event::Complete,
            "error" => error(rest),
            "missed" => Event::Missed(vec![GraphqlError::new(rest)]),
            "next" => next(rest),
            _ => panic!("no such line: {line}"),
        };
        self.machine.handle_event(key, &event);
    }

    /// Plays the inputs, and compares the outputs.
    #[track_caller]
    pub(super) fn check(mut self, transcript: &str) {
        let lines = || transcript.lines().map(str::trim).filter(|l| !l.is_empty());
        let mut played = Vec::new();
        for line in lines().filter(|line| line.starts_with(['>', '.'])) {
            played.push(line.to_owned());
            self.input(line);
            played.extend(self.outputs());
        }
        let expected: Vec<&str> = lines().collect();
        assert_eq!(played.join("\n"), expected.join("\n"));
    }
}

pub(super) fn next(json: &str) -> Event {
    Event::Next(Json::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap())
}

/// Parses an error: a JSON object, or only a message.
pub(super) fn error(text: &str) -> Event {
    let parsed: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let mut error = GraphqlError::new(text);
    if let Some(serde_json::Value::Object(mut members)) = parsed {
        let message = members.remove("message").unwrap_or_default();
        error = GraphqlError::new(message.as_str().unwrap_or_default());
        error.path = members.remove("path");
        error.locations = members.remove("locations");
        error.extensions = members;
    }
    Event::Error(vec![error])
}

pub(super) fn show(output: &Output) -> String {
    match output {
        Output::Init(_) => "! init".to_owned(),
        Output::Send(frame) => format!("< {frame}"),
        Output::SendEvent(frame) => {
            format!("< {}{}{}", frame.head, frame.payload.as_str(), frame.tail)
        }
        Output::Start(OperationKey(key), selected, inspected) => {
            let kind = selected.kind.as_str();
            let mut line = format!(
                "! start {key} {kind} {}",
                inspected
                    .as_operation()
                    .map(Operation::to_body)
                    .unwrap_or_default()
            );
            for (name, value) in inspected.headers() {
                line.push_str(&format!(" {name}={value}"));
            }
            line
        }
        Output::Subscribe(OperationKey(key), subscribe) => {
            format!("! subscribe {key} {}", subscribe.to_data())
        }
        Output::Publish(OperationKey(key), publish) => {
            format!("! publish {key} {}", publish.to_body())
        }
        Output::Stop(OperationKey(key)) => format!("! stop {key}"),
        Output::Close(Close { code, reason }) => {
            format!("! close {code} {reason}").trim_end().to_owned()
        }
    }
}
