//! Masks the secrets of the inputs in the output.
//!
//! A diagnosis quotes parts of the inputs, and may cut them. So this searches the output for pieces of
//! secrets: six characters in a row, whatever the escapes, are masked. It costs time in proportion to the
//! size of the inputs, however many secrets they contain.

mod find;
mod opaque;
mod users;
mod value;

use std::collections::HashSet;

use crate::diagnose::display::MASK;
use crate::diagnose::{Answer, Cause, Credentials, Diagnosis, Evidence, Request};
use opaque::Quote;

/// The secrets of the inputs, one in a line.
#[derive(Default)]
pub(super) struct Secrets(Vec<u8>);

/// The length of the pieces that are compared. Shorter secrets would match unrelated text.
const PIECE: usize = 6;
/// Shorter numbers are also parts of dates.
const MIN_DIGITS: usize = 10;
/// Words of the sentences of a diagnosis that are in no text of a cause.
const SENTENCES: &str = "\
    access address another answer authorization authorized because before being body break carries \
    certificate characters closed command commands computed connection contains copies countersign \
    credential credentials cross-origin decide denied differ document documentation does domain either \
    element elements empty error errors example excludes exist expects expected explain explicit failed \
    fetch field follows header headers identity incoming instead invalid letters longer malformed matches \
    message missing months names network nothing number options origin output parameter parameters \
    permission policy problem proven provided query realtime reason received region rejection rejects \
    request requests resolve resource response reveal scheme secret secrets seconds server service session \
    should signature signatures signed signer signing something status string supported terminator texts \
    timeout unauthorized unchanged unknown unreachable upgrade verified version whole without wrong";

impl Secrets {
    /// Adds the secrets in a text, whatever it is.
    pub(super) fn add(&mut self, text: &str) {
        find::secrets(text, &mut |secret| self.push(secret));
    }

    /// Adds the credentials that the user compares with.
    pub(super) fn add_credentials(&mut self, credentials: &Credentials) {
        self.push(credentials.secret_access_key.as_bytes());
        if let Some(token) = &credentials.session_token {
            self.push(token.as_bytes());
        }
    }

    /// Adds the secrets of what was read from the inputs, which may be decoded.
    pub(super) fn add_evidence(&mut self, evidence: &Evidence) {
        let Evidence {
            answer: Answer { headers, body, .. },
            request,
            canonical_request,
            string_to_sign,
            ..
        } = evidence;
        self.add_headers(headers);
        self.add(body);
        if let Some(request) = request {
            let Request {
                target,
                headers,
                body,
                ..
            } = request;
            self.add_headers(headers);
            self.add(target);
            if let Some(body) = body {
                self.add(&String::from_utf8_lossy(body));
            }
        }
        for text in [canonical_request, string_to_sign].into_iter().flatten() {
            self.add(text);
        }
    }

    fn add_headers(&mut self, headers: &[(String, String)]) {
        for (name, value) in headers {
            self.add(&format!("{name}: {value}"));
        }
    }

    fn push(&mut self, secret: &[u8]) {
        if secret.len() >= PIECE {
            self.0.extend_from_slice(secret);
            self.0.push(b'\n');
        }
    }

    /// Replaces every secret in a diagnosis, and what looks like one where it quotes an input.
    pub(super) fn mask_diagnosis(&self, diagnosis: &mut Diagnosis) {
        self.mask_known(diagnosis);
        if diagnosis.cause.is_none() {
            diagnosis.summary = opaque::masked(&diagnosis.summary, Quote::Line);
        }
        if let Some(difference) = &mut diagnosis.difference {
            for text in [&mut difference.yours, &mut difference.aws] {
                *text = opaque::masked(text, Quote::Difference);
            }
        }
    }

    /// Replaces the secrets that were found in the inputs.
    fn mask_known(&self, diagnosis: &mut Diagnosis) {
        let words = words_of_texts();
        let known = Some(&words);
        let mut texts = vec![(&mut diagnosis.summary, known)];
        if let Some(difference) = &mut diagnosis.difference {
            texts.push((&mut difference.line, known));
            texts.push((&mut difference.yours, None));
            texts.push((&mut difference.aws, None));
        }
        if let Some(fix) = &mut diagnosis.fix {
            texts.push((fix, known));
        }
        for symbols in [Symbols::Ignored, Symbols::Compared] {
            let mut shown = HashSet::new();
            for (text, _) in &texts {
                for unit in units(text) {
                    shown.extend(pieces(&characters(unit.as_bytes(), symbols)));
                }
            }
            let mut secret = HashSet::new();
            for word in self.0.split(|byte| *byte == b'\n') {
                let found = pieces(&characters(word, symbols));
                secret.extend(found.into_iter().filter(|piece| shown.contains(piece)));
            }
            if secret.is_empty() {
                continue;
            }
            for (text, words) in &mut texts {
                **text = masked(text, symbols, &secret, *words);
            }
        }
    }
}

