//! The messages of a client's socket, which carries several operations, for the inspector.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::capture::{Capture, Inspector};
use super::entry::{Direction, Side};

/// Assigns the messages of one socket to the operations that they belong to, by the id in them.
#[derive(Debug, Default)]
pub struct FrameLog {
    captures: HashMap<String, Capture>,
    /// The latest message that belongs to no operation so far: the one that starts the next operation.
    pending: Option<String>,
}

/// `{"id": …, "type": …}`
#[derive(Deserialize)]
struct MessageHead<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// More operations than a socket can have at once.
const MAX_CAPTURES: usize = 2048;

/// Returns the id in a message of a realtime protocol.
pub fn message_id(text: &str) -> Option<String> {
    let head: MessageHead<'_> = serde_json::from_str(text).ok()?;
    head.id.map(Cow::into_owned)
}

impl FrameLog {
    /// Returns the log of a client's socket; `None` if the inspector is off.
    pub fn of_client(inspector: &Inspector) -> Option<Box<Self>> {
        inspector.is_on().then(Box::default)
    }

    /// Adds a message that was received.
    pub fn received(&mut self, text: &str) {
        if !self.add(Direction::In, text) {
            self.pending = Some(text.to_owned());
        }
    }

    /// Assigns the message that was received last to the operation that it has started.
    pub fn started(&mut self, capture: &Capture) {
        let Some(text) = self.pending.take() else {
            return;
        };
        let Some(id) = message_id(&text).filter(|_| capture.is_on()) else {
            return;
        };
        if self.captures.len() >= MAX_CAPTURES {
            self.captures.clear();
        }
        self.captures.insert(id, capture.clone());
        self.add(Direction::In, &text);
    }

    /// Adds a message that is being sent.
    pub fn sent(&mut self, text: &str) {
        self.add(Direction::Out, text);
    }

    /// Returns whether the message belongs to an operation.
    fn add(&mut self, direction: Direction, text: &str) -> bool {
        // On a connection without recorded operations, messages are not parsed.
        if self.captures.is_empty() {
            return false;
        }
        let Ok(head) = serde_json::from_str::<MessageHead<'_>>(text) else {
            return false;
        };
        let Some(id) = head.id else {
            return false;
        };
        let Some(capture) = self.captures.get(&*id) else {
            return false;
        };
        capture.frame(Side::Client, direction, text);
        let is_last = matches!(
            head.kind.as_deref(),
            Some("complete" | "error" | "subscribe_error" | "unsubscribe_success")
        );
        if is_last {
            self.captures.remove(&*id);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const START: &str = r#"{"id":"1","type":"subscribe","payload":{}}"#;

    fn types(inspector: &Inspector, capture: &Capture) -> Vec<String> {
        let id = capture.id().unwrap();
        let read = inspector.store().unwrap().read(id, |entry| {
            let frames = entry.frames.stored.iter();
            let shown = frames.map(|frame| format!("{:?} {}", frame.direction, frame.kind));
            shown.collect()
        });
        read.unwrap()
    }

    fn operation(inspector: &Inspector) -> Capture {
        inspector.operation("graphql-transport-ws", &HeaderMap::new())
    }

    #[test]
    fn messages_belong_to_the_operation_of_their_id() {
        let inspector = Inspector::recording(1_000_000);
        let mut log = FrameLog::of_client(&inspector).unwrap();
        log.received(START);
        let first = operation(&inspector);
        log.started(&first);
        log.received(r#"{"id":"2","type":"subscribe"}"#);
        let second = operation(&inspector);
        log.started(&second);
        log.sent(r#"{"id":"2","type":"next"}"#);
        log.sent(r#"{"id":"1","type":"next"}"#);
        log.sent(r#"{"type":"ping"}"#);
        log.sent("not json");
        log.received(r#"{"id":"1","type":"complete"}"#);
        // The id is free again.
        log.sent(r#"{"id":"1","type":"next"}"#);
        assert_eq!(
            types(&inspector, &first),
            ["In subscribe", "Out next", "In complete"]
        );
        assert_eq!(types(&inspector, &second), ["In subscribe", "Out next"]);
    }

    #[test]
    fn nothing_is_parsed_or_kept_without_a_recorded_operation() {
        assert!(FrameLog::of_client(&Inspector::default()).is_none());
        let inspector = Inspector::recording(1_000_000);
        inspector.store().unwrap().pause(true);
        let mut log = FrameLog::of_client(&inspector).unwrap();
        log.received(START);
        log.started(&operation(&inspector));
        assert!(log.captures.is_empty() && log.pending.is_none());
    }

    #[test]
    fn operations_that_a_client_never_ends_do_not_accumulate() {
        let inspector = Inspector::recording(1_000_000);
        let mut log = FrameLog::of_client(&inspector).unwrap();
        let capture = operation(&inspector);
        for id in 0..=MAX_CAPTURES {
            log.received(&format!(r#"{{"id":"{id}","type":"subscribe"}}"#));
            log.started(&capture);
        }
        assert_eq!(log.captures.len(), 1);
    }

    #[test]
    fn ids_are_read_from_messages() {
        assert_eq!(
            message_id(r#"{"type":"data","id":"a\"b"}"#).unwrap(),
            "a\"b"
        );
        for text in ["", "[]", "{}", r#"{"id":1}"#, "not json"] {
            assert_eq!(message_id(text), None, "{text}");
        }
    }
}
