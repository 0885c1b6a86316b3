//! The value that follows a name in a text: in a header, an assignment, JSON, XML, a URL or a table.

use crate::diagnose::input::decoded_base64;

/// Where a name stands in a text.
pub(super) struct Place {
    /// The start of its line.
    pub(super) line: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value that begins at `start`.
pub(super) struct Value {
    pub(super) start: usize,
    kind: Kind,
}

/// How a value ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With this quote, which was escaped or not.
    Quoted(u8, bool),
    /// With the line, or with the quote before the name.
    Header(Option<u8>),
    /// With the word, or the last word of a list.
    Word,
}

/// The distance between name and value in a header of a HAR file.
const MAX_DISTANCE: usize = 60;
/// A word that is longer is not one of a sentence.
const MAX_PLAIN: usize = 15;
/// Of a word, so much decides whether it is like a secret.
const MAX_WORD: usize = 256;
/// A value with more plain words than this is a sentence.
const MAX_PLAIN_WORDS: usize = 2;
/// Schemes of `authorization`, which are not secret.
const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "negotiate", "token"];
/// What stands where a value is missing.
const NOTHING: [&str; 4] = ["undefined", "[redacted]", "[masked]", "REDACTED"];

impl Place {
    /// Returns the value of this name, if a separator and a value follow it.
    pub(super) fn value(&self, bytes: &[u8]) -> Option<Value> {
        let mut at = self.end;
        let is_quoted = skip(bytes, &mut at, b"\"'`");
        skip_note(bytes, &mut at);
        skip(bytes, &mut at, b"\"'`\\])* \t");
        let is_spaced = bytes
            .get(self.end..at)
            .is_some_and(|between| between.iter().any(u8::is_ascii_whitespace));
        let separator = at;
        let named = after_value_word(bytes, self.end);
        let is_separated = named.is_some() || skip(bytes, &mut at, b":=>|");
        let mut can_break = is_quoted && is_separated;
        if let Some(start) = named {
            at = start;
        } else if !is_separated {
            let next = bytes.get(at..).unwrap_or_default();
            // `("x-api-key", "X")`, `{"name": "x-api-key", "value": "X"}`
            if is_quoted && bytes.get(at) == Some(&b',') {
                at = after_value_name(bytes, at).unwrap_or(at + 1);
                can_break = true;
            } else if let [b',' | b';', ..] = next {
                // `x-api-key,X`, but not the names of signed headers.
                let word = word_at(bytes, at + 1);
                let is_list = word.contains(&b';') || !word.iter().any(u8::is_ascii_digit);
                if is_list || word.len() <= MAX_PLAIN {
                    return None;
                }
                at += 1;
            } else if let [b'+', b' ' | b'"' | b'\'', ..] = next {
                // `'Bearer ' + 'X'`
                at += 1;
                skip(bytes, &mut at, b" ");
                if !is_quote(bytes.get(at)) {
                    return None;
                }
            } else if !is_spaced {
                return None;
            } else {
                let has_is = next.starts_with(b"is ");
                if has_is {
                    at += 3;
                    skip(bytes, &mut at, b"\"'` ");
                }
                // `--secret-access-key X`, `aws_session_token X`; in a sentence, `The token X is expired`.
                let is_option = !has_is && self.is_option(bytes) && is_like_secret(bytes, at);
                let word = word_at(bytes, at);
                let is_long = word.len() > MAX_PLAIN && is_like_secret(bytes, at) && !is_kind(word);
                if !(is_option || is_long) {
                    return None;
                }
            }
        }
        let is_header = is_separated && bytes.get(separator) == Some(&b':');
        let mut quote = None;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' | b'\'' | b'`' => {
                    let is_escaped = at > 0 && bytes.get(at - 1) == Some(&b'\\');
                    quote = Some(Kind::Quoted(*byte, is_escaped));
                }
                b' ' | b'\t' | b'\\' | b'[' | b'(' | b'*' | b'@' | b':' | b'=' | b'>' | b'|' => {
                    if let [b'\\', b'n' | b'r', ..] = bytes.get(at..).unwrap_or_default() {
                        return None;
                    }
                }
                b'b' | b'u' | b'r' | b'f' if is_quote(bytes.get(at + 1)) => {}
                // In JSON, the value may be on the next line.
                b'\n' | b'\r' if can_break => {}
                b'<' if !is_placeholder(bytes, at) => {}
                b'\n' | b'\r' | b'{' | b'<' => return None,
                _ => break,
            }
            at += 1;
            if quote.is_some() {
                break;
            }
        }
        let kind = quote.unwrap_or_else(|| match self.before(bytes) {
            Some(quote) if is_header => Kind::Header(quote),
            _ => Kind::Word,
        });
        Some(Value { start: at, kind })
    }

    /// Returns the quote before the name, if nothing else is before it in its line but marks.
    fn before(&self, bytes: &[u8]) -> Option<Option<u8>> {
        let before = bytes.get(self.line..self.start)?;
        let name = bytes.get(self.start..self.end)?;
        let has = |byte: u8| name.contains(&byte);
        // `curl -H x-api-key`
        if has(b' ') && (has(b'-') || has(b'_')) {
            return None;
        }
        if let [.., quote @ (b'"' | b'\'')] = before {
            return Some(Some(*quote));
        }
        let is_mark = |byte: &u8| b" \t<>*-#|".contains(byte);
        (before.len() <= MAX_DISTANCE && before.iter().all(is_mark)).then_some(None)
    }

    /// Returns whether the name is that of an option or a variable, and not of a sentence.
    fn is_option(&self, bytes: &[u8]) -> bool {
        let name = bytes.get(self.start..self.end).unwrap_or_default();
        let word = name.rsplit(|byte| *byte == b' ').next();
        let word = word.unwrap_or_default();
        let is_dashed = bytes
            .get(..self.start)
            .is_some_and(|it| it.ends_with(b"--"));
        let is_scheme = word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"jwt");
        is_dashed || is_scheme || word.contains(&b'_') || word.contains(&b'-')
    }
}