/// Whether characters that are neither letters nor digits count. Without them, a secret is found in each
/// of its encodings; with them, also one that has few letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbols {
    Ignored,
    Compared,
}

/// A character of a text, in lower case and without the escapes of URLs and JSON.
struct Character {
    byte: u8,
    start: usize,
    end: usize,
}

/// Returns the words of the sentences that diagnoses consist of. A secret can contain such a word, which a
/// sentence still shows.
fn words_of_texts() -> HashSet<String> {
    let causes = Cause::ALL.iter().flat_map(|cause| {
        let code = cause.code().iter().map(|(_, code)| *code);
        [cause.sentence(), cause.explanation(), cause.fix()]
            .into_iter()
            .chain(code)
    });
    let texts = causes.chain([SENTENCES]);
    let words = texts.flat_map(str::split_ascii_whitespace);
    words.map(bare).collect()
}

/// Returns a word without the punctuation around it.
fn bare(word: &str) -> String {
    let word = word.trim_matches(|char: char| !char.is_alphanumeric());
    word.to_ascii_lowercase()
}

/// Splits a text after each white space, so that the parts together are the text.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|char: char| char.is_ascii_whitespace())
}

fn characters(text: &[u8], symbols: Symbols) -> Vec<Character> {
    let mut characters = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let (byte, length) = first_character(rest);
        let end = start + length;
        if let Some(byte) = byte.filter(|byte| {
            let is_symbol = byte.is_ascii() && !byte.is_ascii_alphanumeric();
            !(byte.is_ascii_whitespace() || is_symbol && symbols == Symbols::Ignored)
        }) {
            let byte = byte.to_ascii_lowercase();
            characters.push(Character { byte, start, end });
        }
        start = end;
    }
    characters
}

/// Returns the first character of a text, decoded, and the length of its encoding.
fn first_character(text: &[u8]) -> (Option<u8>, usize) {
    let hex = |at: usize| {
        let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
        // Two hexadecimal digits fit in one byte.
        Some((digit(at)? << 4 | digit(at + 1)?).to_le_bytes()[0])
    };
    match text {
        [b'%', ..] => {
            // `%252F` was encoded twice.
            let mut at = 1;
            while text.get(at..at + 2) == Some(b"25") && hex(at + 2).is_some() {
                at += 2;
            }
            hex(at).map_or((Some(b'%'), 1), |byte| (Some(byte), at + 2))
        }
        [b'\\', b'u', b'0', b'0', ..] if hex(4).is_some() => (hex(4), 6),
        [b'\\', b'x', ..] if hex(2).is_some() => (hex(2), 4),
        [b'\\', ..] => (None, 1),
        [byte, ..] => (Some(*byte), 1),
        [] => (None, 1),
    }
}

/// Returns each piece of a text. Six bytes fit into the number.
fn pieces(characters: &[Character]) -> Vec<u64> {
    let piece = |window: &[Character]| {
        window
            .iter()
            .fold(0, |piece, character| piece << 8 | u64::from(character.byte))
    };
    characters.windows(PIECE).map(piece).collect()
}

/// Returns the text with every piece of a secret masked, except in the words of sentences.
fn masked(
    text: &str,
    symbols: Symbols,
    secret: &HashSet<u64>,
    words: Option<&HashSet<String>>,
) -> String {
    let mut out = String::with_capacity(text.len());
    for unit in units(text) {
        let characters = characters(unit.as_bytes(), symbols);
        let found = pieces(&characters);
        let is_word = words.is_some_and(|words| words.contains(&bare(unit)));
        if is_word || !found.iter().any(|piece| secret.contains(piece)) {
            out.push_str(unit);
            continue;
        }
        let mut marked = vec![false; unit.len()];
        for (window, piece) in characters.windows(PIECE).zip(&found) {
            if secret.contains(piece) {
                let (first, last) = (&window[0], &window[PIECE - 1]);
                marked[first.start..last.end].fill(true);
            }
        }
        replace(unit, &marked, &mut out);
    }
    out
}

/// Writes a text with each marked range replaced.
fn replace(text: &str, marked: &[bool], out: &mut String) {
    let is_marked = |at: usize, char: char| {
        let bytes = marked.get(at..at + char.len_utf8());
        bytes.is_some_and(|bytes| bytes.contains(&true))
    };
    let mut rest = text.char_indices().peekable();
    while let Some((at, char)) = rest.next() {
        if !is_marked(at, char) {
            out.push(char);
            continue;
        }
        let mut end = at + char.len_utf8();
        // The padding of base64 belongs to it.
        while let Some((at, char)) =
            rest.next_if(|(at, char)| is_marked(*at, *char) || *char == '=')
        {
            end = at + char.len_utf8();
        }
        let range = text.get(at..end).unwrap_or_default();
        let digits = range.trim_end_matches('=');
        let is_short =
            digits.len() < MIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        out.push_str(if is_short { range } else { MASK });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
