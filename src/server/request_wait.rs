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

    /// Ends all waits because the connection was upgraded. The timer would keep the memory of the
    /// connection's task, which it wakes, long after the task has ended.
    pub(super) fn end_all(&mut self) {
        self.current = None;
        self.deadline = Deadline::default();
    }

    /// Ends the wait because the connection closes.
    pub(super) fn close(&mut self) {
        if let Some(wait) = self.current.take() {
            wait.candidate.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    use super::*;

    struct ConnectionTask;

    impl Wake for ConnectionTask {
        fn wake(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn upgraded_connection_does_not_keep_its_task() {
        let config = ServerConfig {
            connections: 1,
            in_flight: 1,
            buffered: 0,
            buffered_connection: 0,
            request_head: 0,
            request_head_timeout: Duration::from_secs(10),
            idle_client: Duration::from_secs(10),
            write: Duration::from_secs(10),
        };
        let task = Arc::new(ConnectionTask);
        let waker = Waker::from(Arc::clone(&task));
        let mut wait = RequestWait::new(&config, Evictions::default());
        let mut context = Context::from_waker(&waker);
        assert!(wait.poll(&mut context, 0, Head::Awaited).is_pending());
        drop(waker);
        // The timer outlives each wait.
        wait.end();
        assert_eq!(Arc::strong_count(&task), 2);
        wait.end_all();
        assert_eq!(Arc::strong_count(&task), 1);
    }
}
