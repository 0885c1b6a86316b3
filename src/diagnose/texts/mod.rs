//! The texts of the causes, grouped by the part of the request that is wrong.

pub(super) mod authorization;
pub(super) mod body;
pub(super) mod clock;
pub(super) mod endpoint;
pub(super) mod headers;
pub(super) mod path;
pub(super) mod query;
pub(super) mod scope;
pub(super) mod undecided;

pub use clock::synchronize_clock;
pub use undecided::FORBIDDEN;

/// The texts of one cause.
#[derive(Debug)]
pub(super) struct Texts {
    /// What is wrong.
    pub(super) sentence: &'static str,
    /// How it happens, in two to five lines.
    pub(super) explanation: &'static str,
    pub(super) fix: &'static str,
    /// Languages, and code to paste.
    pub(super) code: &'static [(&'static str, &'static str)],
}
