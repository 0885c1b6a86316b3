//! The framing of streamed HTTP responses, and the operations of a reserved stream.

use std::collections::BTreeMap;

use countersign_protocol::dialect::{
    Close, EventsSse, Limits, Multipart, Output, Sse, SseSingle, StreamDialect, StreamResponse,
};
use countersign_protocol::graphql::{Documents, Event, Operation, OperationKey};
use serde_json::Value;

use super::dialect::event;
use super::{is_json, text};

const KEY: OperationKey = OperationKey(1);
const LIMITS: Limits = Limits {
    subscriptions: 2,
    operations: 2,
};

/// The events of one operation, a line for each: `. next 1 JSON`, `. error 1 TEXT`, `. beat`.
pub fn streams(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let sse = framed(Sse::default(), text);
    for event in events(&sse) {
        let (name, data) = event;
        assert_eq!(name == "complete", data.is_empty());
        assert!(name == "complete" || name == "next" && is_json(data));
    }
    let own = framed(EventsSse::default(), text);
    for (name, data) in events(&own) {
        let is_error = ["broadcast_error", "subscribe_error"].contains(&name);
        assert!(name.is_empty() || is_error && is_json(data), "{name}");
    }
    parts(&framed(Multipart::default(), text));
}

/// Returns the output for a script, up to the stream's end.
fn framed(mut form: impl StreamDialect, text: &str) -> String {
    let mut written = String::new();
    let mut is_over = false;
    form.open();
    let mut step = |form: &mut dyn StreamDialect| {
        while let Some(output) = form.poll_output() {
            match output {
                Output::Send(text) if !is_over => written.push_str(&text),
                Output::Send(_) => {}
                Output::Close(_) => is_over = true,
                other => panic!("{other:?} has nothing to do with framing"),
            }
        }
        is_over
    };
    for line in text.lines().take(64) {
        let mut words = line.trim_start_matches(". ").splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, _, rest) = (word(), word(), word());
        match event(verb, rest) {
            Some(event) => {
                form.handle_event(KEY, &event);
                // An ending ends the stream; the session reports a loss.
                if event.is_ending() {
                    let is_over = step(&mut form);
                    assert!(is_over || matches!(event, Event::Lost));
                }
            }
            None if verb == "beat" => form.heartbeat(),
            None => {}
        }
        if step(&mut form) {
            return written;
        }
    }
    form.lose("the connection was lost");
    assert!(step(&mut form));
    written
}

/// Reads an event stream as browsers do (WHATWG HTML, "Server-sent events"): name and data.
fn events(text: &str) -> Vec<(&str, &str)> {
    let body = text.strip_suffix("\n\n").unwrap();
    let blocks = body.split("\n\n").filter(|block| *block != ":");
    blocks
        .map(|block| {
            assert!(!block.contains('\r'), "{block:?}");
            let (mut name, mut data) = ("", None);
            for line in block.split('\n') {
                let (field, value) = line.split_once(':').unwrap();
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => name = value,
                    "data" => assert_eq!(data.replace(value), None, "{block:?}"),
                    _ => panic!("a field was made up: {block:?}"),
                }
            }
            (name, data.unwrap())
        })
        .collect()
}

/// Reads a multipart body as its clients do.
fn parts(text: &str) {
    let mut parts = text.split("\r\n--graphql");
    assert_eq!(parts.next(), Some(""));
    let mut parts: Vec<&str> = parts.collect();
    assert_eq!(parts.pop(), Some("--\r\n"));
    for part in parts {
        let json = part.strip_prefix("\r\ncontent-type: application/json\r\n\r\n");
        assert!(is_json(json.unwrap()), "{part:?}");
    }
}

/// Requests about a reserved stream, and what happens on it: `> JSON` starts an operation,
/// `. stop ID` stops one, `. open` opens the stream, `. next|error|complete KEY TEXT` is an event.
pub fn sse_single(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let mut bench = Bench {
        machine: SseSingle::new(LIMITS, Documents::default()),
        live: BTreeMap::new(),
        last_key: 0,
        is_open: false,
        is_over: false,
        waiting: 0,
    };
    for line in text.lines().take(64) {
        bench.say(line);
    }
    bench.open();
    bench.machine.lose("the connection was lost");
    bench.see();
    assert!(bench.is_over);
}

