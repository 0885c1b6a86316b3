//! Strings as programming languages and JSON print them.

use std::borrow::Cow;

use crate::diagnose::unescape::{hex, unescape};

/// The most characters that an expression around a string has, such as `const canonicalRequest = `.
const MAX_BEFORE: usize = 80;

/// Returns the value of a text that is one string literal, or several that are joined: `'a\n' + "b"` as
/// JavaScript prints it, `('a\n' 'b')` as Python does. `None` if the text is something else.
pub(super) fn value(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches([';', ',']).trim_end();
    let first = text.find(['"', '\'', '`'])?;
    let before = text.get(..first)?;
    let is_expression = |char: char| char.is_ascii_alphanumeric() || "_$.(=: \t\n+".contains(char);
    if before.len() > MAX_BEFORE || !before.chars().all(is_expression) {
        return None;
    }
    let mut rest = text.get(first..)?;
    let mut value = String::new();
    loop {
        let (part, after) = literal(rest)?;
        value.push_str(&part);
        let joined = after.trim_start_matches([' ', '\t', '\n', '+', '\\']);
        let joined = joined.trim_start_matches(['b', 'r', 'u', 'f']);
        if joined.starts_with(['"', '\'', '`']) {
            rest = joined;
        } else {
            let is_end = after.trim().trim_matches([')', ';', ',']).is_empty();
            return is_end.then_some(value);
        }
    }
}

/// Returns the value of the literal that the text begins with, and the text after it.
fn literal(text: &str) -> Option<(String, &str)> {
    for quote in ["\"\"\"", "'''", "\"", "'", "`"] {
        let Some(inside) = text.strip_prefix(quote) else {
            continue;
        };
        let mut at = 0;
        while let Some(char) = inside.get(at..)?.chars().next() {
            if inside.get(at..)?.starts_with(quote) {
                return Some((unescape(inside.get(..at)?), inside.get(at + quote.len()..)?));
            }
            at += char.len_utf8();
            if char == '\\' {
                at += inside.get(at..)?.chars().next().map_or(0, char::len_utf8);
            }
        }
        return None;
    }
    None
}

/// Returns the text with `\ufffd` for each half of a surrogate pair that has no other half, which no parser
/// of JSON accepts.
pub(super) fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    const ESCAPE: usize = 6;
    let mut out: Option<String> = None;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("\\u")) {
        let start = at + found;
        at = start + 2;
        let code = text.get(start..).and_then(|rest| hex(rest, 4));
        let Some(0xd800..0xe000) = code else {
            continue;
        };
        let after = text.get(start + ESCAPE..).unwrap_or_default();
        let second = after.trim_start_matches('\\');
        let escapes = after.len() - second.len();
        let low = after
            .get(escapes.saturating_sub(1)..)
            .and_then(|rest| hex(rest, 4));
        let is_pair = escapes > 0
            && second.starts_with('u')
            && matches!((code, low), (Some(0xd800..0xdc00), Some(0xdc00..0xe000)));
        if is_pair {
            at = start + ESCAPE + escapes + 5;
        } else {
            let out = out.get_or_insert_with(|| text.to_owned());
            out.replace_range(start..start + ESCAPE, "\\ufffd");
            at = start + ESCAPE;
        }
    }
    out.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Returns the text of a print-out of an object with strings in it: pieces that `+` joins over several
/// lines become one, and escapes are replaced.
pub(super) fn printed(text: &str) -> String {
    unescape(&joined(text))
}

/// Removes `' +\n  '` between two literals.
fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"', '`']) {
        let after = rest.get(at + 1..).unwrap_or_default();
        let next = after.trim_start_matches(' ').strip_prefix("+\n");
        let next = next.map(|next| next.trim_start_matches([' ', '\n', '\t']));
        let next = next.and_then(|next| next.strip_prefix(['\'', '"', '`']));
        match next {
            Some(next) => {
                out.push_str(rest.get(..at).unwrap_or_default());
                rest = next;
            }
            None => {
                out.push_str(rest.get(..=at).unwrap_or_default());
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
