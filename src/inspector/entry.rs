//! An entry: one request, or one operation on a socket or stream.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::mask::Header;
use super::payload::{Payload, allocation};

/// What the record of a request contains.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub method: &'static str,
    pub route: Option<Arc<str>>,
    pub operation: Option<&'static str>,
    /// The name of the operation.
    pub name: Option<String>,
    pub client: Option<SocketAddr>,
    /// The name of the client's token.
    pub token: Option<Arc<str>>,
    pub status: u16,
    pub code: Option<String>,
    pub sent: Option<&'static str>,
    /// AWS's request id.
    pub request_id: Option<String>,
    pub error: Option<String>,
    pub cause: Option<String>,
    pub rejection: Option<RejectionFacts>,
    pub bytes_in: usize,
    pub bytes_out: usize,
    pub signing: Duration,
    pub connect: Duration,
    pub first_byte: Duration,
}

/// What is known about a rejection by AWS, beside the name of its cause.
#[derive(Clone, Debug, Default)]
pub struct RejectionFacts {
    pub confidence: String,
    pub identity: Option<String>,
    pub denied: Option<String>,
    pub fix: String,
}

/// A realtime connection.
#[derive(Clone, Debug)]
pub struct ShownConnection {
    pub id: u64,
    pub subscriptions: usize,
    /// The maximum number of subscriptions.
    pub limit: usize,
    /// The ids of the entries whose subscriptions share it.
    pub entries: Vec<u64>,
}

/// A request or an operation, as far as it is known.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// The number of its last change.
    pub(super) revision: u64,
    pub(super) time: SystemTime,
    pub(super) begun: Instant,
    pub(super) protocol: &'static str,
    /// The method as it was sent; the record's may be `OTHER`.
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) query: Option<Payload>,
    pub(super) facts: Facts,
    /// How long it took; `None` while it is in progress.
    pub(super) total: Option<Duration>,
    pub(super) request_headers: Vec<Header>,
    pub(super) request_body: Option<Payload>,
    pub(super) response_status: Option<u16>,
    pub(super) response_headers: Vec<Header>,
    pub(super) response_body: Option<Payload>,
    pub(super) upstream: Option<Upstream>,
    pub(super) frames: Frames,
    /// The events of a subscription.
    pub(super) events: u64,
    /// When the latest events arrived.
    pub(super) recent: VecDeque<Instant>,
    /// The number of errors in a GraphQL response.
    pub(super) graphql_errors: Option<usize>,
    /// The entry that this one repeats; 0 for a request that was written in the inspector.
    pub(super) replay_of: Option<u64>,
    /// The memory that it occupies, in bytes.
    pub(super) cost: usize,
}

/// A request as it was signed and sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstream {
    pub(super) method: String,
    /// Scheme, host and path.
    pub(super) url: String,
    pub(super) query: String,
    pub(super) headers: Vec<Header>,
    pub(super) canonical_request: Option<String>,
    pub(super) string_to_sign: Option<String>,
    pub(super) attempts: u32,
    /// The status of AWS's response.
    pub(super) status: Option<u16>,
}

/// The latest messages of an operation.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) stored: VecDeque<Frame>,
    /// The index of the next one.
    pub(super) next: u64,
    cost: usize,
}

/// Where a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between the client and countersign.
    Client,
    /// Between countersign and AWS.
    Upstream,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// countersign received it.
    In,
    /// countersign sent it.
    Out,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) index: u64,
    pub(super) at: Instant,
    pub(super) side: Side,
    pub(super) direction: Direction,
    /// The type of the message.
    pub(super) kind: String,
    pub(super) payload: Payload,
}

/// The memory of an entry without its texts, but with its places in the store's maps.
const BASE: usize = allocation(size_of::<Entry>()) + PLACES;
/// The memory of an entry's places in the store's maps: 40 bytes in nodes that may be less than half full, and the
/// nodes above them.
const PLACES: usize = 128;
/// This part is added for the holes that evicted entries leave: texts of other lengths fill them only partly.
const HOLES: usize = 4;
/// How many events the rate is computed from.
const RECENT: usize = 64;
/// The period over which the rate of events is computed.
pub(super) const RATE_PERIOD: Duration = Duration::from_secs(10);

