//! AppSync Events over HTTP: publish by `POST`, listen by `GET` with `text/event-stream`.
//!
//! On the route's own path a `POST` has AppSync's envelope, `{"channel","events"}`; on a path
//! below, which is then the channel, its body is one event, or several in an array.

use bytes::Bytes;
use countersign_protocol::dialect::EventsSse;
use countersign_protocol::error_code::Code;
use countersign_protocol::events::{Channel, Publish, Subscribe};
use countersign_protocol::graphql::{GraphqlError, shown};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::accept::Media;
use super::body::Body;
use super::call::Call;
use super::content_type::check_type;
use super::error::Error;
use super::forward::send;
use super::relay_graphql::relay_graphql;
use super::request_body;
use super::stream::{begin, not_opened};
use crate::operation::RequestedOperation;
use crate::session::StreamOperation;
use crate::sign::decode;
use crate::telemetry::Record;
use crate::upstream::{Repeat, UpstreamRequest};

/// Serves a request on an Events route, by its method.
pub(super) async fn serve(
    call: Call<'_>,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (mut head, body) = request.into_parts();
    let below = head.uri.path().strip_prefix(call.route.path.as_str());
    let below = below.unwrap_or_default();
    match head.method {
        Method::POST => {
            record.operation = Some("publish");
            call.admit(RequestedOperation::Publish)?;
            check_type(&head.headers)?;
            let body = request_body::read_json(call.route, body, &call.client.slot, record).await?;
            let body = match below {
                "" | "/" => body,
                channel => envelope(channel, &body)?,
            };
            publish(call, head.headers, body, record).await
        }
        Method::GET => {
            record.operation = Some("subscribe");
            if !call.accept.accepts_events() {
                return Err(Error::EventsNotAcceptable);
            }
            call.admit(RequestedOperation::Subscribe)?;
            let channel = channel_parameter(head.uri.query().unwrap_or_default())?;
            let channel = channel.unwrap_or_else(|| below.to_owned());
            record.trace.pass_on(&mut head.headers);
            subscribe(call, head.headers, &channel).await
        }
        method => Err(Error::Method {
            method: shown(method.as_str()),
            allow: "GET, POST",
        }),
    }
}

async fn publish(
    call: Call<'_>,
    mut headers: HeaderMap,
    body: Bytes,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    call.route.headers.filter_request(&mut headers);
    let json = HeaderValue::from_static(Media::Json.as_str());
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    let mut request = UpstreamRequest {
        method: Method::POST,
        target: call.api.target(),
        headers,
        body,
        repeat: Repeat::Never,
    };
    let sent = send(call.route, &mut request, record).await?;
    drop(request);
    let upstream = &call.route.upstream;
    let share = &call.client.share;
    relay_graphql(upstream, sent, Media::Json, false, share, record).await
}

async fn subscribe(
    call: Call<'_>,
    headers: HeaderMap,
    channel: &str,
) -> Result<Response<Body>, Error> {
    let bad = |error: countersign_protocol::events::ChannelError| Error::Parameter {
        name: "channel",
        problem: format!("is missing or malformed: {error}"),
    };
    let subscribe = Subscribe {
        channel: Channel::pattern(channel).map_err(bad)?,
        headers: Vec::new(),
    };
    let client = call.session_client(headers);
    let work = StreamOperation::Subscribe(subscribe);
    let sessions = call.sessions;
    let opened = sessions.stream(EventsSse::default(), work, client).await;
    let opened = opened.ok_or_else(|| not_opened(sessions))?;
    match opened.failed {
        Some(errors) => Err(not_read(errors)),
        None => Ok(begin(opened)),
    }
}

/// Returns the error for a channel that cannot be read. A mistake of the client has the code that it has over
/// other protocols.
fn not_read(errors: Vec<GraphqlError>) -> Error {
    let code = Code::HeaderNotForwardable.as_str();
    // Errors of AppSync have a type.
    let is_mistake = |error: &&GraphqlError| {
        let extensions = &error.extensions;
        extensions.get("code").is_some_and(|found| found == code)
            && !extensions.contains_key("errorType")
    };
    match errors.first().filter(is_mistake) {
        Some(error) => Error::HeaderNotForwardable(error.message.clone()),
        None => Error::EventsRefused(errors),
    }
}

/// Returns the value of `?channel=`, unless it is empty.
fn channel_parameter(query: &str) -> Result<Option<String>, Error> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, value)| *name == "channel" && !value.is_empty());
    Ok(found.map(|(_, value)| decode(value)).transpose()?)
}

/// Puts bare JSON into AppSync's envelope.
///
/// # Errors
/// When `channel` is not a channel, or the body is not an event.
pub fn envelope(channel: &str, body: &[u8]) -> Result<Bytes, Error> {
    let channel = Channel::exact(channel).map_err(|error| Error::Events(error.to_string()))?;
    let events: Vec<&RawValue> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map_err(Error::MalformedJson)?,
        Some(_) | None => vec![serde_json::from_slice(body).map_err(Error::MalformedJson)?],
    };
    if events.is_empty() {
        return Err(Error::Events("the array is empty".to_owned()));
    }
    let publish = Publish {
        channel,
        events: events.iter().map(|event| event.get().to_owned()).collect(),
        headers: Vec::new(),
    };
    Ok(Bytes::from(publish.to_body()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(channel: &str, body: &str, expected: Option<&str>) {
        let found = envelope(channel, body.as_bytes()).ok();
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
    }

    #[test]
    fn bare_events_are_enveloped() {
        check(
            "/default/a",
            r#"{"m": 1}"#,
            Some(r#"{"channel":"/default/a","events":["{\"m\": 1}"]}"#),
        );
        check(
            "/default/a",
            r#" [1, "x"]"#,
            Some(r#"{"channel":"/default/a","events":["1","\"x\""]}"#),
        );
        for body in ["", "[]", "{", "[1,]", "nonsense"] {
            check("/default/a", body, None);
        }
        check("/de fault", "1", None);
        check("/default/*", "1", None);
    }
}
