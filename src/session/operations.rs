//! The running operations of one session.
//!
//! Each query, mutation and publish runs as a task, each subscription in the pool. Their events arrive
//! in the session's outbox under the key of the operation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::events::{Publish, Subscribe};
use countersign_protocol::graphql::{
    Event, GraphqlError, Inspected, OperationKey, OperationKind, SelectedOperation,
};
use futures_util::future::join_all;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::context::SessionContext;
use super::failure::record_failure;
use crate::guard::{Admission, Grant, OperationPolicies};
use crate::inspector::Capture;
use crate::memory::Buffer;
use crate::operation::{
    HeaderError, LiveSubscription, NotAdmitted, RequestedOperation, admit, from_entries,
    identified, identify_own,
};
use crate::outbox::Outbox;
use crate::telemetry::metrics::{GaugeGuard, metrics};
use crate::telemetry::tasks::{Task, caught};
use crate::telemetry::{EndedBy, Record, RequestId, TRACEPARENT, TRACESTATE, Trace, UpstreamSpan};

/// The running operations of one session. Dropping them stops them.
pub(super) struct Operations {
    context: Arc<SessionContext>,
    outbox: Outbox,
    /// The name of the client's token, for the log.
    token: Option<Arc<str>>,
    policies: OperationPolicies,
    running: HashMap<OperationKey, Running>,
    /// Cancelled when the latest publish has ended.
    published: Option<CancellationToken>,
    /// The capture of the latest operation.
    latest: Capture,
}

/// A running operation. Dropping it stops it.
enum Running {
    Request {
        noun: &'static str,
        id: RequestId,
        _task: AbortOnDropHandle<()>,
    },
    /// On the heap, because the map has room for more operations than most clients have.
    Subscription(Box<RunningSubscription>),
    /// The operation was not sent, and its error waits in the outbox.
    NotAdmitted,
}

struct RunningSubscription {
    /// The span of the start, until upstream has confirmed the subscription.
    span: Option<UpstreamSpan>,
    record: Record,
    /// Counts the subscription.
    _live: GaugeGuard,
    /// Cancelled when upstream has confirmed the subscription.
    started: CancellationToken,
    _subscription: LiveSubscription,
}

/// How long a query or mutation waits until the subscriptions that its client started before are
/// confirmed, so that they receive the events that it causes.
const START_WAIT: Duration = Duration::from_secs(1);

/// A response is in memory twice: as it was received, and in the message that carries it.
const COPIES: usize = 2;

/// Counts the operations that a protocol machine has refused.
pub(super) fn count_refusals(refusals: u64) {
    for _ in 0..refusals {
        metrics().refused(Code::TooManyOperations);
    }
}

impl Operations {
    pub(super) fn new(context: Arc<SessionContext>, outbox: Outbox) -> Self {
        let token = match &context.admission {
            Admission::Granted(grant) => grant.name.clone(),
            Admission::Pending(_) => None,
        };
        let policies = context.policies.clone();
        Self {
            token,
            policies,
            context,
            outbox,
            running: HashMap::new(),
            published: None,
            latest: Capture::default(),
        }
    }

    /// Returns the capture of the operation that was started last.
    pub(super) fn latest(&self) -> &Capture {
        &self.latest
    }

    /// Adds the policies of a token that the client has sent.
    pub(super) fn grant(&mut self, grant: &Grant) {
        self.token.clone_from(&grant.name);
        self.policies = self.policies.and(&grant.policies);
    }

    /// Starts a GraphQL operation.
    pub(super) fn start(
        &mut self,
        key: OperationKey,
        selected: &SelectedOperation,
        inspected: Inspected,
    ) {
        let headers = self.headers(inspected.headers());
        let mut record = self.record(selected.kind.as_str(), &headers);
        record.set_name(selected.name.as_deref());
        if let Err(reason) = self.admit(RequestedOperation::Graphql(&inspected)) {
            return self.refuse(key, reason.code(), reason.to_string(), record);
        }
        let headers = match headers {
            Ok(headers) => headers,
            Err(error) => return self.refuse(key, error.code(), error.to_string(), record),
        };
        match selected.kind {
            OperationKind::Subscription => {
                self.subscribe_to(key, inspected.into_data(), headers, record)
            }
            OperationKind::Query | OperationKind::Mutation => {
                let starting = self.running.values().filter_map(|running| match running {
                    Running::Subscription(subscription) => Some(subscription.started.clone()),
                    Running::Request { .. } | Running::NotAdmitted => None,
                });
                let starting: Vec<CancellationToken> = starting.collect();
                let ready = async move {
                    let all = join_all(starting.iter().map(CancellationToken::cancelled));
                    let _ = tokio::time::timeout(START_WAIT, all).await;
                };
                let kind = Some(selected.kind);
                self.request(key, inspected.into_body(), headers, kind, record, ready);
            }
        }
    }

