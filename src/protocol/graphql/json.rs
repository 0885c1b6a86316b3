//! JSON text: a piece that is passed on without being parsed, objects, and strings.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Valid JSON in UTF-8 without surrounding white space, sharing memory with its frame or body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Bytes);

impl Json {
    /// Returns the JSON of `raw`, without copying it if it is a part of `frame`.
    pub fn slice(frame: &Bytes, raw: &RawValue) -> Self {
        let text = raw.get().as_bytes();
        let (start, end) = (
            frame.as_ptr() as usize,
            frame.as_ptr() as usize + frame.len(),
        );
        let at = text.as_ptr() as usize;
        if at >= start && at + text.len() <= end {
            return Self(frame.slice_ref(text));
        }
        Self(Bytes::copy_from_slice(text))
    }

    /// Parses a complete body.
    ///
    /// # Errors
    /// If the body is not exactly one JSON value in UTF-8.
    pub fn parse(body: Bytes) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_slice(&body)?;
        Ok(Self::slice(&body, raw))
    }

    /// Returns a constant, which must be valid JSON without surrounding white space.
    pub(crate) const fn from_static(json: &'static str) -> Self {
        Self(Bytes::from_static(json.as_bytes()))
    }

    /// Returns the text. It is empty only if the invariant of this type was broken.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text without copying it.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An escape in a string that is half of a surrogate pair, such as `\ud83d`. The text is JSON (RFC 8259,
/// section 8.2), but the string is not Unicode. Clients send one when they cut a string within an emoji.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid Unicode escape at line {line}, column {column}: half of a surrogate pair")]
pub struct InvalidEscape {
    pub line: usize,
    pub column: usize,
}

/// Returns the invalid escape that an error is about, if it is about one.
pub fn invalid_escape(error: &serde_json::Error) -> Option<InvalidEscape> {
    // serde_json does not expose its error codes.
    let is_escape = error.is_syntax() && error.to_string().contains("hex escape");
    is_escape.then(|| InvalidEscape {
        line: error.line(),
        column: error.column(),
    })
}

/// Parses a JSON object. serde alone would accept an array, too, and take its items as the members.
pub fn read_object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let is_object = text.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Appends `text` to `out` as a JSON string.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(control >> 4)]));
                out.push(char::from(HEX[usize::from(control & 15)]));
            }
        }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(Bytes::copy_from_slice(raw.get().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_match_serde() {
        for text in ["", "plain", "q\"b\\s\n\r\t\u{1}\u{1f}é\u{2028}🦀", "\u{7f}"] {
            let mut out = String::new();
            push_json_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text, "{out}");
        }
    }

    #[test]
    fn a_slice_shares_the_frame() {
        #[derive(serde::Deserialize)]
        struct Frame<'a> {
            #[serde(borrow)]
            payload: &'a RawValue,
        }
        let frame = Bytes::from_static(br#"{"payload": {"a":[1,2]} }"#);
        let parsed: Frame<'_> = serde_json::from_slice(&frame).unwrap();
        let json = Json::slice(&frame, parsed.payload);
        assert_eq!(json.as_str(), r#"{"a":[1,2]}"#);
        assert_eq!(json.as_bytes().as_ptr(), parsed.payload.get().as_ptr());
    }

    #[test]
    fn only_json_is_parsed() {
        assert!(Json::parse(Bytes::from_static(b"{\"a\":1}")).is_ok());
        assert!(Json::parse(Bytes::from_static(b"<html>")).is_err());
        assert!(Json::parse(Bytes::from_static(b"\"\xff\"")).is_err());
    }

    #[track_caller]
    fn check_escape(json: &str, column: Option<usize>) {
        let error = serde_json::from_str::<String>(json).unwrap_err();
        let found = invalid_escape(&error).map(|escape| escape.column);
        assert_eq!(found, column, "{json}: {error}");
        let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
        assert_eq!(is_json, column.is_some(), "{json}");
    }

    #[test]
    fn only_half_a_surrogate_pair_is_an_invalid_escape() {
        check_escape(r#""a\ud83d""#, Some(9));
        check_escape(r#""\ud83dx""#, Some(8));
        check_escape(r#""\ud83d\n""#, Some(9));
        check_escape(r#""\ud83d\ud83d""#, Some(13));
        check_escape(r#""\udd25""#, Some(7));
        check_escape(r#""\uZZZZ""#, None);
        check_escape(r#""\x""#, None);
        check_escape(r#""\ud83"#, None);
    }

    #[test]
    fn white_space_around_a_body_is_ignored() {
        let body = Bytes::from_static(b"\r\n {\"a\": 1}\n");
        let json = Json::parse(body.clone()).unwrap();
        assert_eq!(json.as_str(), "{\"a\": 1}");
        assert_eq!(json.as_bytes().as_ptr(), body[3..].as_ptr());
    }
}
