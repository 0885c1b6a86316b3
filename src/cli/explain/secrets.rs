//! Masks the secrets of the inputs in the output.
//!
//! A diagnosis contains none. This covers what a value of the request may contain besides.

use crate::diagnose::{Credentials, Diagnosis, Request};

/// The secrets of the inputs, in the forms in which they may occur.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

/// Headers and query parameters with a secret, in lower case.
const NAMES: [&str; 12] = [
    "x-amz-security-token",
    "x-amz-signature",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-countersign-token",
    // Of credentials in a script or a log.
    "secret_access_key",
    "secretaccesskey",
    "session_token",
    "sessiontoken",
];
const MASK: &str = "[redacted]";
/// Shorter values would match unrelated text.
const MIN_LENGTH: usize = 6;
/// An input with more secrets than this is not a request.
const MAX_SECRETS: usize = 2_000;
/// The words of one value, such as the pairs of a cookie, that are masked one by one.
const MAX_WORDS: usize = 64;
/// The schemes of `authorization`, which are not secret.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];
/// The distance between name and value in a header of a HAR file.
const MAX_DISTANCE: usize = 60;

impl Secrets {
    /// Adds what follows the name of a secret anywhere in a text: `name: value`, `name=value`,
    /// `"name": "value"`.
    pub(super) fn add(&mut self, text: &str) {
        let lower = text.to_ascii_lowercase();
        for name in NAMES {
            for (at, _) in lower.match_indices(name) {
                let rest = text.get(at + name.len()..).unwrap_or_default();
                self.add_after_name(rest);
            }
        }
        for (at, mark) in lower.match_indices("signature=") {
            let rest = text.get(at + mark.len()..).unwrap_or_default();
            let end = rest.find(|char: char| !char.is_ascii_hexdigit());
            self.add_value(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
        }
        // `curl -u KEY:SECRET`
        for mark in ["-u ", "--user ", "--proxy-user "] {
            for (at, _) in text.match_indices(mark) {
                let rest = text.get(at + mark.len()..).unwrap_or_default();
                let rest = rest.trim_start_matches([' ', '"', '\'']);
                let end = rest.find([' ', '"', '\'', '\n']).unwrap_or(rest.len());
                let user = rest.get(..end).unwrap_or_default();
                self.add_value(user.split_once(':').map_or("", |(_, secret)| secret));
            }
        }
    }

    fn add_after_name(&mut self, rest: &str) {
        let is_before = |char: char| matches!(char, '"' | '\'' | '\\' | ' ' | '\t' | ',' | '[');
        let Some(rest) = rest.trim_start_matches(is_before).strip_prefix([':', '=']) else {
            // HAR: `"name": "cookie", "value": "…"`
            let near = rest.get(..rest.floor_char_boundary(MAX_DISTANCE));
            if let Some(at) = near.and_then(|near| near.find("\"value\"")) {
                self.add_after_name(rest.get(at + "\"value\"".len()..).unwrap_or_default());
            }
            return;
        };
        let value = rest.trim_start_matches(is_before);
        let end = value
            .find(['\n', '\r', '"', '\'', '&'])
            .unwrap_or(value.len());
        let value = value.get(..end).unwrap_or_default();
        // In JSON, `\n` ends the line.
        let value = value.split("\\n").next().unwrap_or_default();
        let value = value.trim_end_matches('\\').trim_end();
        // Scope and names of signed headers are not secret, and explain what is wrong.
        if !value.starts_with("AWS4-") {
            self.add_value(value);
        }
    }

    /// Adds the credentials that the user compares with.
    pub(super) fn add_credentials(&mut self, credentials: &Credentials) {
        self.add_value(&credentials.secret_access_key);
        if let Some(token) = &credentials.session_token {
            self.add_value(token);
        }
    }

    /// Adds the secrets of a request that was read.
    pub(super) fn add_request(&mut self, request: &Request) {
        for (name, value) in &request.headers {
            self.add(&format!("{name}: {value}"));
        }
        self.add(&request.target);
    }

    fn add_value(&mut self, value: &str) {
        // The words of `Bearer TOKEN` are secret one by one.
        if self.0.len() >= MAX_SECRETS {
            return;
        }
        let is_scheme = |word: &str| SCHEMES.iter().any(|known| word.eq_ignore_ascii_case(known));
        let words = value
            .split([' ', ';', ','])
            .filter(|word| !is_scheme(word))
            .take(MAX_WORDS);
        for value in std::iter::once(value).chain(words) {
            for form in [value.to_owned(), decoded(value), value.replace("\\/", "/")] {
                let encoded = form.replace('%', "%25");
                let encoded = encoded
                    .replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D");
                let json = form.replace('/', "\\/");
                for form in [form, encoded, json] {
                    let is_new = form.len() >= MIN_LENGTH && !self.0.contains(&form);
                    if is_new && self.0.len() < MAX_SECRETS {
                        self.0.push(form);
                    }
                }
            }
        }
    }

    /// Replaces every secret in a diagnosis.
    pub(super) fn mask_diagnosis(mut self, diagnosis: &mut Diagnosis) {
        // A secret may contain another one.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.mask(&mut diagnosis.summary);
        if let Some(difference) = &mut diagnosis.difference {
            self.mask(&mut difference.line);
            self.mask(&mut difference.yours);
            self.mask(&mut difference.aws);
        }
        if let Some(fix) = &mut diagnosis.fix {
            self.mask(fix);
        }
    }

    fn mask(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), MASK);
            }
        }
    }
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, text: &str, expected: &str) {
        let mut secrets = Secrets::default();
        secrets.add(input);
        let mut text = text.to_owned();
        secrets
            .0
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.mask(&mut text);
        assert_eq!(text, expected, "{input}");
    }

    #[test]
    fn secrets_of_the_input_are_masked_in_every_form() {
        let expected = "a [redacted] b [redacted] c [redacted]";
        let text = "a AQo/D+E== b AQo%2FD%2BE%3D%3D c AQo\\/D+E==";
        for input in [
            "x-amz-security-token:AQo/D+E==\n\nhost",
            "curl -H 'X-Amz-Security-Token: AQo/D+E==' https://h",
            "GET /?X-Amz-Security-Token=AQo%2FD%2BE%3D%3D&a=b",
            r#"{"x-amz-security-token":"AQo/D+E=="}"#,
            r#"{"message":"x-amz-security-token:AQo\/D+E==\n"}"#,
            r#"{"name": "cookie", "value": "AQo/D+E=="}"#,
            "authorization: Bearer AQo/D+E==",
            "curl -u AKID:AQo/D+E== https://h",
            "curl --user 'AKID:AQo/D+E==' https://h",
            "export AWS_SECRET_ACCESS_KEY=AQo/D+E==",
            "{ secretAccessKey: 'AQo/D+E==' }",
        ] {
            check(input, text, expected);
        }
        check(
            "cookie: a=secret1; b=secret2",
            "secret1 b=secret2",
            "secret1 [redacted]",
        );
        check(
            "Authorization: AWS4-HMAC-SHA256 Credential=AK/20260115/r/s/aws4_request, \
             SignedHeaders=host;x-amz-security-token, Signature=0123456789ab",
            "Credential=AK/20260115/r/s/aws4_request 0123456789ab",
            "Credential=AK/20260115/r/s/aws4_request [redacted]",
        );
        check(
            "authorization: Bearer abcdefgh",
            "Bearer authorization",
            "Bearer authorization",
        );
        check(
            "x-amz-security-token",
            "x-amz-security-token",
            "x-amz-security-token",
        );
    }
}
