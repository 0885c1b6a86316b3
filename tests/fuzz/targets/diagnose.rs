//! The diagnosis of what users paste.

use countersign::diagnose::input::{
    decode, decoded, read_answer, read_canonical_request, read_curl_signing, read_request,
    read_string_to_sign, read_time,
};
use countersign::diagnose::{Cause, Diagnosis, Evidence, diagnose};
use countersign::visible::{is_hidden, visible};

const HASH: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// AWS's answer, a request, a canonical request, a string to sign and a time, separated by lines of `%%`.
pub fn explain(data: &[u8]) {
    let Ok(text) = decode(data) else {
        return;
    };
    let mut parts = text.split("\n%%\n");
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (answer, request) = (part().unwrap_or_default(), part());
    let (canonical, string, time) = (part(), part(), part());
    let mut evidence = Evidence {
        canonical_request: canonical.and_then(|text| read_canonical_request(text).ok()),
        string_to_sign: string.and_then(|text| read_string_to_sign(text).ok()),
        answered_at: time.and_then(|text| read_time(text).ok()),
        ..Evidence::default()
    };
    // Each reader takes each input: users mistake them.
    if let Ok(read) = read_answer(answer) {
        evidence.answer = read.answer;
        evidence.request = read.request;
        check(&evidence);
    }
    for text in [answer, request.unwrap_or_default()] {
        let _ = read_canonical_request(text);
        let _ = read_string_to_sign(text);
        let _ = decoded(text);
        assert!(!visible(text).contains(is_hidden));
        if let Ok(Some(signing)) = read_curl_signing(text) {
            check_diagnosis(&signing.diagnose(&evidence));
        }
        if let Ok(request) = read_request(text) {
            assert!(request.target.is_empty() == request.method.is_empty());
            evidence.request = Some(request);
            check(&evidence);
        }
    }
    check_printed(answer);
    check_http(answer, request.unwrap_or_default());
}

fn check(evidence: &Evidence) {
    check_diagnosis(&diagnose(evidence));
}

fn check_diagnosis(diagnosis: &Diagnosis) {
    assert!(!diagnosis.summary.is_empty());
    assert!(!diagnosis.summary.contains('\n'), "{}", diagnosis.summary);
    if let Some(difference) = &diagnosis.difference {
        assert_ne!(difference.yours, difference.aws, "{}", difference.line);
    }
    let name = diagnosis.cause_name();
    assert_eq!(diagnosis.cause, Cause::from_name(name));
    // Without a cause, it says what would decide or, if AWS accepted the request, what to check.
    let says_more = !diagnosis.needs.is_empty() || diagnosis.fix.is_some();
    assert!(diagnosis.cause.is_some() || says_more);
    assert!(super::is_json(&serde_json::to_string(diagnosis).unwrap()));
}

/// A canonical request is read from each form in which a language prints it.
fn check_printed(text: &str) {
    let value: String = text.chars().filter(|char| !char.is_control()).collect();
    let canonical = format!("POST\n/x\n\nhost:h\nx-v:{value}\n\nhost;x-v\n{HASH}");
    let json = serde_json::to_string(&canonical).unwrap();
    for printed in [json, format!("{canonical:?}"), canonical.clone()] {
        assert_eq!(
            read_canonical_request(&printed),
            Ok(canonical.clone()),
            "{printed}"
        );
    }
}

/// A request is read from HTTP text without a change.
fn check_http(value: &str, body: &str) {
    let is_plain = |char: &char| ('!'..='~').contains(char);
    let value: String = value.chars().filter(is_plain).collect();
    let body: String = body.chars().filter(|char| *char != '\n').collect();
    let length = body.len();
    let text = format!(
        "POST /{value} HTTP/1.1\r\nhost: h\r\nx-v: {value}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let request = read_request(&text).unwrap();
    assert_eq!(
        (request.method.as_str(), request.target),
        ("POST", format!("/{value}"))
    );
    assert_eq!(request.headers[1], ("x-v".to_owned(), value));
    assert_eq!(request.body.as_deref(), Some(body.as_bytes()));
}
