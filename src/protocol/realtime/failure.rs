//! AppSync's errors, in each of their JSON shapes, as GraphQL errors.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error_code::Code;
use crate::graphql::GraphqlError;
use crate::rejection::{is_of_clock, is_of_credentials, rejection};

/// Masks the secrets that AWS echoes in its errors. The caller provides these functions, because the
/// signer knows the secrets.
#[derive(Clone, Copy, Debug)]
pub struct Redaction {
    /// Masks a payload, which stays JSON.
    pub payload: fn(&str) -> Cow<'_, str>,
    /// Masks the text of a message.
    pub message: fn(&str) -> Cow<'_, str>,
}

/// An error of AppSync; each member may be missing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    error_type: Option<String>,
    message: Option<String>,
    error_code: Option<Value>,
    error_info: Option<Value>,
    path: Option<Value>,
    locations: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    errors: Option<OneOrMany>,
    #[serde(flatten)]
    own: Failure,
}

/// AppSync documents an array, and sends an object for errors about limits.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Failure>),
    One(Failure),
}

/// The beginnings of the types of errors that may pass, beside those of throttling.
const TRANSIENT: [&str; 3] = ["InternalFailure", "InternalServer", "ServiceUnavailable"];
/// The beginnings of the types of throttling.
const THROTTLED: [&str; 3] = ["LimitExceeded", "Throttling", "TooManyRequests"];

/// How many errors a summary has, and the longest text of one, in characters.
const MAX_SUMMARIZED: usize = 3;
const MAX_SUMMARY: usize = 300;

impl Failure {
    /// Returns the errors in a payload: `{"errors":[…]}`, `{"errors":{…}}` or the error itself. There
    /// is at least one.
    pub fn parse(payload: Option<&RawValue>, redaction: Redaction) -> Vec<Self> {
        let payload = payload.map(|raw| (redaction.payload)(raw.get()));
        let parsed: Payload = payload
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let mut errors = match parsed.errors {
            Some(OneOrMany::Many(errors)) if !errors.is_empty() => errors,
            Some(OneOrMany::One(error)) => vec![error],
            Some(OneOrMany::Many(_)) | None => vec![parsed.own],
        };
        for message in errors.iter_mut().filter_map(|error| error.message.as_mut()) {
            if let Cow::Owned(masked) = (redaction.message)(message) {
                *message = masked;
            }
        }
        errors
    }

    /// Returns the type without its namespace: `BadRequestException` for
    /// `com.amazonaws…#BadRequestException`.
    pub(super) fn type_name(&self) -> &str {
        let text = self.error_type.as_deref().unwrap_or_default();
        text.rsplit('#').next().unwrap_or_default()
    }

    /// Returns whether the connection is full. The subscription may start on another.
    pub(super) fn is_connection_full(&self) -> bool {
        self.type_name().starts_with("MaxSubscriptionsReached")
    }

    /// Returns whether AppSync throttles. The start may be sent again later.
    pub(super) fn is_throttled(&self) -> bool {
        self.code() == Some(429) || self.is_of(&THROTTLED)
    }

    fn code(&self) -> Option<u64> {
        self.error_code.as_ref().and_then(Value::as_u64)
    }

    fn is_of(&self, names: &[&str]) -> bool {
        let kind = self.type_name();
        names.iter().any(|name| kind.starts_with(name))
    }

    /// Returns whether the same request may succeed later: AppSync throttles or has failed itself, or other
    /// credentials or a corrected clock may be there by then.
    pub fn is_transient(&self) -> bool {
        let is_fault = |code| (500..600).contains(&code);
        self.is_throttled()
            || self.code().is_some_and(is_fault)
            || self.is_of(&TRANSIENT)
            || self.is_renewable()
    }

    /// Returns why AWS rejected the signature or its credentials; `None` if it did not.
    pub fn rejection(&self) -> Option<Code> {
        rejection(self.type_name(), self.message())
    }

    /// Returns whether other credentials or another time of the signature may avoid the failure.
    pub(super) fn is_renewable(&self) -> bool {
        let code = self.rejection();
        code.is_some_and(|code| is_of_credentials(code) || is_of_clock(code))
    }

    /// Returns whether the error has neither a type nor a message.
    pub fn is_empty(&self) -> bool {
        self.type_name().is_empty() && self.message().is_empty()
    }

    /// Returns the message, empty if there is none.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// Returns the error that clients receive.
    pub fn to_graphql(&self) -> GraphqlError {
        let kind = self.type_name();
        let message = match (&self.message, kind) {
            (Some(message), _) if !message.is_empty() => message.clone(),
            (_, "") => "AppSync error".to_owned(),
            (_, kind) => kind.to_owned(),
        };
        let mut error = GraphqlError::new(message);
        error.path = self.path.clone().filter(|value| !value.is_null());
        error.locations = self.locations.clone().filter(|value| !value.is_null());
        if !kind.is_empty() {
            error = error.with("errorType", kind);
        }
        let extras = [
            ("errorCode", &self.error_code),
            ("errorInfo", &self.error_info),
        ];
        for (key, value) in extras {
            if let Some(value) = value.as_ref().filter(|value| !value.is_null()) {
                error = error.with(key, value.clone());
            }
        }
        error
    }

