//! Answers and log lines of countersign, whose cause it has diagnosed with the request at hand.

use serde_json::Value;

use super::super::cause::Cause;
use super::super::denial::Denial;
use super::super::diagnosis::{Confidence, Diagnosis};
use super::super::evidence::Evidence;
use super::permission::of_denial;

/// What countersign says about a rejection.
#[derive(Default)]
struct Own {
    cause: Option<String>,
    confidence: Option<String>,
    denied: Option<String>,
}

/// Returns the diagnosis that an answer of countersign contains in `extensions`, or its log in the members of a
/// line. With the request, the evidence itself is compared.
pub(super) fn diagnosis(evidence: &Evidence) -> Option<Diagnosis> {
    if evidence.is_own || evidence.request.is_some() {
        return None;
    }
    let body = evidence.answer.body.trim();
    let own = in_json(body).or_else(|| in_log(body))?;
    let cause = Cause::from_name(&own.cause?)?;
    let mut diagnosis = match own.denied.as_deref().and_then(Denial::from_denied) {
        Some(denial) if cause == Cause::NotAuthorized => of_denial(denial, None),
        Some(_) | None => Diagnosis::certain(cause),
    };
    let all = [Confidence::Possible, Confidence::Likely];
    let less = all
        .into_iter()
        .find(|less| own.confidence.as_deref() == Some(less.as_str()));
    diagnosis.confidence = less.unwrap_or(Confidence::Certain);
    Some(diagnosis)
}

/// Reads `{"errors":[{"extensions":{"cause":…,"confidence":…,"hint":…,"denied":…}}]}`.
fn in_json(body: &str) -> Option<Own> {
    if !body.contains("\"extensions\"") {
        return None;
    }
    let json: Value = serde_json::from_str(body).ok()?;
    let errors = json.get("errors").or_else(|| json.get("payload"))?;
    let extensions = errors.get(0)?.get("extensions")?;
    let text = |name: &str| extensions.get(name)?.as_str().map(str::to_owned);
    text("hint").map(|_| Own {
        cause: text("cause"),
        confidence: text("confidence"),
        denied: text("denied"),
    })
}

/// Reads the last line with `cause="…" … fix="…"`.
fn in_log(body: &str) -> Option<Own> {
    let mut lines = body.rsplit('\n');
    let line = lines.find(|line| line.contains(" cause=") && line.contains(" fix="))?;
    let text = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        let value = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split(' ').next(),
        };
        value.map(str::to_owned)
    };
    Some(Own {
        cause: text("cause"),
        confidence: text("confidence"),
        denied: text("denied"),
    })
}
