//! The stream of changes for a page, as server-sent events.
//!
//! The stream looks up what has changed when the page can take more. Nothing is queued for a page: a slow
//! one gets the latest state of each entry, or is asked to fetch the list again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::json::summary;
use super::respond::Answer;
use super::state::StateSources;
use super::store::{Changes, Store};

/// A page that follows the store.
struct Follower {
    store: Arc<Store>,
    sources: Arc<StateSources>,
    changed: watch::Receiver<u64>,
    /// The revision that the page has seen.
    seen: u64,
    /// The state that was sent last, without the time.
    state: Value,
    state_due: Instant,
    /// When the next changes may be sent.
    changes_due: Instant,
    comment_due: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The minimum time between two batches of changes, and between two states.
const INTERVAL: Duration = Duration::from_millis(100);
const STATE_INTERVAL: Duration = Duration::from_secs(1);
/// The time after which a comment shows that the connection is open.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// The maximum number of entries in a batch.
const BATCH: usize = 500;

/// Returns the stream for a page that has seen the revision `seen`; with `None`, it begins now.
pub(super) fn answer(
    store: Arc<Store>,
    sources: Arc<StateSources>,
    seen: Option<u64>,
    permit: OwnedSemaphorePermit,
) -> Answer {
    let now = Instant::now();
    let follower = Follower {
        changed: store.follow(),
        seen: seen.unwrap_or_else(|| store.revision()),
        store,
        sources,
        state: Value::Null,
        state_due: now,
        changes_due: now,
        comment_due: now + COMMENT_INTERVAL,
        _permit: permit,
    };
    let texts = stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await;
        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
        Some((frame, follower))
    });
    let mut answer = Response::new(StreamBody::new(texts).boxed_unsync());
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Follower {
    /// Waits for something to send, and returns its text.
    async fn next(&mut self) -> String {
        loop {
            let now = Instant::now();
            if self.state_due <= now {
                self.state_due = now + STATE_INTERVAL;
                if let Some(text) = self.state_text() {
                    return text;
                }
            }
            if self.changes_due <= now {
                self.changed.mark_unchanged();
                if let Some(text) = self.changes_text() {
                    self.changes_due = now + INTERVAL;
                    self.comment_due = now + COMMENT_INTERVAL;
                    return text;
                }
                let next = self.state_due.min(self.comment_due);
                // The store lives as long as the follower, so that its sender is never dropped.
                let _ = timeout_at(next, self.changed.changed()).await;
            } else {
                sleep_until(self.changes_due.min(self.state_due)).await;
            }
            if self.comment_due <= Instant::now() {
                self.comment_due = Instant::now() + COMMENT_INTERVAL;
                return ":\n\n".to_owned();
            }
        }
    }

    /// Returns the state as an event, if it has changed.
    fn state_text(&mut self) -> Option<String> {
        let state = self.sources.state(&self.store);
        let mut compared = state.clone();
        if let Some(members) = compared.as_object_mut() {
            members.remove("now");
            // It changes all the time.
            members.remove("metrics");
        }
        if compared == self.state {
            return None;
        }
        self.state = compared;
        Some(event("state", self.seen, &state))
    }

    /// Returns the changes since the last ones as events; `None` if there are none.
    fn changes_text(&mut self) -> Option<String> {
        match self.store.changes(self.seen, BATCH, summary) {
            Changes::Unknown(revision) => {
                self.seen = revision;
                Some(event("resync", revision, &json!({ "revision": revision })))
            }
            Changes::Some { revision, .. } if revision == self.seen => None,
            Changes::Some {
                entries,
                evicted,
                revision,
            } => {
                let before = std::mem::replace(&mut self.seen, revision);
                let mut text = String::new();
                if !evicted.is_empty() {
                    text.push_str(&event("evicted", before, &json!({ "ids": evicted })));
                }
                let last = entries.len();
                for (at, entry) in entries.iter().enumerate() {
                    // A page that reads a part of the batch gets the whole batch again.
                    let seen = if at + 1 == last { revision } else { before };
                    text.push_str(&event("entry", seen, entry));
                }
                if last == 0 {
                    text.push_str(&event("evicted", revision, &json!({ "ids": [] })));
                }
                Some(text)
            }
        }
    }
}

fn event(name: &str, id: u64, data: &Value) -> String {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n")
}
