//! The machine of a realtime connection, held against rules that its driver relies on.
//!
//! A script's lines: `. subscribe|signed|unsigned|stop KEY`, `. closed` and `. wait 500ms` are the
//! driver's, `< FRAME` is AppSync's. In a frame `$KEY` is the id of a subscription on the wire, and
//! `TYPE $KEY PAYLOAD` is short for a whole one. A first line `events` chooses AppSync Events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign::realtime::REDACTION;
use countersign_protocol::graphql::{Event, GraphqlError};
use countersign_protocol::realtime::Start;
use countersign_protocol::realtime::connection::{Connection, Key, Output, Protocol};
use serde_json::Value;
use uuid::Uuid;

use super::text;

const ACK: Duration = Duration::from_secs(10);
const START_ACK: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(150);
const MAX_KEYS: u64 = 8;

/// A script of a driver and of AppSync.
pub fn realtime_connection(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let protocol = match text.starts_with("events\n") {
        true => Protocol::Events,
        false => Protocol::Graphql,
    };
    let mut bench = Bench::new(protocol);
    for line in text.lines().take(96) {
        bench.say(line);
    }
    bench.over();
}

/// Any bytes as a frame of AppSync: before the acknowledgement, while one subscription starts and
/// another is live, and while they stop.
pub fn realtime_frame(data: &[u8]) {
    for protocol in [Protocol::Graphql, Protocol::Events] {
        let mut bench = Bench::new(protocol);
        let frame = |bench: &Bench| match text(data) {
            Some(text) => Bytes::from(bench.frame(text)),
            None => Bytes::copy_from_slice(data),
        };
        bench.say(". subscribe 1");
        let sent = frame(&bench);
        bench.receive(&sent);
        for line in [
            "< ack",
            ". signed 1",
            "< start_ack $1",
            ". subscribe 2",
            ". signed 2",
        ] {
            bench.say(line);
        }
        let sent = frame(&bench);
        bench.receive(&sent);
        bench.say(". stop 1");
        bench.say(". stop 2");
        let sent = frame(&bench);
        bench.receive(&sent);
        bench.over();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Wanted,
    Live,
    Stopped,
}

struct Bench {
    machine: Connection<()>,
    protocol: Protocol,
    now: Instant,
    /// The driver's state of each subscription that the machine still has.
    known: BTreeMap<u64, Phase>,
    last_key: u64,
    /// The ids on the wire, the newest last.
    ids: Vec<(u64, Uuid)>,
    is_ready: bool,
    has_ended: bool,
    has_begun: bool,
}

impl Bench {
    fn new(protocol: Protocol) -> Self {
        let now = Instant::now();
        let mut bench = Self {
            machine: Connection::new(protocol, now, now + ACK, START_ACK, KEEPALIVE, REDACTION),
            protocol,
            now,
            known: BTreeMap::new(),
            last_key: 0,
            ids: Vec::new(),
            is_ready: false,
            has_ended: false,
            has_begun: false,
        };
        bench.see();
        assert!(bench.has_begun);
        bench
    }

    fn say(&mut self, line: &str) {
        if let Some(frame) = line.strip_prefix("< ") {
            let frame = Bytes::from(self.frame(frame));
            return self.receive(&frame);
        }
        let Some(line) = line.strip_prefix(". ") else {
            return;
        };
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let key = argument.parse().unwrap_or(1);
        match verb {
            // Each key is used once, and nothing is placed on what has ended.
            "subscribe" if !self.has_ended && self.last_key < MAX_KEYS => {
                self.last_key += 1;
                let id = Uuid::from_u64_pair(0xa000, self.last_key);
                self.ids.push((self.last_key, id));
                self.known.insert(self.last_key, Phase::Wanted);
                let start = Arc::new(self.start(self.last_key));
                self.machine.subscribe(Key(self.last_key), id, start, ());
            }
            "signed" => {
                let signed = Ok(r#"{"host":"h"}"#.to_owned());
                self.machine.handle_signed(self.now, Key(key), signed);
            }
            "unsigned" => {
                let signed = Err(vec![GraphqlError::new("no credentials")]);
                self.machine.handle_signed(self.now, Key(key), signed);
            }
            "stop" => {
                self.machine.stop(self.now, Key(key));
                if let Some(phase) = self.known.get_mut(&key) {
                    *phase = Phase::Stopped;
                }
            }
            "closed" => self.machine.handle_closed(),
            "wait" => return self.wait(duration(argument)),
            _ => return,
        }
        self.see();
    }

    fn receive(&mut self, frame: &Bytes) {
        self.machine.handle_frame(self.now, frame);
        self.see();
    }

    /// `TYPE $KEY PAYLOAD`, or a frame as it is.
    fn frame(&self, text: &str) -> String {
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (kind, id, payload) = (word(), word(), word());
        let mut frame = match (kind, payload) {
            ("ack", _) => r#"{"type":"connection_ack"}"#.to_owned(),
            (kind, "") if id.starts_with('$') => format!(r#"{{"type":"{kind}","id":"{id}"}}"#),
            (kind, payload) if id.starts_with('$') => {
                format!(r#"{{"id":"{id}","type":"{kind}","payload":{payload}}}"#)
            }
            _ => text.to_owned(),
        };
        if self.protocol == Protocol::Events {
            frame = frame.replace("start_ack", "subscribe_success");
            frame = frame.replace(r#""payload":"#, r#""event":"#);
        }
        if frame.contains('$') {
            for (key, id) in self.ids.iter().rev() {
                frame = frame.replace(&format!("${key}"), &id.to_string());
            }
        }
        frame
    }

    fn start(&self, key: u64) -> Start {
        let data = match self.protocol {
            Protocol::Graphql => format!("data of {key}"),
            Protocol::Events => format!(r#"{{"channel":"/default/{key}"}}"#),
        };
        Start {
            data,
            headers: Vec::new(),
        }
    }

    /// Time passes as a driver lets it: the machine is woken when it wants to be.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.see();
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "woken for nothing");
        }
        self.now = until;
    }

    /// In every case, a closed socket ends the machine.
    fn over(&mut self) {
        self.machine.handle_closed();
        self.see();
        assert!(self.has_ended);
        assert_eq!(self.machine.poll_timeout(), None);
        for line in [
            "< ack",
            "< data $1 1",
            ". signed 1",
            ". stop 1",
            ". wait 1m",
        ] {
            self.say(line);
        }
    }

    fn see(&mut self) {
        let mut count = 0;
        while let Some(output) = self.machine.poll_output() {
            count += 1;
            assert!(!self.has_ended, "{output:?} after the end");
            self.output(output);
        }
        while let Some(frame) = self.machine.poll_frame() {
            count += 1;
            self.sent(&frame);
        }
        // For each subscription: an ending and a stop, or an event and its acknowledgement.
        let bound = 2 * usize::try_from(self.last_key).unwrap() + 2;
        assert!(count <= bound, "{count} outputs");
        assert_eq!(self.machine.count(), self.known.len());
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Sign(Key(key), start)
            | Output::Renew {
                key: Key(key),
                start,
                ..
            } => {
                assert!(self.is_ready);
                assert_eq!(self.known.get(&key), Some(&Phase::Wanted));
                assert_eq!(*start, self.start(key));
            }
            Output::Started { key: Key(key), .. } => {
                let before = self.known.insert(key, Phase::Live);
                assert_eq!(before, Some(Phase::Wanted));
            }
            Output::Event(Key(key), event) => {
                assert!(matches!(event, Event::Next(_) | Event::Missed(_)));
                assert_eq!(self.known.get(&key), Some(&Phase::Live), "{event:?}");
            }
            Output::Ended(Key(key), event)
            | Output::Interrupted(Key(key), event)
            | Output::Unanswered(Key(key), event) => {
                assert!(event.is_ending());
                let phase = self.known.remove(&key).unwrap();
                assert_ne!(phase, Phase::Stopped, "{event:?}");
            }
            Output::Released(Key(key)) => {
                assert_eq!(self.known.remove(&key), Some(Phase::Stopped));
            }
            Output::Full(Key(key)) => {
                let phase = self.known.remove(&key).unwrap();
                assert_ne!(phase, Phase::Stopped);
            }
            Output::Ready => {
                assert!(!self.is_ready);
                self.is_ready = true;
            }
            Output::Refused(failures) => {
                assert!(!failures.is_empty() && !self.is_ready);
                self.has_ended = true;
            }
            Output::Lost(_) => self.has_ended = true,
        }
    }

    /// Checks that the output is a message about a requested subscription.
    fn sent(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        if kind == "connection_init" {
            assert!(!self.has_begun);
            self.has_begun = true;
            return;
        }
        assert!(self.is_ready, "{text}");
        let id: Uuid = frame["id"].as_str().unwrap().parse().unwrap();
        if ["start", "subscribe"].contains(&kind) {
            let key = match self.protocol {
                Protocol::Graphql => frame["payload"]["data"].as_str(),
                Protocol::Events => frame["channel"].as_str(),
            };
            let key = key.unwrap().rsplit([' ', '/']).next().unwrap();
            let key: u64 = key.parse().unwrap();
            assert!(self.known.contains_key(&key), "{text}");
            if !self.ids.contains(&(key, id)) {
                self.ids.retain(|(other, _)| *other != key);
                self.ids.push((key, id));
            }
        } else {
            assert!(["stop", "unsubscribe"].contains(&kind), "{text}");
            assert!(self.ids.iter().any(|(_, known)| *known == id), "{text}");
        }
    }
}

/// `500ms`, `5s`, `1m`; at most five minutes.
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or(1);
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "m" => 60_000,
        _ => 1_000,
    };
    Duration::from_millis(number.saturating_mul(unit).min(300_000))
}
