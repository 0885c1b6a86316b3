//! Finds the secrets in a text, by their names and by their form.
//!
//! Every function passes over the text once: ranges that were found are not searched for an end again.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{users, value};
use crate::diagnose::display::{MAX_NAME, is_secret_name};
use crate::diagnose::input::decoded;

/// How often a text may be encoded.
const MAX_DEPTH: usize = 3;

/// The shortest secrets of each form.
const MIN_ENCODED: usize = 16;
const MIN_LONG: usize = 100;
/// The length of a secret access key.
const SECRET_KEY: usize = 40;
/// More small letters in a row are a word.
const MAX_SMALL: usize = 6;
/// How session tokens of AWS begin.
const TOKENS: [&[u8]; 4] = [b"IQoJ", b"FwoG", b"FQoG", b"AQoD"];

/// Passes each secret of a text to `found`, without white space in it.
pub(super) fn secrets(text: &str, found: &mut dyn FnMut(&[u8])) {
    search(&with_plain_separators(text), found, MAX_DEPTH);
}

/// Returns the text with the separators of other keyboards and of typesetting replaced.
fn with_plain_separators(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\u{a0}' | '\u{3000}' => out.push(' '),
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => {}
            '：' | '→' => out.push(':'),
            '＝' => out.push('='),
            '“' | '”' => out.push('"'),
            '‘' | '’' => out.push('\''),
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

fn search(text: &str, found: &mut dyn FnMut(&[u8]), depth: usize) {
    let bytes = text.as_bytes();
    named(bytes, found);
    users::passwords(bytes, found);
    after_identifiers(bytes, found);
    let mut encoded = Vec::new();
    shaped(bytes, found, &mut encoded);
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for run in encoded {
        let inner = LENIENT.decode(run).ok();
        if let Some(inner) = inner.and_then(|inner| String::from_utf8(inner).ok()) {
            search(&inner, found, depth);
        }
    }
    let decoded = decoded(text);
    if decoded != text {
        search(&decoded, found, depth);
    }
}

/// Finds the values of names such as `x-api-key`, in every spelling and with every separator.
fn named(bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
    // The name so far, without separators.
    let mut name = String::new();
    let mut start = 0;
    let mut line = 0;
    let mut searched = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            byte if byte.is_ascii_alphanumeric() => {
                if name.is_empty() {
                    start = at;
                }
                name.push(char::from(*byte));
            }
            b'-' | b'_' => continue,
            // `Secret Access Key`
            b' ' if bytes.get(at.wrapping_sub(1)) != Some(&b' ') => continue,
            _ => {
                name.clear();
                if *byte == b'\n' {
                    line = at + 1;
                }
                continue;
            }
        }
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if bytes.get(at + 1).is_some_and(is_of_name) {
            continue;
        }
        if name.len() > 2 * MAX_NAME {
            name.drain(..name.len() - MAX_NAME);
        }
        if !is_secret_name(&name) {
            continue;
        }
        let place = value::Place {
            line,
            start,
            end: at + 1,
        };
        if let Some(value) = place.value(bytes).filter(|value| value.start >= searched) {
            searched = value.end(bytes);
            value.secrets(bytes, searched, found);
        }
    }
}

/// Finds secrets by their form, and what may contain others in base64.
fn shaped<'a>(bytes: &'a [u8], found: &mut dyn FnMut(&[u8]), encoded: &mut Vec<&'a [u8]>) {
    let is_of_run = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(byte);
    for run in bytes.split(|byte| !is_of_run(byte)) {
        if run.len() < MIN_ENCODED {
            continue;
        }
        // JSON in base64: tokens, the header of a realtime connection.
        let mut at = 0;
        let mut is_found = false;
        while let Some(rest) = run.get(at..).filter(|rest| rest.len() >= MIN_ENCODED) {
            let is_start = at == 0 || !run[at - 1].is_ascii_alphanumeric();
            if is_start && rest.starts_with(b"eyJ") {
                found(rest);
                encoded.extend(rest.split(|byte| *byte == b'.'));
                break;
            }
            let is_token = TOKENS.iter().any(|start| rest.starts_with(start));
            let is_key = rest.starts_with(b"da2-")
                || rest.starts_with(b"header-")
                || is_token && rest.len() >= SECRET_KEY;
            if is_start && is_key && !is_found {
                found(rest);
                is_found = true;
            }
            if let Some(key) = rest.strip_prefix(b"AWS4")
                && key.len() >= MIN_ENCODED
                && !key.starts_with(b"-")
                && key.iter().any(u8::is_ascii_digit)
            {
                found(key);
            }
            at += 1;
        }
        for part in run.split(|byte| matches!(byte, b'-' | b'_' | b'.' | b'~' | b'=')) {
            keys(part, found);
            // The base64 of a key, or of a key and its identifier.
            if part.len() > SECRET_KEY && part.len() < MIN_LONG {
                encoded.push(part);
            }
        }
        if run.len() >= MIN_LONG && has_all_kinds(run, 8) {
            found(run);
        }
    }
}

/// Finds secret access keys, which may be one of several elements of a path.
fn keys(text: &[u8], found: &mut dyn FnMut(&[u8])) {
    if text.len() == SECRET_KEY && !text.starts_with(b"/") && has_all_kinds(text, 1) {
        return found(text);
    }
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let starts = starts.flat_map(|(at, _)| [at, at + 1]);
    for start in std::iter::once(0).chain(starts) {
        let is_end = matches!(text.get(start + SECRET_KEY), None | Some(b'/'));
        let key = text.get(start..start + SECRET_KEY);
        if let Some(key) = key.filter(|key| is_end && has_all_kinds(key, 2)) {
            // Elements of paths are words.
            let is_small = |byte: &u8| byte.is_ascii_lowercase();
            let mut words = key.split(|byte| !is_small(byte));
            if words.all(|word| word.len() < MAX_SMALL) {
                found(key);
            }
        }
    }
}

/// Finds what follows the identifier of an access key: `AKIA…:X`, `("AKIA…", "X")`.
fn after_identifiers(bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
    let is_of_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let name = rest.iter().take_while(|byte| is_of_name(byte)).count();
        if !(rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA")) || name < MIN_ENCODED {
            at += name.max(1);
            continue;
        }
        at += name;
        let rest = rest.get(name..).unwrap_or_default();
        let is_before = |byte: &&u8| b"\"'` \t:,|\\".contains(byte);
        let before = rest.iter().take_while(is_before).count();
        let word = rest.get(before..).unwrap_or_default();
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,)<>&".contains(byte);
        let word = word.split(is_end).next().unwrap_or_default();
        let is_secret = word.len() >= MIN_ENCODED && word.iter().any(u8::is_ascii_digit);
        if before > 0 && is_secret && !value::is_public(word) {
            found(word.split(|byte| *byte == b'@').next().unwrap_or_default());
        }
    }
}

/// Returns whether there are so many capitals, small letters and digits.
fn has_all_kinds(text: &[u8], count: usize) -> bool {
    let kinds = [
        u8::is_ascii_uppercase,
        u8::is_ascii_lowercase,
        u8::is_ascii_digit,
    ];
    let has = |is_of: fn(&u8) -> bool| text.iter().filter(|byte| is_of(byte)).count() >= count;
    kinds.into_iter().all(has)
}

/// Decodes base64 in the usual alphabet, padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
