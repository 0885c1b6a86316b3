//! Entries as JSON, as `web/src/api.ts` declares it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_protocol::error_code::Code;
use serde_json::{Value, json};

use super::classify::{is_refused, kind, status};
use super::entry::{Direction, Entry, Frame, Side, Upstream};
use super::mask::Header;
use super::payload::Payload;
use crate::diagnose::Cause;

/// Whether bodies are part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    Hidden,
    Revealed,
}

/// Returns a time in milliseconds since the epoch.
pub(super) fn millis_of(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, millis)
}

/// Returns a duration in milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn at(entry: &Entry, instant: Instant) -> f64 {
    millis_of(entry.time + instant.saturating_duration_since(entry.begun))
}

/// Returns an object without its members that are `null`.
pub(super) fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    value
}

/// Returns an entry's line in the list.
pub(super) fn summary(entry: &Entry) -> Value {
    let facts = &entry.facts;
    let is_http = entry.method.is_some();
    let positive = |duration: Duration| (!duration.is_zero()).then(|| millis(duration));
    let durations = without_nulls(json!({
        "signing": positive(facts.signing),
        "connect": positive(facts.connect),
        "first_byte": positive(facts.first_byte),
        "total": entry.total.map(millis),
    }));
    let has_events = matches!(kind(entry), "subscription" | "subscribe") && !is_http;
    without_nulls(json!({
        "id": entry.id,
        "time": millis_of(entry.time),
        "client": facts.client.map(|client| client.to_string()),
        "token": facts.token.as_deref(),
        "route": facts.route.as_deref(),
        "protocol": entry.protocol,
        "kind": kind(entry),
        "method": entry.method,
        "path": entry.path,
        "name": facts.name,
        "status": Some(status(entry)).filter(|status| *status != 0),
        "code": facts.code,
        "sent": facts.code.as_ref().and(facts.sent),
        "is_refused": is_refused(entry),
        "is_live": entry.is_live(),
        "graphql_errors": entry.graphql_errors,
        "durations": durations,
        "bytes_in": facts.bytes_in,
        "bytes_out": facts.bytes_out,
        "events": has_events.then_some(entry.events),
        "rate": has_events.then(|| (entry.rate() * 100.0).round() / 100.0),
        "replay_of": entry.replay_of,
    }))
}

/// Returns everything that is known about an entry. Frames before `frames_after` are left out.
pub(super) fn detail(entry: &Entry, bodies: Bodies, frames_after: Option<u64>) -> Value {
    let (document, variables) = operation(entry, bodies);
    let request_type = content(&entry.request_headers);
    let request = without_nulls(json!({
        "headers": headers(&entry.request_headers),
        "query": entry.query.as_ref().map(|query| payload(query, bodies, (None, None))),
        "body": entry.request_body.as_ref().map(|body| payload(body, bodies, request_type)),
        "document": document,
        "variables": variables,
    }));
    let response = entry.response_status.map(|status| {
        let kind = content(&entry.response_headers);
        let body = entry.response_body.as_ref();
        without_nulls(json!({
            "status": status,
            "headers": headers(&entry.response_headers),
            "body": body.map(|body| payload(body, bodies, kind)),
        }))
    });
    let sent = entry.upstream.as_ref();
    let sent = sent.map(|sent| upstream(sent, entry.facts.request_id.as_deref(), bodies));
    without_nulls(json!({
        "summary": summary(entry),
        "is_revealed": bodies == Bodies::Revealed,
        "request": request,
        "response": response,
        "upstream": sent,
        "diagnosis": diagnosis(entry),
        "frames": frames(entry, bodies, frames_after),
    }))
}

fn headers(headers: &[Header]) -> Vec<Value> {
    let all = headers.iter();
    all.map(|Header { name, value }| match value {
        Some(value) => json!({ "name": name, "value": value }),
        None => json!({ "name": name, "is_masked": true }),
    })
    .collect()
}

/// Returns the content type and the content encoding that headers declare.
fn content(headers: &[Header]) -> (Option<&str>, Option<&str>) {
    let value = |name: &str| {
        let mut found = headers.iter().filter(|header| header.name == name);
        found.next().and_then(|header| header.value.as_deref())
    };
    (value("content-type"), value("content-encoding"))
}

