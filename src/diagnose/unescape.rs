//! Escapes in strings of JSON and of programming languages.

/// The most digits of a code point.
const MAX_CODE: usize = 6;

/// Returns the text with the escapes of JSON, JavaScript, Python, Go and Rust replaced. What is not such
/// an escape stays.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (char, length) = escaped(escape);
        match char {
            Some(char) => out.push(char),
            // The language joins a line that ends in a backslash to the next one.
            None if escape.starts_with("\\\n") => {}
            None => out.push_str(escape.get(..length).unwrap_or_default()),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Returns the character of the escape that the text begins with, and the length of the escape.
fn escaped(text: &str) -> (Option<char>, usize) {
    let Some(kind) = text.chars().nth(1) else {
        return (None, text.len());
    };
    match kind {
        'n' => (Some('\n'), 2),
        'r' => (Some('\r'), 2),
        't' => (Some('\t'), 2),
        '0' => (Some('\0'), 2),
        '"' | '\'' | '`' | '\\' | '/' | '$' => (Some(kind), 2),
        'x' => hex(text, 2).map_or((None, 2), |code| (char::from_u32(code), 4)),
        'u' => unicode(text),
        _ => (None, 1 + kind.len_utf8()),
    }
}

/// Reads the digits of an escape, after the backslash and the letter.
pub(super) fn hex(text: &str, digits: usize) -> Option<u32> {
    number(text.get(2..2 + digits)?)
}

/// Reads a hexadecimal number, which has no sign.
fn number(digits: &str) -> Option<u32> {
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

/// `\u0041`, a pair of surrogates, or `\u{41}`.
fn unicode(text: &str) -> (Option<char>, usize) {
    if let Some(rest) = text.strip_prefix("\\u{") {
        let end = rest
            .bytes()
            .take(MAX_CODE + 1)
            .position(|byte| byte == b'}');
        return match end.and_then(|end| rest.get(..end)) {
            Some(code) => (number(code).and_then(char::from_u32), code.len() + 4),
            None => (None, 3),
        };
    }
    let Some(high) = hex(text, 4) else {
        return (None, 2);
    };
    let low = text.get(6..).filter(|rest| rest.starts_with("\\u"));
    match (high, low.and_then(|rest| hex(rest, 4))) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code), 12)
        }
        _ => (char::from_u32(high), 6),
    }
}
