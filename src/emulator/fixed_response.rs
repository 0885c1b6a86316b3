//! The fixed response to every request, which a switch sets.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// A fixed response to every request. Headers that it does not set keep their usual values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedResponse {
    /// A status from 200 to 599.
    pub status: u16,
    /// The `content-type`; empty sends none.
    pub content_type: String,
    pub body: SharedText,
    /// The `x-amzn-errortype`; `None` sends none.
    #[serde(default)]
    pub error_type: Option<String>,
    /// AppSync sends this response only if the request's body contains this text.
    #[serde(default)]
    pub only: String,
}

/// A text that responses share instead of copying, because it may be long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SharedText(Bytes);

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl Serialize for SharedText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

// === impl FixedResponse ===

impl FixedResponse {
    pub(super) fn bytes(&self) -> Bytes {
        self.body.0.clone()
    }

    /// Sets the status and headers. Skips invalid values.
    pub(super) fn apply_to<B>(&self, response: &mut Response<B>) {
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