fn payload(payload: &Payload, bodies: Bodies, kind: (Option<&str>, Option<&str>)) -> Value {
    let (content_type, content_encoding) = kind;
    let is_revealed = bodies == Bodies::Revealed;
    // A truncated text may end within a character.
    let valid = match std::str::from_utf8(&payload.stored) {
        Ok(text) => Some(text),
        Err(error) if payload.is_truncated() && error.error_len().is_none() => {
            std::str::from_utf8(&payload.stored[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let binary = valid
        .is_none()
        .then(|| BASE64_STANDARD.encode(&payload.stored));
    without_nulls(json!({
        "size": payload.size,
        "text": valid.filter(|_| is_revealed),
        "base64": binary.filter(|_| is_revealed),
        "is_truncated": payload.is_truncated().then_some(true),
        "content_type": content_type,
        "content_encoding": content_encoding,
    }))
}

/// Returns the GraphQL document and the variables of an operation.
fn operation(entry: &Entry, bodies: Bodies) -> (Option<Value>, Option<Value>) {
    let body = entry.request_body.as_ref();
    let body = body.filter(|body| !body.is_truncated());
    let json: Option<Value> = body.and_then(|body| serde_json::from_slice(&body.stored).ok());
    let Some(Value::Object(members)) = json else {
        return (None, None);
    };
    let shown = |text: &str| {
        let part = Payload::of(text.as_bytes(), text.len());
        payload(&part, bodies, (None, None))
    };
    let document = members.get("query").and_then(Value::as_str).map(shown);
    let variables = members.get("variables").filter(|found| !found.is_null());
    let variables = variables.map(|found| shown(&found.to_string()));
    (document, variables)
}

fn upstream(sent: &Upstream, request_id: Option<&str>, bodies: Bodies) -> Value {
    let url = match (sent.query.as_str(), bodies) {
        ("", _) => sent.url.clone(),
        (query, Bodies::Revealed) => format!("{}?{query}", sent.url),
        (_, Bodies::Hidden) => format!("{}?…", sent.url),
    };
    without_nulls(json!({
        "method": sent.method,
        "url": url,
        "headers": headers(&sent.headers),
        "canonical_request": sent.canonical_request.as_deref().map(|text| canonical(text, bodies)),
        "string_to_sign": sent.string_to_sign,
        "attempts": sent.attempts,
        "status": sent.status,
        "request_id": request_id,
    }))
}

/// Returns a canonical request. Its third line is the query.
fn canonical(text: &str, bodies: Bodies) -> String {
    let lines = text.split('\n').enumerate();
    let shown = lines.map(|(at, line)| match bodies {
        Bodies::Hidden if at == 2 && !line.is_empty() => "…",
        Bodies::Hidden | Bodies::Revealed => line,
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// Returns why a request failed or was refused.
fn diagnosis(entry: &Entry) -> Option<Value> {
    let facts = &entry.facts;
    if facts.code.is_none() && facts.error.is_none() && facts.cause.is_none() {
        return None;
    }
    let code = facts.code.as_deref().and_then(Code::from_name);
    let rejection = facts.rejection.as_ref();
    let is_refused = is_refused(entry);
    let fix = rejection.map(|rejection| rejection.fix.as_str());
    let fix = fix.filter(|fix| !fix.is_empty());
    // The record of a rejection has its cause, and no text.
    let cause = facts.cause.as_deref().and_then(Cause::from_name);
    let message = cause.map(Cause::sentence).or(code.map(Code::meaning));
    Some(without_nulls(json!({
        "code": facts.code,
        "message": facts.error.as_deref().or(message),
        "cause": facts.cause,
        "confidence": rejection.map(|rejection| rejection.confidence.as_str()),
        "hint": fix.or(code.map(Code::remedy)),
        "identity": rejection.and_then(|rejection| rejection.identity.as_deref()),
        "denied": rejection.and_then(|rejection| rejection.denied.as_deref()),
        "rule": code.filter(|_| is_refused).map(Code::meaning),
        "setting": code.filter(|_| is_refused).and_then(setting),
    })))
}

/// Returns the setting that the remedy of a code names.
fn setting(code: Code) -> Option<&'static str> {
    let mut quoted = code.remedy().split('`').skip(1).step_by(2);
    let is_key = |text: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
        text.contains('.') && text.chars().all(is_word)
    };
    quoted.find(is_key)
}

fn frames(entry: &Entry, bodies: Bodies, after: Option<u64>) -> Value {
    let frames = entry.frames.stored.iter();
    let frames = frames.filter(|frame| after.is_none_or(|after| frame.index > after));
    let frames: Vec<Value> = frames.map(|each| frame(entry, each, bodies)).collect();
    json!({
        "frames": frames,
        "first": entry.frames.first(),
        "next": entry.frames.next,
    })
}

fn frame(entry: &Entry, frame: &Frame, bodies: Bodies) -> Value {
    let side = match frame.side {
        Side::Client => "client",
        Side::Upstream => "upstream",
    };
    let direction = match frame.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    json!({
        "index": frame.index,
        "time": at(entry, frame.at),
        "side": side,
        "direction": direction,
        "type": frame.kind,
        "payload": payload(&frame.payload, bodies, (None, None)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_canonical_request_is_hidden_with_the_bodies() {
        let text = "GET\n/prod\na=secret\nhost:h\n\nhost\nhash";
        let hidden = "GET\n/prod\n…\nhost:h\n\nhost\nhash";
        assert_eq!(canonical(text, Bodies::Hidden), hidden);
        assert_eq!(canonical(text, Bodies::Revealed), text);
        let without = "POST\n/graphql\n\nhost:h\n\nhost\nhash";
        assert_eq!(canonical(without, Bodies::Hidden), without);
    }
}
