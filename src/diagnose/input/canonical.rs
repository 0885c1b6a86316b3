//! Reads a canonical request or a string to sign, raw or as a program printed it.

use serde_json::Value;

use super::{InputError, MAX_INPUT, literal, terminal};

/// How deep a text may be in JSON.
const MAX_DEPTH: usize = 4;

/// Reads the canonical request that a signer computed. Lines around it, as in the log of botocore, are
/// ignored.
pub fn read_canonical_request(text: &str) -> Result<String, InputError> {
    let candidates = candidates(text)?;
    if let Some(found) = candidates.iter().find_map(|text| canonical_in(text)) {
        return Ok(found);
    }
    if is_of_aws(text) {
        return Err(InputError::OfAws);
    }
    if candidates
        .iter()
        .any(|text| string_to_sign_in(text).is_some())
    {
        return Err(InputError::NotCanonical);
    }
    // A malformed one is compared as it is.
    let decoded = candidates.into_iter().next_back();
    decoded
        .filter(|text| !text.is_empty())
        .ok_or(InputError::Empty)
}

/// Reads the string to sign that a signer computed.
pub fn read_string_to_sign(text: &str) -> Result<String, InputError> {
    let found = candidates(text)?;
    let found = found.iter().find_map(|text| string_to_sign_in(text));
    found.ok_or(if is_of_aws(text) {
        InputError::OfAws
    } else {
        InputError::NotStringToSign
    })
}

/// Returns whether a text says that AWS computed what follows. It would prove nothing but that AWS's answer
/// is equal to itself.
fn is_of_aws(text: &str) -> bool {
    const MARKS: [&str; 5] = [
        "The Canonical String for this request should have been",
        "The String-to-Sign should have been",
        "<CanonicalRequest>",
        "<StringToSign>",
        "<AWSAccessKeyId>",
    ];
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Returns the text in each form that it may stand for: as it is, then without the quotes and escapes of a
/// language or of JSON.
fn candidates(text: &str) -> Result<Vec<String>, InputError> {
    if text.len() > MAX_INPUT {
        return Err(InputError::TooLarge);
    }
    if text.trim().is_empty() {
        return Err(InputError::Empty);
    }
    let raw = text.replace("\r\n", "\n");
    let clean = terminal::clean(text);
    let mut candidates = vec![raw.trim_matches('\n').to_owned(), clean.clone()];
    let unquoted = clean.trim().trim_matches('\'');
    if let Some(value) = literal::value(&clean) {
        candidates.push(value);
    } else if clean.contains("\\n") {
        candidates.push(literal::printed(unquoted));
    } else if unquoted.len() < clean.len() {
        candidates.push(unquoted.to_owned());
    }
    if let Some(json) = clean.find(['{', '[']).and_then(|at| clean.get(at..))
        && let Some(Ok(value)) = serde_json::Deserializer::from_str(json)
            .into_iter::<Value>()
            .next()
    {
        strings(&value, MAX_DEPTH, &mut candidates);
    }
    Ok(candidates)
}

/// Collects the strings of a value that have several lines.
fn strings(value: &Value, depth: usize, found: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::String(text) if text.contains('\n') => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, depth, found)),
        Value::Object(members) => members
            .values()
            .for_each(|item| strings(item, depth, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Finds a canonical request in a text: from a line that is a method, and before a line that is a path, to
/// the first line that is a hash of a body.
fn canonical_in(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |at: usize| {
        let method = lines.get(at).copied().unwrap_or_default();
        let method = method.strip_prefix('\'').unwrap_or(method);
        let is_method = (3..=10).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_alphabetic());
        is_method
            && lines
                .get(at + 1)
                .is_some_and(|path| path.starts_with('/') || path.is_empty())
    };
    let start = (0..lines.len()).find(|at| is_start(*at))?;
    if is_of_aws(lines.get(..=start)?.join("\n").as_str()) {
        return None;
    }
    let is_hash = |line: &str| {
        let line = line.trim_end_matches('\'');
        line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
            || line == "UNSIGNED-PAYLOAD"
            || line.starts_with("STREAMING-")
    };
    let length = lines
        .iter()
        .skip(start)
        .position(|line| is_hash(line.trim_end()))?;
    let block = lines.get(start..=start + length)?.join("\n");
    Some(block.trim_end().trim_matches('\'').to_owned())
}

/// Finds a string to sign in a text: four lines from the one that is the algorithm. Another algorithm is
/// a mistake that the diagnosis names, so it is accepted before a scope and a hash.
fn string_to_sign_in(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let bare = |line: &str| line.trim_end().trim_matches('\'').to_owned();
    let is_string = |block: &&[&str]| {
        let [algorithm, _, scope, hash] = block else {
            return false;
        };
        let (algorithm, hash) = (bare(algorithm), bare(hash));
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_similar = is_hash && scope.matches('/').count() == 3;
        !algorithm.contains(' ')
            && (algorithm.starts_with("AWS4-") || is_similar)
            && block.iter().all(|line| !line.trim().is_empty())
    };
    let start = lines.windows(4).position(|block| is_string(&block))?;
    if is_of_aws(lines.get(..=start)?.join("\n").as_str()) {
        return None;
    }
    let block = lines.get(start..start + 4)?.join("\n");
    Some(block.trim_end().trim_matches('\'').to_owned())
}
