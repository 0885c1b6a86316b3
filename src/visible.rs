//! Shows hidden characters of a text, such as those that a terminal obeys.

/// Returns whether a terminal does not show a character, or whether the character changes how the terminal
/// shows others: control characters, marks of the writing direction, spaces without a width, tags.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns the text in one line, with hidden characters as escapes: `\n`, `\u{1b}`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if !is_hidden(char) {
            out.push(char);
        } else if matches!(char, '\n' | '\r' | '\t') {
            out.extend(char.escape_default());
        } else {
            out.extend(char.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        assert_eq!(visible("a\n\u{1b}é"), "a\\n\\u{1b}é");
        let hidden =
            "\u{7f}\u{85}\u{9b}\u{200b}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{e0041}";
        assert!(hidden.chars().all(is_hidden));
        assert!(visible(hidden).is_ascii());
    }
}
