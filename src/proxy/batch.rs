//! Several operations in one `POST`, as Apollo's BatchHttpLink sends them. AppSync does not support
//! batches, so each operation is signed and sent on its own, and the responses keep the order.
//!
//! Each response is written as soon as those before it are. A few operations run at once, and only one
//! long response is read at a time, so that a batch holds no more than its connection's share of the
//! budget.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{Documents, Event, GraphqlError, Inspected, OperationKind};
use futures_util::{StreamExt as _, stream};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::accept::{Media, ResponseFormat};
use super::body::Body;
use super::call::Call;
use super::error::{Error, graphql_error, refused};
use crate::guard::{Admission, OperationPolicies};
use crate::inspector::Capture;
use crate::memory::{Buffer, Memory, Share};
use crate::operation::{AppSyncApi, RequestedOperation, admit, identified};
use crate::telemetry::tasks::{Task, caught};
use crate::telemetry::{Record, RequestId, Trace};
use crate::upstream::Upstream;

/// The parts that all operations of a batch share.
struct Batch {
    api: Arc<AppSyncApi>,
    documents: Documents,
    upstream: Arc<Upstream>,
    policies: OperationPolicies,
    memory: Memory,
    expired: CancellationToken,
    share: Share,
    /// The name of the client's token, for the log.
    token: Option<Arc<str>>,
    /// The id of the request.
    request_id: RequestId,
    client_address: Option<SocketAddr>,
    headers: HeaderMap,
    capture: Capture,
}

/// How many operations of a batch run at once.
const CONCURRENCY: usize = 8;

/// Returns the operations of a batch; `None` if the body is not an array, or an empty one.
pub fn items(body: &[u8]) -> Result<Option<Vec<&RawValue>>, Error> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return Ok(None);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(Error::MalformedJson)?;
    Ok((!items.is_empty()).then_some(items))
}

/// Runs the operations of a batch. Their responses are streamed in the order of the operations.
pub(super) async fn run(
    call: Call<'_>,
    mut headers: HeaderMap,
    items: Vec<Bytes>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let Some(ResponseFormat::Json(_)) = call.accept.response_format(None) else {
        return Err(Error::NotAcceptable);
    };
    let limit = call.route.requests.batch;
    if items.len() > limit {
        return Err(Error::Batch(limit));
    }
    record.operation = Some("batch");
    record.trace.pass_on(&mut headers);
    call.route.headers.filter_session(&mut headers);
    let batch = Arc::new(Batch::new(call, headers, record.capture.clone()));
    let sessions = Arc::clone(call.sessions);
    let mut turn = CancellationToken::new();
    turn.cancel();
    let responses = stream::iter(items).map(move |item| {
        let done = CancellationToken::new();
        let turn = std::mem::replace(&mut turn, done.clone());
        let batch = Arc::clone(&batch);
        let id = batch.request_id.clone();
        // A task of its own goes on while the client reads the responses before it.
        let executed = caught(Task::Operation, async move {
            let _done = done.drop_guard();
            batch.run_operation(item, turn).await
        });
        sessions.spawn(async move {
            executed.await.unwrap_or_else(|panicked| {
                let error = GraphqlError::coded(panicked.to_string(), Code::Internal, Sent::Maybe);
                errors(&[identified(error, &id)])
            })
        })
    });
    let responses = responses.buffered(CONCURRENCY).map(|response| {
        response.unwrap_or_else(|_| errors(&[GraphqlError::new("the operation was interrupted")]))
    });
    let mut responses = Box::pin(responses);
    // The request counts as in flight until the first response.
    let first = responses.next().await;
    let responses = stream::iter(first).chain(responses).enumerate();
    let pieces = responses.flat_map(|(at, response)| {
        let before = if at == 0 { "[" } else { "," };
        stream::iter([Bytes::from_static(before.as_bytes()), response])
    });
    let pieces = pieces.chain(stream::iter([Bytes::from_static(b"]")]));
    let mut response = Response::new(Body::batch(Box::pin(pieces)));
    let json = HeaderValue::from_static(Media::Json.as_str());
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

impl Batch {
    fn new(call: Call<'_>, headers: HeaderMap, capture: Capture) -> Self {
        let token = match call.admission {
            Admission::Granted(grant) => grant.name.clone(),
            Admission::Pending(_) => None,
        };
        Self {
            api: Arc::clone(call.api),
            documents: call.sessions.documents().clone(),
            upstream: Arc::clone(&call.route.upstream),
            policies: call.policies.clone(),
            memory: call.route.memory.clone(),
            expired: call.route.expired.clone(),
            share: call.client.share.clone(),
            token,
            request_id: call.request_id.clone(),
            client_address: call.client.peer,
            headers,
            capture,
        }
    }

    /// Runs one operation and returns its response as JSON text. A long response is read only when
    /// `turn` is cancelled.
    async fn run_operation(&self, item: Bytes, turn: CancellationToken) -> Bytes {
        let inspected = Inspected::body(&item, &self.documents, !self.policies.is_empty());
        let (selected, inspected) = match inspected {
            Ok(inspected) => inspected,
            Err(error) => return errors(&[graphql_error(&error.into(), &self.request_id)]),
        };
        let mut record = Record::new("POST");
        record.id = self.request_id.clone();
        record.client_address = self.client_address;
        record.trace = Trace::begin(&self.headers);
        record.capture = self.capture.part("http", &self.headers);
        record.set_route(self.upstream.metrics());
        record.token.clone_from(&self.token);
        if let Some(Ok(selected)) = &selected {
            if selected.kind == OperationKind::Subscription {
                return errors(&[refused(&Error::SubscriptionOverHttp, &mut record)]);
            }
            record.operation = Some(selected.kind.as_str());
            record.set_name(selected.name.as_deref());
        }
        if let Err(reason) = admit(
            &self.memory,
            &self.policies,
            RequestedOperation::Graphql(&inspected),
        ) {
            return errors(&[refused(&Error::from(reason), &mut record)]);
        }
        let kind = selected.and_then(Result::ok).map(|selected| selected.kind);
        let buffer = Buffer::new(&self.share, 1).after(turn);
        let (body, headers) = (inspected.into_body(), self.headers.clone());
        let executed = self.api.execute(body, headers, kind, buffer, &mut record);
        let outcome = tokio::select! {
            outcome = executed => Some(outcome),
            () = self.expired.cancelled() => None,
        };
        let Some((result, ending)) = outcome else {
            return errors(&[refused(&Error::Expired, &mut record)]);
        };
        record.write();
        match (result, ending) {
            (Some(json), _) => json.to_bytes(),
            (None, Event::Error(list)) => errors(&list),
            (None, _) => errors(&[GraphqlError::new("upstream sent no response")]),
        }
    }
}

fn errors(list: &[GraphqlError]) -> Bytes {
    Bytes::from(json!({ "errors": list }).to_string())
}
