//! GraphQL over HTTP: one operation by `POST`, or a query by `GET`.
//!
//! The body of a `POST` is forwarded byte for byte; it is looked into only for the operation's
//! kind and name. A document that cannot be parsed goes to AppSync as it is, which knows best
//! what to answer; by `GET` it is refused, because it might be a mutation.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Route;
use super::body::Body;
use super::error::Error;
use super::forward::{exchange, read};
use crate::graphql::{Documents, Kind, Operation, Selected};
use crate::sign::{Target, decode};
use crate::telemetry::Record;

/// The two members of a request that say what it does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow, default)]
    operation_name: Option<Cow<'a, str>>,
}

pub(super) async fn answer(
    route: &Route,
    documents: &Documents,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (mut head, body) = request.into_parts();
    let body = match head.method {
        Method::POST => {
            if !is_json(&head.headers) {
                return Err(Error::MediaType);
            }
            let body = read(route, body, record).await?;
            look_into(&body, documents, record)?;
            body
        }
        Method::GET => {
            let operation = operation_of(head.uri.query().unwrap_or_default())?;
            let name = operation.operation_name.as_deref();
            let selected = documents.select(&operation.query, name)?;
            note(&selected, record);
            match selected.kind {
                Kind::Query => {}
                Kind::Mutation => return Err(Error::MutationByGet),
                Kind::Subscription => return Err(Error::SubscriptionOverHttp),
            }
            let json = HeaderValue::from_static("application/json");
            head.headers.insert(CONTENT_TYPE, json);
            Bytes::from(operation.to_body())
        }
        method => {
            return Err(Error::Method {
                method: method.to_string(),
                allow: "GET, POST",
            });
        }
    };
    route.headers.request(&mut head.headers);
    let target = Target::new(&route.upstream.endpoint().path, None)?;
    exchange(route, Method::POST, &target, head.headers, body, record).await
}

fn look_into(body: &[u8], documents: &Documents, record: &mut Record) -> Result<(), Error> {
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(error) => {
            return match error.classify() {
                Category::Data => Ok(()),
                Category::Eof if body.is_empty() => Ok(()),
                Category::Eof | Category::Io | Category::Syntax => Err(Error::MalformedJson(error)),
            };
        }
    };
    let name = envelope.operation_name.as_deref();
    let Ok(selected) = documents.select(&envelope.query, name) else {
        return Ok(());
    };
    note(&selected, record);
    match selected.kind {
        Kind::Query | Kind::Mutation => Ok(()),
        Kind::Subscription => Err(Error::SubscriptionOverHttp),
    }
}

fn note(selected: &Selected, record: &mut Record) {
    record.operation = Some(selected.kind.as_str());
    record.set_name(selected.name.as_deref());
}

/// `?query=…&variables=…&operationName=…&extensions=…` (GraphQL over HTTP, "GET").
fn operation_of(query: &str) -> Result<Operation, Error> {
    let mut operation = Operation {
        query: String::new(),
        variables: None,
        operation_name: None,
        extensions: None,
    };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "query" => operation.query = decode(value)?,
            "variables" => operation.variables = object("variables", &decode(value)?)?,
            "operationName" => operation.operation_name = Some(decode(value)?),
            "extensions" => operation.extensions = object("extensions", &decode(value)?)?,
            _ => {}
        }
    }
    if operation.query.is_empty() {
        return Err(Error::Parameter {
            name: "query",
            problem: "is missing: send a document by it, or an operation by POST".to_owned(),
        });
    }
    Ok(operation)
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
