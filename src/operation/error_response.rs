//! Responses to operations that are not results: what the client, the log and the metrics show of them.

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::GraphqlError;
use countersign_protocol::realtime::Failure;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::response::Parts;

use crate::realtime::REDACTION;
use crate::telemetry::Record;
use crate::upstream::{ERROR_TYPE, Explanation, ForeignPage, first_line, one_line, rejection};

/// A response of AppSync with an error status, or that is not JSON.
#[derive(Debug)]
pub struct ErrorResponse<'a> {
    status: StatusCode,
    content_type: Option<&'a str>,
    text: &'a str,
    code: Code,
    /// Whether AWS rejected the request for a known reason.
    is_rejection: bool,
    page: Option<ForeignPage>,
    explanation: Option<Explanation>,
}

/// The longest text that becomes part of a message, in bytes.
const MAX_TEXT: usize = 1024;

impl<'a> ErrorResponse<'a> {
    /// Reads a response with this head and body.
    pub fn read(head: &'a Parts, text: &'a str) -> Self {
        let Parts {
            status, headers, ..
        } = head;
        let kind = headers.get(&ERROR_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok());
        let rejected = rejection(*status, kind, text);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let other = if is_json {
            Code::UpstreamStatus
        } else {
            Code::UpstreamNotJson
        };
        let page = ForeignPage::of(*status, headers, text);
        let explanation = Explanation::of_response(head, text);
        let explanation = explanation.or_else(|| page.as_ref().map(Explanation::of_page));
        Self {
            status: *status,
            content_type: media_type(headers),
            text,
            code: rejected.unwrap_or(other),
            is_rejection: rejected.is_some(),
            page,
            explanation,
        }
    }

    /// Returns why AWS, or a server in front of it, refused the request.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.explanation.as_ref()
    }

    /// Adds the response to the record of the operation. Where AWS names the type of an error that is not a
    /// rejection, the type remains its code.
    pub fn record(&self, record: &mut Record) {
        record.sent = Some(self.sent());
        if self.is_rejection || record.code.is_none() {
            record.code = Some(self.code.into());
        }
        if let Some(explanation) = &self.explanation {
            explanation.record(record);
        }
        if self.page.is_some() {
            record.error = Some(self.message());
        }
    }

    /// Returns the errors in the response. There is at least one.
    pub fn errors(&self) -> Vec<GraphqlError> {
        let Ok(raw) = serde_json::from_str(self.text) else {
            return vec![self.complete(GraphqlError::new(self.message()))];
        };
        let failures = Failure::parse(Some(raw), REDACTION).into_iter();
        let errors = failures.map(|failure| {
            self.complete(if failure.is_empty() {
                GraphqlError::new(self.message())
            } else {
                failure.to_graphql()
            })
        });
        errors.collect()
    }

    /// Adds to an error what it shows of the response.
    fn complete(&self, error: GraphqlError) -> GraphqlError {
        let error = error.with("status", self.status.as_u16());
        let error = error.with("code", self.code.as_str());
        let error = error.with("sent", self.sent().as_str());
        match &self.explanation {
            Some(explanation) => {
                error.explained(explanation.extensions(), explanation.identity.as_deref())
            }
            None => error,
        }
    }

    /// Returns whether upstream may have acted. AWS rejects a request before it executes it, but may fail
    /// during the execution.
    fn sent(&self) -> Sent {
        match self.status {
            status if status.is_client_error() => Sent::No,
            status if status.is_server_error() => Sent::Maybe,
            _ => Sent::Yes,
        }
    }

    /// Returns the message for a response that does not contain an error of AWS. It contains the body if that
    /// is a short text, as AWS's gateways send it with 413, 429 and 503, and otherwise its title or first line:
    /// firewalls and load balancers send pages.
    fn message(&self) -> String {
        let (status, text) = (self.status, self.text.trim());
        if let Some(page) = &self.page {
            return format!("upstream responded {}", page.description);
        }
        let is_markup = text.starts_with(['<', '{', '[']);
        // Decoding replaces what is not UTF-8.
        let is_binary = text.contains(['\0', '\u{fffd}']);
        if text.is_empty() || is_binary || status.is_success() {
            return format!("upstream responded {status} with a body that is not JSON");
        }
        if text.len() > MAX_TEXT || is_markup {
            let kind = self.content_type.unwrap_or("a body of an unknown type");
            let line = first_line(text).unwrap_or_default();
            return format!(
                "upstream responded {} with {kind}: \"{line}\"",
                status.as_u16()
            );
        }
        format!("upstream responded {status}: {}", one_line(text))
    }
}

