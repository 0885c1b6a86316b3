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
