//! Why a signature does not match, from what was signed and what AWS expected.

use std::time::SystemTime;

use super::answer::Parsed;
use super::authorization::{ALGORITHM, is_sorted, names};
use super::canonical::{Canonical, StringToSign};
use super::cause::Cause;
use super::diagnosis::{Confidence, Diagnosis, Need};
use super::encode::{sha256_hex, shown};
use super::evidence::Evidence;
use super::texts::{FORBIDDEN, undecided};
use super::verified_request::VerifiedRequest;
use super::{compare, key, tokens, verify};

/// Both sides of the calculation, as far as they are known.
struct Sides {
    /// What the signer computed.
    yours: Option<Canonical>,
    /// What follows from the request as it was sent.
    sent: Option<Canonical>,
    /// What AWS computed, from its answer.
    echoed: Option<Canonical>,
    your_string: Option<StringToSign>,
    aws_string: Option<StringToSign>,
    /// The text of the string to sign that AWS has, for the signature.
    string: Option<String>,
}

impl Sides {
    /// # Errors
    /// What is wrong with the signer's canonical request or string to sign.
    fn new(
        answer: &Parsed,
        sent: Option<&VerifiedRequest>,
        evidence: &Evidence,
    ) -> Result<Self, String> {
        let from_request = sent.and_then(VerifiedRequest::canonical);
        let yours = match &evidence.canonical_request {
            Some(text) => Some(Canonical::parse(text)?),
            None => from_request.clone().filter(|_| evidence.is_own),
        };
        let your_string = match &evidence.string_to_sign {
            Some(text) => Some(StringToSign::parse(text)?),
            None => None,
        };
        let echoed = answer.canonical_request.as_deref();
        let echoed = echoed.and_then(|text| Canonical::parse(text).ok());
        let string = answer.string_to_sign.clone().or_else(|| {
            let hash = echoed.as_ref().or(from_request.as_ref())?.hash()?;
            let authorization = &sent?.authorization;
            let (_, scope) = authorization.credential.as_deref()?.split_once('/')?;
            let date = authorization.date.as_deref()?;
            Some(format!("{ALGORITHM}\n{date}\n{scope}\n{hash}"))
        });
        let aws_string = string.as_deref();
        Ok(Self {
            yours,
            sent: from_request,
            echoed,
            your_string,
            aws_string: aws_string.and_then(|text| StringToSign::parse(text).ok()),
            string,
        })
    }

    /// Returns the canonical request that AWS computed, or the one that it computes for the request.
    fn aws(&self) -> Option<&Canonical> {
        self.echoed.as_ref().or(self.sent.as_ref())
    }

    /// Returns whether what was signed is known, and is what AWS expects.
    fn are_equal(&self) -> bool {
        let strings = self.your_string.as_ref().zip(self.aws_string.as_ref());
        strings.is_some_and(|(yours, aws)| yours == aws)
            || self.your_string.is_none() && self.yours.is_some() && self.aws().is_some()
    }
}

fn malformed(problem: &str) -> Diagnosis {
    Diagnosis::of(Cause::CanonicalForm, Confidence::Certain).because(format!("{problem}."))
}

/// Returns the diagnosis of an answer that says that the signature does not match.
pub(super) fn mismatch(
    answer: &Parsed,
    sent: Option<&VerifiedRequest>,
    evidence: &Evidence,
) -> Diagnosis {
    let sides = match Sides::new(answer, sent, evidence) {
        Ok(sides) => sides,
        Err(problem) => return malformed(&problem),
    };
    if let Some(diagnosis) = difference(&sides, sent, evidence) {
        return diagnosis;
    }
    if let Some(diagnosis) = unsorted(&sides, sent) {
        return diagnosis;
    }
    if sides.are_equal() {
        return key::diagnosis(sent, sides.string.as_deref(), evidence);
    }
    let proven = key::proven(sent, sides.string.as_deref(), evidence);
    proven
        .or_else(|| changed_on_its_way(&sides, sent))
        .or_else(|| sent.and_then(|sent| verify::mistake(sent, None)))
        .or_else(|| sides.echoed.as_ref().and_then(in_echo))
        .unwrap_or_else(|| {
            let summary = "The signature does not match, and what was signed is not known.";
            let mut needs = vec![Need::CanonicalRequest, Need::StringToSign];
            if sent.is_none() {
                needs.push(Need::Request);
            }
            Diagnosis::unknown(summary, &needs).checking(undecided::MISMATCH)
        })
}