impl Entry {
    pub(super) fn new(id: u64, protocol: &'static str, time: SystemTime) -> Self {
        Self {
            id,
            revision: 0,
            time,
            begun: Instant::now(),
            protocol,
            method: None,
            path: None,
            query: None,
            facts: Facts::default(),
            total: None,
            request_headers: Vec::new(),
            request_body: None,
            response_status: None,
            response_headers: Vec::new(),
            response_body: None,
            upstream: None,
            frames: Frames::default(),
            events: 0,
            recent: VecDeque::new(),
            graphql_errors: None,
            replay_of: None,
            cost: BASE,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.total.is_none()
    }

    /// Computes the memory that the entry occupies.
    pub(super) fn measure(&mut self) {
        let string = |text: &String| allocation(text.capacity());
        let text = |text: &Option<String>| text.as_ref().map_or(0, string);
        let payload = |payload: &Option<Payload>| payload.as_ref().map_or(0, Payload::cost);
        let headers = |headers: &Vec<Header>| -> usize {
            let all = headers.iter();
            let texts = all.map(|header| string(&header.name) + text(&header.value));
            allocation(headers.capacity() * size_of::<Header>()) + texts.sum::<usize>()
        };
        let facts = &self.facts;
        let texts = [
            &facts.name,
            &facts.code,
            &facts.request_id,
            &facts.error,
            &facts.cause,
            &self.method,
            &self.path,
        ];
        let rejection = facts.rejection.as_ref().map_or(0, |rejection| {
            string(&rejection.fix)
                + string(&rejection.confidence)
                + text(&rejection.identity)
                + text(&rejection.denied)
        });
        let upstream = self.upstream.as_ref().map_or(0, |upstream| {
            string(&upstream.method)
                + string(&upstream.url)
                + string(&upstream.query)
                + headers(&upstream.headers)
                + text(&upstream.canonical_request)
                + text(&upstream.string_to_sign)
        });
        let own = BASE
            + texts.into_iter().map(text).sum::<usize>()
            + rejection
            + payload(&self.query)
            + payload(&self.request_body)
            + payload(&self.response_body)
            + headers(&self.request_headers)
            + headers(&self.response_headers)
            + upstream
            + self.frames.cost
            + allocation(self.recent.capacity() * size_of::<Instant>());
        self.cost = own + own / HOLES;
    }

    /// Counts an event that was delivered to the client.
    pub(super) fn count_event(&mut self) {
        self.events += 1;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Instant::now());
    }

    /// Returns the number of events per second.
    pub(super) fn rate(&self) -> f64 {
        let now = Instant::now();
        let is_recent = |at: &&Instant| now.duration_since(**at) <= RATE_PERIOD;
        let recent: Vec<&Instant> = self.recent.iter().filter(is_recent).collect();
        let Some(first) = recent.first().filter(|_| self.is_live()) else {
            return 0.0;
        };
        // All stored events may be from a part of the period only.
        let period = if recent.len() == RECENT {
            now.duration_since(**first)
        } else {
            RATE_PERIOD
        };
        recent.len() as f64 / period.as_secs_f64().max(0.001)
    }

    /// Drops what takes the most memory, and keeps the summary.
    pub(super) fn strip(&mut self) {
        self.frames.shrink(0);
        let payloads = [&mut self.request_body, &mut self.response_body];
        for payload in payloads.into_iter().flatten() {
            payload.forget();
        }
        self.measure();
    }
}

impl Frames {
    /// Adds a frame, and drops the oldest ones beyond `limit` bytes.
    pub(super) fn push(&mut self, mut frame: Frame, limit: usize) {
        frame.index = self.next;
        self.next += 1;
        self.cost += frame.cost();
        self.stored.push_back(frame);
        self.shrink(limit);
    }

    fn shrink(&mut self, limit: usize) {
        while self.cost > limit
            && let Some(oldest) = self.stored.pop_front()
        {
            self.cost -= oldest.cost();
        }
        if self.stored.is_empty() {
            self.stored.shrink_to_fit();
        }
    }

    /// Returns the index of the oldest stored frame.
    pub(super) fn first(&self) -> u64 {
        self.stored.front().map_or(self.next, |frame| frame.index)
    }
}

impl Frame {
    fn cost(&self) -> usize {
        // The queue may have room for twice as many.
        2 * size_of::<Self>() + allocation(self.kind.capacity()) + self.payload.cost()
    }
}
