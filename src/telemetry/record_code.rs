//! The code of a failed request, as the log, the metrics and traces have it.

use countersign_protocol::error_code::Code;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordCode {
    Ours(Code),
    /// The type that AWS gave its error.
    Upstream(String),
}

impl RecordCode {
    /// Returns the code of an error that upstream or we have caused.
    pub fn named(name: &str) -> Self {
        Code::from_name(name).map_or_else(|| Self::Upstream(name.to_owned()), Self::Ours)
    }

    /// Returns the code as the log, the metrics and traces have it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ours(code) => code.as_str(),
            Self::Upstream(code) => code,
        }
    }
}

impl From<Code> for RecordCode {
    fn from(code: Code) -> Self {
        Self::Ours(code)
    }
}
