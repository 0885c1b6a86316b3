//! Whether a text is a rejection that a diagnosis knows.

use serde::de::IgnoredAny;

use super::answer::Parsed;
use super::evidence::{Answer, Evidence};
use super::rules;

/// The lines that are searched for the last error, from the end.
const MAX_LINES: usize = 1000;
/// What SDKs write before the type of an error and its message.
const SDK: [&str; 2] = ["An error occurred (", "api error "];
const MISMATCH: &str = "The request signature we calculated does not match";

/// Returns whether a diagnosis knows the text of an answer, even if it does not decide the cause.
pub(super) fn is_known(answer: &Answer) -> bool {
    let parsed = Parsed::new(answer);
    parsed.is_mismatch()
        || parsed.hides_reason()
        || rules::diagnosis(&parsed, None, &Evidence::default()).is_some()
}

/// Returns the last error of a plain text that has several: the one that the user asks about. `None` if the
/// text has at most one.
pub(super) fn last_of_text(answer: &Answer) -> Option<Answer> {
    let body = answer.body.trim();
    let is_typed = answer.header("x-amzn-errortype").is_some();
    if is_typed || !body.contains('\n') || serde_json::from_str::<IgnoredAny>(body).is_ok() {
        return None;
    }
    let mut end = body.len();
    let mut last: Option<(usize, String)> = None;
    for line in body.rsplit('\n').take(MAX_LINES) {
        let start = end - line.len();
        end = start.saturating_sub(1);
        let Some(summary) = error_in(line) else {
            continue;
        };
        match &last {
            None => last = Some((start, summary)),
            Some((last, of_last)) if *of_last != summary => {
                return Some(Answer {
                    body: body.get(*last..)?.to_owned(),
                    ..answer.clone()
                });
            }
            Some(_) => {}
        }
    }
    None
}

/// Returns a summary of the error that a line names by its text. A type alone is not another error: it belongs to
/// a text on another line.
fn error_in(line: &str) -> Option<String> {
    if line.contains(MISMATCH) {
        return Some(MISMATCH.to_owned());
    }
    let mut parsed = Parsed::new(&Answer {
        body: line.to_owned(),
        ..Answer::default()
    });
    if !SDK.iter().any(|mark| line.contains(mark)) {
        parsed.kind.clear();
    }
    let found = rules::diagnosis(&parsed, None, &Evidence::default())?;
    Some(found.summary)
}