    /// Subscribes to a channel of AppSync Events.
    pub(super) fn subscribe(&mut self, key: OperationKey, subscribe: &Subscribe) {
        let headers = self.headers(&subscribe.headers);
        let record = self.record("subscribe", &headers);
        if let Err(reason) = self.admit(RequestedOperation::Subscribe) {
            return self.refuse(key, reason.code(), reason.to_string(), record);
        }
        let headers = match headers {
            Ok(headers) => headers,
            Err(error) => return self.refuse(key, error.code(), error.to_string(), record),
        };
        self.subscribe_to(key, subscribe.to_data(), headers, record);
    }

    /// Publishes to a channel of AppSync Events. The publishes of a session are sent one after another, in
    /// the order of the client's messages.
    pub(super) fn publish(&mut self, key: OperationKey, publish: &Publish) {
        let headers = self.headers(&publish.headers);
        let record = self.record("publish", &headers);
        if let Err(reason) = self.admit(RequestedOperation::Publish) {
            return self.refuse(key, reason.code(), reason.to_string(), record);
        }
        let headers = match headers {
            Ok(headers) => headers,
            Err(error) => return self.refuse(key, error.code(), error.to_string(), record),
        };
        let done = CancellationToken::new();
        let before = self.published.replace(done.clone());
        let guard = done.drop_guard();
        let ready = async move {
            if let Some(before) = before {
                before.cancelled().await;
            }
            guard
        };
        let body = publish.to_body().into();
        self.request(key, body, headers, None, record, ready);
    }

    /// Updates the operation of an event: its record, its span, and whether it has ended. Adds the id of a
    /// subscription to errors of countersign. Returns whether the event is to be passed on to the client.
    pub(super) fn record_event(&mut self, key: OperationKey, event: &mut Event) -> bool {
        let Some(running) = self.running.get_mut(&key) else {
            return false;
        };
        if let Running::Subscription(subscription) = running {
            let RunningSubscription {
                span,
                record,
                started,
                ..
            } = &mut **subscription;
            match event {
                // A resumed subscription is confirmed again.
                Event::Started if started.is_cancelled() => return false,
                Event::Started => {
                    started.cancel();
                    *span = None;
                    record.events = Some(0);
                    record.log_started();
                }
                Event::Next(json) => {
                    self.context.metrics().events_delivered.inc();
                    record.bytes_out += json.len();
                    record.events = record.events.map(|events| events + 1);
                    record.capture.event();
                    record.show();
                }
                Event::Error(errors) => {
                    identify_own(errors, &record.id);
                    record_failure(errors, record);
                }
                Event::Lost => {
                    record.code = Some(Code::SubscriptionLost.into());
                    record.sent = Some(Sent::Yes);
                }
                Event::Missed(_) | Event::Complete => {}
            }
        }
        if event.is_ending() {
            self.end(key, EndedBy::Upstream);
        }
        true
    }

    /// Stops an operation on behalf of the client, and writes its record.
    pub(super) fn finish(&mut self, key: OperationKey) {
        self.end(key, EndedBy::Client);
    }

    /// Removes an operation, which stops it, and writes its record.
    fn end(&mut self, key: OperationKey, by: EndedBy) {
        if let Some(Running::Subscription(subscription)) = self.running.remove(&key) {
            let subscription = *subscription;
            subscription.started.cancel();
            let mut record = subscription.record;
            if let (Some(span), Some(code)) = (subscription.span, &record.code) {
                span.end(record.steps(), Err(code.as_str()));
            }
            record.ended_by = record.code.is_none().then_some(by);
            record.write();
        }
    }

    /// Returns whether an operation is running that a client would send again after a retryable close.
    pub(super) fn has_requests(&self) -> bool {
        let is_request = |running: &Running| matches!(running, Running::Request { .. });
        self.running.values().any(is_request)
    }

    /// Ends all operations at the drain's deadline. Returns an error for each query, mutation and publish,
    /// because upstream may have acted on it.
    pub(super) fn expire(&mut self) -> Vec<(OperationKey, Event)> {
        let mut failed_requests = Vec::new();
        for (key, running) in &mut self.running {
            match running {
                Running::Request { noun, id, .. } => {
                    let message = format!("countersign shut down before the {noun} ended");
                    let error = GraphqlError::coded(message, Code::ShuttingDown, Sent::Maybe);
                    failed_requests.push((*key, Event::Error(vec![identified(error, id)])));
                }
                Running::Subscription(subscription) => {
                    let record = &mut subscription.record;
                    record.code = Some(Code::ShuttingDown.into());
                    record.sent = Some(Sent::Maybe);
                }
                Running::NotAdmitted => {}
            }
        }
        self.clear();
        failed_requests
    }

    /// Ends all operations.
    pub(super) fn clear(&mut self) {
        let by = if self.context.draining.is_cancelled() {
            EndedBy::Shutdown
        } else {
            EndedBy::Client
        };
        let keys: Vec<OperationKey> = self.running.keys().copied().collect();
        for key in keys {
            self.end(key, by);
        }
    }