struct Bench {
    machine: SseSingle,
    /// The running operation: the client's id, once the start was seen.
    live: BTreeMap<u64, String>,
    last_key: u64,
    is_open: bool,
    is_over: bool,
    /// The most outputs that may wait for the stream to be opened.
    waiting: usize,
}

impl Bench {
    fn say(&mut self, line: &str) {
        if let Some(body) = line.strip_prefix("> ") {
            let Ok(operation) = serde_json::from_str::<Operation>(body) else {
                return;
            };
            let id = operation_id(&operation);
            let answer = self.machine.start(operation);
            // A document that cannot run takes two.
            self.waiting += 2 * usize::from(answer == StreamResponse::Started);
            let has_no_id = matches!(
                answer,
                StreamResponse::NoOperationId | StreamResponse::BadOperationId(_)
            );
            assert_eq!(id.is_none(), has_no_id);
            assert!(!self.is_open || answer != StreamResponse::TooManyQueued);
            self.answer_seen(id.unwrap_or_default());
            return;
        }
        let mut words = line.trim_start_matches(". ").splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        match verb {
            "open" => self.open(),
            "stop" => {
                assert_eq!(self.machine.stop(first), StreamResponse::Stopped);
                self.waiting += 1;
                self.answer_seen(first.to_owned());
            }
            _ => {
                let key = first.parse().unwrap_or(1);
                if let Some(event) = event(verb, rest).filter(|_| self.is_open) {
                    self.happen(key, &event);
                }
            }
        }
    }

    /// A reserved stream starts nothing before it is open.
    fn open(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.machine.open();
            self.waiting += 1;
            let first = self.machine.poll_output();
            assert!(matches!(first, Some(Output::Send(text)) if text == ":\n\n"));
        }
        self.see();
    }

    fn answer_seen(&mut self, id: String) {
        if !self.is_open {
            return;
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Start(OperationKey(key), ..) => {
                    self.begin(key);
                    assert!(!self.live.values().any(|live| *live == id), "{id} runs");
                    self.live.insert(key, id.clone());
                }
                output => self.other(output, Some(&id)),
            }
        }
    }

    fn happen(&mut self, key: u64, event: &Event) {
        self.machine.handle_event(OperationKey(key), event);
        let id = self.live.get(&key).cloned();
        while let Some(output) = self.machine.poll_output() {
            assert!(id.is_some(), "{key} has ended: {output:?}");
            self.other(output, id.as_deref());
        }
        if event.is_ending() {
            self.live.remove(&key);
        }
    }

    /// The queued events.
    fn see(&mut self) {
        let mut count = 0;
        while let Some(output) = self.machine.poll_output() {
            count += 1;
            match output {
                Output::Start(OperationKey(key), _, inspected) => {
                    self.begin(key);
                    let operation = inspected.as_operation().unwrap();
                    self.live.insert(key, operation_id(operation).unwrap());
                }
                output => self.other(output, None),
            }
        }
        assert!(count <= self.waiting + 1, "{count} have waited");
        self.waiting = 0;
    }

    fn begin(&mut self, key: u64) {
        assert!(key > self.last_key, "{key} was used before");
        self.last_key = key;
    }

    fn other(&mut self, output: Output, id: Option<&str>) {
        assert!(!self.is_over, "{output:?} after the close");
        match output {
            Output::Send(text) => {
                for (name, data) in events(&text) {
                    assert!(["next", "complete"].contains(&name));
                    assert!(is_json(data), "{data}");
                    if let (Some(id), Ok(data)) = (id, serde_json::from_str::<Value>(data)) {
                        assert_eq!(data["id"], id);
                    }
                }
            }
            Output::Stop(OperationKey(key)) => {
                assert!(self.live.remove(&key).is_some(), "{key} does not run");
            }
            Output::Close(close) => {
                assert_eq!(close.code, Close::RESTART);
                self.is_over = true;
            }
            other => panic!("{other:?} has nothing to do with a stream"),
        }
    }
}

fn operation_id(operation: &Operation) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Extensions {
        operation_id: String,
    }
    let raw = operation.extensions.as_ref()?.get();
    let Extensions { operation_id } = serde_json::from_str(raw).ok()?;
    (!operation_id.is_empty()).then_some(operation_id)
}
