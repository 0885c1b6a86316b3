//! GraphQL over HTTP: an operation by `POST`, a query or subscription by `GET`, several operations
//! in an array, and the requests of GraphQL over SSE's single connection.
//!
//! The body of a `POST` is forwarded byte for byte. A `POST` whose document cannot be parsed is
//! forwarded, too, so that AppSync reports the error. A `GET` with such a document is rejected, because
//! it might be a mutation. A document that parsers may read differently is rejected if the format of the
//! response depends on the kind of the operation.

use bytes::Bytes;
use countersign_protocol::graphql::{
    Inspected, OperationKind, SelectedOperation, Selection, shown,
};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::accept::{Media, ResponseFormat};
use super::body::Body;
use super::call::Call;
use super::content_type::check_type;
use super::error::Error;
use super::forward::send;
use super::parameters::operation_from_query;
use super::relay_graphql::relay_graphql;
use super::{batch, request_body, sse_single, stream};
use crate::operation::RequestedOperation;
use crate::telemetry::Record;
use crate::upstream::{Repeat, UpstreamRequest};

/// What a client asks for, once it may have it. The futures below hold this instead of all that it was
/// derived from.
enum Asked {
    /// An operation that has a single response.
    Once(Box<SingleOperation>),
    Stream(Box<StreamedOperation>),
    /// A stream that says why there are no results.
    Refused(Box<Response<Body>>),
}

struct SingleOperation {
    headers: HeaderMap,
    body: Bytes,
    media: Media,
    repeat: Repeat,
}

/// An operation whose results are sent as they come. The session checks whether it may run.
struct StreamedOperation {
    headers: HeaderMap,
    format: ResponseFormat,
    selected: SelectedOperation,
    inspected: Box<Inspected>,
}

/// Serves a request on a GraphQL route, by its method.
pub(super) async fn serve(
    call: Call<'_>,
    request: Box<Request<Incoming>>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    if let Some(token) = sse_single::token(&request)
        && (request.method() != Method::GET || !has_parameter(request.uri(), "query"))
    {
        return Box::pin(sse_single::serve(call, &token, *request, record)).await;
    }
    let asked = match *request.method() {
        Method::POST => {
            let (headers, body) = into_headers_and_body(*request);
            check_type(&headers)?;
            let body = request_body::read_json(call.route, body, &call.client.slot, record).await?;
            if let Some(items) = split_batch(&body)? {
                return Box::pin(batch::run(call, headers, items, record)).await;
            }
            posted(call, headers, &body, record)?
        }
        Method::GET => get(call, *request, record)?,
        Method::PUT => return sse_single::reserve(call, request.into_parts().0.headers),
        ref method => {
            return Err(Error::Method {
                method: shown(method.as_str()),
                allow: "GET, POST, PUT, DELETE",
            });
        }
    };
    match asked {
        Asked::Once(operation) => run_once(call, operation, record).await,
        Asked::Stream(operation) => {
            let StreamedOperation {
                headers,
                format,
                selected,
                inspected,
            } = *operation;
            Box::pin(stream::open(call, headers, format, selected, inspected)).await
        }
        Asked::Refused(response) => Ok(*response),
    }
}

/// Drops the rest of the head at once, so that no future holds it.
fn into_headers_and_body(request: Request<Incoming>) -> (HeaderMap, Incoming) {
    let (head, body) = request.into_parts();
    (head.headers, body)
}

/// Returns the operations of a batch; `None` if the body is not an array, or an empty one.
fn split_batch(body: &Bytes) -> Result<Option<Vec<Bytes>>, Error> {
    let items = batch::items(body)?;
    let slice = |item: &&RawValue| body.slice_ref(item.get().as_bytes());
    Ok(items.map(|items| items.iter().map(slice).collect()))
}

fn posted(
    call: Call<'_>,
    headers: HeaderMap,
    body: &Bytes,
    record: &mut Record,
) -> Result<Asked, Error> {
    let documents = call.sessions.documents();
    let is_policed = !call.policies.is_empty();
    let (selection, inspected) = Inspected::body(body, documents, is_policed)?;
    ask(call, headers, selection, inspected, record)
}

