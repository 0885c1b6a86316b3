//! Percent encoding and hashes, as Signature Version 4 defines them.
//!
//! This code does not share anything with the signer, so that it finds the signer's mistakes.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::display::{MASK, is_secret_name};

/// Whether `/` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slash {
    Keep,
    Encode,
}

/// Encodes every byte except the unreserved ones of RFC 3986.
pub(super) fn encode(bytes: &[u8], slash: Slash) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        let is_unreserved =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if is_unreserved || (*byte == b'/' && slash == Slash::Keep) {
            out.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Decodes each `%XX` once; leaves other `%` unchanged.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        let escaped = digit(bytes.get(at)).zip(digit(bytes.get(at + 1)));
        match (byte, escaped) {
            (b'%', Some((high, low))) => {
                at += 2;
                // Two hexadecimal digits fit in one byte.
                out.push((high << 4 | low).to_le_bytes()[0]);
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

/// Decodes a name or a value of a query, where `+` is a space.
pub(super) fn decode_query(text: &str) -> Vec<u8> {
    decode(&text.replace('+', " "))
}

/// Decodes until nothing is encoded, at most four times.
pub(super) fn decode_fully(text: &str) -> Vec<u8> {
    let mut decoded = text.as_bytes().to_vec();
    for _ in 0..4 {
        let again = decode(&String::from_utf8_lossy(&decoded));
        if again == decoded {
            break;
        }
        decoded = again;
    }
    decoded
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Returns the value of a header with white space trimmed and collapsed.
pub(super) fn collapsed(value: &str) -> String {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    words.join(" ")
}

/// Returns a header's value as it may be shown.
pub(super) fn shown_value(name: &str, value: &str) -> String {
    if is_secret_name(name) && !value.is_empty() {
        return format!("{MASK} ({} characters)", value.chars().count());
    }
    shown(value)
}

/// Returns a query as it may be shown.
pub(super) fn shown_query(query: &str) -> String {
    // `header` contains the authorization of a realtime connection.
    let names = ["header", "key", "code"];
    let is_named = |name: &str| names.iter().any(|other| name.eq_ignore_ascii_case(other));
    let is_secret = |name: &str| is_secret_name(name) || is_named(name);
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    shown(&pairs.collect::<Vec<_>>().join("&"))
}

/// Returns the beginning of a text that is too long to be shown.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns a short value to quote in a sentence, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("\"{text}\"")
}

const MAX_SHOWN: usize = 4096;
