//! Prints errors with their causes.

use std::error::Error;
use std::fmt::Write as _;

/// Returns an error with all its causes, `outer: inner: innermost`. Omits a cause that the text before it
/// already ends with.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
