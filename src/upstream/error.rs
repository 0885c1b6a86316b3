//! What can go wrong between a signed request and its answer.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::FramingError;
use crate::sign::{SignError, TargetError};

/// Whether upstream may have acted on a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    No,
    Maybe,
    Yes,
}

/// A connection that could not be opened, one variant per step.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("upstream {address} could not be reached")]
    Connect {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("upstream {address} did not accept a connection within {after:?} (timeouts.connect)")]
    Timeout { address: String, after: Duration },
    #[error("TLS with upstream {tls_name} failed")]
    Tls {
        tls_name: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the proxy {proxy} did not open a tunnel to {address}")]
    Tunnel {
        proxy: String,
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A failed exchange, one variant per stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the connection to upstream broke before an answer came")]
    Broken(#[source] hyper_util::client::legacy::Error),
    #[error(transparent)]
    Dial(Arc<DialError>),
    #[error("the answer of upstream cannot be read: {0}")]
    Framing(#[from] FramingError),
    #[error("upstream sent no answer within {after:?} (timeouts.first_byte)")]
    FirstByteTimeout { after: Duration },
    #[error(
        "the header {0} cannot be signed faithfully: its value has a tab, two spaces in a row, or a byte that is not ASCII"
    )]
    Header(HeaderName),
    #[error("upstream refused the WebSocket")]
    Handshake(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("upstream did not answer the WebSocket handshake within {after:?}")]
    HandshakeTimeout { after: Duration },
    #[error("the answer of upstream broke off")]
    Interrupted(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer of upstream is larger than {limit} bytes")]
    ResponseTooLarge { limit: usize },
    #[error(
        "the answer of upstream was dropped: too many answers wait for their clients \
         (limits.buffered)"
    )]
    Unbuffered,
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the answer of upstream is not valid HTTP")]
    Syntax(#[source] hyper_util::client::legacy::Error),
    #[error("the connection to upstream broke before it answered the WebSocket handshake")]
    Tunnel(#[source] hyper::Error),
    #[error("the request target cannot be signed: {0}")]
    Target(#[from] TargetError),
}

impl Error {
    /// A stable name, for `extensions.code`, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broken(_)
            | Self::Framing(_)
            | Self::Interrupted(_)
            | Self::Syntax(_)
            | Self::Tunnel(_) => "UPSTREAM_BROKEN",
            Self::Dial(error) => match error.as_ref() {
                DialError::Connect { .. } | DialError::Tunnel { .. } => "UPSTREAM_UNREACHABLE",
                DialError::Timeout { .. } => "UPSTREAM_CONNECT_TIMEOUT",
                DialError::Tls { .. } => "UPSTREAM_TLS",
            },
            Self::FirstByteTimeout { .. } | Self::HandshakeTimeout { .. } => "UPSTREAM_TIMEOUT",
            Self::Handshake(_) => "UPSTREAM_REFUSED",
            Self::Header(_) => "HEADER_NOT_SIGNABLE",
            Self::ResponseTooLarge { .. } => "UPSTREAM_RESPONSE_TOO_LARGE",
            Self::Unbuffered => "BUFFERS_FULL",
            Self::Sign(SignError::Credentials(_)) => "CREDENTIALS_UNAVAILABLE",
            Self::Sign(_) => "SIGNING_FAILED",
            Self::Target(_) => "TARGET_NOT_SIGNABLE",
        }
    }

    /// Whether upstream may have acted.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Dial(_)
            | Self::Handshake(_)
            | Self::HandshakeTimeout { .. }
            | Self::Header(_)
            | Self::Sign(_)
            | Self::Target(_) => Sent::No,
            Self::FirstByteTimeout { .. }
            | Self::Broken(_)
            | Self::Framing(_)
            | Self::Syntax(_)
            | Self::Tunnel(_) => Sent::Maybe,
            Self::Interrupted(_) | Self::ResponseTooLarge { .. } | Self::Unbuffered => Sent::Yes,
        }
    }

    /// The setting or command that helps, if there is one.
    pub fn remedy(&self) -> Option<&'static str> {
        let Self::Dial(error) = self else {
            return None;
        };
        Some(match error.as_ref() {
            DialError::Connect { .. } | DialError::Timeout { .. } => {
                "Check the route's target and connect, DNS, and HTTPS_PROXY."
            }
            DialError::Tls { .. } => "Check the route's target, ca_file and SSL_CERT_FILE.",
            DialError::Tunnel { .. } => "Check HTTPS_PROXY and NO_PROXY.",
        })
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

impl Sent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}
