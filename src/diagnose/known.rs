//! Whether a text is a rejection that a diagnosis knows.

use super::answer::Parsed;
use super::evidence::{Answer, Evidence};
use super::rules;

/// Returns whether a diagnosis knows the text of an answer, even if it does not decide the cause.
pub(super) fn is_known(answer: &Answer) -> bool {
    let parsed = Parsed::new(answer);
    parsed.is_mismatch()
        || parsed.hides_reason()
        || rules::diagnosis(&parsed, None, &Evidence::default()).is_some()
}
