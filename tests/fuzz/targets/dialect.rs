//! The machines of client WebSockets, held against rules that every session relies on.
//!
//! A script's lines: `> FRAME` is the client's; `. accept`, `. binary`, `. closing`, `. close CODE
//! REASON`, `. wait SECONDS` and `. started|next|missed|error|complete|lost KEY TEXT` are the
//! session's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_protocol::dialect::{Close, Dialect, Limits, Output, Times, websocket};
use countersign_protocol::graphql::{
    Documents, Event, GraphqlError, Json, OperationKey, OperationKind,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::text;

const LIMITS: Limits = Limits {
    subscriptions: 2,
    operations: 2,
};
const TIMES: Times = Times {
    init: Duration::from_secs(10),
    keepalive: Duration::from_secs(15),
};
/// The most outputs of one input.
const MAX_OUTPUTS: usize = 4;

/// A script on a `graphql-transport-ws` socket.
pub fn transport_ws(data: &[u8]) {
    play("graphql-transport-ws", data);
}

/// A script on a `graphql-ws` socket, of which the first `start` decides the protocol.
pub fn graphql_ws(data: &[u8]) {
    play("graphql-ws", data);
}

/// A script on an `aws-appsync-event-ws` socket.
pub fn events_ws(data: &[u8]) {
    play("aws-appsync-event-ws", data);
}

fn play(protocol: &'static str, data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let now = Instant::now();
    let mut bench = Bench {
        machine: websocket(Some(protocol), now, TIMES, LIMITS, Documents::default()),
        protocol,
        now,
        live: BTreeMap::new(),
        ended: BTreeSet::new(),
        last_key: 0,
        inits: 0,
        is_closing: false,
        is_closed: false,
    };
    for line in text.lines().take(64) {
        bench.say(line);
    }
    // In every case, a close is the end.
    let close = Close::new(Close::RESTART, "the script is over");
    bench.machine.close(close);
    bench.see(&Input::Other, 0);
    assert!(bench.is_closed);
    bench.client(r#"{"type":"connection_init"}"#);
    bench.wait(Duration::from_secs(60));
}

/// An event of the session: `next 1 {"data":1}`, without its key.
pub(super) fn event(verb: &str, rest: &str) -> Option<Event> {
    let errors = || vec![GraphqlError::new(rest)];
    Some(match verb {
        "started" => Event::Started,
        "next" => Event::Next(Json::parse(Bytes::copy_from_slice(rest.as_bytes())).ok()?),
        "missed" => Event::Missed(errors()),
        "error" => Event::Error(errors()),
        "complete" => Event::Complete,
        "lost" => Event::Lost,
        _ => return None,
    })
}

struct Bench {
    machine: Box<dyn Dialect>,
    protocol: &'static str,
    now: Instant,
    /// The running operations by key: kind, and the client's id as JSON text.
    live: BTreeMap<u64, (OperationKind, String)>,
    /// The operations whose end the session has reported; each ends only once.
    ended: BTreeSet<u64>,
    last_key: u64,
    inits: usize,
    is_closing: bool,
    is_closed: bool,
}

enum Input<'a> {
    /// A frame with this id.
    Client(Option<&'a str>),
    Event(u64, &'a Event),
    Other,
}

#[derive(serde::Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

impl Bench {
    fn say(&mut self, line: &str) {
        if let Some(frame) = line.strip_prefix("> ") {
            return self.client(frame);
        }
        let Some(line) = line.strip_prefix(". ") else {
            return;
        };
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        match verb {
            "accept" => self.machine.accept(self.now),
            "binary" => self.machine.handle_binary(),
            "closing" => {
                self.machine.begin_closing();
                self.is_closing = true;
            }
            "close" => {
                let code = first.parse().unwrap_or(Close::RESTART);
                self.machine.close(Close::new(code, rest.to_owned()));
            }
            "wait" => {
                let seconds = first.trim_end_matches('s').parse().unwrap_or(1);
                return self.wait(Duration::from_secs(u64::min(seconds, 60)));
            }
            _ => {
                let key = first.parse().unwrap_or(1);
                let event = event(verb, rest).filter(|_| !self.ended.contains(&key));
                let Some(event) = event else {
                    return;
                };
                self.machine.handle_event(OperationKey(key), &event);
                self.see(&Input::Event(key, &event), line.len());
                if event.is_ending() && self.live.contains_key(&key) {
                    self.ended.insert(key);
                }
                // A lost operation is active until the session closes the socket for it.
                if event.is_ending() && !matches!(event, Event::Lost) {
                    self.live.remove(&key);
                }
                return;
            }
        }
        self.see(&Input::Other, line.len());
    }

    fn client(&mut self, text: &str) {
        self.machine.handle_text(self.now, text);
        let frame: Option<Frame<'_>> = serde_json::from_str(text).ok();
        let id = frame.and_then(|frame| frame.id).map(RawValue::get);
        self.see(&Input::Client(id), text.len());
    }

    /// Time passes as a session lets it: the machine is woken when it wants to be.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.see(&Input::Other, 0);
            let next = self.machine.poll_timeout().filter(|_| !self.is_closed);
            assert!(next.is_none_or(|next| next > self.now), "woken for nothing");
        }
        self.now = until;
        self.machine.handle_timeout(self.now);
        self.see(&Input::Other, 0);
    }

    fn see(&mut self, input: &Input<'_>, size: usize) {
        let mut count = 0;
        let mut bytes = 0;
        while let Some(output) = self.machine.poll_output() {
            count += 1;
            assert!(!self.is_closed, "{output:?} after the close");
            match output {
                Output::Init(_) => self.inits += 1,
                Output::Send(frame) => {
                    bytes += frame.len();
                    self.frame(input, &frame);
                }
                Output::SendEvent(frame) => {
                    let frame = String::from(frame);
                    bytes += frame.len();
                    self.frame(input, &frame);
                }
                Output::Start(key, selected, inspected) => {
                    let operation = inspected.as_operation().unwrap();
                    assert!(!operation.query.is_empty());
                    self.begin(input, key, selected.kind);
                }
                Output::Subscribe(key, _) => self.begin(input, key, OperationKind::Subscription),
                Output::Publish(key, _) => self.begin(input, key, OperationKind::Mutation),
                Output::Stop(OperationKey(key)) => {
                    assert!(matches!(input, Input::Client(_)));
                    assert!(self.live.remove(&key).is_some(), "{key} does not run");
                }
                Output::Close(close) => {
                    assert!(close.reason.len() <= 123);
                    self.is_closed = true;
                }
            }
        }
        assert!(self.inits <= 1);
        assert!(count <= MAX_OUTPUTS, "{count} outputs");
        assert!(bytes <= 8 * size + 2048, "{bytes} bytes for {size}");
    }

    fn begin(&mut self, input: &Input<'_>, OperationKey(key): OperationKey, kind: OperationKind) {
        let Input::Client(Some(id)) = input else {
            panic!("{key} was not started by a frame of the client");
        };
        assert!(
            !self.is_closing,
            "{key} starts after the close was announced"
        );
        assert!(key > self.last_key, "{key} was used before");
        self.last_key = key;
        let is_taken = |(_, (_, live)): (_, &(_, String))| is_same(live, id);
        assert!(!self.live.iter().any(is_taken), "{id} is already running");
        self.live.insert(key, (kind, (*id).to_owned()));
        let is_subscription = |kind: OperationKind| kind == OperationKind::Subscription;
        let alike = self.live.values();
        let alike = alike.filter(|(other, _)| is_subscription(*other) == is_subscription(kind));
        assert!(alike.count() <= LIMITS.subscriptions);
    }

    /// Checks that the output is a message that belongs to the input.
    fn frame(&self, input: &Input<'_>, text: &str) {
        let frame: Frame<'_> = serde_json::from_str(text).unwrap();
        let id = frame.id.map(RawValue::get);
        match input {
            Input::Client(sent) => {
                if let Some(id) = id {
                    assert!(sent.is_some_and(|sent| is_same(sent, id)), "{text}");
                }
                let is_event = ["next", "data"].contains(&frame.kind.as_str());
                assert!(!is_event, "{text}");
            }
            Input::Event(key, event) => {
                let live = self.live.get(key);
                let (kind, live) = live.unwrap_or_else(|| panic!("{key} has ended: {text}"));
                assert!(is_same(live, id.unwrap()), "{text}");
                // The answer to a publish reports its success.
                let is_ending = ["complete", "error"].contains(&frame.kind.as_str());
                let is_graphql = self.protocol != "aws-appsync-event-ws";
                assert!(
                    !is_graphql || is_ending == event.is_ending(),
                    "{kind:?} {text}"
                );
            }
            Input::Other => assert!(id.is_none(), "{text}"),
        }
    }
}

/// Returns whether two JSON texts have the same value.
fn is_same(one: &str, other: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || value(one).is_some_and(|one| value(other) == Some(one))
}
