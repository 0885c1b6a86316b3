//! Decodes single characters, which may be escaped in any of the encodings of texts from upstream.

/// The result of decoding an escape: the byte, and the length of the escape.
enum Escape {
    Complete(u8, usize),
    /// The text ends within a possible escape. Contains the result if the text is complete.
    Partial(Option<(u8, usize)>),
    None,
}

/// The maximum length of an escape.
const MAX_ESCAPE: usize = 16;

/// Decodes the character at `at`, and returns it with the position of the next one. Returns `None` at
/// the end of the text and, unless the text `is_complete`, within an escape.
pub(super) fn decode_unit(text: &[u8], at: usize, is_complete: bool) -> Option<(u8, usize)> {
    let rest = text.get(at..)?;
    let literal = (*rest.first()?, at + 1);
    let escape = match literal.0 {
        b'%' => percent(rest),
        b'\\' => backslash(rest),
        b'&' => entity(rest),
        _ => Escape::None,
    };
    match escape {
        Escape::Complete(byte, length) => Some((byte, at + length)),
        Escape::Partial(_) if !is_complete => None,
        Escape::Partial(Some((byte, length))) => Some((byte, at + length)),
        Escape::Partial(None) | Escape::None => Some(literal),
    }
}

/// Decodes `%2B`, `%252B`, `%25252B`.
fn percent(rest: &[u8]) -> Escape {
    let mut found = None;
    let mut at = 1;
    for _ in 0..3 {
        match hex_pair(rest, at) {
            Escape::Complete(byte, end) => {
                found = Some((byte, end));
                at = end;
                if byte != b'%' {
                    break;
                }
            }
            Escape::Partial(_) => return Escape::Partial(found),
            Escape::None => break,
        }
    }
    found.map_or(Escape::None, |(byte, end)| Escape::Complete(byte, end))
}

/// Decodes two hexadecimal digits.
fn hex_pair(rest: &[u8], at: usize) -> Escape {
    let digits = rest.get(at..).unwrap_or_default();
    let digits = &digits[..digits.len().min(2)];
    match (hex(digits), digits.len()) {
        (Some(byte), 2) => Escape::Complete(byte, at + 2),
        (_, 0 | 1) if digits.iter().all(u8::is_ascii_hexdigit) => Escape::Partial(None),
        _ => Escape::None,
    }
}

/// Decodes `\/`, `\u002b`, `\x2b`, with any number of backslashes.
fn backslash(rest: &[u8]) -> Escape {
    let at = rest
        .iter()
        .take(MAX_ESCAPE)
        .take_while(|byte| **byte == b'\\')
        .count();
    let Some(kind) = rest.get(at) else {
        return Escape::Partial(None);
    };
    match kind {
        b'/' | b'=' => Escape::Complete(*kind, at + 1),
        b'x' => hex_pair(rest, at + 1),
        b'u' => match &rest[at + 1..rest.len().min(at + 3)] {
            b"00" => hex_pair(rest, at + 3),
            b"" | b"0" => Escape::Partial(None),
            _ => Escape::None,
        },
        _ => Escape::None,
    }
}

/// Decodes `&#43;`, `&#x2b;`, `&plus;`, also with `&amp;` as the ampersand.
fn entity(rest: &[u8]) -> Escape {
    let amp = if rest.starts_with(b"&amp;") { 5 } else { 1 };
    let inner = &rest[amp..rest.len().min(amp + MAX_ESCAPE)];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let Some(end) = inner.iter().position(|byte| !is_name(byte)) else {
        return if inner.len() < MAX_ESCAPE {
            Escape::Partial(None)
        } else {
            Escape::None
        };
    };
    let name = str::from_utf8(&inner[..end]).unwrap_or_default();
    let byte = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(number) => u8::from_str_radix(number, 16).ok(),
            None => number.parse().ok(),
        },
        None => match name {
            "plus" => Some(b'+'),
            "sol" => Some(b'/'),
            "equals" => Some(b'='),
            _ => None,
        },
    };
    match byte {
        Some(byte) if inner[end] == b';' => Escape::Complete(byte, amp + end + 1),
        Some(_) | None => Escape::None,
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u8::from_str_radix(digits, 16).ok()
}
