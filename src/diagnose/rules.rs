//! The causes that AWS's texts name.

use super::answer::Parsed;
use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis};

/// Returns the diagnosis of an answer that names the cause.
pub(super) fn cause_in_text(answer: &Parsed) -> Option<Diagnosis> {
    let text = answer.message.as_str();
    let certain = |cause| Diagnosis::of(cause, Confidence::Certain);
    for (mark, cause) in CLOCKS {
        if let Some(at) = text.find(mark) {
            let (yours, aws) = times(&text[at + mark.len()..]);
            return Some(certain(cause).with_difference("time", yours, aws));
        }
    }
    if let Some((_, rest)) = text.split_once("Date in Credential scope does not match") {
        let (yours, aws) = unequal(rest);
        let diagnosis = certain(Cause::ScopeDate);
        return Some(diagnosis.with_difference("date of the credential scope", yours, aws));
    }
    if text.contains("Credential should be scoped to a valid region") {
        return Some(certain(Cause::WrongRegion));
    }
    if let Some((_, rest)) = text.split_once("Credential should be scoped to correct service") {
        let service = between(rest, "'", "'").unwrap_or_default();
        return Some(certain(Cause::WrongService).because(format_args!("AWS expects {service}.")));
    }
    if let Some((before, _)) = text.split_once("' is named as a SignedHeader") {
        let name = before.rsplit('\'').next().unwrap_or_default();
        return Some(certain(Cause::HeaderRemoved).because(name));
    }
    None
}

const CLOCKS: [(&str, Cause); 2] = [
    ("Signature expired: ", Cause::ClockSlow),
    ("Signature not yet current: ", Cause::ClockFast),
];

/// Returns the time of the signature and AWS's own time in `T1 is now earlier than T2 (T0 - 5 min.)`.
fn times(text: &str) -> (&str, &str) {
    let yours = text.split(' ').next().unwrap_or_default();
    let aws = between(text, "(", " ").unwrap_or_default();
    (yours, aws)
}

/// Returns both values in `…: 'yours' != 'aws', from '…'`.
fn unequal(text: &str) -> (&str, &str) {
    let (left, right) = text.split_once("!=").unwrap_or_default();
    let value = |text| between(text, "'", "'").unwrap_or_default();
    (value(left), value(right))
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split(close).next()
}
