//! GraphQL over HTTP: an operation by `POST`, a query or subscription by `GET`, several operations
//! in an array, and the requests of GraphQL over SSE's single connection.
//!
//! The body of a `POST` is forwarded byte for byte; it is looked into only for the operation's
//! kind and name. A document that cannot be parsed goes to AppSync as it is, which knows best
//! what to answer; by `GET` it is refused, because it might be a mutation. So is a document that
//! parsers may read differently, wherever the answer's form depends on the operation's kind.

use countersign_protocol::graphql::{Inspected, Kind, Operation, Selected, Selection, shown};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::value::RawValue;

use super::accept::{Form, Media};
use super::body::Body;
use super::error::Error;
use super::forward::{read, send};
use super::relay::relay;
use super::{Call, batch, single, stream};
use crate::operation;
use crate::sign::{RequestTarget, decode};
use crate::telemetry::Record;

pub(super) async fn answer(
    call: Call<'_>,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    if let Some(token) = single::token(&head)
        && (head.method != Method::GET || !has_parameter(&head, "query"))
    {
        return single::answer(call, &token, head, body, record).await;
    }
    match head.method {
        Method::POST => {
            check_type(&head.headers)?;
            let body = read(call.route, body, &call.client.slot, record).await?;
            if let Some(items) = batch::items(&body)? {
                let items = items
                    .iter()
                    .map(|item| body.slice_ref(item.get().as_bytes()));
                return batch::answer(call, head.headers, items.collect(), record).await;
            }
            let documents = call.proxy.sessions.documents();
            let is_policed = !call.policies.is_empty();
            let (selected, inspected) = Inspected::body(&body, documents, is_policed)?;
            run(call, head.headers, selected, inspected, record).await
        }
        Method::GET => {
            let mut operation = operation_of(head.uri.query().unwrap_or_default())?;
            operation.strip_persisted();
            let documents = call.proxy.sessions.documents();
            let (selected, inspected) = Inspected::any_operation(operation, documents);
            match &selected {
                Ok(selected) if selected.kind == Kind::Mutation => {
                    return Err(Error::MutationByGet);
                }
                Ok(_) | Err(_) => {}
            }
            // A client that takes nothing but events is told in the stream.
            if call.accept.form(None) != Some(Form::Sse) {
                selected.as_ref().map_err(Clone::clone)?;
            }
            run(call, head.headers, Some(selected), inspected, record).await
        }
        Method::PUT => single::reserve(call, head.headers),
        method => Err(Error::Method {
            method: shown(method.as_str()),
            allow: "GET, POST, PUT, DELETE",
        }),
    }
}

async fn run(
    call: Call<'_>,
    mut headers: HeaderMap,
    selection: Selection,
    inspected: Inspected,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let selected = selection.as_ref().and_then(|found| found.as_ref().ok());
    if let Some(selected) = selected {
        note(selected, record);
    }
    let kind = selected.map(|selected| selected.kind);
    // Elsewhere it might be a subscription that is sent as a query.
    if let Some(Err(error)) = &selection
        && error.is_doubt()
        && matches!(call.accept.form(kind), Some(Form::Json(_)))
        && call.accept.form(Some(Kind::Subscription)).is_some()
    {
        return Err(Error::DocumentDoubt(error.clone()));
    }
    match call.accept.form(kind) {
        None if kind == Some(Kind::Subscription) => Err(Error::SubscriptionOverHttp),
        None => Err(Error::NotAcceptable),
        // The session judges what it sends.
        Some(Form::Json(media)) => {
            call.admit(operation::Request::Graphql(&inspected))?;
            call.route.headers.filter_request(&mut headers);
            let json = HeaderValue::from_static(Media::Json.as_str());
            headers.insert(CONTENT_TYPE, json.clone());
            headers.insert(ACCEPT, json);
            headers.remove(CONTENT_ENCODING);
            let is_strict = call.route.requests.is_strict;
            if is_strict {
                headers.remove(ACCEPT_ENCODING);
            }
            let target = RequestTarget::new(&call.route.upstream.endpoint().path, None)?;
            let body = inspected.into_body();
            let sent = send(call.route, Method::POST, &target, headers, body, record).await;
            let (head, body) = sent?;
            relay(head, body, media, is_strict, &call.client.share, record).await
        }
        Some(form @ (Form::Sse | Form::Multipart)) => match selection {
            Some(Ok(selected)) => {
                record.trace.pass_on(&mut headers);
                let inspected = inspected.into_operation(selected.kind);
                let inspected = inspected.map_err(Error::MalformedJson)?;
                stream::answer(call, headers, form, selected, inspected).await
            }
            Some(Err(error)) => Ok(stream::refused(&error)),
            None => Err(Error::NoQuery),
        },
    }
}

