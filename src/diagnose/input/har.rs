//! Reads an exchange from a HAR file, from one of its entries, or from a request as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::url::of_url;
use super::{Headers, InputError, header};
use crate::diagnose::evidence::{Answer, Request};

/// An entry. The answer is empty if the entry has none.
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) answer: Answer,
}

/// Returns the exchange of a HAR file that AWS rejected, or `None` if the text is something else.
pub(super) fn exchange(text: &str) -> Result<Option<Exchange>, InputError> {
    let text = text.trim();
    if !text.starts_with('{') {
        return Ok(None);
    }
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return Ok(None);
    };
    let entries = json.pointer("/log/entries").and_then(Value::as_array);
    if let Some(entries) = entries {
        let last = entries.last().ok_or(InputError::EmptyHar)?;
        let entry = entries
            .iter()
            .rfind(|entry| is_rejected(entry) && is_signed(entry));
        let entry = entry.or_else(|| entries.iter().rfind(|entry| is_rejected(entry)));
        return of_entry(entry.unwrap_or(last))
            .map_or(Err(InputError::NoRequest), |it| Ok(Some(it)));
    }
    Ok(of_entry(&json))
}

/// Returns a request alone as JSON, as of a HAR entry or of the options of `fetch`.
pub(super) fn bare_request(text: &str) -> Option<Request> {
    request(&serde_json::from_str(text.trim()).ok()?)
}

fn is_rejected(entry: &Value) -> bool {
    let status = entry.pointer("/response/status").and_then(Value::as_u64);
    status.is_some_and(|status| (400..500).contains(&status))
}

fn is_signed(entry: &Value) -> bool {
    let headers = headers(entry.pointer("/request/headers"));
    let url = entry.pointer("/request/url").and_then(Value::as_str);
    header(&headers, "authorization").is_some_and(|value| value.starts_with("AWS4"))
        || url.is_some_and(|url| url.contains("X-Amz-Signature="))
}

fn of_entry(entry: &Value) -> Option<Exchange> {
    let request = request(entry.get("request")?)?;
    let response = entry.get("response");
    let status = response.and_then(|response| response.get("status")?.as_u64());
    Some(Exchange {
        request,
        answer: Answer {
            status: status
                .and_then(|status| u16::try_from(status).ok())
                .filter(|status| *status > 0),
            headers: headers(response.and_then(|response| response.get("headers"))),
            body: response.and_then(content).unwrap_or_default(),
        },
    })
}

/// Returns the body of a response.
fn content(response: &Value) -> Option<String> {
    let content = response.get("content")?;
    let text = content.get("text")?.as_str()?;
    if content.get("encoding").and_then(Value::as_str) != Some("base64") {
        return Some(text.to_owned());
    }
    let bytes = STANDARD.decode(text).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn request(json: &Value) -> Option<Request> {
    let url = json.get("url")?.as_str()?;
    let (target, host) = of_url(url)?;
    let mut headers = headers(json.get("headers"));
    let authority = headers.iter().position(|(name, _)| name == ":authority");
    let host = authority.map_or(host, |at| headers.remove(at).1);
    headers.retain(|(name, _)| !name.starts_with(':'));
    if header(&headers, "host").is_none() {
        headers.insert(0, ("host".to_owned(), host));
    }
    let method = json.get("method").and_then(Value::as_str);
    let method = method.filter(|method| !method.is_empty());
    let method = method.unwrap_or("GET").to_ascii_uppercase();
    Some(Request {
        body: body(json, &method),
        method,
        target,
        headers,
    })
}

/// Returns the body: `postData.text` of HAR, `body` of `fetch`, `data` of other clients.
fn body(json: &Value, method: &str) -> Option<Vec<u8>> {
    if let Some(data) = json.get("postData") {
        return Some(data.get("text")?.as_str()?.as_bytes().to_vec());
    }
    match json.get("body").or_else(|| json.get("data")) {
        Some(Value::String(text)) => Some(text.as_bytes().to_vec()),
        // It was serialized by the client, in a way that is not known.
        Some(Value::Object(_) | Value::Array(_)) => None,
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {
            let size = json.get("bodySize").and_then(Value::as_i64);
            let is_empty =
                matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS") || size == Some(0);
            is_empty.then(Vec::new)
        }
    }
}

/// Reads `[{"name":…,"value":…}]`, or `{"name":"value"}`.
fn headers(json: Option<&Value>) -> Headers {
    match json {
        Some(Value::Array(items)) => {
            let pair = |item: &Value| {
                let name = item.get("name")?.as_str()?;
                Some((name.to_owned(), item.get("value")?.as_str()?.to_owned()))
            };
            items.iter().filter_map(pair).collect()
        }
        Some(Value::Object(members)) => {
            let text = |value: &Value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            };
            members
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect()
        }
        _ => Headers::new(),
    }
}
