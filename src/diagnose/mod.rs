//! Determines why AWS rejected a signed request.
//!
//! [`diagnose`] takes AWS's answer and whatever else is known of the request ([`Evidence`]), and returns
//! the [`Cause`] with the first difference, a fix, and the evidence that would decide if it is unknown.
//! It performs no I/O and reads no clock. Every part of the evidence may be hostile.
//!
//! | file | contents |
//! |---|---|
//! | `evidence` | what is known: answer, request, canonical request, string to sign, credentials |
//! | `cause`, `texts` | the table of causes |
//! | `diagnosis` | the result |
//! | `answer` | AWS's answers, in all their forms |
//! | `rules` | causes that AWS's text names |

mod answer;
mod cause;
mod diagnosis;
mod evidence;
mod rules;
mod texts;

pub use cause::Cause;
pub use diagnosis::{Confidence, Denial, Diagnosis, Difference, Need};
pub use evidence::{Answer, Credentials, Evidence, Request};

use answer::Parsed;

/// Returns why AWS rejected a request.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let answer = Parsed::new(&evidence.answer);
    rules::cause_in_text(&answer).unwrap_or_else(|| {
        Diagnosis::unknown("The answer does not show the cause.", &[Need::Request])
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
