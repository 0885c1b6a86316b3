//! Splits a shell command into words.
//!
//! `shlex` splits POSIX words. Before it, this rewrites what browsers and other shells add: `$'…'`, line
//! continuations by `^` and by a backtick, and what follows the command.

use super::InputError;
use crate::diagnose::unescape::unescape;

/// What a variable is replaced by in a word, so that its user can decide whether it matters.
pub(super) const VARIABLE: char = '\u{e000}';

/// The longest expression, such as `${NAME:-default}`.
const MAX_EXPRESSION: usize = 512;

/// Returns the words of the first command in a text. A variable in them is [`VARIABLE`], its name, and
/// [`VARIABLE`].
pub(super) fn words(text: &str) -> Result<Vec<String>, InputError> {
    let command = rewritten(text)?;
    shlex::split(&command).ok_or(InputError::OpenQuote)
}

/// The quote that the text is in.
#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

fn rewritten(text: &str) -> Result<String, InputError> {
    let text = text.replace(VARIABLE, "");
    let mut out = String::with_capacity(text.len());
    let mut quote = Quote::None;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let mut chars = rest.chars();
        let (Some(char), next) = (chars.next(), chars.next()) else {
            break;
        };
        at += char.len_utf8();
        match (quote, char, next) {
            (Quote::None, '\'', _) => quote = Quote::Single,
            (Quote::Single, '\'', _) | (Quote::Double, '"', _) => quote = Quote::None,
            (Quote::None, '"', _) => quote = Quote::Double,
            // A continuation line, which is not a word of its own.
            (Quote::None | Quote::Double, '\\', Some('\n')) => {
                at += 1;
                continue;
            }
            (Quote::None | Quote::Double, '\\', Some('\r')) if rest.starts_with("\\\r\n") => {
                at += 2;
                continue;
            }
            (Quote::None | Quote::Double, '\\', Some(next)) => {
                out.push(char);
                out.push(next);
                at += next.len_utf8();
                continue;
            }
            // A continuation line of Windows or PowerShell.
            (Quote::None, '^' | '`', Some('\n')) => {
                out.push(' ');
                at += 1;
                continue;
            }
            (Quote::None, '$', Some('\'')) => {
                let inside = rest.get(2..).unwrap_or_default();
                let end = end_of_c_quote(inside).ok_or(InputError::OpenQuote)?;
                let value = unescape(inside.get(..end).unwrap_or_default());
                out.push('\'');
                out.push_str(&value.replace('\'', "'\\''"));
                out.push('\'');
                at += end + 2;
                continue;
            }
            (Quote::None | Quote::Double, '$', Some(next)) => {
                if let Some((name, length)) = variable(rest, next) {
                    out.push(VARIABLE);
                    out.extend(name.chars().filter(|char| !"\"'\\ ".contains(*char)));
                    out.push(VARIABLE);
                    at += length - 1;
                    continue;
                }
            }
            // The end of the command.
            (Quote::None, '\n' | '|' | ';' | '&' | '<' | '>', _) if !out.trim().is_empty() => {
                // `2>&1`
                if char == '>' && out.ends_with(" 2") {
                    out.truncate(out.len() - 2);
                }
                return Ok(out);
            }
            _ => {}
        }
        out.push(char);
    }
    Ok(out)
}

/// Returns where `$'…'` ends.
fn end_of_c_quote(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => return Some(at),
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    None
}

/// Returns the name of a variable, `$NAME`, `${NAME}` or `$(command)`, and the length of the expression.
fn variable(text: &str, next: char) -> Option<(&str, usize)> {
    if let Some(close) = match next {
        '{' => Some(b'}'),
        '(' => Some(b')'),
        _ => None,
    } {
        let inside = text.get(2..)?;
        let end = inside
            .bytes()
            .take(MAX_EXPRESSION)
            .position(|byte| byte == close);
        let inside = inside.get(..end?)?;
        // A command, or the default of a variable, may contain secrets, and this is shown in an error.
        let name = if close == b')' {
            "(command)"
        } else {
            name(inside)
        };
        return Some((name, inside.len() + 3));
    }
    if !next.is_ascii_alphabetic() && next != '_' {
        return None;
    }
    let name = name(text.get(1..)?);
    Some((name, name.len() + 1))
}

/// Returns the name of a variable that a text begins with.
fn name(text: &str) -> &str {
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let end = text.find(|char| !is_of_name(char)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}