impl Value {
    /// Returns where the value ends.
    pub(super) fn end(&self, bytes: &[u8]) -> usize {
        let rest = bytes.get(self.start..).unwrap_or_default();
        let mut at = 0;
        let mut is_list = false;
        while let Some(byte) = rest.get(at) {
            let is_end = match (byte, self.kind) {
                (b'\n' | b'\r', _) => true,
                (b'\\', kind) => {
                    // A run of backslashes is passed at once.
                    let start = at;
                    while rest.get(at + 1) == Some(&b'\\') {
                        at += 1;
                    }
                    match (rest.get(at + 1), kind) {
                        (Some(b'n' | b'r'), Kind::Header(_) | Kind::Word) => {
                            return self.start + start;
                        }
                        (Some(quote), Kind::Quoted(open, is_escaped)) if *quote == open => {
                            let count = at + 1 - start;
                            if is_escaped || count.is_multiple_of(2) {
                                return self.start + start;
                            }
                            at += 1;
                        }
                        _ => {}
                    }
                    false
                }
                (byte, Kind::Quoted(quote, _)) => *byte == quote,
                (byte, Kind::Header(quote)) => quote == Some(*byte),
                (b' ' | b'\t', Kind::Word) => !is_list && !self.is_scheme(rest, at),
                (byte, Kind::Word) => b"\"'`<>&|)]}".contains(byte),
            };
            if is_end {
                break;
            }
            is_list = *byte == b';' || is_list && *byte == b' ';
            at += 1;
        }
        self.start + at
    }

    /// Returns whether the value so far is the scheme of an authorization.
    fn is_scheme(&self, rest: &[u8], at: usize) -> bool {
        at <= 10 && rest.get(..at).is_some_and(is_scheme)
    }

    /// Passes the secrets of the value that ends at `end` to `found`: a session cookie is one, a scheme is
    /// not.
    pub(super) fn secrets(&self, bytes: &[u8], end: usize, found: &mut dyn FnMut(&[u8])) {
        let value = bytes.get(self.start..end).unwrap_or_default();
        let words = || {
            let words = value.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
            words.filter(|word| !word.is_empty())
        };
        let plain = words().filter(|word| is_plain(word)).count();
        let is_sentence = matches!(self.kind, Kind::Header(_)) && plain > MAX_PLAIN_WORDS;
        let mut is_basic = false;
        for word in words() {
            if is_basic && let Some(user) = decoded_base64(word) {
                found(user.split_once(':').map_or("", |(_, it)| it).as_bytes());
            }
            is_basic = word.eq_ignore_ascii_case(b"basic");
            let is_of_sentence = is_sentence && (is_plain(word) || is_url(word));
            if is_scheme(word) || is_public(word) || is_of_sentence {
                continue;
            }
            for secret in word.split(|byte| *byte == b';') {
                if !is_public(secret) {
                    found(secret);
                }
            }
        }
    }
}

/// Passes over bytes of a set. Returns whether there was one.
fn skip(bytes: &[u8], at: &mut usize, set: &[u8]) -> bool {
    let start = *at;
    while bytes.get(*at).is_some_and(|byte| set.contains(byte)) {
        *at += 1;
    }
    *at > start
}

/// Passes over the ` [None]` of a prompt.
fn skip_note(bytes: &[u8], at: &mut usize) {
    let rest = bytes.get(*at..).unwrap_or_default();
    if let [b' ', b'[', inside @ ..] = rest {
        let inside = inside.get(..MAX_DISTANCE.min(inside.len()));
        let end = inside.and_then(|inside| inside.iter().position(|byte| *byte == b']'));
        *at += end.map_or(0, |end| end + 2);
    }
}

fn is_quote(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'"' | b'\''))
}

