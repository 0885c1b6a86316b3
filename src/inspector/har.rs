//! Entries as a HAR document, version 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
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
    // A URL must have a host, and a unix socket has none.
    let base_url = Some(base_url)
        .filter(|url| !url.is_empty())
        .unwrap_or("http://localhost");
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
            "content": content(body, content_type(&entry.response_headers)),
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

fn content(body: Option<&Payload>, kind: Option<&str>) -> Value {
    let mut content = json!({
        "size": body.map_or(0, |body| body.size),
        "mimeType": kind.unwrap_or("application/json"),
        "text": body.map(text).unwrap_or_default(),
    });
    if let Some(body) = body.filter(|body| std::str::from_utf8(&body.stored).is_err()) {
        content["text"] = BASE64_STANDARD.encode(&body.stored).into();
        content["encoding"] = "base64".into();
    }
    content
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

#[cfg(test)]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use super::*;
    use crate::inspector::entry::{Direction, Frame};

    fn header(name: &str, value: Option<&str>) -> Header {
        Header {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn recorded(body: &[u8]) -> Entry {
        let mut recorded = Entry::new(7, "http", UNIX_EPOCH + Duration::from_millis(1_500));
        recorded.method = Some("GET".to_owned());
        recorded.path = Some("/orders".to_owned());
        recorded.query = Some(Payload::of(b"a=1&flag&a=x=y", 100));
        recorded.facts.status = 200;
        recorded.facts.signing = Duration::from_millis(1);
        recorded.facts.first_byte = Duration::from_millis(5);
        recorded.total = Some(Duration::from_millis(10));
        recorded.request_headers = vec![header("authorization", None)];
        recorded.response_headers = vec![header("content-type", Some("text/plain"))];
        recorded.response_body = Some(Payload::of(body, 100));
        recorded
    }

    #[test]
    fn requests_and_responses_are_as_the_format_prescribes() {
        let har = entry(&recorded(b"text"), "http://127.0.0.1:4100");
        assert_eq!(har["startedDateTime"], "1970-01-01T00:00:01.5Z");
        let request = &har["request"];
        assert_eq!(
            request["url"],
            "http://127.0.0.1:4100/orders?a=1&flag&a=x=y"
        );
        let parameters = json!([
            { "name": "a", "value": "1" }, { "name": "flag", "value": "" }, { "name": "a", "value": "x=y" },
        ]);
        assert_eq!(request["queryString"], parameters);
        assert_eq!(
            request["headers"][0],
            json!({ "name": "authorization", "value": "***" })
        );
        assert!(request["postData"].is_null());
        let content = json!({ "size": 4, "mimeType": "text/plain", "text": "text" });
        assert_eq!(har["response"]["content"], content);
        let timings = har["timings"].as_object().unwrap();
        let positive = timings
            .values()
            .filter_map(Value::as_f64)
            .filter(|ms| *ms > 0.0);
        assert!((positive.sum::<f64>() - har["time"].as_f64().unwrap()).abs() < 0.001);
        assert_eq!(timings["connect"], -1.0);
        assert!(har["_webSocketMessages"].is_null());
    }

    #[test]
    fn bodies_that_are_not_text_are_in_base64() {
        let har = entry(&recorded(&[0xff, 0x00]), "");
        let content = &har["response"]["content"];
        assert_eq!(
            (&content["text"], &content["encoding"]),
            (&json!("/wA="), &json!("base64"))
        );
        // Without a TCP listener, the URL is still one.
        assert_eq!(
            har["request"]["url"],
            "http://localhost/orders?a=1&flag&a=x=y"
        );
    }

    #[test]
    fn messages_of_both_sides_follow_each_other_and_entries_are_sorted() {
        let mut socket = recorded(b"");
        for (side, direction) in [
            (Side::Client, Direction::In),
            (Side::Upstream, Direction::Out),
            (Side::Upstream, Direction::In),
            (Side::Client, Direction::Out),
        ] {
            let frame = Frame {
                index: 0,
                at: Instant::now(),
                side,
                direction,
                kind: "next".to_owned(),
                payload: Payload::of(b"{}", 10),
            };
            socket.frames.push(frame, 10_000);
        }
        let har = entry(&socket, "http://127.0.0.1:4100");
        let messages = har["_webSocketMessages"].as_array().unwrap().iter();
        let found: Vec<String> = messages
            .map(|message| format!("{} {}", message["_side"], message["type"]).replace('"', ""))
            .collect();
        assert_eq!(
            found,
            [
                "client send",
                "upstream send",
                "upstream receive",
                "client receive"
            ]
        );
        let document = document(vec![json!(2), json!(1)]);
        assert_eq!(document["log"]["entries"], json!([1, 2]));
        assert_eq!(document["log"]["version"], "1.2");
    }
}