    fn admit(&self, request: RequestedOperation<'_>) -> Result<(), NotAdmitted> {
        admit(&self.context.memory, &self.policies, request)
    }

    /// Ends an operation that is not admitted, and therefore not sent.
    fn refuse(&mut self, key: OperationKey, code: Code, message: String, mut record: Record) {
        let error = GraphqlError::coded(message.as_str(), code, Sent::No);
        let error = identified(error, &record.id);
        metrics().refused(code);
        record.code = Some(code.into());
        record.sent = Some(Sent::No);
        record.error = Some(message);
        record.write();
        self.running.insert(key, Running::NotAdmitted);
        self.outbox.end(key, Event::Error(vec![error]));
    }

    fn subscribe_to(
        &mut self,
        key: OperationKey,
        data: String,
        headers: HeaderMap,
        mut record: Record,
    ) {
        let (owner, outbox) = (self.context.owner, self.outbox.clone());
        let api = &self.context.api;
        let started = api.subscribe(owner, key, data, headers, outbox, &mut record);
        let (subscription, span) = match started {
            Ok(started) => started,
            Err(error) => return self.refuse(key, error.code(), error.to_string(), record),
        };
        let subscription = RunningSubscription {
            span: Some(span),
            record,
            _live: GaugeGuard::new(&self.context.metrics().subscriptions),
            started: CancellationToken::new(),
            _subscription: subscription,
        };
        let running = Running::Subscription(Box::new(subscription));
        self.running.insert(key, running);
    }

    /// Sends a signed request when `ready` resolves. The value of `ready` is dropped when the request has
    /// ended.
    fn request<T: Send>(
        &mut self,
        key: OperationKey,
        body: Bytes,
        headers: HeaderMap,
        kind: Option<OperationKind>,
        mut record: Record,
        ready: impl Future<Output = T> + Send + 'static,
    ) {
        let noun = record.operation.unwrap_or_default();
        let (id, failed_id) = (record.id.clone(), record.id.clone());
        let api = Arc::clone(&self.context.api);
        let outbox = self.outbox.clone();
        let failed = outbox.clone();
        let buffer = Buffer::new(&self.context.share, COPIES);
        let executed = caught(Task::Operation, async move {
            let held_until_end = ready.await;
            let (result, ending) = api.execute(body, headers, kind, buffer, &mut record).await;
            drop(held_until_end);
            record.write();
            if let Some(result) = result {
                outbox.send(key, Event::Next(result)).await;
            }
            match ending.size() {
                0 => outbox.end(key, ending),
                // Long error texts wait until they fit into the outbox, as results do.
                _ => outbox.send(key, ending).await,
            }
        });
        let task = self.context.tasks.spawn(async move {
            if let Err(panicked) = executed.await {
                let error = GraphqlError::coded(panicked.to_string(), Code::Internal, Sent::Maybe);
                failed.end(key, Event::Error(vec![identified(error, &failed_id)]));
            }
        });
        let running = Running::Request {
            noun,
            id,
            _task: AbortOnDropHandle::new(task),
        };
        self.running.insert(key, running);
    }

    /// Returns the record of an operation with these headers. If they are invalid, it belongs to the trace
    /// of the session.
    fn record(
        &mut self,
        operation: &'static str,
        headers: &Result<HeaderMap, HeaderError>,
    ) -> Record {
        let mut record = Record::new(self.context.method);
        // The operation of a stream is that of its request; a socket has many.
        let session_id = &self.context.request_id;
        if session_id.is_given() || self.context.method == "STREAM" {
            record.id = session_id.clone();
        }
        if let Ok(headers) = headers {
            record.identify(headers);
        }
        record.client_address = self.context.client_address;
        let context = &self.context;
        let sent = headers.as_ref().unwrap_or(&context.headers);
        record.trace = Trace::begin(sent);
        record.capture = context.inspector.operation(context.dialect, sent);
        record.set_route(self.context.metrics());
        record.operation = Some(operation);
        record.token.clone_from(&self.token);
        record.show();
        self.latest = record.capture.clone();
        record
    }

    /// Returns the session's headers with those of the operation.
    ///
    /// # Errors
    /// If one of the operation's headers cannot be forwarded.
    fn headers(&self, own: &[(String, String)]) -> Result<HeaderMap, HeaderError> {
        let mut headers = self.context.headers.clone();
        if !own.is_empty() {
            let added = from_entries(own, self.context.api.policy())?;
            // A tracestate belongs to the traceparent that it came with.
            if added.contains_key(TRACEPARENT) {
                headers.remove(TRACESTATE);
            }
            headers.extend(added);
        }
        Ok(headers)
    }
}

impl Drop for Operations {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            if let Running::Subscription(subscription) = running
                && std::thread::panicking()
            {
                let record = &mut subscription.record;
                record.code.get_or_insert(Code::Internal.into());
                record.sent.get_or_insert(Sent::Maybe);
            }
        }
        self.clear();
    }
}