fn get(call: Call<'_>, request: Request<Incoming>, record: &mut Record) -> Result<Asked, Error> {
    let mut operation = operation_from_query(request.uri().query().unwrap_or_default())?;
    operation.strip_persisted();
    let documents = call.sessions.documents();
    let (selected, inspected) = Inspected::any_operation(operation, documents);
    if let Ok(selected) = &selected
        && selected.kind == OperationKind::Mutation
    {
        return Err(Error::MutationByGet);
    }
    // A client that accepts only events gets the error in the stream.
    if call.accept.response_format(None) != Some(ResponseFormat::Sse) {
        selected.as_ref().map_err(Clone::clone)?;
    }
    let (headers, _) = into_headers_and_body(request);
    ask(call, headers, Some(selected), inspected, record)
}

/// Determines what a client asks for, in the format that it accepts, and whether it may have it.
fn ask(
    call: Call<'_>,
    mut headers: HeaderMap,
    selection: Selection,
    inspected: Inspected,
    record: &mut Record,
) -> Result<Asked, Error> {
    let selected = selection.as_ref().and_then(|found| found.as_ref().ok());
    if let Some(selected) = selected {
        record_operation(selected, record);
    }
    let kind = selected.map(|selected| selected.kind);
    // Another parser might find a subscription in it, which must not be sent as a query.
    if let Some(Err(error)) = &selection
        && error.is_ambiguous()
        && matches!(
            call.accept.response_format(kind),
            Some(ResponseFormat::Json(_))
        )
        && call
            .accept
            .response_format(Some(OperationKind::Subscription))
            .is_some()
    {
        return Err(Error::DocumentDoubt(error.clone()));
    }
    match call.accept.response_format(kind) {
        None if kind == Some(OperationKind::Subscription) => Err(Error::SubscriptionOverHttp),
        None => Err(Error::NotAcceptable),
        Some(ResponseFormat::Json(media)) => {
            call.admit(RequestedOperation::Graphql(&inspected))?;
            let body = inspected.into_body();
            call.api.check_filters(&body);
            Ok(Asked::Once(Box::new(SingleOperation {
                headers,
                body,
                media,
                repeat: kind.map_or(Repeat::Never, Repeat::from),
            })))
        }
        Some(format @ (ResponseFormat::Sse | ResponseFormat::Multipart)) => match selection {
            Some(Ok(selected)) => {
                record.trace.pass_on(&mut headers);
                let inspected = inspected.into_operation(selected.kind);
                let inspected = Box::new(inspected.map_err(Error::MalformedJson)?);
                Ok(Asked::Stream(Box::new(StreamedOperation {
                    headers,
                    format,
                    selected,
                    inspected,
                })))
            }
            Some(Err(error)) => Ok(Asked::Refused(Box::new(stream::refused(&error)))),
            None => Err(Error::NoQuery),
        },
    }
}

/// Runs an operation that has a single response, and relays it as it arrives.
async fn run_once(
    call: Call<'_>,
    operation: Box<SingleOperation>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let media = operation.media;
    let is_strict = call.route.requests.is_strict;
    let mut request = upstream_request(call, *operation, is_strict);
    let sent = send(call.route, &mut request, record).await?;
    drop(request);
    let upstream = &call.route.upstream;
    let share = &call.client.share;
    relay_graphql(upstream, sent, media, is_strict, share, record).await
}

fn upstream_request(
    call: Call<'_>,
    operation: SingleOperation,
    is_strict: bool,
) -> UpstreamRequest<'_> {
    let mut headers = operation.headers;
    call.route.headers.filter_request(&mut headers);
    let json = HeaderValue::from_static(Media::Json.as_str());
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    headers.remove(CONTENT_ENCODING);
    if is_strict {
        headers.remove(ACCEPT_ENCODING);
    }
    UpstreamRequest {
        method: Method::POST,
        target: call.api.target(),
        headers,
        body: operation.body,
        repeat: operation.repeat,
    }
}

fn record_operation(selected: &SelectedOperation, record: &mut Record) {
    record.operation = Some(selected.kind.as_str());
    record.set_name(selected.name.as_deref());
}

fn has_parameter(uri: &Uri, parameter: &str) -> bool {
    let query = uri.query().unwrap_or_default();
    let mut names = query.split('&').map(|pair| pair.split('=').next());
    names.any(|name| name == Some(parameter))
}
