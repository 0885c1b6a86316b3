//! Compares the canonical request of the signer with AWS's, line by line. The first difference
//! determines the cause.

mod body;
mod headers;
mod path;
mod query;

use super::canonical::{Canonical, StringToSign};
use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis};
use super::encode::{quoted, shown, shown_query};
use super::verified_request::VerifiedRequest;

/// Returns the cause of the first difference; `None` if there is none.
pub(super) fn requests(
    yours: &Canonical,
    aws: &Canonical,
    sent: Option<&VerifiedRequest>,
) -> Option<Diagnosis> {
    let certain = |cause| Diagnosis::of(cause, Confidence::Certain);
    if yours.method != aws.method {
        let detail = format!(
            "it was signed as {}, not as {}.",
            quoted(&yours.method),
            aws.method
        );
        return Some(certain(Cause::MethodWrong).because(detail).with_difference(
            METHOD,
            &shown(&yours.method),
            &shown(&aws.method),
        ));
    }
    if yours.path != aws.path {
        let (yours, aws) = (yours.path.as_str(), aws.path.as_str());
        let (cause, detail) = path::difference(yours, aws);
        return Some(certain(cause).because_of(detail).with_difference(
            PATH,
            &shown(yours),
            &shown(aws),
        ));
    }
    if yours.query != aws.query {
        let (yours, aws) = (yours.query.as_str(), aws.query.as_str());
        let (cause, detail) = query::difference(yours, aws);
        return Some(certain(cause).because_of(detail).with_difference(
            QUERY,
            &shown_query(yours),
            &shown_query(aws),
        ));
    }
    if let Some(diagnosis) = headers::difference(yours, aws) {
        return Some(diagnosis);
    }
    body::difference(yours, aws, sent)
}

/// Returns the cause of the first difference of two strings to sign, whose canonical requests are equal
/// or unknown; `None` if they are equal up to the hash.
pub(super) fn strings(yours: &StringToSign, aws: &StringToSign) -> Option<Diagnosis> {
    let certain = |cause| Diagnosis::of(cause, Confidence::Certain);
    let difference = |cause, line, yours: &str, aws: &str| {
        Some(certain(cause).with_difference(line, &shown(yours), &shown(aws)))
    };
    if yours.algorithm != aws.algorithm {
        let line = "string to sign, line 1: the algorithm";
        return difference(Cause::Algorithm, line, &yours.algorithm, &aws.algorithm);
    }
    if yours.time != aws.time {
        let line = "string to sign, line 2: the time";
        return difference(Cause::HeaderChanged, line, &yours.time, &aws.time).map(|diagnosis| {
            diagnosis.because("x-amz-date is not the time in the string to sign.")
        });
    }
    if yours.scope != aws.scope {
        let line = "string to sign, line 3: the scope";
        return difference(
            scope_cause(&yours.scope, &aws.scope),
            line,
            &yours.scope,
            &aws.scope,
        );
    }
    None
}

fn scope_cause(yours: &str, aws: &str) -> Cause {
    let yours: Vec<&str> = yours.splitn(6, '/').collect();
    let aws: Vec<&str> = aws.splitn(6, '/').collect();
    let ([date, region, service, _], [aws_date, aws_region, aws_service, _]) =
        (yours.as_slice(), aws.as_slice())
    else {
        return Cause::ScopeMalformed;
    };
    if date != aws_date {
        Cause::ScopeDate
    } else if region != aws_region {
        Cause::WrongRegion
    } else if service != aws_service {
        Cause::WrongService
    } else {
        Cause::ScopeTerminator
    }
}

const METHOD: &str = "canonical request, line 1: the method";
const PATH: &str = "canonical request, line 2: the path";
const QUERY: &str = "canonical request, line 3: the query";
