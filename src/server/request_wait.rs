//! Limits how long a connection waits for its next request.
//!
//! A connection may be idle for `timeouts.idle_client`. Once the head of a request has begun, it must be
//! complete within `timeouts.request_head`. While the connection waits, it can be evicted.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::config::ServerConfig;
use super::eviction::{Candidate, Evictions};
use crate::deadline::Deadline;

/// The timers of a connection between two requests.
#[derive(Debug)]
pub(super) struct RequestWait {
    idle: Duration,
    head: Duration,
    evictions: Evictions,
    current: Option<Wait>,
    deadline: Deadline,
}

/// What has arrived of the next request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Awaited,
    Begun,
    /// hyper has not handled the request yet. Its connection must not be evicted.
    Complete,
}

/// The wait for one request.
#[derive(Debug)]
struct Wait {
    /// The number of requests that the connection sent before this one.
    requests: usize,
    since: Instant,
    head_since: Option<Instant>,
    candidate: Candidate,
}

impl RequestWait {
    pub(super) fn new(config: &ServerConfig, evictions: Evictions) -> Self {
        Self {
            idle: config.idle_client,
            head: config.request_head_timeout,
            evictions,
            current: None,
            deadline: Deadline::default(),
        }
    }

    /// Resolves with the reason to close the connection. `requests` is the number of requests that have
    /// begun on it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        requests: usize,
        head: Head,
    ) -> Poll<io::Error> {
        let now = Instant::now();
        let known = self.current.take();
        let known = known.filter(|known| known.requests == requests);
        let wait = self.current.insert(known.unwrap_or_else(|| Wait {
            requests,
            since: now,
            head_since: None,
            candidate: self.evictions.candidate(),
        }));
        if wait.head_since.is_none() && head != Head::Awaited {
            wait.head_since = Some(now);
        }
        let (deadline, reason) = match wait.head_since {
            Some(since) => (
                since + self.head,
                "the request's head took too long (timeouts.request_head)",
            ),
            None => (
                wait.since + self.idle,
                "the connection was idle (timeouts.idle_client)",
            ),
        };
        if head != Head::Complete && wait.candidate.poll_chosen(cx).is_ready() {
            let reason = "evicted because the connection limit was reached (limits.connections)";
            return Poll::Ready(io::Error::other(reason));
        }
        ready!(self.deadline.poll(cx, deadline));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason))
    }

    /// Ends the wait because a request has arrived.
    pub(super) fn end(&mut self) {
        self.current = None;
    }

    /// Ends the wait because the connection closes.
    pub(super) fn close(&mut self) {
        if let Some(wait) = self.current.take() {
            wait.candidate.close();
        }
    }
}