    /// Returns `type: message` of the first errors, with the beginnings of their texts, for the log.
    pub fn summary(failures: &[Self]) -> String {
        let lines = failures.iter().take(MAX_SUMMARIZED).map(|failure| {
            let error = failure.to_graphql();
            let first_line = error.message.lines().next().unwrap_or_default();
            let line = format!("{}: {first_line}", failure.type_name());
            line.chars().take(MAX_SUMMARY).collect::<String>()
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks `$PAYLOAD` in a payload, and `$MESSAGE` in a message.
    const REDACTION: Redaction = Redaction {
        payload: |text| mask(text, "$PAYLOAD"),
        message: |text| mask(text, "$MESSAGE"),
    };

    fn mask<'a>(text: &'a str, secret: &str) -> Cow<'a, str> {
        if text.contains(secret) {
            Cow::Owned(text.replace(secret, "[redacted]"))
        } else {
            Cow::Borrowed(text)
        }
    }

    fn check(payload: &str, expected: &str) {
        let raw: Box<RawValue> = serde_json::from_str(payload).unwrap();
        let errors = Failure::parse(Some(&raw), REDACTION);
        let errors: Vec<GraphqlError> = errors.iter().map(Failure::to_graphql).collect();
        assert_eq!(
            serde_json::to_string(&errors).unwrap(),
            expected,
            "{payload}"
        );
    }

    #[test]
    fn every_shape_becomes_a_list_of_errors() {
        check(
            r#"{"errors":[{"errorType":"UnauthorizedException","message":"Permission denied","errorCode":401}]}"#,
            r#"[{"message":"Permission denied","extensions":{"errorCode":401,"errorType":"UnauthorizedException"}}]"#,
        );
        check(
            r#"{"errors":{"errorType":"MaxSubscriptionsReachedError","message":"Max number of 100 subscriptions reached"}}"#,
            r#"[{"message":"Max number of 100 subscriptions reached","extensions":{"errorType":"MaxSubscriptionsReachedError"}}]"#,
        );
        check(
            r#"{"errorType":"com.amazonaws.deepdish.graphql.auth#BadRequestException"}"#,
            r#"[{"message":"BadRequestException","extensions":{"errorType":"BadRequestException"}}]"#,
        );
        check(
            r#"{"errors":[{"message":"Validation error","locations":[{"line":1,"column":2}],"path":null,"data":null,"errorInfo":null}]}"#,
            r#"[{"message":"Validation error","locations":[{"column":2,"line":1}]}]"#,
        );
        check(r#"{"errors":[]}"#, r#"[{"message":"AppSync error"}]"#);
        check(r#"{"errors":"?"}"#, r#"[{"message":"AppSync error"}]"#);
        check("null", r#"[{"message":"AppSync error"}]"#);
    }

    #[test]
    fn throttling_faults_and_expiry_are_transient() {
        let cases = [
            (r#"{"errorType":"LimitExceededError"}"#, true),
            (
                r#"{"errorType":"com.amazonaws#ThrottlingException","errorCode":400}"#,
                true,
            ),
            (
                r#"{"errorType":"ExpiredTokenException","errorCode":400}"#,
                true,
            ),
            (r#"{"errorType":"InternalFailure"}"#, true),
            (r#"{"message":"busy","errorCode":503}"#, true),
            (r#"{"message":"slow down","errorCode":429}"#, true),
            (
                r#"{"errorType":"UnrecognizedClientException","message":"The security token included in the request is expired"}"#,
                true,
            ),
            (
                r#"{"errorType":"BadRequestException","message":"Signature expired: 20181029T181641Z is now earlier than 20181029T191126Z"}"#,
                true,
            ),
            (
                r#"{"errorType":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
                true,
            ),
            (
                r#"{"errorType":"BadRequestException","message":"The request signature we calculated does not match the signature you provided."}"#,
                false,
            ),
            (
                r#"{"errorType":"UnauthorizedException","message":"You are not authorized to make this call.","errorCode":400}"#,
                false,
            ),
            (
                r#"{"errorType":"com.amazon.coral.service.http#HttpNotFoundException","errorCode":404}"#,
                false,
            ),
            // A resolver's error, whatever it says.
            (
                r#"{"errorType":"Lambda:Unhandled","message":"The security token included in the request is invalid"}"#,
                false,
            ),
            (r#"{"errorType":"MaxSubscriptionsReachedError"}"#, false),
            (r#"{"message":"NoProtocolError","errorCode":"500"}"#, false),
            ("null", false),
        ];
        for (payload, expected) in cases {
            let raw: Box<RawValue> = serde_json::from_str(payload).unwrap();
            let failures = Failure::parse(Some(&raw), REDACTION);
            assert_eq!(failures[0].is_transient(), expected, "{payload}");
        }
    }

    #[test]
    fn payloads_and_messages_are_redacted() {
        check(
            r#"{"errors":[{"message":"a $PAYLOAD","errorInfo":"$PAYLOAD"},{"message":"b $MESSAGE"}]}"#,
            r#"[{"message":"a [redacted]","extensions":{"errorInfo":"[redacted]"}},{"message":"b [redacted]"}]"#,
        );
        // Escaped in the payload, so only the message shows it.
        check(
            r#"{"message":"\u0024MESSAGE"}"#,
            r#"[{"message":"[redacted]"}]"#,
        );
    }
}
