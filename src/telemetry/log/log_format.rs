//! The format of the log.

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty if standard error is a terminal, and text otherwise.
    Auto,
    Json,
    /// For people.
    Pretty,
    Text,
}

/// When something is done: always, never, or as the format and the terminal suggest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Returns whether it is done, if `auto` stands for `is_usual`.
    pub fn holds(self, is_usual: bool) -> bool {
        match self {
            Self::Auto => is_usual,
            Self::Always => true,
            Self::Never => false,
        }
    }
}
