//! Several operations in one `POST`, as Apollo's BatchHttpLink sends them. AppSync knows no
//! batches: each operation is signed and sent on its own, and the answers keep the order.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use serde_json::value::RawValue;

use super::Call;
use super::accept::{Form, Media};
use super::body::Body;
use super::error::{Error, graphql_error, refused};
use super::graphql::look_into;
use crate::graphql::{Event, GraphqlError, Kind};
use crate::guard::Admission;
use crate::telemetry::{Record, Trace};

/// The operations of a batch; `None` if the body is none, or an empty one.
pub fn items(body: &[u8]) -> Result<Option<Vec<&RawValue>>, Error> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return Ok(None);
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(Error::MalformedJson)?;
    Ok((!items.is_empty()).then_some(items))
}

pub(super) async fn answer(
    call: Call<'_>,
    mut headers: HeaderMap,
    items: &[&RawValue],
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let Some(Form::Json(_)) = call.accept.form(None) else {
        return Err(Error::NotAcceptable);
    };
    let limit = call.route.requests.batch;
    if items.len() > limit {
        return Err(Error::Batch(limit));
    }
    record.operation = Some("batch");
    record.trace.pass_on(&mut headers);
    call.route.headers.session(&mut headers);
    let answers = items.iter().map(|item| one(call, item, headers.clone()));
    let answers: Vec<String> = join_all(answers).await;
    let mut response = Response::new(Body::full(format!("[{}]", answers.join(","))));
    let json = HeaderValue::from_static(Media::Json.as_str());
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// The answer to one operation, as JSON text.
async fn one(call: Call<'_>, item: &RawValue, headers: HeaderMap) -> String {
    // Documents are parsed; other connections have their turn between two of them.
    tokio::task::yield_now().await;
    let body = Bytes::copy_from_slice(item.get().as_bytes());
    let found = match look_into(&body, &call.proxy.documents) {
        Ok(found) => found,
        Err(error) => return errors(&[graphql_error(&error)]),
    };
    let mut record = Record::new("POST");
    record.trace = Trace::begin(&headers);
    record.set_route(call.route.upstream.metrics());
    if let Admission::Granted(grant) = call.admission {
        record.token.clone_from(&grant.name);
    }
    if let Some(Ok(selected)) = &found.selected {
        if selected.kind == Kind::Subscription {
            return errors(&[refused(&Error::SubscriptionOverHttp, &mut record)]);
        }
        record.operation = Some(selected.kind.as_str());
        record.set_name(selected.name.as_deref());
    }
    if call.route.memory.is_short() {
        return errors(&[refused(&Error::MemoryShort, &mut record)]);
    }
    let body = String::from_utf8_lossy(&found.body).into_owned();
    if let Err(denied) = call.policies.judge(body.as_bytes()) {
        return errors(&[refused(&Error::from(denied), &mut record)]);
    }
    let executed = call.api.execute(body, headers, &mut record);
    let answered = tokio::select! {
        answered = executed => Some(answered),
        () = call.route.expired.cancelled() => None,
    };
    let Some((result, ending)) = answered else {
        return errors(&[refused(&Error::Expired, &mut record)]);
    };
    record.write();
    match (result, ending) {
        (Some(json), _) => json.as_str().to_owned(),
        (None, Event::Error(list)) => errors(&list),
        (None, _) => errors(&[GraphqlError::new("upstream gave no answer")]),
    }
}

fn errors(list: &[GraphqlError]) -> String {
    json!({ "errors": list }).to_string()
}
