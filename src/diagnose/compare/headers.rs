//! The lines of the headers, and the list of their names.

use super::super::canonical::Canonical;
use super::super::cause::Cause;
use super::super::diagnosis::{Confidence, Diagnosis};
use super::super::encode::{collapsed, quoted, shown, shown_value};

/// Returns the cause of the first difference in the headers.
pub(super) fn difference(yours: &Canonical, aws: &Canonical) -> Option<Diagnosis> {
    let certain = |cause| Diagnosis::of(cause, Confidence::Certain);
    let names = |canonical: &Canonical| -> Vec<String> {
        let names = canonical.headers.iter();
        names.map(|(name, _)| name.trim().to_owned()).collect()
    };
    let (your_names, aws_names) = (names(yours), names(aws));
    let (your_list, aws_list) = (list(&yours.signed_headers), list(&aws.signed_headers));
    for (yours, aws, line) in [
        (
            &your_names,
            &aws_names,
            "canonical request: the names of the headers",
        ),
        (
            &your_list,
            &aws_list,
            "canonical request: the list of signed headers",
        ),
    ] {
        if yours != aws {
            let cause = if ordered(yours) == ordered(aws) {
                Cause::HeaderUnsorted
            } else {
                Cause::SignedHeaders
            };
            let (yours, aws) = (shown(&yours.join(";")), shown(&aws.join(";")));
            return Some(certain(cause).with_difference(line, &yours, &aws));
        }
    }
    let mut pairs = yours.headers.iter().zip(&aws.headers);
    let ((name, yours), (_, aws)) = pairs.find(|((_, yours), (_, aws))| yours != aws)?;
    let name = name.trim().to_ascii_lowercase();
    let cause = value_cause(&name, yours, aws);
    let mut diagnosis = certain(cause);
    if matches!(cause, Cause::HeaderChanged | Cause::HeaderSpaces) {
        diagnosis = diagnosis.because(format!("{}.", quoted(&name)));
    }
    if cause == Cause::HostWrong && yours.trim().eq_ignore_ascii_case(aws.trim()) {
        diagnosis = diagnosis
            .because("only the case of its letters differs. HTTP clients send it in lower case.");
    }
    let line = format!("canonical request: the header {}", shown(&name));
    let (yours, aws) = (shown_value(&name, yours), shown_value(&name, aws));
    Some(diagnosis.with_difference(&line, &yours, &aws))
}

/// Returns why two values of a header differ.
fn value_cause(name: &str, yours: &str, aws: &str) -> Cause {
    let spaceless = |value: &str| collapsed(&value.replace(',', " , "));
    if spaceless(yours) == spaceless(aws) {
        return Cause::HeaderSpaces;
    }
    match name {
        "host" if without_port(yours) == without_port(aws) => Cause::HostPort,
        "host" => Cause::HostWrong,
        "x-amz-security-token" => Cause::TokenWrong,
        "x-amz-content-sha256" => Cause::ContentShaHeader,
        _ => Cause::HeaderChanged,
    }
}

fn without_port(host: &str) -> &str {
    let host = host.trim();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn list(names: &str) -> Vec<String> {
    names
        .split(';')
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Returns the names in the order that AWS requires.
fn ordered(names: &[String]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
