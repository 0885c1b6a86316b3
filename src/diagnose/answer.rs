//! Parses AWS's answers: responses of AppSync, of REST and HTTP APIs and of other services, realtime
//! messages, and texts in which one of them was pasted.

use serde_json::Value;

use super::encode::quoted;
use super::evidence::Answer;
use super::unescape::unescape;

/// An answer, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) status: Option<u16>,
    /// The error type without its namespace and address, such as `BadRequestException`; may be empty.
    pub(super) kind: String,
    /// The message, without JSON escapes. Of a text, everything.
    pub(super) message: String,
    /// The canonical request that AWS computed.
    pub(super) canonical_request: Option<String>,
    /// The string to sign that AWS computed.
    pub(super) string_to_sign: Option<String>,
    pub(super) source: Source,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// A response, or a text that does not show where it comes from.
    #[default]
    Unknown,
    /// A `connection_error`.
    Connect,
    /// An error of one realtime operation.
    Message,
}

/// The longest quotation of an unknown answer, in characters.
const MAX_EXCERPT: usize = 78;
/// The entities of XML in a canonical request. The last one introduces the others.
const ENTITIES: [(&str, &str); 8] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&apos;", "'"),
    ("&#39;", "'"),
    ("&#10;", "\n"),
    ("&#xA;", "\n"),
    ("&amp;", "&"),
];
/// Error codes of AWS that do not end in `Exception`.
const CODES: [&str; 19] = [
    "AccessDenied",
    "AuthFailure",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurityToken",
    "InvalidSignature",
    "InvalidToken",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
    "UnauthorizedOperation",
    "UnrecognizedClient",
];
/// Longer answers are cut.
const MAX_TEXT: usize = 256 * 1024;
/// How often a text may have been escaped.
const MAX_ESCAPES: usize = 3;
/// How deep the errors may be in JSON.
const MAX_DEPTH: usize = 6;

const CANONICAL_MARK: &str = "The Canonical String for this request should have been";
const STRING_MARK: &str = "The String-to-Sign should have been";

impl Parsed {
    pub(super) fn new(answer: &Answer) -> Self {
        let body = cut(&answer.body).trim();
        let mut parsed = serde_json::from_str::<Value>(body).map_or_else(
            |_| Self {
                kind: kind_in_text(body),
                message: unescaped(body),
                ..Self::default()
            },
            |json| Self::from_json(&json),
        );
        parsed.status = answer.status;
        if let Some(kind) = answer.header("x-amzn-errortype") {
            parsed.kind = bare_kind(kind).to_owned();
        }
        let message = parsed.message.replace("\r\n", "\n");
        parsed.canonical_request = quoted_after(&message, CANONICAL_MARK, Some(STRING_MARK));
        parsed.string_to_sign = quoted_after(&message, STRING_MARK, None);
        parsed.message = message;
        if parsed.canonical_request.is_none() && parsed.is_mismatch() {
            // S3 and STS answer in XML.
            parsed.canonical_request = parsed.element("CanonicalRequest");
            parsed.string_to_sign = parsed.element("StringToSign").or(parsed.string_to_sign);
        }
        parsed
    }

    /// Returns whether AWS says that the signature does not match.
    pub(super) fn is_mismatch(&self) -> bool {
        self.message
            .contains("The request signature we calculated does not match")
            || self.canonical_request.is_some()
            || self.message.trim().is_empty() && self.kind.starts_with("InvalidSignature")
            || self.kind.starts_with("SignatureDoesNotMatch")
    }

    /// Returns the text of an element, if the answer is XML.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        let (_, rest) = self.message.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        let mut text = text.replace("&#13;", "");
        for (entity, char) in ENTITIES {
            text = text.replace(entity, char);
        }
        (!text.is_empty()).then_some(text)
    }

    /// Returns whether AWS rejects the request without a reason.
    pub(super) fn hides_reason(&self) -> bool {
        let message = self.message.trim();
        let is_forbidden = message.eq_ignore_ascii_case("forbidden")
            || message.contains("\"message\":\"Forbidden\"")
            || self.kind.starts_with("Forbidden");
        is_forbidden || message.is_empty() && self.kind.is_empty() && self.status == Some(403)
    }

    /// Returns one line about an answer that is not a known rejection.
    pub(super) fn description(&self) -> String {
        let message = self
            .element("Message")
            .unwrap_or_else(|| self.message.clone());
        let first_line = message.lines().find(|line| !line.trim().is_empty());
        let first_line = first_line.map(|line| quoted(&excerpt(line.trim())));
        let status = self.status.map(|status| status.to_string());
        let parts: Vec<String> = status.into_iter().chain(first_line).collect();
        if parts.is_empty() {
            return "The answer does not show a reason.".to_owned();
        }
        format!(
            "The answer is not a known rejection by AWS: {}.",
            parts.join(", ")
        )
    }

    fn from_json(json: &Value) -> Self {
        let kind = json.get("type").and_then(Value::as_str).unwrap_or_default();
        let source = match kind {
            "connection_error" => Source::Connect,
            "error" | "subscribe_error" | "publish_error" | "broadcast_error" => Source::Message,
            _ => Source::Unknown,
        };
        let error = find_error(json, MAX_DEPTH).unwrap_or_default();
        Self {
            kind: error.kind,
            // A message may contain another answer as text.
            message: unescaped(&error.message),
            source,
            ..Self::default()
        }
    }
}

