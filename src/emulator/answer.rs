//! An answer that a switch has all requests answered with.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// An answer that a switch gives to all. The other headers are as ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// From 200 to 599.
    pub status: u16,
    /// Empty for an answer without one.
    pub content_type: String,
    pub body: Text,
    /// The `x-amzn-errortype`, if there is to be one.
    #[serde(default)]
    pub error_type: Option<String>,
    /// AppSync answers so those requests alone whose body has this text.
    #[serde(default)]
    pub only: String,
}

/// A text that all answers share, because it may be long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Text(Bytes);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn bytes(&self) -> Bytes {
        self.body.0.clone()
    }

    /// Sets status and headers. What does not pass the check is left out.
    pub(super) fn fill<B>(&self, response: &mut Response<B>) {
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        let content_type = Some(&self.content_type).filter(|value| !value.is_empty());
        let values = [
            (header::CONTENT_TYPE, content_type),
            (ERROR_TYPE, self.error_type.as_ref()),
        ];
        for (name, value) in values {
            if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
    }
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
