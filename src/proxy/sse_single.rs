//! The requests of GraphQL over SSE's "single connection": `PUT` reserves a stream, `GET` opens
//! it, `POST` starts an operation on it, `DELETE` stops one.

use std::borrow::Cow;

use countersign_protocol::dialect::{SSE_CONTENT_TYPE, StreamRequest, StreamResponse};
use countersign_protocol::graphql::{is_object, shown};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::body::Body;
use super::call::Call;
use super::content_type::check_type;
use super::error::Error;
use super::request_body;
use super::stream::head;
use crate::session::{OpenOutcome, StreamOwner};
use crate::sign::decode;
use crate::telemetry::Record;

const TOKEN: HeaderName = HeaderName::from_static("x-graphql-event-stream-token");

/// Returns the token of a stream, if the request has one that is not empty.
pub(super) fn token(request: &Request<Incoming>) -> Option<String> {
    let by_header = request.headers().get(TOKEN);
    let by_header = by_header.map(|value| String::from_utf8_lossy(value.as_bytes()));
    by_header
        .map(Cow::into_owned)
        .or_else(|| parameter(request.uri(), "token"))
        .filter(|token| !token.is_empty())
}

/// Reserves a stream, and responds with its token.
pub(super) fn reserve(call: Call<'_>, headers: HeaderMap) -> Result<Response<Body>, Error> {
    let client = call.session_client(headers);
    let token = call.sessions.reserve(client);
    let token = token.ok_or(Error::StreamsExhausted)?;
    let mut response = Response::new(Body::full(token.as_str().to_owned()));
    *response.status_mut() = StatusCode::CREATED;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

/// Serves a request that names a stream, by its method.
pub(super) async fn serve(
    call: Call<'_>,
    token: &str,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (request, body) = request.into_parts();
    let streams = call.sessions.reserved();
    let owner = &StreamOwner::new(&call.route.name, call.admission);
    let outcome = match request.method {
        Method::GET if call.accept.response_format(None).is_none() => {
            return Err(Error::NotAcceptable);
        }
        Method::GET => {
            return match streams.open(owner, token) {
                OpenOutcome::Opened(pieces) => Ok(head(SSE_CONTENT_TYPE, Body::pieces(pieces))),
                OpenOutcome::AlreadyOpen => Err(Error::StreamOpen),
                OpenOutcome::NotFound => Err(Error::StreamNotFound),
            };
        }
        Method::POST => {
            check_type(&request.headers)?;
            let body = request_body::read_json(call.route, body, &call.client.slot, record).await?;
            if !is_object(&body) {
                return Err(Error::NoQuery);
            }
            let operation = StreamRequest::parse(&body).map_err(Error::MalformedJson)?;
            streams.start(owner, token, operation).await
        }
        Method::DELETE => {
            let id = parameter(&request.uri, "operationId").filter(|id| !id.is_empty());
            let id = id.ok_or(Error::StreamOperationId("is missing"))?;
            streams.stop(owner, token, id).await
        }
        Method::PUT if streams.contains(owner, token) => return Err(Error::StreamRegistered),
        Method::PUT => return reserve(call, request.headers),
        method => {
            return Err(Error::Method {
                method: shown(method.as_str()),
                allow: "GET, POST, PUT, DELETE",
            });
        }
    };
    let status = match outcome.ok_or(Error::StreamNotFound)? {
        StreamResponse::Started => StatusCode::ACCEPTED,
        StreamResponse::Stopped => StatusCode::OK,
        StreamResponse::NoOperationId => return Err(Error::StreamOperationId("is missing")),
        StreamResponse::BadOperationId(reason) => return Err(Error::StreamOperationId(reason)),
        StreamResponse::DuplicateId => return Err(Error::StreamOperationExists),
        StreamResponse::TooManyQueued => return Err(Error::StreamNotOpened),
    };
    let mut response = Response::new(Body::full(""));
    *response.status_mut() = status;
    Ok(response)
}

fn parameter(uri: &Uri, parameter: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let mut found = pairs.filter_map(|pair| pair.split_once('='));
    let (_, value) = found.find(|(name, _)| *name == parameter)?;
    decode(value).ok()
}
