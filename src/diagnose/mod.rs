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
//! | `denial` | what a policy does not allow, and the policy that allows it |
//! | `input` | reads what users paste |
//! | `answer` | AWS's answers, in all their forms |
//! | `rules`, `tokens` | causes that AWS's text names, alone or with the request |
//! | `elsewhere` | texts that are not from AWS |
//! | `known` | whether AWS's text is a rejection at all, and the last one of a text |
//! | `authorization`, `verified_request` | the request that AWS verifies, from the request that was sent |
//! | `verify` | mistakes that a request itself shows |
//! | `canonical`, `compare` | both sides of the calculation, line by line |
//! | `signature`, `key` | why the signature does not match |
//! | `encode`, `unescape`, `times` | percent encoding, hashes, escapes, times |
//! | `display` | secrets and hidden characters of what is shown |
//!
//! What a request hides, the evidence decides in this order: AWS's text, then the first difference of
//! the canonical requests, then that of the strings to sign, then the signing key.

mod answer;
mod authorization;
mod canonical;
mod cause;
mod compare;
mod denial;
mod diagnosis;
pub mod display;
mod elsewhere;
mod encode;
mod evidence;
pub mod input;
mod key;
mod known;
mod rules;
mod signature;
mod texts;
mod times;
mod tokens;
mod unescape;
mod verified_request;
mod verify;

use std::time::SystemTime;

pub use cause::Cause;
pub use denial::{Denial, PolicyType, is_label};
pub use diagnosis::{Confidence, Diagnosis, Difference, Need};
pub use evidence::{Answer, Credentials, Evidence, Request};
pub use texts::{FORBIDDEN, synchronize_clock};
pub use times::parse_time;
pub use tokens::credentials_cause;

use answer::Parsed;
use authorization::Scheme;
use verified_request::VerifiedRequest;

/// Returns why AWS rejected a request.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    if let Some(answer) = known::last_of_text(&evidence.answer) {
        let evidence = Evidence {
            answer,
            ..evidence.clone()
        };
        return of_one_answer(&evidence);
    }
    of_one_answer(evidence)
}

fn of_one_answer(evidence: &Evidence) -> Diagnosis {
    let answer = Parsed::new(&evidence.answer);
    let sent = evidence.request.as_ref().map(VerifiedRequest::new);
    let sent = sent.as_ref();
    if let Some(diagnosis) = rules::diagnosis(&answer, sent, evidence) {
        return diagnosis;
    }
    if answer.is_mismatch() {
        return signature::mismatch(&answer, sent, evidence);
    }
    if answer.hides_reason() {
        return signature::hidden(&answer, sent, evidence, answered_at(evidence));
    }
    unknown(&answer, sent, evidence)
}

/// Returns the diagnosis of a text that is not a known rejection.
fn unknown(answer: &Parsed, sent: Option<&VerifiedRequest>, evidence: &Evidence) -> Diagnosis {
    let meaning = elsewhere::meaning(&answer.kind, &answer.message);
    if let Some(meaning) = meaning.or_else(|| elsewhere::of_page(&answer.message)) {
        let mut diagnosis = Diagnosis::unknown(meaning.summary, &[Need::Answer]);
        diagnosis.fix = Some(meaning.fix.to_owned());
        return diagnosis;
    }
    if elsewhere::shows_only_status(&answer.message) {
        let status = answer.status.map(|status| format!(" {status}"));
        let status = status.unwrap_or_default();
        let summary = format!("The text shows the status{status}, and not AWS's answer.");
        let mut diagnosis = Diagnosis::unknown(summary, &[Need::Answer]);
        diagnosis.fix = Some(elsewhere::ONLY_STATUS.to_owned());
        return diagnosis;
    }
    // An answer with status and headers is whole.
    let is_whole = answer.status.is_some() && !evidence.answer.headers.is_empty();
    let needs: &[Need] = match (is_whole, sent) {
        (true, _) => &[Need::Request],
        (false, Some(_)) => &[Need::Answer],
        (false, None) => &[Need::Answer, Need::Request],
    };
    Diagnosis::unknown(answer.description(), needs)
}

/// Returns the canonical request and the string to sign that follow from a signed request; `None` if it is not
/// signed, or its body is not known.
pub fn calculation(request: &Request) -> Option<(String, String)> {
    let request = VerifiedRequest::new(request);
    let canonical = request.canonical()?.text()?;
    let authorization = &request.authorization;
    let algorithm = match &authorization.scheme {
        Scheme::Sigv4 => "AWS4-HMAC-SHA256",
        Scheme::OtherAlgorithm(name) => name,
        Scheme::Missing | Scheme::Other(_) => return None,
    };
    let scope = authorization.credential.as_deref()?.split_once('/')?.1;
    let time = request
        .joined("x-amz-date")
        .or_else(|| authorization.date.clone())?;
    let hash = encode::sha256_hex(canonical.as_bytes());
    let to_sign = [algorithm, &time, scope, &hash].join("\n");
    Some((canonical, to_sign))
}

/// Returns the type and the text of the error in an answer. The type has no namespace. Both may be empty.
pub fn error_of(answer: &Answer) -> (String, String) {
    let Parsed { kind, message, .. } = Parsed::new(answer);
    (kind, message)
}

/// Returns AWS's time when it answered, as far as it is known.
fn answered_at(evidence: &Evidence) -> Option<SystemTime> {
    let date = evidence.answer.header("date");
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    date.or(evidence.answered_at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