/// Returns the diagnosis of an answer that does not show the reason, such as `Forbidden`.
pub(super) fn hidden(
    answer: &Parsed,
    sent: Option<&VerifiedRequest>,
    evidence: &Evidence,
    answered_at: Option<SystemTime>,
) -> Diagnosis {
    let Some(sent) = sent else {
        return Diagnosis::unknown(
            "AWS does not show the reason.",
            &[Need::Request, Need::CanonicalRequest, Need::StringToSign],
        )
        .checking(FORBIDDEN);
    };
    let sides = match Sides::new(answer, Some(sent), evidence) {
        Ok(sides) => sides,
        Err(problem) => return malformed(&problem),
    };
    let found = verify::mistake(sent, answered_at)
        .or_else(|| {
            evidence
                .credentials
                .as_ref()
                .and_then(|known| tokens::difference(sent, known))
        })
        .or_else(|| difference(&sides, Some(sent), evidence));
    if let Some(mut diagnosis) = found {
        // AWS did not say that this is the reason.
        diagnosis.confidence = diagnosis.confidence.min(Confidence::Likely);
        return diagnosis;
    }
    let string = sides.string.as_deref();
    match key::proven(Some(sent), string, evidence) {
        Some(diagnosis) if diagnosis.cause != Some(Cause::WrongSecret) => diagnosis,
        Some(_) => Diagnosis::unknown(
            "The signature is right for these credentials: the policy does not allow the request, the access \
             key does not exist, or AWS has another secret access key for it.",
            &[Need::Answer],
        ),
        None if sides.are_equal() && evidence.credentials.is_some() => {
            key::diagnosis(Some(sent), string, evidence)
        }
        None => {
            let mut needs = vec![Need::Credentials];
            if sides.yours.is_none() {
                needs.insert(0, Need::CanonicalRequest);
            }
            if answered_at.is_none() {
                needs.push(Need::Time);
            }
            Diagnosis::unknown(
                "AWS does not show the reason: the signature, the access key or a permission.",
                &needs,
            )
            .checking(FORBIDDEN)
        }
    }
}

/// Returns the first difference between what was signed and what AWS expects.
fn difference(
    sides: &Sides,
    sent: Option<&VerifiedRequest>,
    evidence: &Evidence,
) -> Option<Diagnosis> {
    let requests = sides.yours.as_ref().zip(sides.aws());
    let strings = sides.your_string.as_ref().zip(sides.aws_string.as_ref());
    requests
        .and_then(|(yours, aws)| compare::requests(yours, aws, sent))
        .or_else(|| strings.and_then(|(yours, aws)| compare::strings(yours, aws)))
        .or_else(|| {
            let text = evidence.canonical_request.as_deref()?;
            wrong_hash(text, sides.your_string.as_ref()?)
        })
}

/// Returns the diagnosis if the names of the signed headers are not sorted. API Gateway's canonical request
/// keeps their order, so that nothing differs.
fn unsorted(sides: &Sides, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let listed = sides
        .yours
        .as_ref()
        .map(|yours| names(&yours.signed_headers));
    let sent = sent.map(|sent| &sent.authorization);
    let sent = sent.and_then(|authorization| authorization.signed_headers.clone());
    let found = listed
        .into_iter()
        .chain(sent)
        .find(|names| !is_sorted(names))?;
    let mut sorted: Vec<String> = found.iter().map(|name| name.to_ascii_lowercase()).collect();
    sorted.sort_unstable();
    let diagnosis = Diagnosis::of(Cause::HeaderUnsorted, Confidence::Certain);
    let (yours, aws) = (shown(&found.join(";")), shown(&sorted.join(";")));
    Some(diagnosis.with_difference("the list of signed headers", &yours, &aws))
}

/// Returns the diagnosis if the string to sign does not contain the hash of the signer's canonical request.
fn wrong_hash(canonical: &str, string: &StringToSign) -> Option<Diagnosis> {
    let text = canonical.replace("\r\n", "\n");
    let text = text.trim_end_matches('\n');
    let hash = sha256_hex(text.as_bytes());
    if string.hash == hash {
        return None;
    }
    let certain = |cause| Diagnosis::of(cause, Confidence::Certain);
    let diagnosis = if string.hash.eq_ignore_ascii_case(&hash) {
        certain(Cause::HashCase)
    } else if string.hash == sha256_hex(format!("{text}\n").as_bytes()) {
        certain(Cause::CanonicalForm).because("a line break follows the hash of the body.")
    } else {
        certain(Cause::CanonicalForm).because(
            "the string to sign contains the hash of something else than the canonical request.",
        )
    };
    let line = "string to sign, line 4: the hash of the canonical request";
    Some(diagnosis.with_difference(line, &shown(&string.hash), &hash))
}

/// Returns how the request as sent differs from the request that AWS received.
fn changed_on_its_way(sides: &Sides, sent: Option<&VerifiedRequest>) -> Option<Diagnosis> {
    let (as_sent, received) = (sides.sent.as_ref()?, sides.echoed.as_ref()?);
    let mut diagnosis = compare::requests(as_sent, received, sent)?;
    diagnosis.confidence = Confidence::Likely;
    diagnosis.needs = vec![Need::CanonicalRequest];
    Some(diagnosis)
}

/// Returns the mistake that AWS's canonical request itself shows: it copies the names of the headers and
/// their values from the request.
fn in_echo(echoed: &Canonical) -> Option<Diagnosis> {
    let likely =
        |cause| Diagnosis::of(cause, Confidence::Likely).needing(&[Need::CanonicalRequest]);
    if !is_sorted(&names(&echoed.signed_headers)) {
        return Some(likely(Cause::HeaderUnsorted));
    }
    let declared = echoed.header("x-amz-content-sha256")?;
    let payload = echoed.payload.as_deref()?;
    if declared == payload {
        return None;
    }
    let line = "the header x-amz-content-sha256, and the hash of the body";
    Some(
        likely(verify::content_hash_cause(declared)).with_difference(
            line,
            &shown(declared),
            &shown(payload),
        ),
    )
}