/// Returns the media type of a response, without parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn head(status: u16, content_type: Option<&'static str>) -> Parts {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).unwrap();
        if let Some(kind) = content_type {
            head.headers
                .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        head
    }

    #[track_caller]
    fn check_page(status: u16, content_type: Option<&'static str>, body: &str, expected: &str) {
        let head = head(status, content_type);
        let errors = ErrorResponse::read(&head, body).errors();
        assert_eq!(errors[0].message, expected, "{body}");
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        check_page(status, None, body, expected);
    }

    #[test]
    fn answers_that_are_not_graphql_are_reported_with_their_type_and_first_line() {
        let html = Some("text/html");
        check_page(
            503,
            html,
            "<html>\r\n<head><title>503 Service Temporarily\r\n Unavailable</title></head>",
            "upstream responded 503 with text/html: \"503 Service Temporarily Unavailable\"",
        );
        check_page(
            403,
            html,
            "\n<!DOCTYPE html>\n<p>x-amz-security-token:AQoDYXdzEJr1K",
            "upstream responded 403 with text/html: \"x-amz-security-token:[redacted]\"",
        );
        let json = Some("application/json");
        for body in ["{}", r#"{"errors":[]}"#, "[]"] {
            let expected = format!("upstream responded 502 with application/json: \"{body}\"");
            check_page(502, json, body, &expected);
        }
    }

    #[test]
    fn plain_texts_of_aws_are_kept_in_the_message() {
        check(
            413,
            "HTTP content length exceeded 10485760 bytes.",
            "upstream responded 413 Payload Too Large: HTTP content length exceeded 10485760 bytes.",
        );
        check(
            429,
            "Too Many\u{7} Requests\n",
            "upstream responded 429 Too Many Requests: Too Many\\u{7} Requests",
        );
        check(
            503,
            " Service\r\n Unavailable: x-amz-security-token:AQoDYXdzEJr1K ",
            "upstream responded 503 Service Unavailable: Service Unavailable: \
             x-amz-security-token:[redacted]",
        );
        let long = "x".repeat(MAX_TEXT + 1);
        for body in ["", "\0"] {
            let expected =
                "upstream responded 503 Service Unavailable with a body that is not JSON";
            check(503, body, expected);
        }
        check(
            503,
            "<html>",
            "upstream responded 503 with text/html: \"<html>\"",
        );
        let shown = "x".repeat(200);
        for (body, shown) in [("<Error>", "<Error>"), ("{", "{"), (&long, &shown)] {
            let expected =
                format!("upstream responded 503 with a body of an unknown type: \"{shown}\"");
            check(503, body, &expected);
        }
    }

    /// The log had `sent=yes code=ACCESS_DENIED` when the client received `no` and `UPSTREAM_STATUS`.
    #[test]
    fn the_client_and_the_log_get_the_same_code_and_the_same_sent() {
        let denied = r#"{"message":"User: arn:aws:iam::1:user/a is not authorized to perform: appsync:GraphQL"}"#;
        let page = "<html><title>x</title>";
        for (status, body, code, sent) in [
            (403, denied, "ACCESS_DENIED", "no"),
            (404, r#"{"message":"Not Found"}"#, "UPSTREAM_STATUS", "no"),
            (500, "{}", "UPSTREAM_STATUS", "maybe"),
            (503, page, "UPSTREAM_NOT_JSON", "maybe"),
            (302, "", "UPSTREAM_NOT_JSON", "yes"),
        ] {
            let head = head(status, None);
            let response = ErrorResponse::read(&head, body);
            let error = response.errors().remove(0);
            let mut record = Record::new("WS");
            record.sent = Some(Sent::Yes);
            response.record(&mut record);
            record.discard();
            let logged = record.code.as_ref().map(|code| code.as_str());
            assert_eq!(logged, Some(code), "{body}");
            assert_eq!(record.sent.map(Sent::as_str), Some(sent), "{body}");
            assert_eq!(error.extensions["code"], code, "{body}");
            assert_eq!(error.extensions["sent"], sent, "{body}");
            assert_eq!(
                record.rejection.is_some(),
                code != "UPSTREAM_STATUS" && !body.is_empty()
            );
        }
    }
}