#[derive(Default)]
struct Error {
    kind: String,
    message: String,
}

/// Returns the first error in `{"message":…}`, `{"errors":[…]}`, `{"errors":{…}}`, `{"payload":…}`,
/// `{"Error":{"Code":…}}` or a list of them.
fn find_error(json: &Value, depth: usize) -> Option<Error> {
    let depth = depth.checked_sub(1)?;
    match json {
        Value::Object(members) => {
            let text = |names: &[&str]| {
                let mut found = members.iter().filter(|(name, _)| {
                    names
                        .iter()
                        .any(|candidate| name.eq_ignore_ascii_case(candidate))
                });
                found.find_map(|(_, value)| value.as_str())
            };
            for name in ["errors", "payload", "Error", "error", "response", "body"] {
                let inner = members.get(name);
                if let Some(error) = inner.and_then(|inner| find_error(inner, depth)) {
                    return Some(error);
                }
            }
            let kind = text(&["errorType", "__type", "code"]);
            // Lambda and CloudWatch write `errorMessage`.
            let message = text(&["message"]).or_else(|| text(&["errorMessage"]));
            (kind.is_some() || message.is_some()).then(|| Error {
                kind: bare_kind(kind.unwrap_or_default()).to_owned(),
                message: message.unwrap_or_default().to_owned(),
            })
        }
        Value::Array(items) => items.iter().find_map(|item| find_error(item, depth)),
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            find_error(&serde_json::from_str(text).ok()?, depth)
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Returns the type without the namespace before `#` and the address after `:`.
fn bare_kind(kind: &str) -> &str {
    let kind = kind.trim().rsplit('#').next().unwrap_or_default();
    kind.split(':').next().unwrap_or_default().trim()
}

/// Returns the error type in a pasted text: in a header, in JSON, in XML, or in a message of an SDK such
/// as `An error occurred (AccessDeniedException) when calling …`.
fn kind_in_text(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let after = |mark: &str| {
        let at = lower.find(mark)? + mark.len();
        let rest = text
            .get(at..)?
            .trim_start_matches([' ', ':', '"', '\\', '\'', '=']);
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "#._".contains(c)))
            .unwrap_or(rest.len());
        let kind = bare_kind(rest.get(..end)?);
        (!kind.is_empty()).then(|| kind.to_owned())
    };
    let is_code = |kind: &String| {
        let is_known = CODES.iter().any(|code| kind.starts_with(code));
        is_known || kind.len() > 9 && kind.ends_with("Exception")
    };
    ["x-amzn-errortype", "errortype", "__type", "<code>"]
        .into_iter()
        .find_map(after)
        .or_else(|| {
            // The messages of SDKs: Python and the CLI, Go, Java, JavaScript.
            let marks = ["an error occurred (", "api error ", "error code", "code"];
            marks.into_iter().filter_map(after).find(is_code)
        })
        .or_else(|| {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric());
            words.map(str::to_owned).find(is_code)
        })
        .unwrap_or_default()
}

/// Returns the beginning of a line, up to the end of a word.
fn excerpt(line: &str) -> String {
    let Some((end, _)) = line.char_indices().nth(MAX_EXCERPT) else {
        return line.to_owned();
    };
    let start = line.get(..end).unwrap_or_default();
    let words = start.rsplit_once(' ').map_or(start, |(words, _)| words);
    // A word that takes most of the line is cut.
    let kept = if words.len() * 2 < start.len() {
        start
    } else {
        words
    };
    format!("{kept}…")
}

/// Undoes the escapes of JSON in a text whose line breaks are escaped.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MAX_ESCAPES {
        if text.contains('\n') && !text.contains("been\\n") || !text.contains("\\") {
            break;
        }
        text = unescape(&text);
    }
    text
}

/// Returns the text in single quotes that follows `mark`, up to the last quote before `end`.
fn quoted_after(text: &str, mark: &str, end: Option<&str>) -> Option<String> {
    let at = text.find(mark)? + mark.len();
    let rest = text.get(at..)?;
    let rest = &rest[..end.and_then(|end| rest.find(end)).unwrap_or(rest.len())];
    let rest = rest.trim_start_matches([':', ' ', '\n', '\t']);
    let rest = rest.strip_prefix('\'')?;
    let close = rest.rfind('\'')?;
    let quoted = rest.get(..close)?;
    (!quoted.is_empty()).then(|| quoted.to_owned())
}

/// Returns the beginning of a text that is too long.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
