//! The last line: the hash of the body.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::canonical::Canonical;
use super::super::cause::Cause;
use super::super::diagnosis::{Confidence, Diagnosis, Need};
use super::super::encode::{sha256_hex, shown};
use super::super::verified_request::{CONNECT, UNSIGNED_PAYLOAD, VerifiedRequest};
use super::super::verify::is_unsigned_payload;

/// Longer bodies are not written in other ways to find one with the right hash.
const MAX_VARIED: usize = 256 * 1024;

const LINE: &str = "canonical request, last line: the hash of the body";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const EMPTY_OBJECT: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Returns the cause if the hashes differ; `None` if they are equal, or one is unknown.
pub(super) fn difference(
    yours: &Canonical,
    aws: &Canonical,
    sent: Option<&VerifiedRequest>,
) -> Option<Diagnosis> {
    let (your_hash, aws_hash) = (yours.payload.as_deref()?, aws.payload.as_deref()?);
    if your_hash == aws_hash {
        return None;
    }
    let found = |cause, confidence, detail: Option<&str>| {
        let diagnosis = Diagnosis::of(cause, confidence);
        let diagnosis = diagnosis.because_of(detail.map(str::to_owned));
        Some(diagnosis.with_difference(LINE, &shown(your_hash), &shown(aws_hash)))
    };
    let certain = |cause, detail| found(cause, Confidence::Certain, detail);
    let is_hash = your_hash.len() == 64 && your_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if your_hash.eq_ignore_ascii_case(aws_hash) {
        return certain(Cause::HashCase, None);
    }
    if is_unsigned_payload(your_hash) {
        return certain(Cause::BodyHashUnsigned, None);
    }
    if aws_hash == UNSIGNED_PAYLOAD {
        return certain(
            Cause::ContentShaHeader,
            Some("it excludes the body from the signature."),
        );
    }
    if yours.header("x-amz-content-sha256") == Some(your_hash) {
        return certain(Cause::ContentShaHeader, None);
    }
    if !is_hash {
        let detail =
            "the last line of the canonical request is not a SHA-256 in 64 hexadecimal digits.";
        return certain(Cause::CanonicalForm, Some(detail));
    }
    if your_hash == EMPTY {
        let of_handshake = aws_hash == EMPTY_OBJECT;
        return certain(
            Cause::BodyHashEmpty,
            of_handshake.then_some("the body of the handshake is {}."),
        );
    }
    if aws_hash == EMPTY_OBJECT && aws.path == CONNECT {
        let detail = "the handshake is signed on /graphql/connect with the body {}, the query on \
                      /graphql.";
        return certain(Cause::PathWrong, Some(detail));
    }
    let body = sent.and_then(|sent| sent.body.as_deref());
    let message = sent.and_then(|sent| sent.message.as_deref());
    if message.is_some_and(|message| {
        let mut texts = envelopes(message).into_iter();
        texts.any(|text| sha256_hex(text.as_bytes()) == your_hash)
    }) {
        return certain(Cause::BodyHashEnvelope, None);
    }
    let Some(body) = body.filter(|body| body.len() <= MAX_VARIED) else {
        let detail = (your_hash == EMPTY_OBJECT).then_some("the hash is that of {}.");
        // Without the body, the causes of different hashes cannot be distinguished.
        return found(Cause::BodyChanged, Confidence::Possible, detail)
            .map(|diagnosis| diagnosis.needing(&[Need::Request]));
    };
    let escaped = escapes(body);
    let has = |hash: &str| escaped.iter().any(|text| sha256_hex(text) == hash);
    if has(your_hash) && has(aws_hash) {
        return certain(Cause::BodyEscapes, None);
    }
    let written = rewritten(body).into_iter();
    let detail = written
        .filter(|(text, _)| sha256_hex(text) == your_hash)
        .map(|(_, detail)| detail);
    let detail = detail.chain((your_hash == EMPTY_OBJECT).then_some("the hash is that of {}."));
    certain(
        Cause::BodyChanged,
        detail.collect::<Vec<_>>().first().copied(),
    )
}

