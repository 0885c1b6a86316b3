//! The bound of what waits, and the count of what was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use parking_lot::Mutex;
use tracing::warn;

use super::super::tasks::{Task, caught};

/// Of spans that have ended and are not sent.
pub(super) const MOST: usize = 2048;
/// Between two lines on spans that were dropped.
const QUIET: Duration = Duration::from_secs(60);

/// How many spans wait, and how many were dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    losses: Mutex<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    all: usize,
    told: usize,
    told_at: Option<Instant>,
    /// Why a batch was last not sent.
    cause: Option<String>,
}

impl Queue {
    /// Whether there was room.
    fn enter(&self) -> bool {
        let has_room = self.waiting.fetch_add(1, Ordering::AcqRel) < MOST;
        if !has_room {
            self.leave(1);
            self.lose(1);
        }
        has_room
    }

    fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    /// Spans in the queue are never sent.
    pub(super) fn abandon(&self) {
        let left = self.waiting.swap(0, Ordering::AcqRel);
        self.lose(left);
        self.tell(Duration::ZERO);
    }

    fn lose(&self, count: usize) {
        self.losses.lock().all += count;
    }

    pub(super) fn note_cause(&self, cause: String) {
        self.losses.lock().cause = Some(cause);
    }

    /// Logs what was dropped since the last time, if that was so long ago.
    fn tell(&self, quiet: Duration) {
        let mut losses = self.losses.lock();
        let is_due = losses.told_at.is_none_or(|at| at.elapsed() >= quiet);
        if losses.all == losses.told || !is_due {
            return;
        }
        let spans = losses.all - losses.told;
        let (total, cause) = (losses.all, losses.cause.take());
        losses.told = losses.all;
        losses.told_at = Some(Instant::now());
        drop(losses);
        warn!(
            spans,
            total,
            cause,
            "spans were dropped: the collector does not accept them (traces.endpoint)"
        );
    }
}

/// Lets no more spans in than may wait.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) batches: BatchSpanProcessor,
    pub(super) queue: Arc<Queue>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what leaves the queue, and what of it was not taken.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) exporter: OtlpExporter,
    pub(super) queue: Arc<Queue>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = caught(Task::Traces, self.exporter.export(batch)).await;
        let exported = exported
            .unwrap_or_else(|panicked| Err(OTelSdkError::InternalFailure(panicked.to_string())));
        self.queue.leave(count);
        if exported.is_err() {
            self.queue.lose(count);
        }
        self.queue.tell(QUIET);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_spans_wait_than_may() {
        let queue = Queue::default();
        for _ in 0..MOST {
            assert!(queue.enter());
        }
        assert!(!queue.enter());
        assert!(!queue.enter());
        assert_eq!(queue.losses.lock().all, 2);
        queue.leave(512);
        for _ in 0..512 {
            assert!(queue.enter());
        }
        assert!(!queue.enter());
    }

    #[test]
    fn losses_are_reported_at_most_once_a_minute() {
        let queue = Queue::default();
        queue.tell(QUIET);
        assert!(queue.losses.lock().told_at.is_none());
        queue.lose(1);
        queue.tell(QUIET);
        queue.lose(2);
        queue.tell(QUIET);
        assert_eq!(queue.losses.lock().told, 1);
        queue.tell(Duration::ZERO);
        assert_eq!(queue.losses.lock().told, 3);
    }
}
