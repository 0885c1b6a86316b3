//! The code of a failed request in the log, metrics and traces.

use countersign_protocol::error_code::Code;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordCode {
    Ours(Code),
    /// The error type that AWS sent.
    Upstream(String),
}

impl RecordCode {
    /// Returns the code with this name: one of ours, or else one of upstream's.
    pub fn named(name: &str) -> Self {
        Code::from_name(name).map_or_else(|| Self::Upstream(name.to_owned()), Self::Ours)
    }

    /// Returns the code as it appears in the log, metrics and traces.
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
