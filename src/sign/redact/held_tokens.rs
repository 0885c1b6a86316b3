//! Finds and masks the session tokens that countersign holds, in any text from upstream and in any
//! encoding.
//!
//! A token is matched character by character. Each character may be literal, percent-encoded (up to
//! three times), escaped as in JSON or JavaScript, or an HTML entity. The token's base64 at any offset
//! is matched in the same way. A match is overwritten by a mask of the same length, so that announced
//! lengths remain correct.

mod escape;

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use memchr::memchr3;
use parking_lot::RwLock;

use escape::decode_unit;

/// The tokens to mask, and the patterns to search for.
struct HeldTokens {
    tokens: VecDeque<Box<str>>,
    patterns: Vec<Vec<u8>>,
    /// The bytes with which a pattern, in any encoding, may begin, three at a time.
    first_bytes: Vec<[u8; 3]>,
    /// The least number of bytes that a match has.
    shortest: usize,
}

/// Masks tokens in the first [`MAX_SCANNED`] bytes of a body while it is streamed, even if a token is
/// split between pieces.
#[derive(Default)]
pub struct MaskingStream {
    /// Bytes that may be the beginning of a token.
    held: BytesMut,
    /// The number of held bytes that were already passed on.
    sent: usize,
    /// The number of bytes that were searched for tokens.
    scanned: usize,
}

enum Match {
    None,
    /// A token, which ends before this offset.
    Until(usize),
    /// The text ends within what may be a token.
    Partial,
}

static HELD_TOKENS: LazyLock<RwLock<Arc<HeldTokens>>> = LazyLock::new(RwLock::default);

/// The text is searched in parts of this length, so that a byte that does not occur is searched for once, and
/// not again after each occurrence of another.
const WINDOW: usize = 512;
/// The minimum length of a token. AWS's tokens are longer, and shorter ones would match unrelated text.
const MIN_LENGTH: usize = 16;
/// A truncated token is masked if at least this many of its characters are present.
const MIN_PREFIX: usize = 32;
/// Up to this many bytes that may be the beginning of a token are passed on, so that the end of a
/// response is not delayed.
const MAX_PARTIAL: usize = 12;
/// The number of tokens to keep. Each credential source has one token, and AWS may still echo its
/// previous one.
const MAX_TOKENS: usize = 16;
/// The number of bytes to search. AWS's errors are shorter; the rest of a body is an application's.
const MAX_SCANNED: usize = 256 * 1024;
const MASK: &[u8] = b"[redacted]";

/// Adds `token` to the tokens that are masked.
pub fn register(token: &str) {
    if token.len() < MIN_LENGTH
        || HELD_TOKENS
            .read()
            .tokens
            .iter()
            .any(|known| **known == *token)
    {
        return;
    }
    let mut known = HELD_TOKENS.write();
    let tokens = push_bounded(known.tokens.clone(), token);
    *known = Arc::new(HeldTokens::of(tokens));
}

/// Appends `token`, and drops the oldest token if there are too many.
fn push_bounded(mut tokens: VecDeque<Box<str>>, token: &str) -> VecDeque<Box<str>> {
    if tokens.len() >= MAX_TOKENS {
        tokens.pop_front();
    }
    tokens.push_back(token.into());
    tokens
}

/// Returns `text` with the known tokens masked.
pub fn mask_known(text: &[u8]) -> Cow<'_, [u8]> {
    current().masked(text)
}

/// Returns `text` with the known tokens masked.
pub fn mask_known_text(text: &str) -> Cow<'_, str> {
    match mask_known(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // ASCII was replaced by ASCII.
        Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
    }
}

/// Returns `body` with the known tokens masked within the first [`MAX_SCANNED`] bytes.
pub fn mask_known_body(body: Bytes) -> Bytes {
    let mut stream = MaskingStream::default();
    let first = stream.push(body);
    let rest = stream.finish();
    if rest.is_empty() {
        first
    } else {
        [first, rest].concat().into()
    }
}

