//! The errors of a realtime connect, and the `connection_error` frame of each.

use super::appsync_error::AppSyncError;
use super::events::messages as event_messages;
use super::messages;
use super::protocol::Protocol;

/// The reason why a connection receives `connection_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// The client did not offer `graphql-ws` or `aws-appsync-event-ws`.
    NoProtocol,
    /// The request has no authorization.
    HeadersMissing,
    /// The request has a query string without authorization.
    ParametersMissing,
    /// The authorization does not parse.
    Malformed,
    AppSync(AppSyncError),
    /// A switch rejects connects, with this JSON in the frame.
    RefusedBySwitch(String),
}

// === impl ConnectError ===

impl ConnectError {
    /// Returns the frame for the client, with `prefix` before the error type.
    pub(super) fn frame(&self, protocol: Protocol, prefix: &str) -> String {
        let connection_error = match protocol {
            Protocol::GraphQl => messages::connection_error,
            Protocol::Events => event_messages::connection_error,
        };
        match self {
            Self::NoProtocol => connection_error(None, Some("NoProtocolError")),
            Self::HeadersMissing => connection_error(None, Some("Required headers are missing.")),
            Self::ParametersMissing => connection_error(
                None,
                Some(
                    "Both, the \"header\", and the \"payload\" query string parameters are missing",
                ),
            ),
            Self::Malformed => connection_error(Some("BadRequest"), None),
            Self::AppSync(AppSyncError::NotFound) => {
                connection_error(Some(AppSyncError::NotFound.realtime_type()), None)
            }
            Self::AppSync(error) => connection_error(
                Some(&format!("{prefix}{}", error.realtime_type())),
                Some(&error.to_string()),
            ),
            Self::RefusedBySwitch(payload) => match protocol {
                Protocol::GraphQl => messages::connection_error_with(payload),
                Protocol::Events => event_messages::with_members("connection_error", None, payload),
            },
        }
    }

    /// Returns one line for logs and for `/state`.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::NoProtocol => "NoProtocolError".to_owned(),
            Self::HeadersMissing => "Required headers are missing.".to_owned(),
            Self::ParametersMissing => "Query string parameters are missing.".to_owned(),
            Self::Malformed => "BadRequest".to_owned(),
            Self::AppSync(error) => error.summary(),
            Self::RefusedBySwitch(_) => "connection_error on request".to_owned(),
        }
    }
}