fn note(selected: &Selected, record: &mut Record) {
    record.operation = Some(selected.kind.as_str());
    record.set_name(selected.name.as_deref());
}

fn has_parameter(head: &Parts, wanted: &str) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let mut names = query.split('&').map(|pair| pair.split('=').next());
    names.any(|name| name == Some(wanted))
}

/// `?query=…&variables=…&operationName=…&extensions=…` (GraphQL over HTTP, "GET").
/// # Errors
/// When a parameter is malformed, or there is no document.
pub fn operation_of(query: &str) -> Result<Operation, Error> {
    let mut operation = Operation::default();
    let mut has_document_id = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "query" => operation.query = decode(value)?,
            "variables" => operation.variables = object("variables", &decode(value)?)?,
            "operationName" => operation.operation_name = Some(decode(value)?),
            "extensions" => operation.extensions = object("extensions", &decode(value)?)?,
            "documentId" => has_document_id = true,
            _ => {}
        }
    }
    if !operation.query.is_empty() {
        return Ok(operation);
    }
    if operation.is_persisted() {
        return Err(Error::PersistedQuery);
    }
    if has_document_id {
        return Err(Error::DocumentId);
    }
    Err(Error::Parameter {
        name: "query",
        problem: "is missing: send a document by it, or an operation by POST".to_owned(),
    })
}

fn object(name: &'static str, text: &str) -> Result<Option<Box<RawValue>>, Error> {
    let parsed: Result<Option<Box<RawValue>>, _> = serde_json::from_str(text);
    match parsed {
        Ok(None) => Ok(None),
        Ok(Some(raw)) if raw.get().starts_with('{') => Ok(Some(raw)),
        Ok(Some(_)) => Err(Error::Parameter {
            name,
            problem: "must be a JSON object".to_owned(),
        }),
        Err(error) => Err(Error::Parameter {
            name,
            problem: format!("is not JSON: {error}"),
        }),
    }
}

/// # Errors
/// When the body is not JSON by its type: such bodies are what a foreign page can send unasked. Or
/// when upstream would read something else in its bytes.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Error> {
    // The second is AppSync's own, and changes nothing.
    let is_plain = |coding: &HeaderValue| coding == "identity" || coding == "amz-1.0";
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Error::Coding);
    }
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_upload = text.is_some_and(|text| {
        let essence = text.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("multipart/form-data")
    });
    match is_json(headers) {
        true => Ok(()),
        false if is_upload => Err(Error::Upload),
        false => Err(Error::MediaType),
    }
}

/// `application/json`, with any parameters but a charset other than UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            Some(_) | None => true,
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use countersign_protocol::graphql::Documents;

    use super::*;

    fn check_type(value: Option<&str>, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
        }
        assert_eq!(is_json(&headers), expected, "{value:?}");
    }

    #[test]
    fn content_types() {
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            check_type(Some(json), true);
        }
        for other in [
            "text/plain",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain;application/json",
            "application/graphql",
        ] {
            check_type(Some(other), false);
        }
        check_type(None, false);
    }

    #[test]
    fn an_array_was_read_as_an_operation() {
        for body in [
            r#"["{ a }"]"#,
            r#" ["mutation { a }", null, "x", {}]"#,
            "[]",
            "7",
        ] {
            let body = Bytes::from(body);
            for is_policed in [false, true] {
                let found = Inspected::body(&body, &Documents::default(), is_policed);
                let (selected, inspected) = found.unwrap();
                assert!(selected.is_none(), "{body:?}");
                assert_eq!(inspected.into_body(), body);
            }
        }
    }

    #[test]
    fn queries_by_get() {
        let operation =
            operation_of("query=%7B+a+%7D&variables=%7B%22a%22%3A1%7D&operationName=Q&x=1");
        let operation = operation.unwrap();
        assert_eq!(
            operation.to_body(),
            r#"{"query":"{ a }","variables":{"a":1},"operationName":"Q"}"#
        );
        for bad in [
            "",
            "query=",
            "query=%FF",
            "query=a&variables=%5B%5D",
            "query=a&variables=x",
        ] {
            assert!(operation_of(bad).is_err(), "{bad}");
        }
    }
}