/// Masks the known tokens in the values of headers.
pub fn mask_headers(headers: &mut HeaderMap) {
    let known = current();
    for value in headers.values_mut() {
        if let Cow::Owned(masked) = known.masked(value.as_bytes())
            && let Ok(masked) = HeaderValue::from_bytes(&masked)
        {
            *value = masked;
        }
    }
}

fn current() -> Arc<HeldTokens> {
    Arc::clone(&HELD_TOKENS.read())
}

fn overwrite(range: &mut [u8]) {
    range.fill(b'*');
    if let Some(start) = range.get_mut(..MASK.len()) {
        start.copy_from_slice(MASK);
    }
}

// === impl HeldTokens ===

impl Default for HeldTokens {
    fn default() -> Self {
        Self::of(VecDeque::new())
    }
}

impl HeldTokens {
    fn of(tokens: VecDeque<Box<str>>) -> Self {
        let patterns: Vec<Vec<u8>> = tokens.iter().flat_map(|token| patterns(token)).collect();
        let firsts = patterns.iter().filter_map(|pattern| pattern.first());
        let firsts: BTreeSet<u8> = firsts.flat_map(|first| spellings(*first)).collect();
        let firsts = Vec::from_iter(firsts);
        let groups = firsts.chunks(3).map(|group| match *group {
            [a, b, c] => [a, b, c],
            [a, b] => [a, b, b],
            _ => [group[0]; 3],
        });
        let lengths = patterns.iter().map(|pattern| pattern.len().min(MIN_PREFIX));
        Self {
            tokens,
            first_bytes: std::iter::once(*b"%\\&").chain(groups).collect(),
            shortest: lengths.min().unwrap_or(usize::MAX),
            patterns,
        }
    }

    /// Returns `text` with the tokens masked.
    fn masked<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = Cow::Borrowed(text);
        let mut at = 0;
        while let Some((start, end)) = self.next(&masked, at) {
            overwrite(&mut masked.to_mut()[start..end]);
            at = end;
        }
        masked
    }

    /// Returns the range of the first token in `text` that begins at or after `at`.
    fn next(&self, text: &[u8], mut at: usize) -> Option<(usize, usize)> {
        // Most values of headers are shorter.
        if text.len() < self.shortest {
            return None;
        }
        while let Some(start) = self.candidate(text, at) {
            if let Match::Until(end) = self.at(text, start, true) {
                return Some((start, end));
            }
            at = start + 1;
        }
        None
    }

    /// Returns the first position from `at` where a token may begin.
    fn candidate(&self, text: &[u8], at: usize) -> Option<usize> {
        if self.patterns.is_empty() {
            return None;
        }
        text.get(at..)?
            .chunks(WINDOW)
            .zip((at..).step_by(WINDOW))
            .find_map(|(window, at)| Some(at + self.first_in(window)?))
    }

    fn first_in(&self, window: &[u8]) -> Option<usize> {
        let mut first = None;
        for [a, b, c] in &self.first_bytes {
            let before = &window[..first.unwrap_or(window.len())];
            first = memchr3(*a, *b, *c, before).or(first);
        }
        first
    }

    /// Matches all tokens at `start`. Unless `is_complete`, more text may follow.
    fn at(&self, text: &[u8], start: usize, is_complete: bool) -> Match {
        let mut is_partial = false;
        let mut longest = 0;
        for pattern in &self.patterns {
            match matched(text, start, pattern, is_complete) {
                Match::None => {}
                Match::Until(end) => longest = longest.max(end),
                Match::Partial => is_partial = true,
            }
        }
        match (is_partial, longest) {
            (true, _) => Match::Partial,
            (false, 0) => Match::None,
            (false, end) => Match::Until(end),
        }
    }
}

