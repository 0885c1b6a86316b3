//! API Gateway's errors: status, error type and text.
//!
//! REST and WebSocket APIs give the reason; HTTP APIs send only `Forbidden`. The texts were observed in
//! AWS's responses. Where AWS's response is not known, the emulator sends the one for a similar cause.

use http::StatusCode;
use thiserror::Error;

use crate::appsync_error::AppSyncError;

/// The reason why a request is rejected. `Display` writes the `message` of the response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum GatewayError {
    #[error("Missing Authentication Token")]
    MissingToken,
    #[error("{0}")]
    Incomplete(String),
    /// The signature, scope or date is wrong.
    #[error("{0}")]
    BadSignature(String),
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The host or stage does not exist, or the service does not accept the payload.
    #[error("Forbidden")]
    Forbidden,
    /// The IAM policy does not allow it.
    #[error("{0}")]
    AccessDenied(String),
    #[error("{0}")]
    BadRequest(String),
    /// The management call does not exist.
    #[error("Not Found")]
    NotFound,
    /// The connection is closed.
    #[error("Gone")]
    Gone,
    #[error("Upgrade Required")]
    UpgradeRequired,
    #[error("Request Too Long")]
    TooLarge,
    #[error("Too Many Requests")]
    Throttled,
    #[error("Service Unavailable")]
    Unavailable,
}

// === impl GatewayError ===

impl GatewayError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MissingToken
            | Self::Incomplete(_)
            | Self::BadSignature(_)
            | Self::UnrecognizedClient
            | Self::ExpiredToken
            | Self::Forbidden
            | Self::AccessDenied(_) => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the `x-amzn-errortype`.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::MissingToken => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::BadSignature(_) => "InvalidSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::Forbidden => "ForbiddenException",
            Self::AccessDenied(_) => "AccessDeniedException",
            Self::BadRequest(_) => "BadRequestException",
            Self::NotFound => "NotFoundException",
            Self::Gone => "GoneException",
            Self::UpgradeRequired => "UpgradeRequiredException",
            Self::TooLarge => "RequestEntityTooLargeException",
            Self::Throttled => "TooManyRequestsException",
            Self::Unavailable => "ServiceUnavailableException",
        }
    }

    /// Returns the error that an HTTP API sends, which does not show what is wrong with a signature.
    pub(super) fn hide_reason(self) -> Self {
        match self.status() {
            StatusCode::FORBIDDEN => Self::Forbidden,
            _ => self,
        }
    }

    /// Returns the name of the reason in the statistics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::Incomplete(_) => "incomplete",
            Self::BadSignature(text) => signature_reason(text),
            Self::UnrecognizedClient => "unrecognized_client",
            Self::ExpiredToken => "expired_token",
            Self::Forbidden => "forbidden",
            Self::AccessDenied(_) => "access_denied",
            Self::BadRequest(_) => "bad_request",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooLarge => "too_large",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }

    /// Returns the type and the first line, without text from the client, for logs and for `/state`.
    pub(super) fn summary(&self) -> String {
        let message = self.to_string();
        let line = message.lines().next().unwrap_or_default();
        let line = line.split(" Authorization=").next().unwrap_or_default();
        let line = line
            .split("Authorization header: ")
            .next()
            .unwrap_or_default();
        format!("{}: {}", self.error_type(), line.trim_end())
    }
}

fn signature_reason(text: &str) -> &'static str {
    let reasons = [
        ("The request signature we calculated", "mismatch"),
        ("Signature expired", "expired"),
        ("Signature not yet current", "not_yet_current"),
        ("Credential should be scoped", "scope"),
        ("Date in Credential scope", "scope"),
    ];
    let found = reasons.iter().find(|(start, _)| text.starts_with(start));
    found.map_or("signed_headers", |(_, reason)| reason)
}

/// Converts an error of the checks that are shared with AppSync.
impl From<AppSyncError> for GatewayError {
    fn from(error: AppSyncError) -> Self {
        match error {
            AppSyncError::Incomplete(text) => Self::Incomplete(text),
            AppSyncError::BadSignature(text) => Self::BadSignature(text),
            AppSyncError::UnrecognizedClient => Self::UnrecognizedClient,
            AppSyncError::ExpiredToken => Self::ExpiredToken,
            AppSyncError::MissingAuthorization | AppSyncError::OtherAuthorization => {
                Self::MissingToken
            }
            AppSyncError::NotAuthorized
            | AppSyncError::PermissionDenied
            | AppSyncError::UnknownNamespace => Self::Forbidden,
            AppSyncError::BadRequest(text) => Self::BadRequest(text),
            AppSyncError::EmptyBody | AppSyncError::Unparsable => {
                Self::BadRequest("Bad Request".to_owned())
            }
            AppSyncError::TooLarge => Self::TooLarge,
            AppSyncError::Throttled => Self::Throttled,
            AppSyncError::NotFound => Self::NotFound,
            AppSyncError::Unavailable | AppSyncError::Internal => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_a_short_name() {
        for (text, reason) in [
            (
                "The request signature we calculated does not match",
                "mismatch",
            ),
            ("Signature expired: 1 is now earlier than 2", "expired"),
            ("Signature not yet current: 1", "not_yet_current"),
            ("Credential should be scoped to a valid region.", "scope"),
            ("'Host' or ':authority' must be", "signed_headers"),
        ] {
            assert_eq!(
                GatewayError::BadSignature(text.to_owned()).reason(),
                reason,
                "{text}"
            );
        }
    }

    #[test]
    fn summary_omits_client_input() {
        let text = "Authorization header requires 'Signature' parameter. Authorization=AWS4 secret";
        assert_eq!(
            GatewayError::Incomplete(text.to_owned()).summary(),
            "IncompleteSignatureException: Authorization header requires 'Signature' parameter."
        );
    }

    #[test]
    fn http_apis_hide_signature_errors() {
        let bad = GatewayError::BadSignature("secret".to_owned());
        assert_eq!(bad.hide_reason(), GatewayError::Forbidden);
        assert_eq!(GatewayError::TooLarge.hide_reason(), GatewayError::TooLarge);
    }
}
