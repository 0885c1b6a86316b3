//! The colours of log lines.

/// Paints texts, if the terminal has colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) is_colored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Dim,
    Green,
    Red,
    Yellow,
}

impl Style {
    pub(super) fn paint(self, color: Color, text: &str) -> String {
        if !self.is_colored || text.is_empty() {
            return text.to_owned();
        }
        // ECMA-48, "Select Graphic Rendition".
        let code = match color {
            Color::Dim => "2",
            Color::Green => "32",
            Color::Red => "31",
            Color::Yellow => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