/// Returns where the value of `"name": "x", "value": "y"` begins.
fn after_value_name(bytes: &[u8], at: usize) -> Option<usize> {
    let near = bytes.get(at..)?;
    let near = near.get(..MAX_DISTANCE.min(near.len()))?;
    let found = near.windows(6).position(|window| {
        let (word, quote) = window.split_at(5);
        word.eq_ignore_ascii_case(b"value") && matches!(quote, b"\"" | b"'" | b"\\")
    })?;
    let mut after = at + found + 5;
    skip(bytes, &mut after, b"\"'\\ :=");
    // The quote that opens the value was passed, too.
    while after > at && is_quote(bytes.get(after - 1)) {
        after -= 1;
    }
    Some(after)
}

/// Returns whether a word has the form of a secret: digits, capitals within, or no word is so long.
fn is_like_secret(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let word = rest.split(|byte| byte.is_ascii_whitespace()).next();
    let word = word.unwrap_or_default();
    let has = |is_of: fn(&u8) -> bool| word.iter().any(is_of);
    let is_mixed = word.iter().skip(1).any(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    !word.is_empty()
        && !is_url(word)
        && (has(u8::is_ascii_digit) || is_mixed || word.len() > MAX_PLAIN)
}

/// Returns whether a word is one of a sentence.
fn is_plain(word: &[u8]) -> bool {
    let word = word.trim_ascii();
    let word = match word {
        [start @ .., b'.' | b':' | b';' | b')' | b'!' | b'?'] => start,
        word => word,
    };
    word.len() <= MAX_PLAIN && word.iter().all(u8::is_ascii_alphabetic)
}

/// Returns whether a word is a URL. Secrets in one have names or users before them.
fn is_url(word: &[u8]) -> bool {
    word.windows(3).any(|part| part == b"://")
}

fn is_scheme(word: &[u8]) -> bool {
    SCHEMES
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Returns whether a word is not secret: scope and names of signed headers, which explain what is wrong,
/// variables, and what stands for nothing.
pub(super) fn is_public(word: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let starts = [b"AWS4-".as_slice(), b"Credential=", b"SignedHeaders="];
    starts.into_iter().any(|start| word.starts_with(start))
        || is_variable(word)
        || is_nothing(word)
        || word.ends_with(b"HMAC-SHA256")
        || word.starts_with(b"x-amz-") && word.iter().all(is_name)
}

/// Returns whether a word is a variable: `$NAME`, `${NAME}`, `$(command)`, `$name`. A password may begin with
/// `$`, too.
pub(super) fn is_variable(word: &[u8]) -> bool {
    let Some(name) = word.strip_prefix(b"$") else {
        return false;
    };
    let end = name.iter().position(|byte| b"}:\"',;".contains(byte));
    let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
    let of = |is_of: fn(&u8) -> bool| name.iter().all(|byte| is_of(byte) || *byte == b'_');
    let is_upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    name.starts_with(b"{") || name.starts_with(b"(") || of(is_upper) || of(u8::is_ascii_alphabetic)
}

/// Returns whether a word stands where a value is missing.
fn is_nothing(word: &[u8]) -> bool {
    let is_mark = |byte: &u8| b".,:;)]}".contains(byte);
    let end = word
        .iter()
        .rposition(|byte| !is_mark(byte))
        .map_or(0, |at| at + 1);
    let bare = word.get(..end).unwrap_or_default();
    let is_named = |nothing: &str| {
        let nothing = nothing.trim_end_matches(']').as_bytes();
        bare == nothing
    };
    !word.is_empty() && word.iter().all(|byte| *byte == b'*')
        || NOTHING.iter().any(|nothing| is_named(nothing))
        || word.starts_with(b"<") && word.contains(&b'>')
}

/// Returns whether `<` begins an element or a placeholder, such as `<your key>`.
fn is_placeholder(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut ends = rest.iter().take(MAX_DISTANCE);
    ends.any(|byte| *byte == b'>')
}

/// Returns the word at a place, or the beginning of a long one.
fn word_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = rest.get(..MAX_WORD.min(rest.len())).unwrap_or_default();
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,<>)".contains(byte);
    rest.split(is_end).next().unwrap_or_default()
}

/// Returns whether a word is the name of an error, or of a host.
fn is_kind(word: &[u8]) -> bool {
    let has = |part: &[u8]| word.windows(part.len()).any(|window| window == part);
    has(b"Exception") || has(b"Error") || has(b".amazonaws.com") || has(b"AWS4-HMAC")
}

/// Returns where the value begins if `value` names it: `name="x" value="y"`, `<value>y`, `value: y` in the
/// next line.
fn after_value_word(bytes: &[u8], end: usize) -> Option<usize> {
    let mut at = end;
    skip(bytes, &mut at, b"\"'`\\ \t\r\n></");
    let word = bytes.get(at..at + 5)?;
    let mut after = at + 5;
    if at == end || !word.eq_ignore_ascii_case(b"value") {
        return None;
    }
    skip(bytes, &mut after, b"\"'\\ \t");
    skip(bytes, &mut after, b":=>").then_some(after)
}