/// Returns the texts around the `data` of a realtime message that a signer may hash: the message and its
/// payload without the authorization, and the data as it is quoted in the message.
fn envelopes(message: &str) -> Vec<String> {
    let parse = |text: &str| serde_json::from_str::<Members>(text).unwrap_or_default();
    let mut texts = Vec::new();
    let mut data = None;
    // The authorization is removed with the member that contains it, or leaves it empty.
    for keeps_extensions in [false, true] {
        let mut inner = Vec::new();
        let mut members = Vec::new();
        for (name, value) in parse(message).0 {
            if name != "payload" {
                members.push((name, value.get().to_owned()));
                continue;
            }
            for (name, value) in parse(value.get()).0 {
                if name == "data" {
                    data = Some(value.get().to_owned());
                }
                match name.as_str() {
                    "extensions" if keeps_extensions => inner.push((name, "{}".to_owned())),
                    "extensions" => {}
                    _ => inner.push((name, value.get().to_owned())),
                }
            }
            members.push((name, object(&inner, &[])));
        }
        texts.extend([
            object(&members, &["authorization"]),
            object(&members, &["authorization", "id"]),
            object(&members, &["authorization", "id", "type"]),
            object(&inner, &[]),
        ]);
    }
    texts.extend(data);
    let texts = texts.iter();
    let texts = texts.flat_map(|text| [respaced(text, false), respaced(text, true)]);
    texts.chain([message.to_owned()]).collect()
}

/// Writes members, except `omitted`, as a JSON object.
fn object(members: &[(String, String)], omitted: &[&str]) -> String {
    let members = members
        .iter()
        .filter(|(name, _)| !omitted.contains(&name.as_str()));
    let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The members of a JSON object in their order.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Returns a body with its characters escaped in the ways of common JSON libraries, itself included.
fn escapes(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(body) else {
        return vec![body.to_vec()];
    };
    let plain = [text.to_owned(), unescaped(text)];
    let html: fn(char) -> bool = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    let angles: fn(char) -> bool = |c| matches!(c, '<' | '>');
    let gson: fn(char) -> bool =
        |c| matches!(c, '<' | '>' | '&' | '=' | '\'' | '\u{2028}' | '\u{2029}');
    let ascii: fn(char) -> bool = |c| !c.is_ascii();
    let both: fn(char) -> bool = |c| !c.is_ascii() || matches!(c, '<' | '>' | '&');
    let mut all = Vec::new();
    for text in plain {
        for is_escaped in [html, angles, gson, ascii, both] {
            all.push(escaped(&text, is_escaped).into_bytes());
        }
        all.push(text.replace('/', "\\/").into_bytes());
        all.push(text.into_bytes());
    }
    all
}

fn escaped(text: &str, is_escaped: fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if is_escaped(c) {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Undoes the escapes that JSON does not require.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (plain, length) = unescaped_first(rest);
        match plain {
            Some(c) => out.push(c),
            None => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// Returns the character that an escape at the beginning of `text` stands for, unless it must stay escaped,
/// and the length of the escape.
fn unescaped_first(text: &str) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let hex = text.get(at..at + 6)?.strip_prefix("\\u")?;
        // The parser of numbers accepts a sign.
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(hex, 16).ok())?
    };
    if text.starts_with("\\/") {
        return (Some('/'), 2);
    }
    let Some(first) = unit(0) else {
        let second = text.chars().nth(1).map_or(0, char::len_utf8);
        return (None, 1 + second);
    };
    let both = [Some(first), unit(6)];
    let pair = both.iter().flatten().copied();
    let decoded = char::decode_utf16(pair).next().and_then(Result::ok);
    let length = match decoded {
        Some(c) if c.len_utf16() == 2 => 12,
        Some(_) | None => 6,
    };
    let must_stay = |c: &char| c.is_control() || matches!(c, '"' | '\\');
    (decoded.filter(|c| !must_stay(c)), length)
}

/// Returns a body as other programs write the same JSON, and how.
fn rewritten(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut all = vec![(
        [body, b"\n"].concat(),
        "a line break was signed that was not sent.",
    )];
    if let Some(short) = body.strip_suffix(b"\n") {
        all.push((short.to_vec(), "the line break at its end was not signed."));
    }
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        let serialized = "the JSON was written again, in another way, after it was signed.";
        all.push((json.to_string().into_bytes(), serialized));
        all.push((spaced(&json).into_bytes(), serialized));
        if let Ok(pretty) = serde_json::to_vec_pretty(&json) {
            all.push((pretty, serialized));
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let serialized = "the JSON was written again, in another way, after it was signed.";
        all.push((respaced(text, true).into_bytes(), serialized));
        all.push((respaced(text, false).into_bytes(), serialized));
    }
    all
}

/// Returns JSON as Python writes it, with spaces after `,` and `:`.
fn spaced(json: &Value) -> String {
    respaced(&json.to_string(), true)
}

/// Returns a JSON text with one space, or none, after each `,` and `:`, in the order of its members.
fn respaced(text: &str, with_spaces: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            out.push(c);
        } else if !c.is_ascii_whitespace() {
            in_string = c == '"';
            out.push(c);
            if with_spaces && matches!(c, ',' | ':') {
                out.push(' ');
            }
        }
    }
    out
}
