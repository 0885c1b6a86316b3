//! The reasons for refusing a realtime connect, and the `connection_error` frame for each.

use super::events::messages as event_messages;
use super::messages;
use super::protocol::Protocol;
use super::refusal::Refusal;

/// Why a connection receives `connection_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectRefusal {
    /// The client did not offer `graphql-ws` or `aws-appsync-event-ws`.
    NoProtocol,
    /// The request has no authorization.
    HeadersMissing,
    /// The request has a query string without authorization.
    ParametersMissing,
    /// The authorization does not parse.
    Malformed,
    Refused(Refusal),
    /// A switch refuses connects, with this JSON in the frame.
    OnRequest(String),
}

// === impl ConnectRefusal ===

impl ConnectRefusal {
    /// Returns the frame for the client, with `prefix` before the error type.
    pub(super) fn frame(&self, protocol: Protocol, prefix: &str) -> String {
        let tell = match protocol {
            Protocol::GraphQl => messages::connection_error,
            Protocol::Events => event_messages::connection_error,
        };
        match self {
            Self::NoProtocol => tell(None, Some("NoProtocolError")),
            Self::HeadersMissing => tell(None, Some("Required headers are missing.")),
            Self::ParametersMissing => tell(
                None,
                Some(
                    "Both, the \"header\", and the \"payload\" query string parameters are missing",
                ),
            ),
            Self::Malformed => tell(Some("BadRequest"), None),
            Self::Refused(Refusal::NotFound) => tell(Some(Refusal::NotFound.realtime_type()), None),
            Self::Refused(refusal) => tell(
                Some(&format!("{prefix}{}", refusal.realtime_type())),
                Some(&refusal.to_string()),
            ),
            Self::OnRequest(payload) => match protocol {
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
            Self::Refused(refusal) => refusal.summary(),
            Self::OnRequest(_) => "connection_error on request".to_owned(),
        }
    }
}
