//! Writes a diagnosis for people, in 80 columns, and as JSON.

use std::fmt::Write as _;

use crate::diagnose::{Confidence, Diagnosis, Difference, Need};
use crate::visible::{is_hidden, visible};

const COLUMNS: usize = 80;
/// The columns before a value of a difference.
const INDENT: usize = 9;
/// What marks that a value is cut.
const CUT: char = '…';

/// Whether the output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Colored,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colored => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn alert(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}

/// Returns one line of JSON, with hidden characters as escapes.
pub(super) fn json(diagnosis: &Diagnosis) -> String {
    // Its members are strings.
    let json = serde_json::to_string(diagnosis).unwrap_or_default();
    let mut out = String::with_capacity(json.len() + 1);
    for char in json.chars() {
        if is_hidden(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(char);
        }
    }
    out.push('\n');
    out
}

/// Returns the cause in the first line, then the difference, the explanation, the fix, and what would decide.
pub(super) fn text(diagnosis: &Diagnosis, style: Style) -> String {
    let name = diagnosis.cause_name();
    let first = wrapped(&format!("{name}: {}", visible(&diagnosis.summary)), 0);
    let rest = first.strip_prefix(name).unwrap_or(&first);
    let mut out = format!("{}{rest}", style.alert(name));
    if matches!(
        diagnosis.confidence,
        Confidence::Possible | Confidence::Likely
    ) {
        let _ = writeln!(
            out,
            "({}: not proven by this input)",
            diagnosis.confidence.as_str()
        );
    }
    if let Some(difference) = &diagnosis.difference {
        let _ = write!(out, "\n{}", marked(difference, style));
    }
    if let Some(cause) = diagnosis.cause {
        let _ = write!(out, "\n{}", wrapped(cause.explanation(), 0));
    }
    if let Some(fix) = &diagnosis.fix {
        let _ = write!(out, "\n{}\n{}", style.strong("Fix"), wrapped(fix, 2));
    }
    if !diagnosis.needs.is_empty() && diagnosis.confidence < Confidence::Certain {
        let decides = match diagnosis.cause {
            Some(_) => "To make sure, add",
            None => "To find the cause, add",
        };
        let _ = write!(
            out,
            "\n{}\n{}",
            style.strong(decides),
            needs(&diagnosis.needs)
        );
    }
    out
}

fn needs(needs: &[Need]) -> String {
    let mut out = String::new();
    for need in needs {
        let option = match need {
            Need::Credentials => "--credentials".to_owned(),
            Need::Time => "--at TIME".to_owned(),
            Need::Answer | Need::Request | Need::CanonicalRequest | Need::StringToSign => {
                format!("--{} FILE", need.as_str())
            }
        };
        let _ = write!(out, "  {option}\n{}", wrapped(need.description(), 6));
    }
    out
}

/// Returns both values below each other, with `^` below what differs.
fn marked(difference: &Difference, style: Style) -> String {
    let yours: Vec<char> = value(&difference.yours).chars().collect();
    let aws: Vec<char> = value(&difference.aws).chars().collect();
    let (start, end) = differing(&yours, &aws);
    let width = COLUMNS - INDENT;
    // What differs, and as much before it as fits.
    let longest = yours.len().max(aws.len());
    let from = if longest <= width {
        0
    } else {
        let shown = (end - start).min(width / 2);
        (start + shown)
            .saturating_sub(width * 3 / 4)
            .min(longest - width)
    };
    let line = |label: &str, chars: &[char]| {
        let shown: String = window(chars, from, width);
        let padding = " ".repeat(INDENT - 2 - label.len());
        format!("  {label}{padding}{}", shown).trim_end().to_owned()
    };
    let end = end.min(from + width);
    let carets = "^".repeat(end.saturating_sub(start).max(1));
    let carets = format!(
        "{}{carets}",
        " ".repeat(INDENT + start.saturating_sub(from))
    );
    let carets = style.alert(carets.get(..COLUMNS).unwrap_or(&carets));
    format!(
        "{}\n{}\n{}\n{carets}\n",
        style.strong(&visible(&difference.line)),
        line("yours", &yours),
        line("AWS", &aws),
    )
}

/// Returns the range in which two texts differ, in the longer one.
fn differing(one: &[char], other: &[char]) -> (usize, usize) {
    let pairs = one.iter().zip(other);
    let start = pairs.take_while(|(one, other)| one == other).count();
    let shortest = one.len().min(other.len()) - start;
    let pairs = one.iter().rev().zip(other.iter().rev());
    let same = pairs
        .take(shortest)
        .take_while(|(one, other)| one == other)
        .count();
    (start, one.len().max(other.len()) - same)
}

/// Returns the part of a value that is shown.
fn window(chars: &[char], from: usize, width: usize) -> String {
    let mut shown: Vec<char> = chars.iter().skip(from).take(width).copied().collect();
    if from > 0
        && let Some(first) = shown.first_mut()
    {
        *first = CUT;
    }
    if chars.len() > from + width
        && let Some(last) = shown.last_mut()
    {
        *last = CUT;
    }
    shown.into_iter().collect()
}

fn value(text: &str) -> String {
    if text.is_empty() {
        return "(nothing)".to_owned();
    }
    visible(text)
}

/// Wraps paragraphs. Lines that begin with a space are code, and stay as they are.
fn wrapped(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut out = String::new();
    let mut column = 0;
    let is_code = |line: &str| line.starts_with(' ');
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if is_code(line) || line.is_empty() {
            let _ = writeln!(out, "{}", format!("{margin}{}", visible(line)).trim_end());
            continue;
        }
        for word in visible(line).split_ascii_whitespace() {
            let length = word.chars().count();
            if column == 0 {
                out.push_str(&margin);
                column = indent;
            } else if column + 1 + length > COLUMNS {
                let _ = write!(out, "\n{margin}");
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        if lines
            .peek()
            .is_none_or(|next| is_code(next) || next.is_empty())
        {
            out.push('\n');
            column = 0;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