/// Returns the token, and its base64 encodings at each of the three offsets within a longer text,
/// without the characters that depend on adjacent text.
fn patterns(token: &str) -> impl Iterator<Item = Vec<u8>> {
    let encoded = (0..3).map(|offset: usize| {
        let padded = ["x".repeat(offset).as_str(), token].concat();
        let full_groups = padded.len() / 3 * 3;
        let text = STANDARD_NO_PAD.encode(&padded[..full_groups]);
        text.as_bytes()[if offset == 0 { 0 } else { 4 }..].to_vec()
    });
    std::iter::once(token.as_bytes().to_vec())
        .chain(encoded)
        .filter(|pattern| pattern.len() >= MIN_LENGTH)
}

/// Matches `pattern`, or a long enough prefix of it, at `start`. Unless `is_complete`, more text may
/// follow.
fn matched(text: &[u8], start: usize, pattern: &[u8], is_complete: bool) -> Match {
    let mut at = start;
    for (count, expected) in pattern.iter().enumerate() {
        let (found, end) = match decode_unit(text, at, is_complete) {
            Some(unit) => unit,
            None if !is_complete => return Match::Partial,
            None => return prefix_match(count, at),
        };
        if normalize_base64(found) != normalize_base64(*expected) {
            return prefix_match(count, at);
        }
        at = end;
    }
    Match::Until(at)
}

fn prefix_match(count: usize, at: usize) -> Match {
    if count >= MIN_PREFIX {
        Match::Until(at)
    } else {
        Match::None
    }
}

/// Returns a byte as it is in both alphabets of base64.
fn spellings(byte: u8) -> [u8; 2] {
    match byte {
        b'+' | b'-' => *b"+-",
        b'/' | b'_' => *b"/_",
        byte => [byte; 2],
    }
}

/// Maps the URL-safe alphabet of base64 to the standard alphabet.
fn normalize_base64(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    }
}

// === impl MaskingStream ===

impl MaskingStream {
    /// Takes the next piece of the body, and returns the bytes that can be passed on.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        if self.scanned >= MAX_SCANNED && self.held.is_empty() {
            return piece;
        }
        let known = current();
        if self.held.is_empty() && !known.occurs_in(&piece) {
            self.scanned = self.scanned.saturating_add(piece.len());
            return piece;
        }
        self.held.extend_from_slice(&piece);
        let final_end = known.mask(&mut self.held, false);
        self.scanned = self.scanned.saturating_add(piece.len());
        let sent = std::mem::take(&mut self.sent);
        let end = if self.held.len() - final_end <= MAX_PARTIAL {
            self.held.len()
        } else {
            final_end.max(sent)
        };
        let out = Bytes::copy_from_slice(&self.held[sent..end]);
        let _ = self.held.split_to(final_end);
        self.sent = end - final_end.min(end);
        out
    }

    /// Returns the bytes that are still held back. Must be called at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        let mut rest = self.held.split();
        current().mask(&mut rest, true);
        rest.freeze().slice(std::mem::take(&mut self.sent)..)
    }

    /// Returns whether no bytes are held back.
    pub fn is_empty(&self) -> bool {
        self.held.len() <= self.sent
    }
}

impl HeldTokens {
    /// Returns whether `text` contains a token, or may end with the beginning of one.
    fn occurs_in(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while let Some(start) = self.candidate(text, at) {
            match self.at(text, start, false) {
                Match::None => at = start + 1,
                Match::Until(_) | Match::Partial => return true,
            }
        }
        false
    }

    /// Masks the tokens in `text`, and returns the position up to which it is final.
    fn mask(&self, text: &mut [u8], is_complete: bool) -> usize {
        let mut at = 0;
        while let Some(start) = self.candidate(text, at) {
            match self.at(text, start, is_complete) {
                Match::None => at = start + 1,
                Match::Until(end) => {
                    overwrite(&mut text[start..end]);
                    at = end;
                }
                Match::Partial => return start,
            }
        }
        text.len()
    }
}

impl std::fmt::Debug for MaskingStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskingStream")
    }
}

#[cfg(test)]
mod tests;
