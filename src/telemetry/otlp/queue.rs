//! Limits the spans that wait to be sent, and counts those that were dropped.

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

/// The maximum number of spans that wait to be sent.
pub(super) const MAX_WAITING: usize = 2048;
/// The minimum time between two log lines about dropped spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Counts the spans that wait and those that were dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    dropped: Mutex<Dropped>,
}

#[derive(Debug, Default)]
struct Dropped {
    total: usize,
    /// How many of them are logged.
    reported: usize,
    reported_at: Option<Instant>,
    /// Why the last batch that failed was not sent.
    cause: Option<String>,
}

impl Queue {
    /// Returns whether a span may wait; it is counted as dropped otherwise.
    fn enter(&self) -> bool {
        let has_room = self.waiting.fetch_add(1, Ordering::AcqRel) < MAX_WAITING;
        if !has_room {
            self.leave(1);
            self.drop_spans(1);
        }
        has_room
    }

    fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    /// Counts the spans that still wait as dropped, because they will not be sent.
    pub(super) fn abandon(&self) {
        let waiting = self.waiting.swap(0, Ordering::AcqRel);
        self.drop_spans(waiting);
        self.report(Duration::ZERO);
    }

    fn drop_spans(&self, count: usize) {
        self.dropped.lock().total += count;
    }

    pub(super) fn set_cause(&self, cause: String) {
        self.dropped.lock().cause = Some(cause);
    }

    /// Logs the spans that were dropped since the last log line, unless it was within `interval`.
    fn report(&self, interval: Duration) {
        let mut dropped = self.dropped.lock();
        let is_due = dropped
            .reported_at
            .is_none_or(|at| at.elapsed() >= interval);
        if dropped.total == dropped.reported || !is_due {
            return;
        }
        let spans = dropped.total - dropped.reported;
        let (total, cause) = (dropped.total, dropped.cause.take());
        dropped.reported = dropped.total;
        dropped.reported_at = Some(Instant::now());
        drop(dropped);
        warn!(
            spans,
            total,
            cause,
            "spans were dropped: the collector does not accept them (traces.endpoint)"
        );
    }
}

/// Drops spans beyond the limit.
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

/// Counts the spans that leave the queue, and those of them that the collector did not accept.
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
            self.queue.drop_spans(count);
        }
        self.queue.report(REPORT_INTERVAL);
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
    fn spans_beyond_the_limit_are_dropped() {
        let queue = Queue::default();
        for _ in 0..MAX_WAITING {
            assert!(queue.enter());
        }
        assert!(!queue.enter());
        assert!(!queue.enter());
        assert_eq!(queue.dropped.lock().total, 2);
        queue.leave(512);
        for _ in 0..512 {
            assert!(queue.enter());
        }
        assert!(!queue.enter());
    }

    #[test]
    fn dropped_spans_are_reported_at_most_once_a_minute() {
        let queue = Queue::default();
        queue.report(REPORT_INTERVAL);
        assert!(queue.dropped.lock().reported_at.is_none());
        queue.drop_spans(1);
        queue.report(REPORT_INTERVAL);
        queue.drop_spans(2);
        queue.report(REPORT_INTERVAL);
        assert_eq!(queue.dropped.lock().reported, 1);
        queue.report(Duration::ZERO);
        assert_eq!(queue.dropped.lock().reported, 3);
    }
}
