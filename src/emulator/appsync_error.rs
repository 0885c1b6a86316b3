//! AppSync's errors: status, error type and text, over HTTP and in realtime frames.
//!
//! The texts were observed in AWS's responses. Where AWS's status is uncertain, a switch selects it.

use http::StatusCode;
use thiserror::Error;

/// The reason why a request is rejected. `Display` writes the `message` of the response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AppSyncError {
    #[error("Missing authorization header")]
    MissingAuthorization,
    /// The `authorization` is not SigV4. The API supports only IAM.
    #[error("Valid authorization header not provided.")]
    OtherAuthorization,
    /// The request carries an API key. The API supports only IAM.
    #[error("You are not authorized to make this call.")]
    NotAuthorized,
    /// The IAM policy does not allow it.
    #[error("Permission denied")]
    PermissionDenied,
    #[error("{0}")]
    Incomplete(String),
    /// The signature, scope or date is wrong.
    #[error("{0}")]
    BadSignature(String),
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// Events rejects the request with this message.
    #[error("{0}")]
    BadRequest(String),
    /// Events sends no message for this error.
    #[error("")]
    UnknownNamespace,
    #[error("Request body is empty.")]
    EmptyBody,
    #[error("Unable to parse GraphQL query.")]
    Unparsable,
    #[error("Request body is too large.")]
    TooLarge,
    #[error("Rate exceeded")]
    Throttled,
    #[error("Not Found")]
    NotFound,
    #[error("Service Unavailable")]
    Unavailable,
    #[error("Internal failure")]
    Internal,
}

/// The HTTP response to a wrong signature. Both were observed from AWS, one of them only until 2019.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureStatus {
    /// 403 `InvalidSignatureException`.
    Forbidden,
    /// 400 `BadRequestException`.
    BadRequest,
}

// === impl AppSyncError ===

impl AppSyncError {
    pub(super) fn status(&self, signature: SignatureStatus) -> StatusCode {
        match self {
            Self::MissingAuthorization
            | Self::OtherAuthorization
            | Self::NotAuthorized
            | Self::PermissionDenied
            | Self::UnknownNamespace => StatusCode::UNAUTHORIZED,
            Self::BadSignature(_) | Self::UnrecognizedClient | Self::ExpiredToken => {
                match signature {
                    SignatureStatus::Forbidden => StatusCode::FORBIDDEN,
                    SignatureStatus::BadRequest => StatusCode::BAD_REQUEST,
                }
            }
            Self::Incomplete(_) | Self::BadRequest(_) | Self::EmptyBody | Self::Unparsable => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn error_type(&self, signature: SignatureStatus) -> &'static str {
        match self {
            Self::MissingAuthorization
            | Self::OtherAuthorization
            | Self::NotAuthorized
            | Self::PermissionDenied
            | Self::UnknownNamespace => "UnauthorizedException",
            Self::BadRequest(_) => "BadRequestException",
            Self::BadSignature(_) => match signature {
                SignatureStatus::Forbidden => "InvalidSignatureException",
                SignatureStatus::BadRequest => "BadRequestException",
            },
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::EmptyBody | Self::Unparsable => "MalformedHttpRequestException",
            Self::TooLarge => "RequestEntityTooLargeException",
            Self::Throttled => "ThrottlingException",
            Self::NotFound => "HttpNotFoundException",
            Self::Unavailable => "ServiceUnavailableException",
            Self::Internal => "InternalFailure",
        }
    }

    /// Returns the error type in realtime frames. There, a bad signature is always a
    /// `BadRequestException`.
    pub(super) fn realtime_type(&self) -> &'static str {
        match self {
            Self::NotFound => "com.amazon.coral.service.http#HttpNotFoundException",
            Self::MissingAuthorization
            | Self::OtherAuthorization
            | Self::NotAuthorized
            | Self::PermissionDenied
            | Self::Incomplete(_)
            | Self::BadSignature(_)
            | Self::UnrecognizedClient
            | Self::ExpiredToken
            | Self::BadRequest(_)
            | Self::UnknownNamespace
            | Self::EmptyBody
            | Self::Unparsable
            | Self::TooLarge
            | Self::Throttled
            | Self::Unavailable
            | Self::Internal => self.error_type(SignatureStatus::BadRequest),
        }
    }

    /// Returns the body in AppSync's format, which is that of Jackson's default pretty printer.
    pub(super) fn body(&self, signature: SignatureStatus) -> String {
        let error_type = self.error_type(signature);
        let message = match self.to_string() {
            message if message.is_empty() => String::new(),
            message => format!(
                ",\n    \"message\" : {}",
                serde_json::Value::String(message)
            ),
        };
        format!(
            "{{\n  \"errors\" : [ {{\n    \"errorType\" : \"{error_type}\"{message}\n  }} ]\n}}"
        )
    }

    /// Returns the type and the first line, without text from the client, for logs and for `/state`.
    pub(super) fn summary(&self) -> String {
        let message = self.to_string();
        let line = message.lines().next().unwrap_or_default();
        let line = line.split("Authorization=").next().unwrap_or_default();
        let line = line
            .split("Authorization header: ")
            .next()
            .unwrap_or_default();
        let error_type = self.error_type(SignatureStatus::Forbidden);
        if line.is_empty() {
            return error_type.to_owned();
        }
        format!("{error_type}: {}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_has_the_format_of_jackson() {
        assert_eq!(
            AppSyncError::MissingAuthorization.body(SignatureStatus::Forbidden),
            "{\n  \"errors\" : [ {\n    \"errorType\" : \"UnauthorizedException\",\n    \
             \"message\" : \"Missing authorization header\"\n  } ]\n}"
        );
    }

    #[test]
    fn absent_message_is_omitted() {
        let error = AppSyncError::UnknownNamespace;
        assert_eq!(
            error.body(SignatureStatus::Forbidden),
            "{\n  \"errors\" : [ {\n    \"errorType\" : \"UnauthorizedException\"\n  } ]\n}"
        );
        assert_eq!(error.summary(), "UnauthorizedException");
    }

    #[test]
    fn summary_omits_client_input() {
        let error = AppSyncError::Incomplete(
            "Authorization header requires 'Signature' parameter. Authorization=AWS4 secret".into(),
        );
        assert_eq!(
            error.summary(),
            "IncompleteSignatureException: Authorization header requires 'Signature' parameter."
        );
    }

    #[track_caller]
    fn check_signature(signature: SignatureStatus, status: u16, error_type: &str) {
        let error = AppSyncError::BadSignature(String::new());
        assert_eq!(error.status(signature).as_u16(), status);
        assert_eq!(error.error_type(signature), error_type);
        assert_eq!(error.realtime_type(), "BadRequestException");
    }

    #[test]
    fn switch_changes_bad_signatures_over_http_only() {
        check_signature(SignatureStatus::Forbidden, 403, "InvalidSignatureException");
        check_signature(SignatureStatus::BadRequest, 400, "BadRequestException");
    }
}
