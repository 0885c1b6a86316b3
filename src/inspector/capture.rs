//! Captures the parts of one request for the inspector.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderMap;
use http::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::entry::{Direction, Entry, Facts, Frame, Side, Upstream};
use super::mask;
use super::payload::Payload;
use super::store::Store;
use crate::diagnose::{self as signed, calculation};

/// Gives requests their captures; empty if the inspector is off.
#[derive(Clone, Debug, Default)]
pub struct Inspector(Option<Arc<Store>>);

/// Stores the parts of one request or operation; empty if it is not recorded. Its methods then do nothing.
#[derive(Clone, Debug, Default)]
pub struct Capture(Option<Arc<Captured>>);

#[derive(Debug)]
struct Captured {
    store: Arc<Store>,
    id: u64,
}

/// `{"errors": […]}`
#[derive(Deserialize)]
struct ResponseErrors {
    #[serde(default)]
    errors: Option<Vec<IgnoredAny>>,
}

/// `{"type": …}`
#[derive(Deserialize)]
struct MessageType<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

/// The longest type of a message, in characters.
const MAX_KIND: usize = 32;

impl Inspector {
    /// Returns an inspector that records, in at most `memory` bytes.
    pub fn recording(memory: usize) -> Self {
        Self(Some(Arc::new(Store::new(memory))))
    }

    /// Returns whether requests are recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn store(&self) -> Option<&Arc<Store>> {
        self.0.as_ref()
    }

    /// Begins the entry of an HTTP request.
    pub fn request<B>(&self, request: &Request<B>, client: Option<SocketAddr>) -> Capture {
        let store = self.0.as_ref();
        let replay_of = client.and_then(|client| store?.replay_of(client));
        let capture = self.begin("http", replay_of.is_some(), |store, entry| {
            entry.replay_of = replay_of;
            let uri: &Uri = request.uri();
            entry.method = Some(request.method().as_str().to_owned());
            entry.path = Some(uri.path().to_owned());
            let limit = store.part_limit();
            let query = uri.query().map(mask::query);
            entry.query = query.map(|query| Payload::of(query.as_bytes(), limit));
            entry.request_headers = mask::headers(request.headers());
            entry.facts.client = client;
        });
        if let (Some(client), Some(_), Some(captured)) = (client, replay_of, &capture.0) {
            captured.store.replayed(client, captured.id);
        }
        capture
    }

    /// Begins the entry of an operation of a client protocol. `headers` are those that go upstream.
    pub fn operation(&self, protocol: &'static str, headers: &HeaderMap) -> Capture {
        self.begin(protocol, false, |_, entry| {
            entry.request_headers = mask::headers(headers);
        })
    }

    /// `is_wanted`: also while the recorder is paused.
    fn begin(
        &self,
        protocol: &'static str,
        is_wanted: bool,
        fill: impl FnOnce(&Store, &mut Entry),
    ) -> Capture {
        let records = |store: &&Arc<Store>| is_wanted || !store.is_paused();
        let Some(store) = self.0.as_ref().filter(records) else {
            return Capture::default();
        };
        let id = store.add(protocol, |entry| fill(store, entry));
        Capture(Some(Arc::new(Captured {
            store: Arc::clone(store),
            id,
        })))
    }
}

impl Capture {
    /// Begins the entry of an operation or tunnel that this request starts.
    pub fn part(&self, protocol: &'static str, headers: &HeaderMap) -> Self {
        let store = self.0.as_ref().map(|captured| Arc::clone(&captured.store));
        Inspector(store).operation(protocol, headers)
    }

    /// Returns the id of the entry.
    pub fn id(&self) -> Option<u64> {
        self.0.as_ref().map(|captured| captured.id)
    }

    /// Returns whether the request is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Stores what the record contains so far.
    pub fn show(&self, facts: impl FnOnce() -> Facts) {
        self.update(|_, entry| entry.facts = facts());
    }

