//! Strings and descriptions in the schema definition language, in the layout of graphql-js.

use std::fmt::Write as _;

/// The length up to which a description is on the line of its quotes, in UTF-16 units.
const SHORT: usize = 70;

/// Returns the lines of a description, with a blank line before it unless it is the first in a block.
pub(super) fn description(text: Option<&str>, indentation: &str, is_first: bool) -> String {
    let Some(text) = text else {
        return String::new();
    };
    let quoted = if is_block(text) {
        block_string(text)
    } else {
        string(text)
    };
    let blank = if indentation.is_empty() || is_first {
        ""
    } else {
        "\n"
    };
    let quoted = quoted.replace('\n', &format!("\n{indentation}"));
    format!("{blank}{indentation}{quoted}\n")
}

/// Returns a string in quotes.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\u{c}' => quoted.push_str("\\f"),
            '\r' => quoted.push_str("\\r"),
            // Writing to a String cannot fail.
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether a block string has exactly this text as its value: blank first and last lines and common
/// indentation are removed from one, and it has no escapes.
fn is_block(text: &str) -> bool {
    if text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n')) {
        return false;
    }
    if text.is_empty() {
        return true;
    }
    let is_blank = |line: &str| line.chars().all(is_space);
    let (mut first, mut last) = (None, "");
    for line in text.split('\n') {
        first.get_or_insert(line);
        last = line;
    }
    if first.is_none_or(is_blank) || is_blank(last) {
        return false;
    }
    let mut lines = text.split('\n').filter(|line| !is_blank(line));
    let is_indented = lines.all(|line| line.starts_with(is_space));
    // The first line does not count: the text begins on a line of its own only if it has several.
    !(is_indented && text.contains('\n'))
}

fn block_string(text: &str) -> String {
    let escaped = text.replace("\"\"\"", "\\\"\"\"");
    let is_single = !escaped.contains('\n');
    let mut after_first = escaped.split('\n').skip(1);
    let is_indented = after_first.all(|line| line.is_empty() || line.starts_with(is_space));
    let forces_leading = !is_single && is_indented;
    let ends_in_quotes = escaped.ends_with("\\\"\"\"");
    let forces_trailing = (text.ends_with('"') && !ends_in_quotes) || text.ends_with('\\');
    let is_long = text.encode_utf16().count() > SHORT;
    let is_spread = !is_single || is_long || forces_trailing || forces_leading || ends_in_quotes;
    // A line break before it would make its leading space indentation.
    let keeps_first = is_single && text.starts_with(is_space);
    let leading = if (is_spread && !keeps_first) || forces_leading {
        "\n"
    } else {
        ""
    };
    let trailing = if is_spread || forces_trailing {
        "\n"
    } else {
        ""
    };
    format!("\"\"\"{leading}{escaped}{trailing}\"\"\"")
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
