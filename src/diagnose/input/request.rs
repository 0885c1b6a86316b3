//! Reads a request from HTTP text, a curl command, a HAR file or a realtime message.

use serde_json::Value;

use super::http_text::{self, Message};
use super::terminal::{self, Verbose};
use super::url::of_url;
use super::{Headers, InputError, MAX_INPUT, curl, har, header};
use crate::diagnose::evidence::Request;

/// Reads a request as it was sent.
pub fn read_request(text: &str) -> Result<Request, InputError> {
    if text.len() > MAX_INPUT {
        return Err(InputError::TooLarge);
    }
    if text.trim().is_empty() {
        return Err(InputError::Empty);
    }
    if let Some(exchange) = har::exchange(text)? {
        return Ok(exchange.request);
    }
    if text.trim_start().starts_with('{')
        && let Some(request) = har::bare_request(text).or_else(|| message(text))
    {
        return Ok(request);
    }
    if let Some(head) = ReadHead::at_start(text) {
        return Ok(head.into_request());
    }
    let command = curl_command(text);
    let verbose = terminal::verbose(text).or_else(|| terminal::http_client(text));
    if let Some(head) = verbose.and_then(|Verbose { request, .. }| request)
        && let Some(head) = ReadHead::find(&head)
    {
        let mut request = head.into_request();
        if request.body.is_none() {
            // `curl -v` does not show the body; the command does.
            let command = command.map(curl::body);
            request.body = command.and_then(Result::ok).flatten();
        }
        return Ok(request);
    }
    if let Some(command) = command {
        return curl::read(command);
    }
    let head = ReadHead::find(text).map(ReadHead::into_request);
    let clean = || ReadHead::find(&terminal::clean(text)).map(ReadHead::into_request);
    let found = head.or_else(clean).or_else(|| message(text));
    found.ok_or(InputError::NoRequest)
}

/// Returns whether a text has the output of a client that shows the request as it was sent.
pub(super) fn has_output(text: &str) -> bool {
    let verbose = terminal::verbose(text).or_else(|| terminal::http_client(text));
    verbose.is_some_and(|Verbose { request, .. }| request.is_some())
}

/// Returns the text from the line on which a curl command begins.
fn curl_command(text: &str) -> Option<&str> {
    http_text::from_first_line(text, curl::begins)
}

/// Reads a realtime message, which has a `type` and is not an answer. A log may have text before it.
fn message(text: &str) -> Option<Request> {
    let clean = terminal::clean(text);
    let json = clean.get(clean.find('{')?..)?;
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let kind = value.get("type")?.as_str()?;
    let is_sent = matches!(kind, "start" | "subscribe" | "publish" | "connection_init");
    let end = values.byte_offset();
    is_sent
        .then(|| json.get(..end).map(Request::message))
        .flatten()
}

/// A request whose head was read.
pub(super) struct ReadHead<'a> {
    method: String,
    target: String,
    headers: Headers,
    body: Option<&'a str>,
}

impl<'a> ReadHead<'a> {
    /// Reads a text that begins with a request. Its body may contain another one.
    fn at_start(text: &'a str) -> Option<Self> {
        let text = text.trim_start();
        http_text::method_and_target(http_text::line(text).0)?;
        Self::read(text)
    }

    /// Finds the last request in a text.
    pub(super) fn find(text: &'a str) -> Option<Self> {
        let is_first = |line: &str| http_text::method_and_target(line).is_some();
        let is_pseudo = |line: &str| line.starts_with(':');
        let text = http_text::from_last_line(text, is_first)
            .or_else(|| http_text::from_first_line(text, is_pseudo))?;
        Self::read(text)
    }

    fn read(text: &'a str) -> Option<Self> {
        let Message {
            first_line,
            headers,
            body,
        } = http_text::message(text);
        if let Some((method, target)) = http_text::method_and_target(first_line) {
            let mut found = Self {
                method: method.to_owned(),
                target: target.to_owned(),
                headers,
                body,
            };
            found.take_host(&[]);
            return Some(found);
        }
        // The pseudo-headers of HTTP/2, in any order.
        let (mut all, body) = http_text::headers(text);
        let mut take = |name: &str| {
            let at = all.iter().position(|(known, _)| known == name)?;
            Some(all.remove(at).1).filter(|value| !value.is_empty())
        };
        let (method, target) = (take(":method")?, take(":path")?);
        let (host, _) = (take(":authority"), take(":scheme"));
        let mut found = Self {
            method,
            target,
            headers: all,
            body,
        };
        found.take_host(&host.into_iter().collect::<Vec<_>>());
        Some(found)
    }

    /// Adds the `host` that the target or `:authority` names, if that header is missing.
    fn take_host(&mut self, authority: &[String]) {
        let of_target = of_url(&self.target);
        let host = match (authority.first(), &of_target) {
            (Some(host), _) => Some(host.clone()),
            (None, Some((_, host))) => Some(host.clone()),
            (None, None) => None,
        };
        if let Some((target, _)) = of_target {
            self.target = target;
        }
        if let Some(host) = host
            && header(&self.headers, "host").is_none()
        {
            self.headers.insert(0, ("host".to_owned(), host));
        }
    }

    pub(super) fn into_request(self) -> Request {
        let body = self.bytes();
        Request {
            method: self.method,
            target: self.target,
            headers: self.headers,
            body,
        }
    }

    /// Returns the bytes of the body, as far as the text shows them: the newline at the end of a file is
    /// not a part of it, unless the length says so.
    fn bytes(&self) -> Option<Vec<u8>> {
        let length = header(&self.headers, "content-length").map(str::trim);
        let length: Option<usize> = length.and_then(|length| length.parse().ok());
        if header(&self.headers, "transfer-encoding").is_some() {
            return None;
        }
        let text = self.body.unwrap_or_default();
        if let Some(length) = length {
            return text.as_bytes().get(..length).map(<[u8]>::to_vec);
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let is_without_body = matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS");
        let is_unknown = text.is_empty() && !is_without_body;
        (!is_unknown).then(|| text.as_bytes().to_vec())
    }
}
