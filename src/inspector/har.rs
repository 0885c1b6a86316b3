//! Entries as a HAR document, version 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>).

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::classify::status;
use super::entry::{Entry, Side};
use super::json::{Bodies, detail, millis, millis_of};
use super::mask::Header;
use super::payload::Payload;
use crate::telemetry::build::VERSION;

/// Returns the document of entries, each from [`entry()`].
pub(super) fn document(mut entries: Vec<Value>) -> Value {
    // Oldest first.
    entries.reverse();
    json!({
        "log": {
            "version": "1.2",
            "creator": { "name": "countersign", "version": VERSION },
            "entries": entries,
        }
    })
}

/// Returns one entry, with bodies.
pub(super) fn entry(entry: &Entry, base_url: &str) -> Value {
    let path = entry.path.as_deref().unwrap_or_default();
    let query = entry.query.as_ref().map(text).unwrap_or_default();
    let url = if query.is_empty() {
        format!("{base_url}{path}")
    } else {
        format!("{base_url}{path}?{query}")
    };
    let parameters: Vec<Value> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mut request = json!({
        "method": entry.method.as_deref().unwrap_or("POST"),
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&entry.request_headers),
        "queryString": parameters,
        "headersSize": -1,
        "bodySize": entry.request_body.as_ref().map_or(0, |body| body.size),
    });
    if let Some(body) = &entry.request_body {
        let kind = content_type(&entry.request_headers).unwrap_or("application/json");
        request["postData"] = json!({ "mimeType": kind, "text": text(body) });
    }
    let body = entry.response_body.as_ref();
    let facts = &entry.facts;
    let total = entry.total.unwrap_or_else(|| entry.begun.elapsed());
    let spent = facts.signing + facts.connect + facts.first_byte;
    let mut har = json!({
        "startedDateTime": timestamp(entry.time),
        "time": millis(total),
        "request": request,
        "response": {
            "status": status(entry),
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": headers(&entry.response_headers),
            "content": {
                "size": body.map_or(0, |body| body.size),
                "mimeType": content_type(&entry.response_headers).unwrap_or("application/json"),
                "text": body.map(text).unwrap_or_default(),
            },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": body.map_or(0, |body| body.size),
        },
        "cache": {},
        "timings": {
            "blocked": millis(facts.signing),
            "connect": if facts.connect.is_zero() { -1.0 } else { millis(facts.connect) },
            "send": 0,
            "wait": millis(facts.first_byte),
            "receive": millis(total.checked_sub(spent).unwrap_or(Duration::ZERO)),
        },
        "_countersign": detail(entry, Bodies::Hidden, Some(u64::MAX)),
    });
    if entry.frames.next > 0 {
        har["_webSocketMessages"] = messages(entry);
    }
    har
}

/// Returns the messages as Chromium exports them. `send` is from the client, or to AWS.
fn messages(entry: &Entry) -> Value {
    use super::entry::Direction;
    let frames = entry.frames.stored.iter().map(|frame| {
        let (side, is_sent) = match (frame.side, frame.direction) {
            (Side::Client, Direction::In) => ("client", true),
            (Side::Client, Direction::Out) => ("client", false),
            (Side::Upstream, Direction::Out) => ("upstream", true),
            (Side::Upstream, Direction::In) => ("upstream", false),
        };
        let at = entry.time + frame.at.saturating_duration_since(entry.begun);
        json!({
            "type": if is_sent { "send" } else { "receive" },
            "time": millis_of(at) / 1000.0,
            "opcode": 1,
            "data": text(&frame.payload),
            "_side": side,
        })
    });
    frames.collect()
}

fn headers(headers: &[Header]) -> Vec<Value> {
    let shown = headers.iter();
    shown
        .map(|header| {
            let value = header.value.as_deref().unwrap_or("***");
            json!({ "name": header.name, "value": value })
        })
        .collect()
}

fn content_type(headers: &[Header]) -> Option<&str> {
    let mut found = headers
        .iter()
        .filter(|header| header.name == "content-type");
    found.next()?.value.as_deref()
}

fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(&payload.stored).into_owned()
}

fn timestamp(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .format(&Rfc3339)
        .unwrap_or_default()
}