    /// Stores what the record contains at the end.
    pub fn finish(&self, facts: impl FnOnce() -> Facts) {
        self.update(|_, entry| {
            entry.facts = facts();
            entry.graphql_errors = graphql_errors(entry);
            end(entry);
        });
    }

    /// Stores the body of the request.
    pub fn request_body(&self, body: &[u8]) {
        self.update(|store, entry| {
            entry.request_body = Some(Payload::of(body, store.part_limit()));
        });
    }

    /// Stores the head of the response.
    pub fn response_head(&self, status: StatusCode, headers: &HeaderMap) {
        self.update(|_, entry| {
            entry.response_status = Some(status.as_u16());
            entry.response_headers = mask::headers(headers);
        });
    }

    /// Stores the next part of the response's body.
    pub fn response_body(&self, part: &[u8]) {
        self.update(|store, entry| {
            let body = entry.response_body.get_or_insert_default();
            body.append(part, store.part_limit());
        });
    }

    /// Stores the request as it was signed and sent.
    pub fn sent(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
        attempts: u32,
        status: Option<StatusCode>,
    ) {
        if !self.is_on() {
            return;
        }
        let pairs = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let calculation = calculation(&signed::Request {
            method: method.as_str().to_owned(),
            target: uri.to_string(),
            headers: pairs.collect(),
            body: Some(body.to_vec()),
        });
        let (canonical, to_sign) = calculation.unzip();
        let host = uri.host().unwrap_or_default();
        let upstream = Upstream {
            method: method.as_str().to_owned(),
            url: format!("https://{host}{}", uri.path()),
            query: uri.query().map(mask::query).unwrap_or_default(),
            headers: mask::headers(headers),
            canonical_request: canonical.map(|text| mask::canonical(&text)),
            string_to_sign: to_sign,
            attempts,
            status: status.map(|status| status.as_u16()),
        };
        self.update(|_, entry| entry.upstream = Some(upstream));
    }

    /// Stores a message of a realtime protocol.
    pub fn frame(&self, side: Side, direction: Direction, text: &str) {
        self.update(|store, entry| {
            let masked = mask::message(text);
            let mut payload = Payload::of(masked.as_bytes(), store.part_limit());
            payload.size = text.len().max(payload.stored.len());
            let frame = Frame {
                index: 0,
                at: Instant::now(),
                side,
                direction,
                kind: kind(text),
                payload,
            };
            entry.frames.push(frame, store.frames_limit());
        });
    }

    /// Counts an event of a subscription.
    pub fn event(&self) {
        self.update(|_, entry| entry.count_event());
    }

    fn update(&self, change: impl FnOnce(&Store, &mut Entry)) {
        if let Some(Captured { store, id }) = self.0.as_deref() {
            store.update(*id, |entry| change(store, entry));
        }
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        if self.store.read(self.id, Entry::is_live) == Some(true) {
            self.store.update(self.id, end);
        }
    }
}

/// Returns the type of a message.
fn kind(text: &str) -> String {
    let message: Option<MessageType<'_>> = serde_json::from_str(text).ok();
    let kind = message.and_then(|message| message.kind);
    let kind = kind.unwrap_or(Cow::Borrowed("message"));
    kind.chars().take(MAX_KIND).collect()
}

fn end(entry: &mut Entry) {
    let took = entry.begun.elapsed();
    entry.total.get_or_insert(took);
}

/// Returns the number of errors in the response to a GraphQL operation, if it was stored whole.
fn graphql_errors(entry: &Entry) -> Option<usize> {
    entry.facts.operation?;
    let body = entry.response_body.as_ref()?;
    let is_whole = !body.is_truncated() && body.stored.first() == Some(&b'{');
    let response: ResponseErrors = is_whole
        .then(|| serde_json::from_slice(&body.stored).ok())
        .flatten()?;
    response
        .errors
        .map(|errors| errors.len())
        .filter(|count| *count > 0)
}
